//! A download on its way: what has come of a file, kept between attempts, runs and origins.
//!
//! ```text
//! <store>/downloads/<hex>.part   the bytes so far
//! <store>/downloads/<hex>.from   where they came from: URL and entity tag, one a line (may be missing)
//! ```
//!
//! The name is the digest of the *whole* file, so whatever origin goes on with it, the bytes must fit together; the
//! digest of the whole decides in the end. Bytes are appended as they come, without a buffer of ours: a run that is
//! killed loses nothing that the kernel had taken. The caller holds the store's lock for the digest.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::error::SourceError;
use crate::oci::Digest;
use crate::store::{Store, StoreError, Stored};

/// Copies are made in pieces of this many bytes.
const PIECE: usize = 1 << 18;

#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    path: PathBuf,
    from: PathBuf,
    length: u64,
    /// Whether the first bytes are from an earlier attempt.
    pub(super) resumed: bool,
}

impl Partial {
    /// Opens or creates the partial download of `digest`.
    pub(super) fn open(store: &Store, digest: &Digest) -> Result<Self, SourceError> {
        let room = store.room("downloads")?;
        let path = room.join(format!("{}.part", digest.hex()));
        let from = room.join(format!("{}.from", digest.hex()));
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(&path)
            .map_err(SourceError::io("open", &path))?;
        let length = file.metadata().map_err(SourceError::io("examine", &path))?.len();
        Ok(Self { file, path, from, length, resumed: length > 0 })
    }

    /// Returns the number of bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the strong entity tag under which `url` sent the bytes so far (RFC 9110 section 13.1.5).
    pub(super) fn entity_tag(&self, url: &str) -> Option<String> {
        let text = fs::read_to_string(&self.from).ok()?;
        let (from, tag) = text.split_once('\n')?;
        (from == url).then(|| tag.trim_end().to_owned()).filter(|tag| is_strong(tag))
    }

    /// Remembers that `url` sends the bytes that follow, under `tag`.
    pub(super) fn remember(&self, url: &str, tag: Option<&str>) -> Result<(), SourceError> {
        match tag.filter(|tag| is_strong(tag)) {
            Some(tag) => fs::write(&self.from, format!("{url}\n{tag}\n")).map_err(SourceError::io("write", &self.from)),
            None => remove(&self.from),
        }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        self.file.write_all(bytes).map_err(SourceError::io("write", &self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what has come and starts over.
    pub(super) fn restart(&mut self) -> Result<(), SourceError> {
        remove(&self.from)?;
        self.file.set_len(0).map_err(SourceError::io("empty", &self.path))?;
        self.length = 0;
        self.resumed = false;
        Ok(())
    }

    /// Puts the bytes into the store if they have `digest`; removes the partial download then.
    ///
    /// # Errors
    /// `Store(Mismatch)` when they have another digest: the partial download is then still there.
    pub(super) fn publish(&mut self, store: &Store, digest: &Digest) -> Result<Stored, SourceError> {
        self.file.seek(SeekFrom::Start(0)).map_err(SourceError::io("read", &self.path))?;
        let stored = copy_in(store, &mut self.file, digest, &self.path)?;
        remove(&self.from)?;
        remove(&self.path)?;
        Ok(stored)
    }
}

/// Copies `source` into the store under `digest`.
pub(super) fn copy_in(
    store: &Store,
    source: &mut impl Read,
    digest: &Digest,
    path: &std::path::Path,
) -> Result<Stored, SourceError> {
    let mut blob = store.writer()?;
    let mut piece = vec![0; PIECE];
    loop {
        let count = match source.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::io("read", path)(error)),
        };
        blob.write_all(&piece[..count]).map_err(|source| StoreError::Io {
            action: "write",
            path: store.path(digest),
            source,
        })?;
    }
    Ok(blob.commit_as(digest)?)
}

fn is_strong(tag: &str) -> bool {
    tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') && !tag.contains(['\n', '\r'])
}

fn remove(path: &std::path::Path) -> Result<(), SourceError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SourceError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
