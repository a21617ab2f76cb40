//! What a run has in the making, and what dead runs left.
//!
//! Each open store has its own directory under `tmp/` and a locked file beside it. A run is alive exactly as long as
//! the lock is held, so a later run can tell its leftovers from another's work without guessing by age.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::error::StoreError;
use super::lock::{self, Lock};

/// One run's corner of `tmp/`, removed on drop.
#[derive(Debug)]
pub(super) struct Run {
    directory: PathBuf,
    lock: Option<Lock>,
}

impl Run {
    /// Sweeps dead runs' corners and makes one for this run.
    pub(super) fn begin(tmp: &Path, locks: &Path) -> Result<Self, StoreError> {
        // Between a corner's appearance and the lock on it nobody may sweep.
        let _guard = lock::lock(locks.join(".tmp"))?;
        sweep(tmp)?;
        let directory = tempfile::Builder::new()
            .prefix("run-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(tmp)
            .map_err(StoreError::io("create a directory in", tmp))?
            .keep();
        let lock = lock::try_lock(directory.with_extension("lock"))?;
        Ok(Self { directory, lock })
    }

    /// Makes an empty file, mode 0600.
    pub(super) fn file(&self) -> Result<NamedTempFile, StoreError> {
        NamedTempFile::new_in(&self.directory).map_err(StoreError::io("create a file in", &self.directory))
    }

    /// Makes an empty directory, mode 0755.
    pub(super) fn directory(&self) -> Result<TempDir, StoreError> {
        tempfile::Builder::new()
            .permissions(Permissions::from_mode(0o755))
            .tempdir_in(&self.directory)
            .map_err(StoreError::io("create a directory in", &self.directory))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = remove_tree(&self.directory);
        self.lock.take();
    }
}

/// Removes every corner whose lock is free. What cannot be removed (files of other users' ids) stays for a run that
/// can; that is no reason to fail this one.
fn sweep(tmp: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(tmp).map_err(StoreError::io("list", tmp))? {
        let path = entry.map_err(StoreError::io("list", tmp))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("run-") {
            // Either half names both: a run may die when it has removed its directory, but not yet its lock file, which
            // goes with its lock.
            if let Ok(Some(_lock)) = lock::try_lock(path.with_extension("lock")) {
                let _ = remove_tree(&path.with_extension(""));
            }
        }
    }
    Ok(())
}

/// Removes a file or a whole tree, also directories that their owner may not read (such as overlay's work
/// directories); never follows a symbolic link. Fine where there is nothing.
///
/// # Errors
/// The first thing that cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.is_dir() {
        return fs::remove_file(path);
    }
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            unlock_directories(path);
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives the owner full access to every directory of a tree, as far as possible; what stays closed shows up when it
/// is to be removed.
fn unlock_directories(path: &Path) {
    let mut open = vec![path.to_owned()];
    while let Some(directory) = open.pop() {
        let _ = fs::set_permissions(&directory, Permissions::from_mode(0o700));
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
        }
    }
}
