//! Copying trees: from a user's directory by value, from other snapshots by hard links.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::error::SnapshotError;

/// Makes `to` the same file as `from` by a hard link, or else a copy (a clone where the file system can).
pub(super) fn share(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    match fs::hard_link(from, to) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(SnapshotError::Io { action: "create", path: to.to_owned(), source: error })
        }
        // Another file system, too many links, or a kernel that forbids it: any reason is good enough for a copy.
        Err(_) => copy_file(from, to),
    }
}

fn copy_file(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    reflink_copy::reflink_or_copy(from, to).map_err(SnapshotError::io("copy", from))?;
    let mode = fs::symlink_metadata(from).map_err(SnapshotError::io("read", from))?.permissions();
    fs::set_permissions(to, mode).map_err(SnapshotError::io("set permissions of", to))
}

/// Lays the tree `from` over the tree `to`: directories join, everything else replaces what is there.
///
/// Never follows a symbolic link in either: each component is looked at when the walk passes it.
pub(super) fn overlay(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    for entry in WalkDir::new(from).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(walk_error(from))?;
        let relative = entry.path().strip_prefix(from).expect("the walk stays below its root");
        let target = to.join(relative);
        let there = fs::symlink_metadata(&target).ok();
        let kind = entry.file_type();
        if let Some(there) = &there
            && !(kind.is_dir() && there.is_dir())
        {
            crate::store::remove_tree(&target).map_err(SnapshotError::io("replace", &target))?;
        }
        if kind.is_dir() {
            if !there.is_some_and(|there| there.is_dir()) {
                fs::create_dir(&target).map_err(SnapshotError::io("create directory", &target))?;
            }
            let mode = entry.metadata().map_err(walk_error(from))?.permissions();
            fs::set_permissions(&target, mode).map_err(SnapshotError::io("set permissions of", &target))?;
        } else if kind.is_symlink() {
            copy_symlink(entry.path(), &target)?;
        } else {
            share(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn copy_symlink(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    let target = fs::read_link(from).map_err(SnapshotError::io("read", from))?;
    symlink(target, to).map_err(SnapshotError::io("create", to))
}

/// Copies a user's directory, or the files and directories of it that `include` names.
pub(super) fn copy_in(from: &Path, include: &[String], to: &Path) -> Result<(), SnapshotError> {
    if include.is_empty() {
        return copy_tree(from, to);
    }
    for pattern in include {
        let relative = plain(pattern)?;
        let (source, target) = (from.join(&relative), to.join(&relative));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(SnapshotError::io("create directory", parent))?;
        }
        if fs::metadata(&source).map_err(SnapshotError::io("read", &source))?.is_dir() {
            fs::create_dir_all(&target).map_err(SnapshotError::io("create directory", &target))?;
            copy_tree(&source, &target)?;
        } else {
            copy_file(&source, &target)?;
        }
    }
    Ok(())
}

/// A pattern as a path inside the directory; wildcards and ways out are refused.
fn plain(pattern: &str) -> Result<PathBuf, SnapshotError> {
    let path = Path::new(pattern);
    let inside = path.components().all(|component| matches!(component, Component::Normal(_)));
    if pattern.is_empty() || !inside || pattern.contains(['*', '?', '[', '!', '\\']) {
        return Err(SnapshotError::Pattern { pattern: pattern.to_owned() });
    }
    Ok(path.to_owned())
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), SnapshotError> {
    for entry in WalkDir::new(from).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(walk_error(from))?;
        let target = to.join(entry.path().strip_prefix(from).expect("the walk stays below its root"));
        let kind = entry.file_type();
        if kind.is_dir() {
            let mode = entry.metadata().map_err(walk_error(from))?.permissions().mode();
            fs::create_dir(&target).map_err(SnapshotError::io("create directory", &target))?;
            // Ours to write until the walk is through it; a context's read-only directory stays readable.
            fs::set_permissions(&target, fs::Permissions::from_mode(mode | 0o700))
                .map_err(SnapshotError::io("set permissions of", &target))?;
        } else if kind.is_symlink() {
            copy_symlink(entry.path(), &target)?;
        } else if kind.is_file() {
            copy_file(entry.path(), &target)?;
        } else {
            return Err(SnapshotError::Kind { path: entry.path().to_owned() });
        }
    }
    Ok(())
}

fn walk_error(root: &Path) -> impl FnOnce(walkdir::Error) -> SnapshotError + use<> {
    let root = root.to_owned();
    move |error| {
        let path = error.path().map_or(root, Path::to_owned);
        SnapshotError::Io { action: "walk", path, source: error.into() }
    }
}
