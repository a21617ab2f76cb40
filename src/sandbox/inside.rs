//! Paths below a root that is not ours yet: looked up as the program will see them, never leaving it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
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

/// Opens the mount point `path` below `root` and makes what is missing of it; made paths are pushed to `made`, outer
/// first.
pub(super) fn ensure(root: BorrowedFd<'_>, path: &Path, wanted: Kind, made: &mut Vec<PathBuf>) -> io::Result<OwnedFd> {
    match open(root, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            let place = other?;
            return if kind(&place)? == wanted { Ok(place) } else { Err(mismatch(wanted)) };
        }
    }
    let names: Vec<&Path> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { Some(Path::new(name)) } else { None })
        .collect();
    let mut parent = open(root, Path::new("/"))?;
    let mut so_far = PathBuf::from("/");
    for (at, name) in names.iter().enumerate() {
        so_far.push(name);
        let is_last = at + 1 == names.len();
        match open(root, &so_far) {
            Ok(next) => parent = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(&parent, name, if is_last { wanted } else { Kind::Directory })?;
                made.push(so_far.clone());
                parent = open(root, &so_far)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parent)
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

/// Removes an empty directory or file that was made as a mount point, unless something has come into it since.
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
    match rustix::fs::unlinkat(&parent, name, flags) {
        Err(Errno::NOTEMPTY) => Ok(()),
        other => Ok(other?),
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
        let mut made = Vec::new();
        ensure(root.as_fd(), Path::new("/var/run/a/b"), Kind::File, &mut made).expect("made");
        assert!(dir.path().join("run/a/b").is_file());
        assert_eq!(made, [Path::new("/var/run/a"), Path::new("/var/run/a/b")]);
        // The link dangles inside, and outside it must not be followed.
        ensure(root.as_fd(), Path::new("/escape/x"), Kind::Directory, &mut made).expect_err("refused");
        assert_eq!(fs::read_dir(outside.path()).expect("read").count(), 0);
        ensure(root.as_fd(), Path::new("/run"), Kind::File, &mut made).expect_err("a directory is no file");
        unmake(root.as_fd(), Path::new("/run/a")).expect("kept because it is not empty");
        assert!(dir.path().join("run/a/b").is_file());
        unmake(root.as_fd(), Path::new("/run/a/b")).expect("removed");
        unmake(root.as_fd(), Path::new("/run/a")).expect("removed");
        assert!(!dir.path().join("run/a").exists());
    }
}
