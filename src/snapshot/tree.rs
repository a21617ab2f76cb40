//! Laying one tree over another: by hard links where the files may be shared, by copies where they may not.

use std::collections::BTreeMap;
use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use walkdir::WalkDir;

use super::error::SnapshotError;
use crate::ownership;
use crate::store::remove_tree;

/// What becomes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// They share their inodes with the source, which nobody may write to any more.
    Linked,
    /// They are clones or copies, and may be written to.
    Copied,
}

/// Marks a directory that hides the one below it; `y` as value (`overlayfs.rst`).
pub(super) const OPAQUE: &str = "user.overlay.opaque";

/// Lays `from` over `to`, an existing directory: directories melt together, of everything else the new one stays, and
/// what overlayfs has marked as deleted goes.
///
/// Hard links inside `from` are hard links in the result. Nothing is ever written through a symbolic link: parents
/// come first, and what is in the way of a directory is removed.
pub(super) fn lay(from: &Path, to: &Path, files: Files) -> Result<(), SnapshotError> {
    let mut directories = Vec::new();
    let mut copied = BTreeMap::new();
    for entry in WalkDir::new(from).sort_by_file_name() {
        let entry = entry.map_err(|error| walk_error(error, from))?;
        let source = entry.path();
        let target = to.join(source.strip_prefix(from).unwrap_or(source));
        let metadata = fs::symlink_metadata(source).map_err(SnapshotError::io("examine", source))?;
        let replace = || remove_tree(&target).map_err(SnapshotError::io("replace", &target));
        if metadata.is_dir() {
            if entry.depth() > 0 && is_opaque(source) {
                replace()?;
            }
            make_directory(&target)?;
            directories.push((source.to_owned(), target, metadata));
            continue;
        }
        replace()?;
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            continue;
        }
        put(source, &target, &metadata, files, &mut copied)?;
    }
    dress(&directories)
}

/// Makes `to` an exact copy of `from`, a file or a directory; a directory that is there already is laid over.
///
/// # Errors
/// What the kernel says, with the path.
pub fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let copy = || {
        let metadata = fs::symlink_metadata(from).map_err(SnapshotError::io("examine", from))?;
        if metadata.is_dir() {
            return lay(from, to, Files::Copied);
        }
        put(from, to, &metadata, Files::Copied, &mut Copied::new())
    };
    copy().map_err(|error| {
        let kind = match &error {
            SnapshotError::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    })
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 4];
    rustix::fs::lgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// Gives directories their owners, modes, times and attributes, inner ones first, as all changes to them are done.
pub(super) fn dress(directories: &[(PathBuf, PathBuf, Metadata)]) -> Result<(), SnapshotError> {
    for (source, target, metadata) in directories.iter().rev() {
        clothe(source, target, metadata)?;
    }
    Ok(())
}

/// Makes sure that `path` is a directory and not a link to one.
pub(super) fn make_directory(path: &Path) -> Result<(), SnapshotError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path).map_err(SnapshotError::io("replace", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SnapshotError::io("examine", path)(error)),
    }
    fs::create_dir(path).map_err(SnapshotError::io("create", path))
}

pub(super) fn walk_error(error: walkdir::Error, tree: &Path) -> SnapshotError {
    let path = error.path().unwrap_or(tree).to_owned();
    let source = error.into_io_error().unwrap_or_else(|| io::ErrorKind::InvalidData.into());
    SnapshotError::Io { action: "list", path, source }
}

/// Makes `target` the same file as `source`, or a copy of it where that cannot be.
pub(super) fn share(source: &Path, target: &Path) -> Result<(), SnapshotError> {
    let metadata = fs::symlink_metadata(source).map_err(SnapshotError::io("examine", source))?;
    put(source, target, &metadata, Files::Linked, &mut Copied::new())
}

/// First copies of files with several names, by device and inode.
pub(super) type Copied = BTreeMap<(u64, u64), PathBuf>;

/// Puts one file that is no directory at `target`, where nothing is.
pub(super) fn put(
    source: &Path,
    target: &Path,
    metadata: &Metadata,
    files: Files,
    copied: &mut Copied,
) -> Result<(), SnapshotError> {
    let link = |source: &Path| rustix::fs::linkat(CWD, source, CWD, target, AtFlags::empty());
    if files == Files::Linked {
        match link(source) {
            Ok(()) => return Ok(()),
            // Another device, as many names as an inode can have, or a file system without hard links.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM) => {}
            Err(error) => return Err(SnapshotError::io("link", source)(error.into())),
        }
    }
    let inode = (metadata.dev(), metadata.ino());
    if metadata.nlink() > 1 {
        if let Some(first) = copied.get(&inode) {
            return link(first).map_err(|errno| SnapshotError::io("link", first)(errno.into()));
        }
        copied.insert(inode, target.to_owned());
    }
    copy(source, target, metadata)
}

/// Copies one file that is no directory, with everything that belongs to it.
fn copy(source: &Path, target: &Path, metadata: &Metadata) -> Result<(), SnapshotError> {
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let link = fs::read_link(source).map_err(SnapshotError::io("read link", source))?;
        std::os::unix::fs::symlink(link, target).map_err(SnapshotError::io("create", target))?;
    } else if kind.is_file() {
        reflink_copy::reflink_or_copy(source, target).map_err(SnapshotError::io("copy", source))?;
    } else if kind.is_socket() {
        // Not content: nobody listens there any more.
        return Ok(());
    } else {
        let kind = FileType::from_raw_mode(metadata.mode());
        rustix::fs::mknodat(CWD, target, kind, Mode::from_raw_mode(0o600), metadata.rdev())
            .map_err(|errno| SnapshotError::io("create", target)(errno.into()))?;
    }
    clothe(source, target, metadata)
}

/// Gives `target` the owner, mode, content attributes and times of `source`.
fn clothe(source: &Path, target: &Path, metadata: &Metadata) -> Result<(), SnapshotError> {
    let owner = (Uid::from_raw(metadata.uid()), Gid::from_raw(metadata.gid()));
    let current = fs::symlink_metadata(target).map_err(SnapshotError::io("examine", target))?;
    if (current.uid(), current.gid()) != (metadata.uid(), metadata.gid()) {
        rustix::fs::chownat(CWD, target, Some(owner.0), Some(owner.1), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| SnapshotError::io("change the owner of", target)(errno.into()))?;
    }
    if !metadata.file_type().is_symlink() {
        // After the owner, whose change takes set-uid bits away.
        let mode = Permissions::from_mode(metadata.mode() & 0o7777);
        fs::set_permissions(target, mode).map_err(SnapshotError::io("change the mode of", target))?;
    }
    if metadata.is_dir() || metadata.is_file() {
        copy_attributes(source, target)?;
    } else if let Some(owner) = ownership::owner_of(source, FileType::from_raw_mode(metadata.mode())) {
        ownership::record_owner_of(target, owner)
            .map_err(|errno| SnapshotError::io("record the owner of", target)(errno.into()))?;
    }
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(metadata.atime(), metadata.atime_nsec()),
        last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
    };
    rustix::fs::utimensat(CWD, target, &times, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| SnapshotError::io("change the times of", target)(errno.into()))
}

/// Attributes by which overlayfs remembers, in a user namespace (`overlayfs.rst`).
pub(super) const OVERLAY: &[u8] = b"user.overlay.";

/// Lists the names of a file's extended attributes; none where the file system has none.
pub(super) fn attribute_names(path: &Path) -> Result<Vec<Vec<u8>>, SnapshotError> {
    let mut list = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => 0,
        Err(errno) => return Err(SnapshotError::io("list attributes of", path)(errno.into())),
    };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

fn copy_attributes(source: &Path, target: &Path) -> Result<(), SnapshotError> {
    for name in attribute_names(source)? {
        // Labels of security modules are the machine's, and overlay's words mean nothing outside its upper layer.
        let is_content = name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(OVERLAY);
        if !is_content {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let failed = |action, path, errno: Errno| SnapshotError::io(action, path)(errno.into());
        let length = rustix::fs::lgetxattr(source, name.as_slice(), &mut value[..])
            .map_err(|errno| failed("read attributes of", source, errno))?;
        rustix::fs::lsetxattr(target, name.as_slice(), &value[..length], XattrFlags::empty())
            .map_err(|errno| failed("set attributes of", target, errno))?;
    }
    Ok(())
}
