//! Acting inside a root: nothing here can reach outside it.
//!
//! The kernel resolves a parent directory below the root (`openat2(2)` `RESOLVE_IN_ROOT`: absolute links and `..`
//! start at the root again), and every act names one plain file in that directory and never follows it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::{Errno, Result};

/// Mode of directories that no entry describes.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);

/// A directory that is all the world there is.
#[derive(Debug)]
pub(super) struct Place {
    root: Rc<OwnedFd>,
    /// The parent used last, by its name in the archive; dropped whenever something is removed.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// Device and inode numbers of what this archive brought, for whiteouts: those hide lower layers only.
    ours: BTreeSet<(u64, u64)>,
}

impl Place {
    pub(super) fn open(root: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Rc::new(rustix::fs::openat(CWD, root, flags, Mode::empty())?);
        Ok(Self { root, last: None, ours: BTreeSet::new() })
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens the directory that `parts` lead to, following links below the root; `NOENT` where there is none.
    pub(super) fn find(&mut self, parts: &[&[u8]]) -> Result<Rc<OwnedFd>> {
        if parts.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        let path = parts.join(&b'/');
        if let Some((name, directory)) = &self.last
            && *name == path
        {
            return Ok(Rc::clone(directory));
        }
        let directory = Rc::new(self.resolve(&path)?);
        self.last = Some((path, Rc::clone(&directory)));
        Ok(directory)
    }

    /// As `find`, and makes directories that are missing.
    pub(super) fn find_or_make(&mut self, parts: &[&[u8]]) -> Result<Rc<OwnedFd>> {
        match self.find(parts) {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        let (leaf, above) = parts.split_last().expect("the root exists");
        let parent = self.find_or_make(above)?;
        match rustix::fs::mkdirat(&*parent, OsStr::from_bytes(leaf), IMPLIED) {
            // A link that leads nowhere: its target is not ours to make.
            Err(Errno::EXIST) => return Err(Errno::NOENT),
            other => other?,
        }
        // Not as the process's umask would have it.
        let made = open_directory(parent.as_fd(), leaf)?;
        rustix::fs::fchmod(&made, IMPLIED)?;
        self.remember(&rustix::fs::fstat(&made)?);
        self.find(parts)
    }

    fn resolve(&self, path: &[u8]) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&*self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
                // A rename or mount elsewhere on the machine came between: openat2(2) asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Notes that this archive brought a file.
    pub(super) fn remember(&mut self, stat: &Stat) {
        self.ours.insert((stat.st_dev, stat.st_ino));
    }

    /// Removes a file or a whole tree; fine where there is nothing.
    pub(super) fn remove(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<()> {
        self.last = None;
        remove(parent, leaf, &BTreeSet::new()).map(|_| ())
    }

    /// Removes what lower layers have under a name, and leaves what this archive brought.
    pub(super) fn hide(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<()> {
        self.last = None;
        remove(parent, leaf, &self.ours).map(|_| ())
    }

    /// Removes what lower layers have in a directory, and leaves what this archive brought.
    pub(super) fn hide_content(&mut self, directory: BorrowedFd<'_>) -> Result<()> {
        self.last = None;
        for name in names(directory)? {
            remove(directory, &name, &self.ours)?;
        }
        Ok(())
    }
}

/// Examines a name without following it; `None` where there is nothing.
pub(super) fn examine(parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<Option<Stat>> {
    match rustix::fs::statat(parent, OsStr::from_bytes(leaf), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Opens a directory itself, not one that a link leads to.
pub(super) fn open_directory(parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, OsStr::from_bytes(leaf), flags, Mode::empty())
}

fn names(directory: BorrowedFd<'_>) -> Result<Vec<Vec<u8>>> {
    // Opened anew: a path-only descriptor cannot be read, and each reader needs its own position.
    let directory = open_directory(directory, b".")?;
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a name and all below it except what is in `kept`; tells whether it is gone.
fn remove(parent: BorrowedFd<'_>, leaf: &[u8], kept: &BTreeSet<(u64, u64)>) -> Result<bool> {
    let Some(stat) = examine(parent, leaf)? else { return Ok(true) };
    let keep = kept.contains(&(stat.st_dev, stat.st_ino));
    if !is_directory(&stat) {
        if !keep {
            rustix::fs::unlinkat(parent, OsStr::from_bytes(leaf), AtFlags::empty())?;
        }
        return Ok(!keep);
    }
    let directory = open_directory(parent, leaf)?;
    let mut empty = true;
    for name in names(directory.as_fd())? {
        empty &= remove(directory.as_fd(), &name, kept)?;
    }
    if !keep && empty {
        rustix::fs::unlinkat(parent, OsStr::from_bytes(leaf), AtFlags::REMOVEDIR)?;
    }
    Ok(!keep && empty)
}
