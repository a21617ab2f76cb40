//! A read-only root put together from bind mounts, for kernels and file systems that refuse an overlay.
//!
//! Each entry of the source's root directory is mounted at its name in an empty tmpfs; directories in which a mount
//! point is missing are opened up one level further. Why not a copy: a root file system has ten thousand files, and
//! a step lasts seconds.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use super::inside::{self, Kind};
use crate::sys::{self, Attributes};

/// Shows the tree of `source` in the empty directory `target`, read-only, so that `wanted` can be made in it.
pub(super) fn fill(source: BorrowedFd<'_>, target: BorrowedFd<'_>, wanted: &BTreeSet<PathBuf>) -> io::Result<()> {
    let missing = |path: &&PathBuf| inside::open(source, path).is_err();
    let opened: BTreeSet<PathBuf> =
        wanted.iter().filter(missing).flat_map(|path| path.ancestors().skip(1)).map(Path::to_owned).collect();
    level(source, target, Path::new("/"), &opened)
}

fn level(source: BorrowedFd<'_>, target: BorrowedFd<'_>, path: &Path, opened: &BTreeSet<PathBuf>) -> io::Result<()> {
    let readable =
        rustix::fs::openat(source, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    for entry in Dir::new(readable?)? {
        let entry = entry?;
        let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
        if name == Path::new(".") || name == Path::new("..") {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let from = rustix::fs::openat(source, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&from)?;
        let here = path.join(name);
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                let link = rustix::fs::readlinkat(source, name, Vec::new())?;
                rustix::fs::symlinkat(link.as_c_str(), target, name)?;
            }
            FileType::Directory if opened.contains(&here) => {
                inside::make(target, name, Kind::Directory)?;
                let to = place(target, name)?;
                level(from.as_fd(), to.as_fd(), &here, opened)?;
                rustix::fs::chmodat(target, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
            }
            kind => {
                let kind = if kind == FileType::Directory { Kind::Directory } else { Kind::File };
                inside::make(target, name, kind)?;
                let mount = sys::bind(&from)?;
                sys::attach(&mount, place(target, name)?)?;
                let attributes = Attributes { read_only: true, no_suid: true, no_dev: true, no_exec: false };
                sys::set_attributes(&mount, attributes, true)?;
            }
        }
    }
    Ok(())
}

fn place(parent: BorrowedFd<'_>, name: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}
