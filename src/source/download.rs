//! One file by HTTP, whatever it is (`source/http`): revalidated by its entity tag, or pinned by its digest.
//!
//! A record under `http/` says what an address served last: digest, entity tag, date and name. An unchanged address is
//! answered by one conditional request, a pinned one whose bytes are in the store by none. Only digests of addresses
//! are kept, as those may hold credentials.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_DISPOSITION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Response, StatusCode, Url};
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};

use super::error::SourceError;
use super::filename::{from_disposition, from_url, safe};
use super::http::{Failure, Transfers};
use super::origin::Origins;
use super::reason::{Reason, Tried};
use super::wait::wait_for;
use crate::http::{Pace, http_date, shown};
use crate::oci::Digest;
use crate::ownership::{held, record_owner};
use crate::progress::{Event, Progress};
use crate::store::{Store, StoreError, Stored};

/// The most bytes of a file whose size nobody promised.
const LARGEST: u64 = 1 << 36;

/// Permissions where nobody says which.
const MODE: u32 = 0o600;

/// The records' room.
const ROOM: &str = "http";

/// How a fetched file is to look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileAttributes {
    /// Its name, as given: not to be trusted.
    pub filename: Option<String>,
    /// Its permissions; `None` means 0600.
    pub mode: Option<u32>,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// A file behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSource {
    /// The address.
    pub url: String,
    /// The digest that it must have.
    pub checksum: Option<Digest>,
    /// How it is to look.
    pub file: FileAttributes,
    /// Header fields of the request, by lower-case name.
    pub headers: Vec<(String, String)>,
    /// Name of the secret that is the `Authorization` header.
    pub auth_header_secret: Option<String>,
}

/// A file whose bytes are in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Its bytes.
    pub blob: Stored,
    /// Its name: one plain one.
    pub filename: String,
    /// Its permissions.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

/// Looks secrets up by name.
pub type Secrets<'a> = &'a (dyn Fn(&str) -> Option<Vec<u8>> + Sync);

/// What an address served last.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    digest: Digest,
    etag: Option<String>,
    modified: Option<String>,
    disposition: Option<String>,
}

/// What came of one request.
enum Answer {
    Unchanged,
    New(Stored, Seen),
}

impl FileAttributes {
    /// Makes the file of a blob that came without an address (`source/containerblob`): named by its digest unless an
    /// attribute names it, of 1970.
    pub fn of_blob(&self, blob: Stored) -> Downloaded {
        let filename = self.filename.as_deref().map_or_else(|| blob.digest.hex(), safe);
        self.dress(blob, filename, 0)
    }

    fn dress(&self, blob: Stored, filename: String, mtime: i64) -> Downloaded {
        Downloaded { blob, filename, mode: self.mode.unwrap_or(MODE), uid: self.uid, gid: self.gid, mtime }
    }
}

impl Downloaded {
    /// Writes the file into a directory.
    ///
    /// # Errors
    /// `Store` where its bytes are gone, `Io`.
    pub fn place(&self, store: &Store, into: &Path) -> Result<(), SourceError> {
        let path = into.join(&self.filename);
        let mut from = store.read(&self.blob.digest)?;
        let mut to = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(SourceError::io("create", &path))?;
        io::copy(&mut from, &mut to).map_err(SourceError::io("write", &path))?;
        self.clothe(&to).map_err(SourceError::io("change owner, mode and time of", &path))
    }

    fn clothe(&self, file: &File) -> io::Result<()> {
        if self.uid != 0 || self.gid != 0 {
            match std::os::unix::fs::fchown(file, Some(self.uid), Some(self.gid)) {
                // The id is not mapped in this user namespace (user_namespaces(7)): noted, where that is possible.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    let _ = record_owner(held(file.as_fd()), FileType::RegularFile, Some((self.uid, self.gid)));
                }
                other => other?,
            }
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        let seconds = Duration::from_secs(self.mtime.unsigned_abs());
        let time = if self.mtime < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(seconds)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(seconds)
        };
        let time = time.unwrap_or(SystemTime::UNIX_EPOCH);
        file.set_times(std::fs::FileTimes::new().set_accessed(time).set_modified(time))
    }
}

/// Brings a file into the store and says how it is to look.
///
/// # Errors
/// `Digest` naming both where it is another than the checksum, `Secret`, `Unavailable`, `Offline`, `Stopped`, `Store`.
pub fn download(
    source: &HttpSource,
    store: &Store,
    origins: &Origins,
    secrets: Secrets<'_>,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Downloaded, SourceError> {
    let url = Url::parse(&source.url).map_err(|_| unavailable(source, Reason::Address))?;
    let key = source.key();
    let seen: Option<Seen> = store.get_record(ROOM, &key)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let seen = seen.filter(|seen| store.contains(&seen.digest).is_some());
    let file = |blob: Stored, seen: Option<&Seen>| {
        let named = source.file.filename.as_deref().map(safe);
        let disposition = seen.and_then(|seen| seen.disposition.as_deref()).and_then(from_disposition);
        let mtime = seen.and_then(|seen| http_date(seen.modified.as_deref()?)).unwrap_or(0);
        source.file.dress(blob, named.or(disposition).unwrap_or_else(|| from_url(&url)), mtime)
    };
    if let Some(digest) = source.checksum
        && let Some(size) = store.contains(&digest)
    {
        return Ok(file(Stored { digest, size }, seen.as_ref().filter(|seen| seen.digest == digest)));
    }
    // A pinned file that is not here has changed since it was seen.
    let seen = seen.filter(|_| source.checksum.is_none());
    let known = |seen: &Seen| Stored { digest: seen.digest, size: store.contains(&seen.digest).unwrap_or_default() };
    if origins.offline {
        let Some(seen) = &seen else { return Err(source.offline(&url)) };
        progress.event(&Event::Note { message: &format!("{}: taken as it was last seen (--offline)", shown(&url)) });
        return Ok(file(known(seen), Some(seen)));
    }
    let _lock = wait_for(store, &format!("http-{key}"), &shown(&url), origins, progress)?;
    let request = Request { source, url: &url, headers: source.request_headers(&url, seen.as_ref(), secrets)? };
    match request.patiently(store, origins, seen.as_ref(), (progress, vertex))? {
        Answer::Unchanged => {
            let seen = seen.as_ref().expect("nothing is unchanged that was not seen");
            Ok(file(known(seen), Some(seen)))
        }
        Answer::New(stored, seen) => {
            let record = serde_json::to_vec(&seen).expect("strings are JSON");
            store.put_record(ROOM, &key, &record)?;
            Ok(file(stored, Some(&seen)))
        }
    }
}

impl HttpSource {
    /// Names what decides over the answer: the address and who asks.
    fn key(&self) -> String {
        let parts = (&self.url, &self.headers, &self.auth_header_secret);
        Digest::of(&serde_json::to_vec(&parts).expect("strings are JSON")).hex()
    }

    fn offline(&self, url: &Url) -> SourceError {
        match self.checksum {
            Some(digest) => SourceError::Offline { file: from_url(url), digest, origins: vec![shown(url)] },
            None => SourceError::OfflineSource { what: shown(url) },
        }
    }

    fn request_headers(&self, url: &Url, seen: Option<&Seen>, secrets: Secrets<'_>) -> Result<HeaderMap, SourceError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        let mut value = |name: HeaderName, text: Option<&String>| {
            let value = text.and_then(|text| HeaderValue::try_from(text).ok());
            value.is_some_and(|value| headers.insert(name, value).is_none())
        };
        if let Some(seen) = seen
            && !value(IF_NONE_MATCH, seen.etag.as_ref())
        {
            value(IF_MODIFIED_SINCE, seen.modified.as_ref());
        }
        if let Some(mut value) = self.authorization(url, secrets)? {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }

    /// The secret that the source names, which must be there, or those that everybody may have for a host.
    fn authorization(&self, url: &Url, secrets: Secrets<'_>) -> Result<Option<HeaderValue>, SourceError> {
        let header = |name: &str, before: &str, secret: Vec<u8>| {
            let text = [before.as_bytes(), secret.trim_ascii()].concat();
            HeaderValue::from_bytes(&text).map_err(|_| SourceError::Secret { name: name.to_owned(), what: shown(url) })
        };
        if let Some(name) = &self.auth_header_secret {
            let missing = || SourceError::Secret { name: name.clone(), what: shown(url) };
            return header(name, "", secrets(name).ok_or_else(missing)?).map(Some);
        }
        let host = url.host_str().unwrap_or_default();
        for (name, before) in [(format!("HTTP_AUTH_TOKEN_{host}"), "Bearer "), (format!("HTTP_AUTH_HEADER_{host}"), "")]
        {
            if let Some(secret) = secrets(&name) {
                return header(&name, before, secret).map(Some);
            }
        }
        Ok(None)
    }
}

struct Request<'a> {
    source: &'a HttpSource,
    url: &'a Url,
    headers: HeaderMap,
}

impl Request<'_> {
    fn patiently(
        &self,
        store: &Store,
        origins: &Origins,
        seen: Option<&Seen>,
        (progress, vertex): (&dyn Progress, Digest),
    ) -> Result<Answer, SourceError> {
        let http = Transfers::for_origins(origins)?;
        let patience = &origins.patience;
        let mut pauses = patience.pauses();
        let name = shown(self.url);
        for attempts in 1.. {
            let mut pace = Pace::default();
            let mut moved = |current, total| {
                if pace.is_due(current, total) {
                    progress.event(&Event::Status { vertex, id: &name, current, total });
                }
            };
            let (reason, after) = match http.block_on(self.attempt(&http, store, origins, seen, &mut moved)) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Never(reason)) => return Err(unavailable(self.source, reason)),
                Err(Failure::Again { reason, after }) => (reason, after),
            };
            let Some(pause) = pauses.next() else {
                return Err(unavailable(self.source, super::fetch::counted(reason, attempts)));
            };
            let pause = pause.max(after.unwrap_or_default()).min(patience.longest);
            let message = format!("{name}: {reason}; trying again in {:.1} s", pause.as_secs_f32());
            progress.event(&Event::Note { message: &message });
            http.pause(pause, &name, origins)?;
        }
        unreachable!("attempts are counted without end")
    }

    async fn attempt(
        &self,
        http: &Transfers,
        store: &Store,
        origins: &Origins,
        seen: Option<&Seen>,
        moved: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Answer, Failure> {
        let name = shown(self.url);
        let request = http.client().get(self.url.clone()).headers(self.headers.clone());
        let mut response = http.answer(request, &name, origins).await?;
        match response.status() {
            StatusCode::NOT_MODIFIED if seen.is_some() => return Ok(Answer::Unchanged),
            status if status.is_success() && status != StatusCode::PARTIAL_CONTENT => {}
            _ => return Err(super::http::refused(&response)),
        }
        let text = |name: HeaderName| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (etag, modified, disposition) = (text(ETAG), text(LAST_MODIFIED), text(CONTENT_DISPOSITION));
        // Some servers name the same entity and send it all the same.
        let same = seen.is_some_and(|seen| seen.etag.is_some() && seen.etag == etag && !is_weak(etag.as_deref()));
        if same {
            return Ok(Answer::Unchanged);
        }
        let stored = self.receive(http, store, origins, &mut response, moved).await?;
        Ok(Answer::New(stored, Seen { digest: stored.digest, etag, modified, disposition }))
    }

    async fn receive(
        &self,
        http: &Transfers,
        store: &Store,
        origins: &Origins,
        response: &mut Response,
        moved: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<Stored, Failure> {
        let name = shown(self.url);
        let total = response.content_length();
        let mut writer = store.writer().map_err(SourceError::from)?;
        loop {
            let bytes = match http.chunk(response, &name, origins).await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(error) => return Err(error),
            };
            let actual = writer.size() + bytes.as_ref().len() as u64;
            if actual > LARGEST {
                let (file, origin) = (from_url(self.url), name);
                return Err(SourceError::Size { file, origin, expected: LARGEST, actual, more: true }.into());
            }
            writer.write_all(bytes.as_ref()).map_err(SourceError::io("write", store.root()))?;
            moved(actual, total);
        }
        // Without a length in the head an early end cannot be told from the end; only a checksum can.
        if let Some(expected) = total.filter(|total| *total != writer.size()) {
            let reason = Reason::Cut { received: writer.size(), expected, attempts: 1 };
            return Err(Failure::Again { reason, after: None });
        }
        let committed = match &self.source.checksum {
            Some(digest) => writer.commit_as(digest),
            None => writer.commit(),
        };
        committed.map_err(|error| match error {
            StoreError::Mismatch { expected, actual, size } => {
                SourceError::Digest { file: from_url(self.url), origin: name, expected, actual, size }.into()
            }
            other => SourceError::from(other).into(),
        })
    }
}

fn is_weak(tag: Option<&str>) -> bool {
    tag.is_some_and(|tag| tag.starts_with("W/"))
}

fn unavailable(source: &HttpSource, reason: Reason) -> SourceError {
    let origin = crate::http::without_credentials(&source.url);
    SourceError::Download { tried: Tried { origin, reason } }
}
