//! Paths below a root that is not ours yet: looked up as the program will see them, never leaving it.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens `path` as a place below `root`: symbolic links, even absolute ones, stay inside.
pub(super) fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Tells what the open place `fd` is, as far as mounting on it goes.
pub(super) fn kind(fd: impl AsFd) -> io::Result<Kind> {
    let stat = rustix::fs::fstat(fd)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    Ok(if is_directory { Kind::Directory } else { Kind::File })
}

/// Opens the regular file at `path` below `root` for reading; `None` where there is none.
pub(super) fn open_file(root: BorrowedFd<'_>, path: &Path) -> io::Result<Option<File>> {
    // Not waiting: what looks like a file may be a pipe that nobody ever writes to.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let Ok(file) = rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) else { return Ok(None) };
    let stat = rustix::fs::fstat(&file)?;
    Ok((FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile).then(|| file.into()))
}

/// A place below a root.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) fd: OwnedFd,
    /// Its path without symbolic links.
    pub(super) path: PathBuf,
    /// What was made of it, outer first, also without symbolic links.
    pub(super) made: Vec<PathBuf>,
}

/// Symbolic links that are followed at most, as the kernel does.
const LINKS: usize = 40;

/// Opens the place `path` below `root` and makes what is missing of it, as the kernel would look it up: symbolic links
/// stay inside, and where one leads nowhere its target is made.
pub(super) fn ensure(root: BorrowedFd<'_>, path: &Path, wanted: Kind) -> io::Result<Place> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut fd = open(root, Path::new("/"))?;
    let mut real = PathBuf::from("/");
    let mut made = Vec::new();
    let mut links = 0;
    let mut ahead: VecDeque<OsString> = parts(path).collect();
    while let Some(name) = ahead.pop_front() {
        if name == ".." {
            real.pop();
            fd = open(root, &real)?;
            continue;
        }
        let next = match rustix::fs::openat2(&fd, &name, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT) => {
                make(&fd, Path::new(&name), if ahead.is_empty() { wanted } else { Kind::Directory })?;
                made.push(real.join(&name));
                rustix::fs::openat2(&fd, &name, flags, Mode::empty(), resolve)?
            }
            other => other?,
        };
        let stat = rustix::fs::fstat(&next)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            real.push(&name);
            fd = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(Errno::LOOP.into());
        }
        let target = rustix::fs::readlinkat(&next, c"", Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.to_bytes()));
        if target.is_absolute() {
            real = PathBuf::from("/");
            fd = open(root, &real)?;
        }
        for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
            ahead.push_front(part);
        }
    }
    if kind(&fd)? == wanted { Ok(Place { fd, path: real, made }) } else { Err(mismatch(wanted)) }
}

/// The names and the `..` of a path.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn mismatch(wanted: Kind) -> io::Error {
    io::Error::from_raw_os_error(if wanted == Kind::Directory { libc::ENOTDIR } else { libc::EISDIR })
}

/// Makes an empty directory or file; one that exists already is an error.
pub(super) fn make(parent: impl AsFd, name: &Path, kind: Kind) -> io::Result<()> {
    match kind {
        Kind::Directory => Ok(rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644))?;
            Ok(())
        }
    }
}

/// Removes an empty directory or file that was made as a mount point, unless something has come into it since. The
/// times of its parent stay as they are.
pub(super) fn unmake(root: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let parent = rustix::fs::openat2(root, parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let stat = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let flags = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => AtFlags::REMOVEDIR,
        FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
        _ => return Ok(()),
    };
    let before = rustix::fs::fstat(&parent)?;
    match rustix::fs::unlinkat(&parent, name, flags) {
        Err(Errno::NOTEMPTY) => return Ok(()),
        other => other?,
    }
    Ok(rustix::fs::utimensat(&parent, c".", &times(&before), AtFlags::empty())?)
}

fn times(stat: &rustix::fs::Stat) -> Timestamps {
    let time =
        |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.try_into().unwrap_or_default() };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_mount_point_is_made_inside_whatever_the_links_say() {
        let outside = tempfile::tempdir().expect("a directory");
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("run")).expect("made");
        fs::create_dir(dir.path().join("var")).expect("made");
        symlink("/run", dir.path().join("var/run")).expect("made");
        symlink(outside.path(), dir.path().join("escape")).expect("made");
        let root = rustix::fs::open(dir.path(), OFlags::PATH, Mode::empty()).expect("opened");
        let place = ensure(root.as_fd(), Path::new("/var/run/a/b"), Kind::File).expect("made");
        assert!(dir.path().join("run/a/b").is_file());
        assert_eq!(place.made, [Path::new("/run/a"), Path::new("/run/a/b")]);
        assert_eq!(place.path, Path::new("/run/a/b"));
        // The link dangles inside, and outside it must not be followed: what it names is made inside.
        let place = ensure(root.as_fd(), Path::new("/escape/x"), Kind::Directory).expect("made");
        assert_eq!(place.path, outside.path().join("x"));
        assert_eq!(fs::read_dir(outside.path()).expect("read").count(), 0);
        symlink("../../../../up", dir.path().join("var/up")).expect("made");
        assert_eq!(ensure(root.as_fd(), Path::new("/var/up"), Kind::File).expect("made").path, Path::new("/up"));
        symlink("loop", dir.path().join("loop")).expect("made");
        let error = ensure(root.as_fd(), Path::new("/loop"), Kind::File).expect_err("refused");
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        ensure(root.as_fd(), Path::new("/run"), Kind::File).expect_err("a directory is no file");
        unmake(root.as_fd(), Path::new("/run/a")).expect("kept because it is not empty");
        assert!(dir.path().join("run/a/b").is_file());
        unmake(root.as_fd(), Path::new("/run/a/b")).expect("removed");
        unmake(root.as_fd(), Path::new("/run/a")).expect("removed");
        assert!(!dir.path().join("run/a").exists());
    }
}
