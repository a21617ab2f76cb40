//! Named locks between processes, and between the threads of one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::layout::Store;
use super::record::check_name;
use crate::oci::Digest;

/// A held lock; freed on drop, and by the kernel when the process dies.
#[derive(Debug)]
#[must_use = "the lock is freed when this is dropped"]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

impl Store {
    /// Waits for the lock `name` and takes it. Any name will do.
    ///
    /// Not re-entrant: a thread that already has it waits for ever.
    ///
    /// # Errors
    /// `Io`.
    pub fn lock(&self, name: &str) -> Result<Lock, StoreError> {
        lock(self.root().join("locks").join(file_name(name)))
    }

    /// Takes the lock `name` if it is free, else returns `None` at once.
    ///
    /// # Errors
    /// `Io`.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>, StoreError> {
        let path = self.root().join("locks").join(file_name(name));
        try_lock(path)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked here: whoever waits on this file finds its name gone and starts over.
        let _ = fs::remove_file(&self.path);
    }
}

/// Waits for the lock on file `path`.
pub(super) fn lock(path: PathBuf) -> Result<Lock, StoreError> {
    loop {
        let file = open(&path).map_err(StoreError::io("open", &path))?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        if is_named(&file, &path).map_err(StoreError::io("lock", &path))? {
            return Ok(Lock { _file: file, path });
        }
    }
}

/// Takes the lock on file `path` if nobody has it.
pub(super) fn try_lock(path: PathBuf) -> Result<Option<Lock>, StoreError> {
    loop {
        let file = open(&path).map_err(StoreError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(source)) => return Err(StoreError::Io { action: "lock", path, source }),
        }
        if is_named(&file, &path).map_err(StoreError::io("lock", &path))? {
            return Ok(Some(Lock { _file: file, path }));
        }
    }
}

/// Opens a lock file, creating it empty.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// Tells whether `path` still names the file that was just locked; its former owner may have removed it.
fn is_named(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Returns `name` where it can be a file name, else its digest.
fn file_name(name: &str) -> String {
    if check_name(name).is_ok() { name.to_owned() } else { format!("sha256:{}", Digest::of(name.as_bytes()).hex()) }
}
