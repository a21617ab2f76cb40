//! A user's directory becomes a tree, by value, as BuildKit's client sends it (`fsutil` `Send`, `Receive`).
//!
//! Everything is opened from the descriptor of the directory it is in, without following links, so that whoever changes
//! the directory meanwhile cannot lead us out of it; a file is described by what was opened, not by what was listed.
//! Owners are dropped; modes, times to the nanosecond, links of both kinds, extended attributes and pipes are kept. A
//! socket becomes an empty file, as it does there. Of directories that only their content takes in, none is made before
//! that content is found.
//!
//! One thread walks, others copy: by clones where the file system has them, without bytes passing through us where the
//! kernel can. What is open at once is bounded by depth, not by size.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::error::SourceError;
use super::follow::follow;
use super::identifier::LocalSource;
use super::names::names;
use crate::http::Stop;
use crate::pattern::{Filter, FilterState};

/// Files on their way to those who copy.
const QUEUE: usize = 64;

/// Files up to this size are read in one piece.
const SMALL: usize = 1 << 16;

/// Attributes with meanings for file systems that lie over others, or for machines of another kind.
const FOREIGN: [&[u8]; 3] = [b"user.overlay.", b"trusted.overlay.", b"com.apple."];

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Copied {
    /// Regular files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Copies what `source` takes of `directory` into the empty directory `into`.
///
/// # Errors
/// `Pattern`, `Changed` where something was replaced while it was copied, `Special` for a device that we may not make,
/// `Stopped`, `Io`.
pub fn local(
    directory: &Path,
    source: &LocalSource,
    into: &Path,
    jobs: NonZeroUsize,
    stop: &Stop,
) -> Result<Copied, SourceError> {
    let root = directory.canonicalize().map_err(SourceError::io("find", directory))?;
    let filter = filter(&root, source)?;
    let top = Level::top(&root, into)?;
    let failure: Mutex<Option<SourceError>> = Mutex::default();
    let copied: Mutex<Copied> = Mutex::default();
    let (sender, receiver) = sync_channel::<Job>(QUEUE);
    let receiver = Mutex::new(receiver);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    let walked = std::thread::scope(|scope| {
        for _ in 0..jobs.get().min(8) {
            scope.spawn(|| {
                let mut done = Copied::default();
                let mut buffer = vec![0; SMALL];
                while let Some(job) = next(&receiver) {
                    if failed() {
                        continue;
                    }
                    match job.copy(&mut buffer, source.metadata_only) {
                        Ok(bytes) => {
                            done.files += u64::from(bytes.is_some());
                            done.bytes += bytes.unwrap_or_default();
                        }
                        Err(error) => {
                            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                        }
                    }
                }
                let mut copied = copied.lock().unwrap_or_else(PoisonError::into_inner);
                copied.files += done.files;
                copied.bytes += done.bytes;
            });
        }
        let walk = Walk {
            root: &root,
            filter: &filter,
            stop,
            sender,
            failed: &failed,
            links: BTreeMap::new(),
            copied: Copied::default(),
        };
        walk.run(top, source.metadata_only)
    });
    if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    // Inner ones first, after all that changes them.
    let (directories, linked) = walked?;
    directories.iter().rev().try_for_each(|made| made.dress(into))?;
    let copied = copied.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Copied { files: copied.files + linked.files, bytes: copied.bytes + linked.bytes })
}

pub(super) fn filter(root: &Path, source: &LocalSource) -> Result<Filter, SourceError> {
    let mut include = source.include.clone();
    if !source.follow.is_empty() {
        match follow(root, &source.follow) {
            // One of them is everything.
            None => include.clear(),
            Some(more) => include.extend(more),
        }
        if include.iter().any(|pattern| pattern == ".") {
            include.clear();
        }
    }
    Ok(Filter::parse(&include, &source.exclude)?)
}

/// Waits for the next job; `None` after the last.
fn next(receiver: &Mutex<Receiver<Job>>) -> Option<Job> {
    receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// A directory on both sides. Its twin is made when something in it is.
#[derive(Debug)]
struct Level {
    parent: Option<Arc<Level>>,
    name: CString,
    /// From the top, for people.
    path: PathBuf,
    from: OwnedFd,
    stat: Stat,
    to: OnceLock<OwnedFd>,
}

/// A directory that was made and still has to get its mode and times.
struct Made {
    path: PathBuf,
    stat: Stat,
    xattrs: Vec<(CString, Vec<u8>)>,
}

struct Job {
    level: Arc<Level>,
    name: CString,
}

impl Level {
    fn top(root: &Path, into: &Path) -> Result<Arc<Self>, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| {
            rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| SourceError::io("open", path)(errno.into()))
        };
        let from = open(root)?;
        let stat = rustix::fs::fstat(&from).map_err(|errno| SourceError::io("examine", root)(errno.into()))?;
        let to = OnceLock::new();
        let _ = to.set(open(into)?);
        Ok(Arc::new(Self { parent: None, name: CString::default(), path: PathBuf::new(), from, stat, to }))
    }

    fn join(&self, name: &CString) -> PathBuf {
        self.path.join(OsStr::from_bytes(name.as_bytes()))
    }

    /// Returns the twin, which the walk made.
    fn twin(&self) -> &OwnedFd {
        self.to.get().expect("a directory is made before anything in it is copied")
    }
}

struct Walk<'a> {
    root: &'a Path,
    filter: &'a Filter,
    stop: &'a Stop,
    sender: SyncSender<Job>,
    failed: &'a dyn Fn() -> bool,
    /// First copies of files with several names.
    links: BTreeMap<(u64, u64), PathBuf>,
    copied: Copied,
}

/// A directory in the middle of its walk.
struct Frame {
    level: Arc<Level>,
    state: FilterState,
    names: std::vec::IntoIter<CString>,
}

impl Walk<'_> {
    fn run(mut self, top: Arc<Level>, metadata_only: bool) -> Result<(Vec<Made>, Copied), SourceError> {
        let into = Arc::clone(&top);
        let mut made = Vec::new();
        let names = self.names(&top)?;
        let mut frames = vec![Frame { level: top, state: FilterState::default(), names }];
        while let Some(frame) = frames.last_mut() {
            let Some(name) = frame.names.next() else {
                frames.pop();
                continue;
            };
            if self.stop.asked() {
                return Err(SourceError::Stopped { file: self.root.display().to_string() });
            }
            if (self.failed)() {
                break;
            }
            let level = Arc::clone(&frame.level);
            let path = level.join(&name);
            let verdict = self.filter.look(&path, &frame.state);
            if !verdict.included && !verdict.descend {
                continue;
            }
            let Some(stat) = self.stat(&level, &name)? else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            if kind == FileType::Directory {
                let Some(inner) = self.enter(&level, name, path, verdict.included)? else { continue };
                if verdict.included {
                    ensure(self.root, &inner, &mut made)?;
                }
                if verdict.descend {
                    let names = self.names(&inner)?;
                    frames.push(Frame { level: inner, state: verdict.state, names });
                }
            } else if verdict.included {
                ensure(self.root, &level, &mut made)?;
                self.take(&into, level, name, &stat, metadata_only)?;
            }
        }
        Ok((made, self.copied))
    }

    fn error(&self, action: &'static str, path: &Path, errno: Errno) -> SourceError {
        SourceError::Io { action, path: self.root.join(path), source: errno.into() }
    }

    /// Describes an entry; `None` where it is gone.
    fn stat(&self, level: &Level, name: &CString) -> Result<Option<Stat>, SourceError> {
        match rustix::fs::statat(&level.from, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("examine", &level.join(name), errno)),
        }
    }

    /// Opens a directory; `None` where it is gone, or closed to us but not wanted itself.
    fn enter(
        &self,
        parent: &Arc<Level>,
        name: CString,
        path: PathBuf,
        wanted: bool,
    ) -> Result<Option<Arc<Level>>, SourceError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = match rustix::fs::openat(&parent.from, &name, flags, Mode::empty()) {
            Ok(from) => from,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::ACCESS) if !wanted => return Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => return Err(SourceError::Changed { path: self.root.join(path) }),
            Err(errno) => return Err(self.error("open", &path, errno)),
        };
        let stat = rustix::fs::fstat(&from).map_err(|errno| self.error("examine", &path, errno))?;
        let parent = Some(Arc::clone(parent));
        Ok(Some(Arc::new(Level { parent, name, path, from, stat, to: OnceLock::new() })))
    }

    /// Lists a directory, sorted, so that of several names of a file it is always the same that is first.
    fn names(&self, level: &Level) -> Result<std::vec::IntoIter<CString>, SourceError> {
        let names = names(&level.from).map_err(|errno| self.error("list", &level.path, errno))?;
        Ok(names.into_iter())
    }

    /// Copies what is no directory, or has it copied.
    fn take(
        &mut self,
        into: &Level,
        level: Arc<Level>,
        name: CString,
        stat: &Stat,
        metadata_only: bool,
    ) -> Result<(), SourceError> {
        let path = level.join(&name);
        let to = level.twin();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                if stat.st_nlink > 1 {
                    let inode = (stat.st_dev, stat.st_ino);
                    if let Some(first) = self.links.get(&inode) {
                        return rustix::fs::linkat(into.twin(), first, to, &name, AtFlags::empty())
                            .map_err(|errno| self.error("link", &path, errno));
                    }
                    // At once: the next name is linked to it.
                    let job = Job { level, name };
                    if let Some(bytes) = job.copy(&mut vec![0; SMALL], metadata_only)? {
                        self.links.insert(inode, path);
                        self.copied.files += 1;
                        self.copied.bytes += bytes;
                    }
                    return Ok(());
                }
                // Nobody receives only after all copiers panicked, which the scope reports.
                let _ = self.sender.send(Job { level, name });
                return Ok(());
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(&level.from, &name, Vec::new());
                let target = target.map_err(|errno| self.error("read link", &path, errno))?;
                rustix::fs::symlinkat(&target, to, &name).map_err(|errno| self.error("create", &path, errno))?;
            }
            FileType::Socket => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(to, &name, flags, Mode::RUSR | Mode::WUSR);
                file.and_then(|file| rustix::fs::fchmod(file, mode(stat)))
                    .map_err(|errno| self.error("create", &path, errno))?;
            }
            kind => {
                match rustix::fs::mknodat(to, &name, kind, mode(stat), stat.st_rdev) {
                    Ok(()) => {}
                    Err(Errno::PERM) => return Err(SourceError::Special { path: self.root.join(path) }),
                    Err(errno) => return Err(self.error("create", &path, errno)),
                }
                // The mask took its share.
                rustix::fs::chmodat(to, &name, mode(stat), AtFlags::empty())
                    .map_err(|errno| self.error("change the mode of", &path, errno))?;
            }
        }
        rustix::fs::utimensat(to, &name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| self.error("change the time of", &path, errno))
    }
}

/// Makes the twin of a directory, and those above it, where they are missing.
fn ensure(root: &Path, level: &Arc<Level>, made: &mut Vec<Made>) -> Result<(), SourceError> {
    let mut missing = Vec::new();
    let mut at = level;
    while at.to.get().is_none() {
        missing.push(at);
        at = at.parent.as_ref().expect("the top has its twin from the beginning");
    }
    for level in missing.into_iter().rev() {
        let fail =
            |errno: Errno| SourceError::Io { action: "create", path: root.join(&level.path), source: errno.into() };
        let above = level.parent.as_ref().expect("only the top has none").twin();
        rustix::fs::mkdirat(above, &level.name, Mode::RWXU).map_err(fail)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(above, &level.name, flags, Mode::empty()).map_err(fail)?;
        let _ = level.to.set(to);
        let xattrs = xattrs(&level.from).map_err(fail)?;
        made.push(Made { path: level.path.clone(), stat: level.stat, xattrs });
    }
    Ok(())
}

impl Made {
    fn dress(&self, into: &Path) -> Result<(), SourceError> {
        let path = into.join(&self.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, &path, flags, Mode::empty())
            .and_then(|directory| {
                set_xattrs(&directory, &self.xattrs);
                rustix::fs::fchmod(&directory, mode(&self.stat))?;
                rustix::fs::futimens(&directory, &times(&self.stat))
            })
            .map_err(|errno| SourceError::io("change mode and time of", &path)(errno.into()))
    }
}

impl Job {
    /// Copies a regular file and returns its size; `None` where it is gone.
    fn copy(&self, buffer: &mut [u8], metadata_only: bool) -> Result<Option<u64>, SourceError> {
        let path = || self.level.join(&self.name);
        let fail = |action| move |source: io::Error| SourceError::Io { action, path: path(), source };
        // A pipe that took its place must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let from = match rustix::fs::openat(&self.level.from, &self.name, flags, Mode::empty()) {
            Ok(from) => from,
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP | Errno::NXIO) => return Err(SourceError::Changed { path: path() }),
            Err(errno) => return Err(fail("open")(errno.into())),
        };
        let stat = rustix::fs::fstat(&from).map_err(|errno| fail("examine")(errno.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(SourceError::Changed { path: path() });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let to = rustix::fs::openat(self.level.twin(), &self.name, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| fail("create")(errno.into()))?;
        let (mut from, mut to) = (File::from(from), File::from(to));
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let bytes = if metadata_only { 0 } else { transfer(&mut from, &mut to, size, buffer).map_err(fail("copy"))? };
        let xattrs = xattrs(&from).map_err(|errno| fail("read the attributes of")(errno.into()))?;
        set_xattrs(&to, &xattrs);
        rustix::fs::fchmod(&to, mode(&stat)).map_err(|errno| fail("change the mode of")(errno.into()))?;
        rustix::fs::futimens(&to, &times(&stat)).map_err(|errno| fail("change the time of")(errno.into()))?;
        Ok(Some(bytes))
    }
}

/// Copies at most the `size` bytes that were there: a file that grows meanwhile has no end.
fn transfer(from: &mut File, to: &mut File, size: u64, buffer: &mut [u8]) -> io::Result<u64> {
    if size == 0 {
        return Ok(0);
    }
    if size <= buffer.len() as u64 {
        let mut read = 0;
        let end = usize::try_from(size).unwrap_or(buffer.len());
        while read < end {
            match from.read(&mut buffer[read..end]) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        to.write_all(&buffer[..read])?;
        return Ok(read as u64);
    }
    // A clone takes the whole file, which may have grown: it is cut again.
    if rustix::fs::ioctl_ficlone(&*to, &*from).is_ok() {
        to.set_len(size)?;
        return Ok(size);
    }
    io::copy(&mut from.take(size), to)
}

fn mode(stat: &Stat) -> Mode {
    Mode::from_raw_mode(stat.st_mode & 0o7777)
}

/// Both times are that of the last change, as BuildKit sets them.
#[allow(clippy::cast_possible_wrap, clippy::useless_conversion, reason = "types differ between architectures")]
fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime.into(), tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn xattrs(file: impl AsFd) -> Result<Vec<(CString, Vec<u8>)>, Errno> {
    let mut names: Vec<u8> = Vec::new();
    loop {
        let length = match rustix::fs::flistxattr_query(&file) {
            Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
            other => other?,
        };
        names.resize(length, 0);
        match rustix::fs::flistxattr(&file, names.as_mut_slice()) {
            Ok(length) => {
                names.truncate(length);
                break;
            }
            Err(Errno::RANGE) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut found = Vec::new();
    for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if FOREIGN.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let Ok(name) = CString::new(name) else { continue };
        // The kernel's bound for a value.
        let mut value = vec![0; 1 << 16];
        if let Ok(length) = rustix::fs::fgetxattr(&file, &name, value.as_mut_slice()) {
            value.truncate(length);
            found.push((name, value));
        }
    }
    Ok(found)
}

/// Sets what may be set: others have their meaning on the machine that they come from.
fn set_xattrs(file: impl AsFd, xattrs: &[(CString, Vec<u8>)]) {
    for (name, value) in xattrs {
        let _ = rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty());
    }
}
