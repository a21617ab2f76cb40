//! A directory that is all the world there is.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::error::{FileError, shown};

/// As many links as BuildKit follows (continuity `fs/path.go`).
const LINKS: usize = 255;

/// Deeper than any honest tree; the functions that walk call themselves.
pub(super) const DEPTH: usize = 256;

/// An open root. Paths inside are relative to it, without `.`, `..` or symbolic links: [`Tree::resolve`] makes them.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(super) fn open(root: &Path) -> Result<Self, FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, root, flags, Mode::empty()).map_err(|errno| FileError::Io {
            action: "open",
            path: root.to_owned(),
            source: errno.into(),
        })?;
        Ok(Self { root })
    }

    /// Follows symbolic links below the root to the place that `path` means, the last name's only if `follow`; what is
    /// not there, is taken as a plain name. `..` in `path` itself is cleaned away before any link is looked at.
    pub(super) fn resolve(&self, path: &Path, follow: bool) -> Result<PathBuf, FileError> {
        let mut left: Vec<OsString> = clean(path).iter().rev().map(OsStr::to_owned).collect();
        let mut place = PathBuf::new();
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                place.pop();
                continue;
            }
            let next = place.join(&name);
            let stat = self.examine(&next)?;
            let is_link = stat.is_some_and(|stat| kind(&stat) == FileType::Symlink);
            if !is_link || (left.is_empty() && !follow) {
                place = next;
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(FileError::TooManyLinks { path: shown(path) });
            }
            let target = PathBuf::from(self.read_link(&next)?);
            if target.is_absolute() {
                place.clear();
            }
            left.extend(target.components().rev().filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            }));
        }
        Ok(place)
    }

    /// Opens what is at a resolved path; never a place that a link leads to.
    pub(super) fn open_at(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                // A rename or mount elsewhere on the machine came between: openat2(2) asks to try again.
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Returns the open parent of a resolved path and the last name, for calls that take both.
    pub(super) fn spot<'a>(&self, path: &'a Path) -> Result<(OwnedFd, &'a OsStr), Errno> {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open_at(parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Examines a resolved path itself; `None` where there is nothing.
    pub(super) fn examine(&self, path: &Path) -> Result<Option<Stat>, FileError> {
        let stat =
            self.spot(path).and_then(|(parent, name)| rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW));
        match stat {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(FileError::io("examine", path)(errno)),
        }
    }

    /// Examines a resolved path itself, which has to be there.
    pub(super) fn expect(&self, path: &Path) -> Result<Stat, FileError> {
        self.examine(path)?.ok_or_else(|| FileError::NotFound { path: shown(path) })
    }

    pub(super) fn read_link(&self, path: &Path) -> Result<OsString, FileError> {
        self.spot(path)
            .and_then(|(parent, name)| rustix::fs::readlinkat(parent, name, Vec::new()))
            .map(|target| OsString::from_vec(target.into_bytes()))
            .map_err(FileError::io("read link", path))
    }

    /// Opens a regular file for reading; anything else is refused and not waited for.
    pub(super) fn open_file(&self, path: &Path) -> Result<OwnedFd, FileError> {
        // NONBLOCK: opening a FIFO would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        if kind(&self.expect(path)?) != FileType::RegularFile {
            return Err(FileError::NotRegular { path: shown(path) });
        }
        let file = self.open_at(path, flags).map_err(FileError::io("open", path))?;
        let stat = rustix::fs::fstat(&file).map_err(FileError::io("examine", path))?;
        if kind(&stat) != FileType::RegularFile {
            return Err(FileError::NotRegular { path: shown(path) });
        }
        Ok(file)
    }

    pub(super) fn open_directory(&self, path: &Path) -> Result<OwnedFd, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        self.open_at(path, flags).map_err(FileError::io("open", path))
    }

    /// Lists a directory, sorted by the bytes of the names.
    pub(super) fn names(&self, path: &Path) -> Result<Vec<OsString>, FileError> {
        let directory = self.open_directory(path)?;
        names(directory).map_err(FileError::io("list", path))
    }

    /// Removes a file or a whole tree, but never the root; fine where there is nothing.
    pub(super) fn remove(&self, path: &Path) -> Result<(), FileError> {
        if path.as_os_str().is_empty() {
            return Err(FileError::Root);
        }
        match self.spot(path) {
            Err(Errno::NOENT) => Ok(()),
            spot => spot.and_then(|(parent, name)| remove(&parent, name, 0)).map_err(FileError::io("remove", path)),
        }
    }
}

/// A path without `.` and `..`, relative to the root, whatever it began with (Go `filepath.Join("/", path)`).
pub(super) fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => _ = cleaned.pop(),
            _ => {}
        }
    }
    cleaned
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

pub(super) fn is_directory(stat: &Stat) -> bool {
    kind(stat) == FileType::Directory
}

fn names(directory: OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort();
    Ok(names)
}

fn remove(parent: &impl AsFd, name: &OsStr, depth: usize) -> Result<(), Errno> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        // unlink(2): EISDIR is Linux's answer for a directory, EPERM that of POSIX.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        other => return other,
    }
    if depth > DEPTH {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let again = rustix::fs::openat(&directory, ".", flags, Mode::empty())?;
    for child in names(again)? {
        remove(&directory, &child, depth + 1)?;
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
