//! A user's directory becomes a tree, by value.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

use walkdir::WalkDir;

use super::error::SnapshotError;
use super::tree::{make_directory, walk_error};

/// A place that two people's clones of one repository agree on, whatever their umasks.
const DIRECTORY: u32 = 0o755;
const PROGRAM: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// Copies what `include` names of the directory `from` into the existing directory `to`; everything if it is empty.
pub(super) fn copy_in(from: &Path, include: &[String], to: &Path) -> Result<(), SnapshotError> {
    let from = from.canonicalize().map_err(SnapshotError::io("find", from))?;
    set_mode(to, DIRECTORY)?;
    if include.is_empty() {
        return copy_tree(&from, to);
    }
    for pattern in include {
        let path = plain(pattern)?;
        through_directories(&from, path)?;
        parents(to, path)?;
        copy_tree(&from.join(path), &to.join(path))?;
    }
    Ok(())
}

/// A pattern as a path inside the directory; wildcards and ways out are refused.
fn plain(pattern: &str) -> Result<&Path, SnapshotError> {
    let path = Path::new(pattern);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    if pattern.is_empty() || !inside || pattern.contains(['*', '?', '[', '!', '\\']) {
        return Err(SnapshotError::Pattern { pattern: pattern.to_owned() });
    }
    Ok(path)
}

/// Refuses a path below `root` that leads through a symbolic link.
fn through_directories(root: &Path, path: &Path) -> Result<(), SnapshotError> {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let full = root.join(above);
        let metadata = fs::symlink_metadata(&full).map_err(SnapshotError::io("examine", &full))?;
        if !metadata.is_dir() {
            return Err(SnapshotError::Detour { path: full });
        }
    }
    Ok(())
}

/// Makes the directories above `path` below `root`.
fn parents(root: &Path, path: &Path) -> Result<(), SnapshotError> {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    above.into_iter().filter(|path| !path.as_os_str().is_empty()).try_for_each(|path| directory(&root.join(path)))
}

fn directory(path: &Path) -> Result<(), SnapshotError> {
    make_directory(path)?;
    set_mode(path, DIRECTORY)
}

/// Copies a file, or a directory and all below it; no link is followed.
fn copy_tree(source: &Path, target: &Path) -> Result<(), SnapshotError> {
    for entry in WalkDir::new(source).follow_root_links(false).sort_by_file_name() {
        let entry = entry.map_err(|error| walk_error(error, source))?;
        let path = entry.path();
        let relative = path.strip_prefix(source).unwrap_or(path);
        let target = if relative.as_os_str().is_empty() { target.to_owned() } else { target.join(relative) };
        let kind = entry.file_type();
        if kind.is_dir() {
            directory(&target)?;
        } else if kind.is_file() {
            copy_file(path, &target)?;
        } else if kind.is_symlink() {
            let link = fs::read_link(path).map_err(SnapshotError::io("read link", path))?;
            clear(&target)?;
            std::os::unix::fs::symlink(link, &target).map_err(SnapshotError::io("create", &target))?;
        } else {
            return Err(SnapshotError::Kind { path: path.to_owned() });
        }
    }
    Ok(())
}

fn clear(target: &Path) -> Result<(), SnapshotError> {
    crate::store::remove_tree(target).map_err(SnapshotError::io("replace", target))
}

fn copy_file(source: &Path, target: &Path) -> Result<(), SnapshotError> {
    let metadata = fs::metadata(source).map_err(SnapshotError::io("examine", source))?;
    if !metadata.is_file() {
        return Err(SnapshotError::Kind { path: source.to_owned() });
    }
    clear(target)?;
    if reflink_copy::reflink(source, target).is_err() {
        let mut from = File::open(source).map_err(SnapshotError::io("open", source))?;
        let mut to = File::create_new(target).map_err(SnapshotError::io("create", target))?;
        io::copy(&mut from, &mut to).map_err(SnapshotError::io("copy", source))?;
    }
    set_mode(target, if metadata.permissions().mode() & 0o111 == 0 { PLAIN } else { PROGRAM })
}

fn set_mode(path: &Path, mode: u32) -> Result<(), SnapshotError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(SnapshotError::io("change the mode of", path))
}
