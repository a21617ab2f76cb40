//! One tree in the place of another, by renames: what a mount would show, where there are none.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RawMode, ResolveFlags, Uid};
use rustix::io::Errno;

use super::super::inside::{self, Kind, Place};
use crate::store::remove_tree;

/// A name in a directory below a root, reached without symbolic links.
#[derive(Debug)]
pub(super) struct Spot {
    parent: OwnedFd,
    name: OsString,
}

impl Spot {
    pub(super) fn find(root: BorrowedFd<'_>, path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::openat2(root, parent, flags, Mode::empty(), resolve)?;
        Ok(Self { parent, name: name.to_owned() })
    }

    /// Device and inode of what is there.
    fn inode(&self) -> Option<(u64, u64)> {
        let stat = rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    }

    fn take(&self, to: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.parent, &self.name, CWD, to)?)
    }

    fn put(&self, from: &Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(CWD, from, &self.parent, &self.name)?)
    }

    /// Removes whatever is there; fine where nothing is.
    pub(super) fn clear(&self) -> io::Result<()> {
        let path = PathBuf::from(format!("/proc/self/fd/{}", self.parent.as_raw_fd())).join(&self.name);
        match remove_tree(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// What is to be put where.
#[derive(Debug)]
pub(super) struct Covering {
    /// What is shown.
    pub(super) content: PathBuf,
    /// Whether it goes back to where it is now, or is dropped.
    pub(super) returns: bool,
    /// Where it goes if it is dropped, and where goes what it covers: names that are free.
    pub(super) drop: PathBuf,
    pub(super) aside: PathBuf,
    /// Made on the way, to be removed again.
    pub(super) made: Vec<PathBuf>,
    /// What was made in its place is to be there afterwards.
    pub(super) stays: bool,
}

/// A tree in the place of another.
#[derive(Debug)]
pub(super) struct Cover {
    place: PathBuf,
    fd: OwnedFd,
    kind: Kind,
    covered: bool,
    with: Covering,
}

impl Cover {
    /// Puts the content at `place`.
    pub(super) fn lay(root: BorrowedFd<'_>, place: &Place, with: Covering) -> io::Result<Self> {
        let spot = Spot::find(root, &place.path)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(&with.content, flags, Mode::empty())?;
        let kind = inside::kind(&fd)?;
        let covered = place.made.is_empty();
        if covered {
            spot.take(&with.aside)?;
        } else {
            let flags = if kind == Kind::Directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(&spot.parent, &spot.name, flags)?;
        }
        if let Err(error) = spot.put(&with.content) {
            if covered {
                spot.put(&with.aside)?;
            }
            return Err(error);
        }
        Ok(Self { place: place.path.clone(), fd, kind, covered, with })
    }

    /// Where it is, without symbolic links.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Where its content goes back to, if it does.
    pub(super) fn origin(&self) -> Option<&Path> {
        self.with.returns.then_some(self.with.content.as_path())
    }

    /// Tells whether it replaced something that was there.
    pub(super) const fn is_replacing(&self) -> bool {
        self.covered
    }

    /// Puts everything back, whatever the step did to the place; no process of the step may be left.
    pub(super) fn lift(self, root: BorrowedFd<'_>) -> io::Result<()> {
        let stat = rustix::fs::fstat(&self.fd)?;
        let inode = (stat.st_dev, stat.st_ino);
        let target = if self.with.returns { &self.with.content } else { &self.with.drop };
        // Without its parent the place is gone, and with it what it covered: a step that deletes a tree deletes that.
        let spot = Spot::find(root, &self.place).ok();
        match spot.as_ref().filter(|spot| spot.inode() == Some(inode)) {
            Some(spot) => spot.take(target)?,
            None => match self.wandered(inode) {
                Some(path) => fs::rename(path, target)?,
                None if self.with.returns => self.remake(&stat, target)?,
                None => {}
            },
        }
        if let Some(spot) = spot {
            spot.clear()?;
            if self.covered {
                spot.put(&self.with.aside)?;
            } else if self.with.stays {
                inside::make(&spot.parent, Path::new(&spot.name), self.kind)?;
            }
        }
        for path in self.with.made.iter().rev() {
            // An empty directory more is no reason to fail.
            let _ = inside::unmake(root, path);
        }
        Ok(())
    }

    /// Finds the content where the step has moved it to.
    fn wandered(&self, inode: (u64, u64)) -> Option<PathBuf> {
        let path = fs::read_link(format!("/proc/self/fd/{}", self.fd.as_raw_fd())).ok()?;
        let metadata = fs::symlink_metadata(&path).ok()?;
        ((metadata.dev(), metadata.ino()) == inode).then_some(path)
    }

    /// Makes an empty one of what the step has deleted, which of a mount it could not.
    fn remake(&self, stat: &rustix::fs::Stat, target: &Path) -> io::Result<()> {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        match self.kind {
            Kind::Directory => rustix::fs::mkdir(target, mode)?,
            Kind::File => rustix::fs::mknodat(CWD, target, FileType::RegularFile, mode, 0)?,
        }
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(CWD, target, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        match rustix::fs::chmodat(CWD, target, Mode::from_raw_mode(stat.st_mode & 0o7777 as RawMode), AtFlags::empty())
        {
            Err(Errno::OPNOTSUPP) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
