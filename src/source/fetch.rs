//! From a pin to a verified blob: origins in order, attempts with growing pauses.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::Url;

use super::error::SourceError;
use super::http::{Failure, Transfers, Wanted};
use super::origin::{Origins, Pinned, Place, is_file_name};
use super::partial::{Partial, copy_in};
use super::reason::{Reason, Tried};
use super::wait::wait_for;
use crate::http::{Pace, shown};
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::store::{Store, StoreError, Stored};

/// Files fetched at the same time, unless the caller wants another number.
pub const PARALLEL: NonZeroUsize = NonZeroUsize::new(8).expect("eight is not zero");

/// The most bytes of a file whose size no lock names: four times the largest source known.
pub const LARGEST: u64 = 1 << 30;

/// Attempts at one origin that does not even answer, whatever `Patience` says: a machine behind a wall should hear of
/// it soon.
const CONNECTIONS: usize = 3;

/// An attempt that brought this many bytes is not a failed one: the count of attempts starts over.
const GAIN: u64 = 1 << 16;

/// Who is told, and of which vertex.
#[derive(Clone, Copy)]
struct Teller<'a> {
    progress: &'a dyn Progress,
    vertex: Digest,
}

impl Teller<'_> {
    fn note(&self, message: &str) {
        self.progress.event(&Event::Note { message });
    }
}

/// Brings one file into the store: from there, from a directory, or from its origins in order.
///
/// The bytes are verified over the whole file, also after a resume. A file that another run is fetching is waited for.
///
/// # Errors
/// `Digest` and `Size` when an origin has other bytes (no further origin is asked: somebody should look),
/// `Unavailable` when all fail, `Offline`, `Stopped`, `FileName`, `Proxy`, `Client`, `Io`, `Store`.
pub fn fetch(
    store: &Store,
    pinned: &Pinned,
    origins: &Origins,
    progress: &dyn Progress,
    vertex: Digest,
) -> Result<Stored, SourceError> {
    let teller = Teller { progress, vertex };
    if !is_file_name(&pinned.file) {
        return Err(SourceError::FileName { file: pinned.file.clone() });
    }
    if let Some(stored) = already(store, pinned)? {
        return Ok(stored);
    }
    let _lock = wait_for(store, &format!("fetch-{}", pinned.digest.hex()), &pinned.file, origins, progress)?;
    if let Some(stored) = already(store, pinned)? {
        return Ok(stored);
    }
    let mut tried = Vec::new();
    for directory in &origins.directories {
        let path = directory.join(&pinned.file);
        if let Some(stored) = from_file(store, pinned, &path, &mut tried)? {
            return Ok(stored);
        }
    }
    for place in origins.places(pinned) {
        let result = match place {
            Place::File(path) => from_file(store, pinned, &path, &mut tried)?,
            Place::Http(_) if origins.offline => None,
            Place::Http(url) => match from_http(store, pinned, &url, origins, teller) {
                Ok(stored) => Some(stored),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Again { reason, .. } | Failure::Never(reason)) => {
                    teller.note(&format!("{}: {} failed: {reason}", pinned.file, shown(&url)));
                    tried.push(Tried { origin: shown(&url), reason });
                    None
                }
            },
            Place::NoMirror(origin) => {
                tried.push(Tried { origin, reason: Reason::NoMirror });
                None
            }
            Place::Unknown(origin) => {
                tried.push(Tried { origin, reason: Reason::Address });
                None
            }
        };
        if let Some(stored) = result {
            return Ok(stored);
        }
    }
    let (file, digest) = (pinned.file.clone(), pinned.digest);
    if origins.offline {
        return Err(SourceError::Offline { file, digest, origins: pinned.origins.clone() });
    }
    Err(SourceError::Unavailable { file, digest, tried })
}

/// Brings many files into the store, `parallel` at a time; the result has their order.
///
/// # Errors
/// As `fetch`: the first in the order of `pinned` that failed. No further one is begun then.
pub fn fetch_all(
    store: &Store,
    pinned: &[Pinned],
    origins: &Origins,
    parallel: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Vec<Stored>, SourceError> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results: Mutex<Vec<Option<Result<Stored, SourceError>>>> = Mutex::new(pinned.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..parallel.get().min(pinned.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(pin) = pinned.get(index) else { break };
                    let result = fetch(store, pin, origins, progress, vertex);
                    if result.is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                    results.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // Files after a failed one may not have been begun; the failed one comes before them.
    results.into_iter().map(|result| result.expect("a file is only left out after another failed")).collect()
}

/// Looks whether the store has the file.
fn already(store: &Store, pinned: &Pinned) -> Result<Option<Stored>, SourceError> {
    let Some(actual) = store.contains(&pinned.digest) else { return Ok(None) };
    match pinned.size {
        Some(expected) if expected != actual => Err(SourceError::Size {
            file: pinned.file.clone(),
            origin: store.path(&pinned.digest).display().to_string(),
            expected,
            actual,
            more: false,
        }),
        _ => Ok(Some(Stored { digest: pinned.digest, size: actual })),
    }
}

/// Takes a file of this machine; `None` if it is not there.
fn from_file(
    store: &Store,
    pinned: &Pinned,
    path: &Path,
    tried: &mut Vec<Tried>,
) -> Result<Option<Stored>, SourceError> {
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, mut file) = match opened {
        Ok((metadata, file)) if metadata.is_file() => (metadata, file),
        Ok(_) => return Ok(None),
        Err(source) => {
            if source.kind() != std::io::ErrorKind::NotFound {
                tried.push(Tried { origin: path.display().to_string(), reason: Reason::File { source } });
            }
            return Ok(None);
        }
    };
    if let Some(expected) = pinned.size.filter(|size| *size != metadata.len()) {
        return Err(SourceError::Size {
            file: pinned.file.clone(),
            origin: path.display().to_string(),
            expected,
            actual: metadata.len(),
            more: false,
        });
    }
    copy_in(store, &mut file, &pinned.digest, path)
        .map(Some)
        .map_err(|error| name_origin(error, pinned, path.display().to_string()))
}

/// Fetches from one URL, again and again as long as there is hope.
fn from_http(
    store: &Store,
    pinned: &Pinned,
    url: &Url,
    origins: &Origins,
    teller: Teller<'_>,
) -> Result<Stored, Failure> {
    let http = Transfers::for_origins(origins)?;
    let bound = pinned.size.unwrap_or(LARGEST);
    let wanted = Wanted { file: &pinned.file, size: pinned.size, bound, url };
    let mut partial = Partial::open(store, &pinned.digest)?;
    if partial.length() > bound {
        partial.restart()?;
    }
    let mut pace = Pace::default();
    let mut moved = |current: u64, total: Option<u64>| {
        if pace.is_due(current, total) {
            teller.progress.event(&Event::Status { vertex: teller.vertex, id: &pinned.file, current, total });
        }
    };
    let patience = &origins.patience;
    let (mut waiting, mut attempts) = (patience.pauses(), 0);
    loop {
        let before = partial.length();
        attempts += 1;
        let done = if pinned.size == Some(before) {
            Ok(())
        } else {
            http.transfer(&wanted, &mut partial, origins, &mut moved)
        };
        let (reason, after) = match done {
            Ok(()) => match partial.publish(store, &pinned.digest) {
                Ok(stored) => {
                    moved(stored.size, Some(stored.size));
                    return Ok(stored);
                }
                Err(error @ SourceError::Store(StoreError::Mismatch { .. })) => {
                    // The beginning may be another origin's or an older file's: this one gets a chance of its own.
                    let resumed = partial.resumed;
                    partial.restart()?;
                    if resumed {
                        teller.note(&format!(
                            "{}: what was left of an earlier download does not fit, starting over",
                            pinned.file
                        ));
                        continue;
                    }
                    return Err(name_origin(error, pinned, shown(url)).into());
                }
                Err(error) => return Err(error.into()),
            },
            Err(Failure::Again { reason, after }) => (reason, after),
            Err(error) => return Err(error),
        };
        if partial.length() > 0 {
            partial.resumed = true;
        }
        if partial.length() >= before.saturating_add(GAIN) {
            (waiting, attempts) = (patience.pauses(), 1);
        }
        let hopeless = matches!(reason, Reason::Connect { .. }) && attempts >= CONNECTIONS;
        let Some(pause) = waiting.next().filter(|_| !hopeless) else {
            return Err(Failure::Never(counted(reason, attempts)));
        };
        let pause = pause.max(after.unwrap_or_default()).min(patience.longest);
        teller.note(&format!(
            "{}: {}: {reason}; trying again in {:.1} s",
            pinned.file,
            shown(url),
            pause.as_secs_f32()
        ));
        http.pause(pause, &pinned.file, origins)?;
    }
}

/// Turns the store's word for a wrong digest into one that names the file and where it came from.
fn name_origin(error: SourceError, pinned: &Pinned, origin: String) -> SourceError {
    match error {
        SourceError::Store(StoreError::Mismatch { expected, actual, size }) => {
            SourceError::Digest { file: pinned.file.clone(), origin, expected, actual, size }
        }
        other => other,
    }
}

pub(super) fn counted(mut reason: Reason, count: usize) -> Reason {
    if let Reason::Status { attempts, .. }
    | Reason::Connect { attempts, .. }
    | Reason::Request { attempts, .. }
    | Reason::Cut { attempts, .. }
    | Reason::Stalled { attempts, .. } = &mut reason
    {
        *attempts = count;
    }
    reason
}
