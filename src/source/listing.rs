//! The entries of a user's directory, in the order in which they are sent, and their bytes.
//!
//! As in `local`, everything is opened from the descriptor of the top without following links, so that whoever changes
//! the directory meanwhile cannot lead us out of it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::error::SourceError;
use super::identifier::LocalSource;
use super::local::{filter, xattrs};
use super::names::names;
use crate::pattern::{Filter, FilterState};

/// As deep as `local` can copy with the descriptors that a process has.
const DEEPEST: usize = 400;

/// An entry.
#[derive(Debug, Clone)]
pub struct Listed {
    /// From the top.
    pub path: PathBuf,
    /// What it is.
    pub stat: Stat,
    /// Where a symbolic link leads; the first name of a file that has several.
    pub link: Option<PathBuf>,
    /// Extended attributes of files and directories.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a source takes of a directory.
#[derive(Debug)]
pub struct Listing {
    root: PathBuf,
    top: OwnedFd,
    entries: Vec<Listed>,
}

struct Walk<'a> {
    root: &'a Path,
    filter: &'a Filter,
    /// Directories that are passed through and that nothing has taken yet.
    passed: Vec<Listed>,
    links: BTreeMap<(u64, u64), PathBuf>,
    entries: Vec<Listed>,
}

impl Listing {
    /// Lists what `source` takes of `directory`, sorted by name in each directory, directories before what is in them.
    ///
    /// # Errors
    /// `Pattern`, `Changed`, `Io`.
    pub fn of(directory: &Path, source: &LocalSource) -> Result<Self, SourceError> {
        let root = directory.canonicalize().map_err(SourceError::io("find", directory))?;
        let filter = filter(&root, source)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(&root, flags, Mode::empty());
        let top = top.map_err(|errno| SourceError::io("open", &root)(errno.into()))?;
        let mut walk =
            Walk { root: &root, filter: &filter, passed: Vec::new(), links: BTreeMap::new(), entries: Vec::new() };
        walk.directory(&top, Path::new(""), &FilterState::default(), 0)?;
        let entries = walk.entries;
        Ok(Self { root, top, entries })
    }

    /// Returns the entries in order.
    pub fn entries(&self) -> &[Listed] {
        &self.entries
    }

    /// Opens a regular file of the listing.
    ///
    /// # Errors
    /// `Changed` where something else is there by now, `Io`.
    pub fn open(&self, path: &Path) -> Result<File, SourceError> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let full = || self.root.join(path);
        loop {
            match rustix::fs::openat2(&self.top, path, flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(File::from(file)),
                // A rename or mount elsewhere on the machine came between: openat2(2) asks to try again.
                Err(Errno::AGAIN) => {}
                Err(Errno::LOOP | Errno::NXIO | Errno::XDEV) => return Err(SourceError::Changed { path: full() }),
                Err(errno) => return Err(SourceError::io("open", &full())(errno.into())),
            }
        }
    }
}

impl Walk<'_> {
    fn directory(&mut self, from: &OwnedFd, path: &Path, state: &FilterState, depth: usize) -> Result<(), SourceError> {
        for name in names(from).map_err(|errno| self.error("list", path, errno))? {
            let below = path.join(OsStr::from_bytes(name.as_bytes()));
            let verdict = self.filter.look(&below, state);
            if !verdict.included && !verdict.descend {
                continue;
            }
            let stat = match rustix::fs::statat(from, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(self.error("examine", &below, errno)),
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if verdict.included {
                    let entry = self.plain(from, &name, below, stat)?;
                    self.entries.append(&mut self.passed);
                    self.entries.push(entry);
                }
                continue;
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let inner = match rustix::fs::openat(from, &name, flags, Mode::empty()) {
                Ok(inner) => inner,
                Err(Errno::NOENT) => continue,
                Err(Errno::ACCESS) if !verdict.included => continue,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return Err(SourceError::Changed { path: self.root.join(below) });
                }
                Err(errno) => return Err(self.error("open", &below, errno)),
            };
            let xattrs = self.attributes(&inner, &below)?;
            self.passed.push(Listed { path: below.clone(), stat, link: None, xattrs });
            if verdict.included {
                self.entries.append(&mut self.passed);
            }
            if verdict.descend && depth < DEEPEST {
                self.directory(&inner, &below, &verdict.state, depth + 1)?;
            }
            // Nothing in it was taken, and nothing of it will be.
            self.passed.pop_if(|last| last.path == below);
        }
        Ok(())
    }

    fn plain(&mut self, from: &OwnedFd, name: &CString, path: PathBuf, stat: Stat) -> Result<Listed, SourceError> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut entry = Listed { path, stat, link: None, xattrs: BTreeMap::new() };
        if kind == FileType::Symlink {
            let target = rustix::fs::readlinkat(from, name, Vec::new());
            let target = target.map_err(|errno| self.error("read link", &entry.path, errno))?;
            entry.link = Some(PathBuf::from(OsStr::from_bytes(target.as_bytes())));
            return Ok(entry);
        }
        if stat.st_nlink > 1 {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| entry.path.clone());
            if *first != entry.path {
                entry.link = Some(first.clone());
                return Ok(entry);
            }
        }
        if kind == FileType::RegularFile {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = rustix::fs::openat(from, name, flags, Mode::empty());
            let file = file.map_err(|errno| self.error("open", &entry.path, errno))?;
            entry.xattrs = self.attributes(&file, &entry.path)?;
        }
        Ok(entry)
    }

    fn attributes(&self, file: &OwnedFd, path: &Path) -> Result<BTreeMap<String, Vec<u8>>, SourceError> {
        let found = xattrs(file).map_err(|errno| self.error("read the attributes of", path, errno))?;
        // On the wire names are text (`stat.proto Stat.xattrs`).
        Ok(found.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value))).collect())
    }

    fn error(&self, action: &'static str, path: &Path, errno: Errno) -> SourceError {
        SourceError::Io { action, path: self.root.join(path), source: errno.into() }
    }
}
