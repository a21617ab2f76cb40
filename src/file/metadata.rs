//! Owners, modes, times and extended attributes of what is made.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::{FileError, shown};
use super::owner::Owner;
use super::tree::{Tree, is_directory, kind};
use crate::layer::is_content;
use crate::ownership::{held, is_owner_record, is_record, owner, record_owner};

/// What the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// There is only one user and one group here: what cannot be given to another owner stays ours.
    pub single_id: bool,
}

impl FileOptions {
    /// Gives an open file, called `path`, to `owner`; where there is no such owner that is noted.
    pub(super) fn give_file(self, file: BorrowedFd<'_>, path: &Path, owner: Owner) -> Result<(), FileError> {
        let (uid, gid) = owner.ids();
        let given = rustix::fs::chownat(file, c"", uid, gid, AtFlags::EMPTY_PATH);
        let meant = match given {
            // EINVAL: the ID is not mapped in this user namespace (user_namespaces(7)).
            Err(Errno::PERM | Errno::INVAL) if self.single_id => Some((owner.uid, owner.gid)),
            Ok(()) => None,
            Err(errno) => return Err(FileError::io("set the owner of", path)(errno)),
        };
        if self.single_id {
            let stat = rustix::fs::fstat(file).map_err(FileError::io("examine", path))?;
            // Where the file system keeps no records, the file is ours.
            let _ = record_owner(held(file), kind(&stat), meant);
        }
        Ok(())
    }

    /// Gives a resolved path to `owner`; a link itself, not where it leads.
    pub(super) fn give(self, tree: &Tree, path: &Path, owner: Owner) -> Result<(), FileError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = tree
            .spot(path)
            .and_then(|(parent, name)| rustix::fs::openat(parent, name, flags, Mode::empty()))
            .map_err(FileError::io("open", path))?;
        self.give_file(file.as_fd(), path, owner)
    }
}

impl Owner {
    pub(super) fn ids(self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    /// Whose a resolved path is, which was examined: as it is recorded, or else as it is on disk.
    pub(super) fn of(tree: &Tree, path: &Path, stat: &Stat) -> Self {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = tree.spot(path).and_then(|(parent, name)| rustix::fs::openat(parent, name, flags, Mode::empty()));
        let recorded = open.ok().and_then(|file| owner(held(file.as_fd()), kind(stat)));
        let (uid, gid) = recorded.unwrap_or((stat.st_uid, stat.st_gid));
        Self { uid, gid }
    }
}

/// Time of an action in nanoseconds; `None` where it leaves times alone (`ops.proto` `timestamp`, -1).
pub(super) fn timestamp(nanoseconds: i64) -> Option<Timestamps> {
    let time =
        Timespec { tv_sec: nanoseconds.div_euclid(1_000_000_000), tv_nsec: nanoseconds.rem_euclid(1_000_000_000) };
    (nanoseconds != -1).then_some(Timestamps { last_access: time, last_modification: time })
}

#[expect(clippy::allow_attributes, reason = "whether the casts are needed depends on the processor")]
pub(super) fn times_of(stat: &Stat) -> Timestamps {
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_wrap, reason = "nanoseconds are less than a second")]
    let time = |seconds: i64, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Sets the times of a resolved path itself.
pub(super) fn set_times(tree: &Tree, path: &Path, times: &Timestamps) -> Result<(), FileError> {
    tree.spot(path)
        .and_then(|(parent, name)| rustix::fs::utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW))
        .map_err(FileError::io("set the time of", path))
}

/// Sets the mode of a resolved path, which must be no link.
pub(super) fn set_mode(tree: &Tree, path: &Path, mode: u32) -> Result<(), FileError> {
    tree.spot(path)
        .and_then(|(parent, name)| rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty()))
        .map_err(FileError::io("set the mode of", path))
}

/// How directories are made that nobody asked for by name.
#[derive(Debug, Clone)]
pub(super) struct Making {
    pub(super) mode: u32,
    pub(super) owner: Option<Owner>,
    pub(super) times: Option<Timestamps>,
    pub(super) options: FileOptions,
}

impl Making {
    /// Makes a resolved path and what is missing above it; returns what was made, outermost first.
    pub(super) fn make_all(&self, tree: &Tree, path: &Path) -> Result<Vec<PathBuf>, FileError> {
        let mut made = Vec::new();
        let mut missing = Vec::new();
        for place in path.ancestors() {
            match tree.examine(place)? {
                None => missing.push(place),
                Some(stat) if is_directory(&stat) => break,
                Some(_) => return Err(FileError::io("create", place)(Errno::NOTDIR)),
            }
        }
        for place in missing.into_iter().rev() {
            make_directory(tree, place).map_err(FileError::io("create", place))?;
            self.finish(tree, place)?;
            made.push(place.to_owned());
        }
        Ok(made)
    }

    /// Gives a directory just made what it should have.
    pub(super) fn finish(&self, tree: &Tree, path: &Path) -> Result<(), FileError> {
        if let Some(owner) = self.owner {
            self.options.give(tree, path, owner)?;
        }
        // Not as the process's umask would have it.
        set_mode(tree, path, self.mode)?;
        self.times.as_ref().map_or(Ok(()), |times| set_times(tree, path, times))
    }
}

/// Makes one directory, closed to others until it is given what it should have.
pub(super) fn make_directory(tree: &Tree, path: &Path) -> Result<(), Errno> {
    let (parent, name) = tree.spot(path)?;
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700))
}

/// Copies the extended attributes that a layer can carry, and what is recorded of the file but for its owner. What the
/// file system does not take is left out.
pub(super) fn copy_attributes(from: &impl AsFd, to: &impl AsFd) {
    for (name, value) in attributes(from) {
        let _ = rustix::fs::fsetxattr(to, OsStr::from_bytes(&name), &value, XattrFlags::empty());
    }
}

/// Extended attributes of an open file that belong to its content, and what is recorded of it but for its owner, sorted by
/// name; none where there are none.
pub(super) fn attributes(file: &impl AsFd) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; 64 << 10];
    let length = rustix::fs::flistxattr(file, &mut list[..]).unwrap_or(0);
    let mut found: Vec<_> = list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| is_content(name) || is_record(name) && !is_owner_record(name))
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::fgetxattr(file, OsStr::from_bytes(name), &mut value[..]).ok()?;
            value.truncate(length);
            Some((name.to_vec(), value))
        })
        .collect();
    found.sort();
    found
}

/// Creates a file that was not there.
pub(super) fn create(tree: &Tree, path: &Path) -> Result<std::fs::File, FileError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match tree.spot(path).and_then(|(parent, name)| rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)))
    {
        Ok(file) => Ok(file.into()),
        Err(Errno::NOENT) => Err(FileError::NotFound { path: shown(path.parent().unwrap_or(path)) }),
        Err(errno) => Err(FileError::io("create", path)(errno)),
    }
}
