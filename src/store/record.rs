//! Small files that are replaced whole: cache records, metadata.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use super::error::StoreError;
use super::layout::Store;
use super::run::Run;

impl Store {
    /// Writes `<room>/<key>` so that every reader sees the old bytes or the new ones.
    ///
    /// # Errors
    /// `Name` where `room` or `key` cannot be file names, `Io`.
    pub fn put_record(&self, room: &str, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(key)?;
        publish(&self.inner.run, &self.room(room)?.join(key), bytes, Sync::Yes)
    }

    /// As `put_record`, for what can be made again: after a power cut the record may be empty or gone.
    ///
    /// # Errors
    /// As `put_record`.
    pub fn put_hint(&self, room: &str, key: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(key)?;
        publish(&self.inner.run, &self.room(room)?.join(key), bytes, Sync::No)
    }

    /// Reads `<room>/<key>`; `None` where there is no such record.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn get_record(&self, room: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        room.split('/').chain([key]).try_for_each(check_name)?;
        let path = self.root().join(room).join(key);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { action: "read", path, source }),
        }
    }

    /// Removes `<room>/<key>`; fine where there is no such record.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn remove_record(&self, room: &str, key: &str) -> Result<(), StoreError> {
        room.split('/').chain([key]).try_for_each(check_name)?;
        let path = self.root().join(room).join(key);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(StoreError::Io { action: "remove", path, source })
            }
            _ => Ok(()),
        }
    }

    /// Marks `<room>/<key>` as used now, by its modification time. Only collection asks for it, so a failure, such as
    /// on a store that cannot be written to, is none.
    pub fn touch(&self, room: &str, key: &str) {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

        if room.split('/').chain([key]).try_for_each(check_name).is_ok() {
            let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
            let times = Timestamps { last_access: time(UTIME_OMIT), last_modification: time(UTIME_NOW) };
            let path = self.root().join(room).join(key);
            let _ = rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW);
        }
    }

    /// Removes `<room>/<name>`, a file or a tree: out of sight first, by one rename, so that whoever looks sees all of
    /// it or nothing. Fine where there is nothing. Nobody may be using it.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn discard(&self, room: &str, name: &str) -> Result<(), StoreError> {
        room.split('/').chain([name]).try_for_each(check_name)?;
        let path = self.root().join(room).join(name);
        let place = self.temporary_directory()?;
        let target = place.path().join("discarded");
        match fs::rename(&path, &target) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(source) => Err(StoreError::Io { action: "remove", path, source }),
            Ok(()) => super::remove_tree(&target).map_err(StoreError::io("remove", &target)),
        }
    }

    /// Returns the keys of all records in a room, sorted.
    ///
    /// # Errors
    /// `Name`, `Io`.
    pub fn records(&self, room: &str) -> Result<Vec<String>, StoreError> {
        let path = self.room(room)?;
        let mut keys = Vec::new();
        for entry in fs::read_dir(&path).map_err(StoreError::io("list", &path))? {
            let entry = entry.map_err(StoreError::io("list", &path))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file())
                && let Ok(name) = entry.file_name().into_string()
            {
                keys.push(name);
            }
        }
        keys.sort();
        Ok(keys)
    }
}

/// Whether bytes are on the disk before they get their name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    Yes,
    /// A sync takes longer than the step whose result is recorded.
    No,
}

/// Writes a file through the run's own corner of `tmp/`.
pub(super) fn publish(run: &Run, path: &Path, bytes: &[u8], sync: Sync) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;

    let mut file = run.file()?;
    let temporary = file.path().to_owned();
    file.write_all(bytes)
        .and_then(|()| file.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| if sync == Sync::Yes { file.as_file().sync_all() } else { Ok(()) })
        .map_err(StoreError::io("write", &temporary))?;
    file.persist(path).map_err(|error| StoreError::Io {
        action: "publish",
        path: path.to_owned(),
        source: error.error,
    })?;
    Ok(())
}

/// Accepts one plain file name.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:@+=-".contains(&byte);
    if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(plain) {
        return Err(StoreError::Name { name: name.to_owned() });
    }
    Ok(())
}
