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

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, Timestamps, XattrFlags};
use rustix::io::{Errno, Result};

/// Mode of directories that no entry describes.
const IMPLIED: Mode = Mode::from_raw_mode(0o755);

/// Attribute by which overlayfs knows in a user namespace that a directory hides the one below (`overlayfs.rst`).
const OPAQUE: &str = "user.overlay.opaque";

/// A directory that is all the world there is.
#[derive(Debug)]
pub(super) struct Place {
    root: Rc<OwnedFd>,
    /// Whiteouts are marks of overlayfs, and a directory made in place of one hides what is below.
    overlay: bool,
    /// The parent used last, by its name in the archive; dropped whenever something is removed.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What this archive brought, for whiteouts: those hide lower layers only. Nothing where there are none.
    ours: Option<Ours>,
}

/// What whiteouts leave alone.
#[derive(Debug, Default)]
struct Ours {
    /// Device and inode numbers.
    inodes: BTreeSet<(u64, u64)>,
    /// New names of files of lower layers: directory and name.
    links: BTreeSet<(u64, u64, Vec<u8>)>,
}

impl Place {
    pub(super) fn open(root: &Path, overlay: bool) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Rc::new(rustix::fs::openat(CWD, root, flags, Mode::empty())?);
        let is_empty = names(root.as_fd())?.is_empty();
        Ok(Self { root, overlay, last: None, ours: (!is_empty).then(Ours::default) })
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
        let (leaf, above) = match self.find(parts) {
            Err(Errno::NOENT) => parts.split_last().expect("the root exists"),
            Err(Errno::NOTDIR) if self.overlay => parts.split_last().expect("the root is a directory"),
            other => return other,
        };
        let parent = self.find_or_make(above)?;
        let hides = self.overlay && examine(parent.as_fd(), leaf)?.as_ref().is_some_and(is_mark);
        if hides {
            self.remove(parent.as_fd(), leaf)?;
        }
        match rustix::fs::mkdirat(&*parent, OsStr::from_bytes(leaf), IMPLIED) {
            Err(Errno::EXIST) => {
                let there = examine(parent.as_fd(), leaf)?;
                let is_link = there.is_some_and(|it| FileType::from_raw_mode(it.st_mode) == FileType::Symlink);
                // A link that leads nowhere: its target is not ours to make.
                return Err(if is_link { Errno::NOENT } else { Errno::NOTDIR });
            }
            other => other?,
        }
        // Not as the process's umask would have it.
        let made = open_directory(parent.as_fd(), leaf)?;
        rustix::fs::fchmod(&made, IMPLIED)?;
        if hides {
            mark_opaque(made.as_fd())?;
        }
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

    /// Tells whether it matters what this archive brought.
    pub(super) fn remembers(&self) -> bool {
        self.ours.is_some()
    }

    /// Notes that this archive brought a file; tells whether it had to.
    pub(super) fn remember(&mut self, stat: &Stat) -> bool {
        self.ours.as_mut().is_some_and(|ours| ours.inodes.insert((stat.st_dev, stat.st_ino)))
    }

    /// Notes that this archive gave a file one more name.
    pub(super) fn remember_link(&mut self, parent: BorrowedFd<'_>, leaf: &[u8], target: &Stat) -> Result<()> {
        if let Some(ours) = &mut self.ours
            && !ours.inodes.contains(&(target.st_dev, target.st_ino))
        {
            let parent = rustix::fs::fstat(parent)?;
            ours.links.insert((parent.st_dev, parent.st_ino, leaf.to_vec()));
        }
        Ok(())
    }

    /// Removes a file or a whole tree; fine where there is nothing.
    pub(super) fn remove(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<()> {
        self.last = None;
        remove(parent, leaf, &Ours::default()).map(|_| ())
    }

    /// Removes everything in the root whose name begins with `start`.
    pub(super) fn remove_names(&mut self, start: &[u8]) -> Result<()> {
        for name in names(self.root())?.into_iter().filter(|name| name.starts_with(start)) {
            let root = Rc::clone(&self.root);
            self.remove(root.as_fd(), &name)?;
        }
        Ok(())
    }

    /// Removes what lower layers have under a name, and leaves what this archive brought.
    pub(super) fn hide(&mut self, parent: BorrowedFd<'_>, leaf: &[u8]) -> Result<()> {
        self.last = None;
        let Some(ours) = &self.ours else { return Ok(()) };
        remove(parent, leaf, ours).map(|_| ())
    }

    /// Removes what lower layers have in a directory, and leaves what this archive brought.
    pub(super) fn hide_content(&mut self, directory: BorrowedFd<'_>) -> Result<()> {
        self.last = None;
        let Some(ours) = &self.ours else { return Ok(()) };
        for name in names(directory)? {
            remove(directory, &name, ours)?;
        }
        Ok(())
    }
}

/// Leaves the mark by which overlayfs hides a name of lower layers; where this archive brought one itself, that does.
pub(super) fn mark(parent: BorrowedFd<'_>, leaf: &[u8], times: &Timestamps) -> Result<()> {
    let name = OsStr::from_bytes(leaf);
    match examine(parent, leaf)? {
        Some(there) if is_directory(&there) => mark_opaque(open_directory(parent, leaf)?.as_fd()),
        Some(_) => Ok(()),
        None => rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
            .and_then(|()| rustix::fs::utimensat(parent, name, times, AtFlags::SYMLINK_NOFOLLOW)),
    }
}

/// Tells whether it is the mark by which overlayfs hides a name.
pub(super) fn is_mark(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Makes an open directory hide what lower layers have in it.
pub(super) fn mark_opaque(directory: BorrowedFd<'_>) -> Result<()> {
    rustix::fs::fsetxattr(directory, OPAQUE, b"y", XattrFlags::empty())
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
fn remove(parent: BorrowedFd<'_>, leaf: &[u8], kept: &Ours) -> Result<bool> {
    let Some(stat) = examine(parent, leaf)? else { return Ok(true) };
    let mut keep = kept.inodes.contains(&(stat.st_dev, stat.st_ino));
    if !keep && !kept.links.is_empty() {
        let parent = rustix::fs::fstat(parent)?;
        keep = kept.links.contains(&(parent.st_dev, parent.st_ino, leaf.to_vec()));
    }
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
