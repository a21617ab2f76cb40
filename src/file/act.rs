//! The small actions: make a directory, a file or a link, and remove.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;

use super::error::{FileError, shown};
use super::metadata::{FileOptions, Making, copy_attributes, create, make_directory, set_times, times_of, timestamp};
use super::owner::Owner;
use super::select::select;
use super::tree::{Tree, clean, kind};
use crate::llb::pb::{FileActionMkDir, FileActionMkFile, FileActionRm, FileActionSymlink};

/// Makes a directory in the tree `root` (`ops.proto FileActionMkDir`); whatever has the name already is left alone,
/// with `makeParents` only if it is a directory.
///
/// # Errors
/// `Io`, `NotFound` if the parent is missing, `TooManyLinks`.
pub fn mkdir(
    root: &Path,
    action: &FileActionMkDir,
    owner: Option<Owner>,
    options: FileOptions,
) -> Result<(), FileError> {
    let tree = Tree::open(root)?;
    let path = tree.resolve(Path::new(&action.path), true)?;
    let mode = action.mode.cast_unsigned() & 0o777;
    let making = Making { mode, owner, times: timestamp(action.timestamp), options };
    if action.make_parents {
        making.make_all(&tree, &path)?;
        return Ok(());
    }
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    match make_directory(&tree, &path) {
        Ok(()) => making.finish(&tree, &path),
        Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => Err(FileError::NotFound { path: shown(path.parent().unwrap_or(&path)) }),
        Err(errno) => Err(FileError::io("create", &path)(errno)),
    }
}

/// Writes a file in the tree `root` (`ops.proto FileActionMkFile`). A link at the path is followed; a file that is
/// there keeps its mode, and its owner unless one is given.
///
/// # Errors
/// `NotRegular` for a directory or device, `NotFound` if the parent is missing, `Io`, `TooManyLinks`.
pub fn mkfile(
    root: &Path,
    action: &FileActionMkFile,
    owner: Option<Owner>,
    options: FileOptions,
) -> Result<(), FileError> {
    let tree = Tree::open(root)?;
    let path = tree.resolve(Path::new(&action.path), true)?;
    let there = tree.examine(&path)?;
    if there.is_some_and(|stat| kind(&stat) != FileType::RegularFile) {
        return Err(FileError::NotRegular { path: shown(&path) });
    }
    let before = there.as_ref().map(|stat| Owner::of(&tree, &path, stat));
    let mut kept = None;
    let parent = path.parent().unwrap_or(Path::new(""));
    let above = there.map(|_| tree.expect(parent)).transpose()?.map(|stat| times_of(&stat));
    if there.is_some() {
        // Its bytes may be shared with another tree; what is made anew takes over its mode, owner and attributes, and the
        // directory does not notice.
        let old = tree.open_file(&path)?;
        tree.remove(&path)?;
        kept = Some(old);
    }
    let mut file = create(&tree, &path)?;
    if let Some(old) = &kept {
        copy_attributes(old, &file);
    }
    if let Some(times) = &above {
        set_times(&tree, parent, times)?;
    }
    file.write_all(&action.data).map_err(FileError::io("write", &path))?;
    if let Some(owner) = owner.or(before) {
        options.give_file(file.as_fd(), &path, owner)?;
    }
    let mode = there.map_or(action.mode.cast_unsigned() & 0o777, |stat| stat.st_mode & 0o7777);
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(FileError::io("set the mode of", &path))?;
    drop(file);
    timestamp(action.timestamp).map_or(Ok(()), |times| set_times(&tree, &path, &times))
}

/// Makes a symbolic link in the tree `root` (`ops.proto FileActionSymlink`); what it leads to is not looked at.
///
/// # Errors
/// `Io` also if the path exists, `NotFound` if the parent is missing, `TooManyLinks`.
pub fn symlink(
    root: &Path,
    action: &FileActionSymlink,
    owner: Option<Owner>,
    options: FileOptions,
) -> Result<(), FileError> {
    let tree = Tree::open(root)?;
    let path = tree.resolve(Path::new(&action.newpath), true)?;
    let made = tree.spot(&path).and_then(|(parent, name)| rustix::fs::symlinkat(&*action.oldpath, parent, name));
    match made {
        Ok(()) => {}
        Err(Errno::NOENT) => return Err(FileError::NotFound { path: shown(path.parent().unwrap_or(&path)) }),
        Err(errno) => return Err(FileError::io("create link", &path)(errno)),
    }
    if let Some(owner) = owner {
        options.give(&tree, &path, owner)?;
    }
    timestamp(action.timestamp).map_or(Ok(()), |times| set_times(&tree, &path, &times))
}

/// Removes a path of the tree `root` and all below it, or all that a wildcard matches (`ops.proto FileActionRm`). A
/// link is removed itself.
///
/// # Errors
/// `Root`; `NotFound` unless it is allowed; `Pattern`, `Io`, `TooManyLinks`.
pub fn rm(root: &Path, action: &FileActionRm) -> Result<(), FileError> {
    let tree = Tree::open(root)?;
    if action.allow_wildcard {
        let found = match select(&tree, &action.path, false) {
            Err(FileError::NotFound { .. }) if action.allow_not_found => return Ok(()),
            found => found?,
        };
        return found.iter().try_for_each(|path| remove(&tree, path, action.allow_not_found));
    }
    remove(&tree, Path::new(&action.path), action.allow_not_found)
}

fn remove(tree: &Tree, path: &Path, allow_not_found: bool) -> Result<(), FileError> {
    let path = clean(path);
    let Some(name) = path.file_name() else { return Err(FileError::Root) };
    let above = tree.resolve(path.parent().unwrap_or(Path::new("")), true)?;
    let place = above.join(name);
    // Through a file there is no way, allowed or not.
    let is_there = tree.examine(&above)?.is_some() && tree.examine(&place)?.is_some();
    match is_there {
        true => tree.remove(&place),
        false if allow_not_found => Ok(()),
        false => Err(FileError::NotFound { path: shown(&path) }),
    }
}
