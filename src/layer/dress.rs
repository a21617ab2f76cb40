//! What unpacked files look like: owners, modes, attributes and times.
//!
//! Everything is done to an open file, never to a name that somebody may have replaced meanwhile, and nothing that is
//! right already is done again.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::LayerError;
use super::place::open_directory;
use super::reader::{Entry, EntryKind};
use super::record::{SECURITY_CAPABILITY, record_capability, record_owner};
use super::unpack::{Unpacker, parts, times};
use super::walk::is_content;

impl Unpacker<'_> {
    /// Gives a file just written what it should have.
    pub(super) fn dress_file(&mut self, entry: &Entry, file: &File) -> Result<(), LayerError> {
        let stat = rustix::fs::fstat(file).map_err(|error| self.failed("examine", &entry.path, error))?;
        self.remember(&stat)?;
        // In this order: a change of owner takes set-user-ID bits and file capabilities away, and attributes of users
        // need a file that may be written to.
        let changed = self.own(entry, file.as_fd(), &stat)?;
        self.attributes(entry, file.as_fd());
        if changed || stat.st_mode & 0o7777 != entry.mode {
            rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))
                .map_err(|error| self.failed("set the mode of", &entry.path, error))?;
        }
        rustix::fs::futimens(file, &times(entry.mtime))
            .map_err(|error| self.failed("set the time of", &entry.path, error))
    }

    /// Gives a link, FIFO or device its owner, mode and time.
    pub(super) fn dress(&mut self, entry: &Entry, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<(), LayerError> {
        // Held without opening it: a FIFO would wait for a writer, a device might act.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(parent, OsStr::from_bytes(leaf), flags, Mode::empty())
            .map_err(|error| self.failed("examine", &entry.path, error))?;
        let stat = rustix::fs::fstat(&node).map_err(|error| self.failed("examine", &entry.path, error))?;
        if entry.kind != EntryKind::HardLink {
            self.remember(&stat)?;
        }
        self.done.attributes_refused += entry.xattrs.iter().filter(|(name, _)| is_content(name)).count() as u64;
        let changed = self.own(entry, node.as_fd(), &stat)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if !is_link && (changed || stat.st_mode & 0o7777 != entry.mode) {
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|error| self.failed("set the mode of", &entry.path, error))?;
        }
        rustix::fs::utimensat(&node, "", &times(entry.mtime), AtFlags::EMPTY_PATH)
            .map_err(|error| self.failed("set the time of", &entry.path, error))
    }

    /// Gives an open file to its owner; tells whether that changed anything.
    pub(super) fn own(&mut self, entry: &Entry, file: BorrowedFd<'_>, stat: &Stat) -> Result<bool, LayerError> {
        let can_record = matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory);
        if (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid) {
            if self.options.single_id && can_record {
                // What was said before, of a directory that was there or a file with several names.
                let _ = record_owner(file, None);
            }
            return Ok(false);
        }
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        match rustix::fs::chownat(file, "", owner.0, owner.1, AtFlags::EMPTY_PATH) {
            // EINVAL: the ID is not mapped in this user namespace (user_namespaces(7)).
            Err(Errno::PERM | Errno::INVAL) if self.options.single_id => {
                self.done.owners_refused += 1;
                if can_record && record_owner(file, Some((entry.uid, entry.gid))).is_ok() {
                    self.done.owners_recorded += 1;
                }
                Ok(false)
            }
            other => other.map(|()| true).map_err(|error| self.failed("set the owner of", &entry.path, error)),
        }
    }

    pub(super) fn attributes(&mut self, entry: &Entry, file: BorrowedFd<'_>) {
        for (name, value) in &entry.xattrs {
            if !is_content(name) {
                self.done.attributes_ignored += 1;
                continue;
            }
            let set = rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty());
            let recorded = || name == SECURITY_CAPABILITY && record_capability(file, value).is_ok();
            if set.is_err() && !recorded() {
                self.done.attributes_refused += 1;
            }
        }
    }

    /// Does what comes after all entries.
    pub(super) fn finish(&mut self) -> Result<(), LayerError> {
        if self.leftovers {
            self.remove_leftovers()?;
        }
        // Backwards, so that a directory is closed after those in it.
        for (path, (mode, mtime)) in std::mem::take(&mut self.directories).iter().rev() {
            let parts = parts(path).expect("checked when it was unpacked");
            let directory = match parts.split_last() {
                None => open_directory(self.place.root(), b"."),
                Some((leaf, above)) => self.place.find(above).and_then(|parent| open_directory(parent.as_fd(), leaf)),
            };
            let directory = match directory {
                Ok(directory) => directory,
                // A later entry replaced or removed it.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                Err(error) => return Err(self.failed("open", path, error)),
            };
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(*mode))
                .and_then(|()| rustix::fs::futimens(&directory, &times(*mtime)))
                .map_err(|error| self.failed("set the mode of", path, error))?;
        }
        Ok(())
    }

    /// Removes what AUFS left; hard links to it are made by now.
    fn remove_leftovers(&mut self) -> Result<(), LayerError> {
        self.place.remove_names(b".wh..wh.").map_err(|error| self.failed("remove", b".wh..wh.plnk", error))
    }
}
