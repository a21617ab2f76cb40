//! Room on the store's file system, watched while something is made there.
//!
//! A step may write as much as it likes, and the disk is everybody's: what runs is ended while there is still room for
//! others, for the error, and for what the next command needs to make room. Looked at are bytes and inodes
//! (`statvfs(3)`), of the file system and not of single steps, so that it costs nothing that grows with them.
//!
//! How often: as late as a disk could be full at the earliest, so seldom where there is much room and often near the end.
//! Why not a quota: only root can set one, and few file systems have those of directories. Why not the size of a step's
//! own layer: to know it, all of it must be looked at again and again.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::SolveError;
use crate::cgroup::size;
use crate::sandbox::Cancel;

/// How much of the store's file system stays free of what builds write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reserve {
    /// 1 GiB, or a twentieth of a file system smaller than 20 GiB.
    #[default]
    Usual,
    /// This many bytes, and the same part of the inodes; 0 is no reserve.
    Bytes(u64),
}

/// Bytes of [`Reserve::Usual`] at most, and which part of the file system.
const USUAL: u64 = 1 << 30;
const USUAL_PART: u64 = 20;

/// What no disk is faster than, in a second: bytes written and files made.
const BYTES_A_SECOND: u64 = 4 << 30;
const FILES_A_SECOND: u64 = 500_000;

const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// What there is of something on a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    free: u64,
    /// Free and used.
    all: u64,
}

/// A file system as a user without privileges may fill it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    bytes: Room,
    /// None where files are bounded by bytes only.
    files: Option<Room>,
}

impl Disk {
    fn look(place: &Path) -> io::Result<Self> {
        let told = rustix::fs::statvfs(place)?;
        let bytes = |blocks: u64| blocks.saturating_mul(told.f_frsize);
        Ok(Self {
            bytes: Room { free: bytes(told.f_bavail), all: bytes(told.f_blocks) },
            files: (told.f_files > 0).then_some(Room { free: told.f_favail, all: told.f_files }),
        })
    }

    /// What is to stay free: bytes, and files.
    fn kept(&self, reserve: Reserve) -> (u64, u64) {
        let bytes = match reserve {
            Reserve::Usual => USUAL.min(self.bytes.all / USUAL_PART),
            Reserve::Bytes(bytes) => bytes,
        };
        let files = self.files.map_or(0, |files| {
            let part = u128::from(files.all) * u128::from(bytes) / u128::from(self.bytes.all.max(1));
            u64::try_from(part).unwrap_or(u64::MAX)
        });
        (bytes, files)
    }

    /// Says what has fallen below the reserve, or how long it can stay above.
    fn judge(&self, reserve: Reserve) -> Result<Duration, Low> {
        let (bytes, files) = self.kept(reserve);
        if self.bytes.free < bytes {
            return Err(Low { what: What::Bytes, free: self.bytes.free, kept: bytes });
        }
        let time = |room: u64, a_second: u64| Duration::from_millis(room.saturating_mul(1000) / a_second);
        let mut least = time(self.bytes.free - bytes, BYTES_A_SECOND);
        if let Some(room) = self.files {
            if room.free < files {
                return Err(Low { what: What::Files, free: room.free, kept: files });
            }
            least = least.min(time(room.free - files, FILES_A_SECOND));
        }
        Ok(least.clamp(SHORTEST, LONGEST))
    }
}

/// Refuses to begin what will need `need` bytes at `place`, an existing directory, where they are not there beside the reserve.
///
/// # Errors
/// `Room`. A file system that cannot be asked is not known to be full.
pub fn check_room(place: &Path, need: u64, reserve: Reserve) -> Result<(), SolveError> {
    let Ok(disk) = Disk::look(place) else { return Ok(()) };
    let (kept, _) = disk.kept(reserve);
    if need == 0 || disk.bytes.free >= need.saturating_add(kept) {
        return Ok(());
    }
    let (place, free) = (place.to_owned(), round(disk.bytes.free));
    Err(SolveError::Room { place, free, need: round(need), kept: round(kept) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Bytes,
    Files,
}

/// What fell below what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Low {
    what: What,
    free: u64,
    kept: u64,
}

impl fmt::Display for Low {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, free, kept } = *self;
        match what {
            What::Bytes => write!(f, "{} free, less than the {} that stay free there", round(free), round(kept)),
            What::Files => write!(f, "{free} inodes free, less than the {kept} that stay free there"),
        }
    }
}

/// Bytes in the largest unit of which there are ten.
fn round(bytes: u64) -> String {
    let bits = [30, 20, 10].into_iter().find(|bits| bytes >> bits >= 10).unwrap_or(0);
    size(bytes >> bits << bits)
}

/// Ends what runs when the disk runs full.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    place: &'a Path,
    reserve: Reserve,
    cancel: &'a Cancel,
    state: Mutex<Making>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Making {
    /// What is being made, and how many times that name.
    names: BTreeMap<String, usize>,
    over: bool,
    /// What has fallen, and what was made then.
    low: Option<(Low, Vec<String>)>,
}

impl<'a> Watch<'a> {
    /// Watches the file system of `place`.
    pub(super) fn new(place: &'a Path, reserve: Reserve, cancel: &'a Cancel) -> Self {
        Self { place, reserve, cancel, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Watches while `act` runs; where the reserve was touched that is its error, whatever else came of it.
    pub(super) fn during<T>(&self, act: impl FnOnce() -> Result<T, SolveError>) -> Result<T, SolveError> {
        if self.reserve == Reserve::Bytes(0) {
            return act();
        }
        let done = thread::scope(|scope| {
            scope.spawn(|| self.watch());
            // Also where `act` panics: the scope waits for the watcher.
            let _over = Over(self);
            act()
        });
        match self.lock().low.take() {
            Some((low, running)) => Err(SolveError::Low { place: self.place.to_owned(), low, running }),
            None => done,
        }
    }

    /// Notes that something is made as long as the answer lives.
    pub(super) fn making(&self, name: &str) -> Made<'_> {
        let mut state = self.lock();
        *state.names.entry(name.to_owned()).or_default() += 1;
        drop(state);
        self.wake.notify_all();
        Made { watch: self, name: name.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, Making> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        let mut state = self.lock();
        while !state.over {
            if state.names.is_empty() {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            // A file system that cannot be asked is not known to be full.
            match Disk::look(self.place).map_or(Ok(LONGEST), |disk| disk.judge(self.reserve)) {
                Ok(pause) => {
                    let woken = self.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
                    state = woken.0;
                }
                Err(low) => {
                    state.low = Some((low, state.names.keys().cloned().collect()));
                    return self.cancel.cancel();
                }
            }
        }
    }
}

struct Over<'a>(&'a Watch<'a>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().over = true;
        self.0.wake.notify_all();
    }
}

/// Something that is being made.
#[derive(Debug)]
pub(super) struct Made<'a> {
    watch: &'a Watch<'a>,
    name: String,
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        if let Some(count) = state.names.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                state.names.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn disk(free: u64, all: u64, files: Option<(u64, u64)>) -> Disk {
        Disk { bytes: Room { free, all }, files: files.map(|(free, all)| Room { free, all }) }
    }

    #[test]
    fn the_usual_reserve_is_a_gibibyte_and_a_twentieth_of_a_small_disk() {
        assert_eq!(disk(0, 100 * GIB, None).kept(Reserve::Usual), (GIB, 0));
        assert_eq!(disk(0, 2 * GIB, Some((0, 1000))).kept(Reserve::Usual), (2 * GIB / 20, 49));
        assert_eq!(disk(0, 2 * GIB, Some((0, 1000))).kept(Reserve::Bytes(GIB)), (GIB, 500));
        assert_eq!(disk(0, 0, Some((0, 0))).kept(Reserve::Usual), (0, 0));
    }

    #[test]
    fn what_falls_below_the_reserve_is_named_and_near_it_looks_come_often() {
        let judge = |free, files| disk(free, 100 * GIB, files).judge(Reserve::Usual);
        assert_eq!(judge(50 * GIB, None), Ok(LONGEST));
        assert_eq!(judge(GIB, None), Ok(SHORTEST));
        assert_eq!(judge(3 * GIB, None), Ok(Duration::from_millis(500)));
        assert_eq!(judge(3 * GIB, Some((60_000, 1_000_000))), Ok(Duration::from_millis(100)));
        let said = |free, files| judge(free, files).expect_err("too little").to_string();
        assert_eq!(said(GIB - 1, None), "1023m free, less than the 1g that stay free there");
        assert_eq!(
            said(50 * GIB, Some((9_999, 1_000_000))),
            "9999 inodes free, less than the 10000 that stay free there"
        );
    }

    #[test]
    fn a_disk_below_its_reserve_is_an_error_only_where_something_is_made() {
        let (place, cancel) = (tempfile::tempdir().expect("a directory"), Cancel::new().expect("a switch"));
        let watch = Watch::new(place.path(), Reserve::Bytes(u64::MAX), &cancel);
        assert!(watch.during(|| Ok(())).is_ok() && !cancel.is_cancelled());
        let watch = Watch::new(place.path(), Reserve::Bytes(u64::MAX), &cancel);
        let ended = watch.during(|| {
            let _made = watch.making("a step");
            while !cancel.is_cancelled() {
                thread::sleep(Duration::from_millis(1));
            }
            Err::<(), _>(SolveError::Cancelled)
        });
        let error = ended.expect_err("ended");
        assert!(matches!(&error, SolveError::Low { running, .. } if running == &["a step"]), "{error}");
    }
}
