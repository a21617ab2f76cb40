//! A copy from tree to tree: what it does to each file (fsutil `copy.go` `copier`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, Stat, Timestamps};
use rustix::io::Errno;

use super::chmod::Chmod;
use super::error::{FileError, shown};
use super::metadata::{FileOptions, copy_attributes, create, make_directory, set_mode, set_times, times_of, timestamp};
use super::owner::Owner;
use super::tree::{DEPTH, Tree, is_directory, kind};
use crate::llb::pb::FileActionCopy;
use crate::pattern::{Filter, FilterState};

/// One thing to copy, all paths resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) from: &'a Path,
    /// Relative to where the copy began; patterns are about this.
    pub(super) below: &'a Path,
    pub(super) to: &'a Path,
}

/// A copy that is going on.
pub(super) struct Copier<'a> {
    from: &'a Tree,
    to: &'a Tree,
    filter: Filter,
    chmod: Chmod,
    owner: Option<Owner>,
    times: Option<Timestamps>,
    replace: bool,
    options: FileOptions,
    /// First copies of files with several names, by device and inode.
    linked: BTreeMap<(u64, u64), PathBuf>,
    /// The directories above what is being copied; those that no pattern matched are made when something in them is.
    above: Vec<Above>,
}

struct Above {
    from: PathBuf,
    to: PathBuf,
    is_made: bool,
}

impl<'a> Copier<'a> {
    pub(super) fn new(
        from: &'a Tree,
        to: &'a Tree,
        (filter, chmod): (Filter, Chmod),
        action: &FileActionCopy,
        owner: Option<Owner>,
        options: FileOptions,
    ) -> Self {
        Self {
            from,
            to,
            filter,
            chmod,
            owner,
            times: timestamp(action.timestamp),
            replace: action.always_replace_existing_dest_paths,
            options,
            linked: BTreeMap::new(),
            above: Vec::new(),
        }
    }

    /// Copies the top; an existing directory keeps its mode and owner and gets the time of its source.
    pub(super) fn copy(&mut self, entry: &Entry<'_>) -> Result<(), FileError> {
        let stat = self.from.expect(entry.from)?;
        if !is_directory(&stat) {
            return self.file(entry, &stat);
        }
        self.make_room(entry.to, &stat)?;
        let is_new = self.directory(entry.to)?;
        self.children(entry, true, &FilterState::default())?;
        if is_new { self.dress_directory(entry, &stat) } else { self.set_time(entry.to, &stat) }
    }

    /// Copies what is in a directory.
    fn children(&mut self, entry: &Entry<'_>, is_made: bool, state: &FilterState) -> Result<(), FileError> {
        if self.above.len() > DEPTH {
            return Err(FileError::TooDeep { path: shown(entry.from) });
        }
        self.above.push(Above { from: entry.from.to_owned(), to: entry.to.to_owned(), is_made });
        for name in self.from.names(entry.from)? {
            let (from, below, to) = (entry.from.join(&name), entry.below.join(&name), entry.to.join(&name));
            self.child(&Entry { from: &from, below: &below, to: &to }, state)?;
        }
        self.above.pop();
        Ok(())
    }

    fn child(&mut self, entry: &Entry<'_>, state: &FilterState) -> Result<(), FileError> {
        let verdict = self.filter.look(entry.below, state);
        if !verdict.included && !verdict.descend {
            return Ok(());
        }
        let stat = self.from.expect(entry.from)?;
        if !is_directory(&stat) {
            return if verdict.included { self.file(entry, &stat) } else { Ok(()) };
        }
        if verdict.included {
            self.make_room(entry.to, &stat)?;
            self.make_above()?;
            if !self.directory(entry.to)? {
                // In case what comes into it needs it; the rest follows at the end.
                set_mode(self.to, entry.to, stat.st_mode & 0o7777 | 0o700)?;
            }
        }
        if verdict.descend {
            self.children(entry, verdict.included, &verdict.state)?;
        }
        if verdict.included { self.dress_directory(entry, &stat) } else { Ok(()) }
    }

    /// With `alwaysReplaceExistingDestPaths`, takes away what is in the way; directories melt together.
    fn make_room(&self, to: &Path, stat: &Stat) -> Result<(), FileError> {
        if self.replace
            && let Some(there) = self.to.examine(to)?
            && !(is_directory(stat) && is_directory(&there))
        {
            self.to.remove(to)?;
        }
        Ok(())
    }

    /// Makes the directories above that no pattern matched themselves.
    fn make_above(&mut self) -> Result<(), FileError> {
        for index in 0..self.above.len() {
            let Above { from, to, is_made } = &self.above[index];
            if *is_made {
                continue;
            }
            let stat = self.from.expect(from)?;
            if self.directory(to)? {
                self.dress_directory(&Entry { from, below: Path::new(""), to }, &stat)?;
            } else {
                set_mode(self.to, to, stat.st_mode & 0o7777)?;
            }
            self.above[index].is_made = true;
        }
        Ok(())
    }

    /// Makes a directory; tells whether it was not there.
    fn directory(&self, to: &Path) -> Result<bool, FileError> {
        match self.to.examine(to)? {
            Some(there) if is_directory(&there) => return Ok(false),
            Some(_) => return Err(FileError::DirectoryOverFile { path: shown(to) }),
            None => {}
        }
        make_directory(self.to, to).map_err(FileError::io("create", to))?;
        Ok(true)
    }

    fn dress_directory(&self, entry: &Entry<'_>, stat: &Stat) -> Result<(), FileError> {
        self.give(entry, stat)?;
        set_mode(self.to, entry.to, self.chmod.apply(stat.st_mode, true))?;
        // A directory that may not be read has shown nothing to copy either.
        if let (Ok(from), Ok(to)) = (self.from.open_directory(entry.from), self.to.open_directory(entry.to)) {
            copy_attributes(&from, &to);
        }
        self.set_time(entry.to, stat)
    }

    fn give(&self, entry: &Entry<'_>, stat: &Stat) -> Result<(), FileError> {
        self.options.give(self.to, entry.to, self.owner(entry, stat))
    }

    fn owner(&self, entry: &Entry<'_>, stat: &Stat) -> Owner {
        self.owner.unwrap_or_else(|| Owner::of(self.from, entry.from, stat))
    }

    fn set_time(&self, to: &Path, stat: &Stat) -> Result<(), FileError> {
        set_times(self.to, to, &self.times(stat))
    }

    fn times(&self, stat: &Stat) -> Timestamps {
        self.times.clone().unwrap_or_else(|| times_of(stat))
    }

    /// Copies what is no directory.
    fn file(&mut self, entry: &Entry<'_>, stat: &Stat) -> Result<(), FileError> {
        self.make_room(entry.to, stat)?;
        self.make_above()?;
        match self.to.examine(entry.to)? {
            Some(there) if is_directory(&there) => return Err(FileError::FileOverDirectory { path: shown(entry.to) }),
            Some(_) => self.to.remove(entry.to)?,
            None => {}
        }
        match kind(stat) {
            FileType::RegularFile => return self.regular(entry, stat),
            FileType::Symlink => {
                let target = self.from.read_link(entry.from)?;
                self.to
                    .spot(entry.to)
                    .and_then(|(parent, name)| rustix::fs::symlinkat(&target, parent, name))
                    .map_err(FileError::io("create link", entry.to))?;
                self.give(entry, stat)?;
                return self.set_time(entry.to, stat);
            }
            // A socket is nothing without who listens: an empty file stands for it.
            FileType::Socket => drop(create(self.to, entry.to)?),
            kind => self.device(entry, stat, kind)?,
        }
        self.give(entry, stat)?;
        set_mode(self.to, entry.to, self.chmod.apply(stat.st_mode, false))?;
        self.set_time(entry.to, stat)
    }

    fn device(&self, entry: &Entry<'_>, stat: &Stat, kind: FileType) -> Result<(), FileError> {
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            return Err(FileError::Whiteout { path: shown(entry.from) });
        }
        let device = if kind == FileType::Fifo { 0 } else { stat.st_rdev };
        self.to
            .spot(entry.to)
            .and_then(|(parent, name)| rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device))
            .map_err(FileError::io("create device", entry.to))
    }

    fn regular(&mut self, entry: &Entry<'_>, stat: &Stat) -> Result<(), FileError> {
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&id) {
                match self.link(first, entry.to) {
                    // As many names as an inode can have, or a file system without hard links: a copy then.
                    Err(Errno::MLINK | Errno::PERM | Errno::XDEV) => {}
                    other => return other.map_err(FileError::io("create hard link", entry.to)),
                }
            } else {
                self.linked.insert(id, entry.to.to_owned());
            }
        }
        let from = self.from.open_file(entry.from)?;
        let to = create(self.to, entry.to)?;
        clone(from.into(), &to).map_err(FileError::io("copy", entry.to)).and_then(|from| {
            // In this order: a change of owner takes set-user-ID bits and file capabilities away.
            self.options.give_file(to.as_fd(), entry.to, self.owner(entry, stat))?;
            rustix::fs::fchmod(&to, Mode::from_raw_mode(self.chmod.apply(stat.st_mode, false)))
                .map_err(FileError::io("set the mode of", entry.to))?;
            copy_attributes(&from, &to);
            rustix::fs::futimens(&to, &self.times(stat)).map_err(FileError::io("set the time of", entry.to))
        })
    }

    fn link(&self, first: &Path, to: &Path) -> Result<(), Errno> {
        let (old_parent, old) = self.to.spot(first)?;
        let (parent, name) = self.to.spot(to)?;
        rustix::fs::linkat(old_parent, old, parent, name, AtFlags::empty())
    }
}

/// Makes `to` have the bytes of `from`: the same ones on disk where the file system can share them.
fn clone(mut from: File, mut to: &File) -> io::Result<File> {
    if rustix::fs::ioctl_ficlone(to, &from).is_err() {
        io::copy(&mut from, &mut to)?;
    }
    Ok(from)
}
