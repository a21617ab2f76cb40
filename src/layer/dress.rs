//! What unpacked files look like: owners, modes, attributes and times.
//!
//! Everything is done to an open file, never to a name that somebody may have replaced meanwhile, and nothing that is
//! right already is done again.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::LayerError;
use super::reader::Entry;
use super::unpack::{UnpackOptions, Unpacked, times};
use super::walk::{is_content, path_from};
use crate::ownership::{SECURITY_CAPABILITY, held, record_capability, record_owner};

/// Gives unpacked files what they should have, and counts what the machine did not allow.
#[derive(Debug, Clone)]
pub(super) struct Dresser<'a> {
    root: &'a Path,
    options: &'a UnpackOptions,
    pub(super) done: Unpacked,
}

impl<'a> Dresser<'a> {
    pub(super) fn new(root: &'a Path, options: &'a UnpackOptions) -> Self {
        Self { root, options, done: Unpacked::default() }
    }

    /// Gives a file just written what it should have.
    pub(super) fn file(&mut self, entry: &Entry, file: &File) -> Result<(), LayerError> {
        let stat = rustix::fs::fstat(file).map_err(|error| self.failed("examine", &entry.path, error))?;
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
    pub(super) fn node(&mut self, entry: &Entry, node: BorrowedFd<'_>, stat: &Stat) -> Result<(), LayerError> {
        self.done.attributes_refused += entry.xattrs.iter().filter(|(name, _)| is_content(name)).count() as u64;
        let changed = self.own(entry, node, stat)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if !is_link && (changed || stat.st_mode & 0o7777 != entry.mode) {
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(entry.mode), AtFlags::empty())
                .map_err(|error| self.failed("set the mode of", &entry.path, error))?;
        }
        rustix::fs::utimensat(node, "", &times(entry.mtime), AtFlags::EMPTY_PATH)
            .map_err(|error| self.failed("set the time of", &entry.path, error))
    }

    /// Gives an open file to its owner; tells whether that changed anything.
    pub(super) fn own(&mut self, entry: &Entry, file: BorrowedFd<'_>, stat: &Stat) -> Result<bool, LayerError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if (stat.st_uid, stat.st_gid) == (entry.uid, entry.gid) {
            if self.options.single_id {
                // What was said before, of a directory that was there or a file with several names.
                let _ = record_owner(held(file), kind, None);
            }
            return Ok(false);
        }
        let owner = (Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)));
        match rustix::fs::chownat(file, "", owner.0, owner.1, AtFlags::EMPTY_PATH) {
            // EINVAL: the ID is not mapped in this user namespace (user_namespaces(7)).
            Err(Errno::PERM | Errno::INVAL) if self.options.single_id => {
                self.done.owners_refused += 1;
                if record_owner(held(file), kind, Some((entry.uid, entry.gid))).is_ok() {
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
            let recorded = || name == SECURITY_CAPABILITY && record_capability(held(file), value).is_ok();
            if set.is_err() && !recorded() {
                self.done.attributes_refused += 1;
            }
        }
    }

    pub(super) fn failed(&self, action: &'static str, path: &[u8], source: impl Into<io::Error>) -> LayerError {
        // Joined as text: an absolute name must not hide the root.
        let relative = path_from(path.strip_prefix(b"/").unwrap_or(path));
        LayerError::Io { action, path: self.root.join(relative), source: source.into() }
    }
}

impl Unpacked {
    /// Adds what another thread counted.
    pub(super) fn add(&mut self, part: &Self) {
        self.owners_refused += part.owners_refused;
        self.owners_recorded += part.owners_recorded;
        self.attributes_refused += part.attributes_refused;
        self.attributes_ignored += part.attributes_ignored;
    }
}
