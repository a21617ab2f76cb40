//! Files of the machine become a snapshot.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use super::error::SnapshotError;
use super::snapshots::{Snapshot, Snapshots};
use super::tree::{make_directory, walk_error};

/// Which files of a directory are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// These files, and everything below these directories, as paths relative to the directory. Each must exist.
    Only(Vec<PathBuf>),
}

/// A file or directory of the machine and its place in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyIn {
    /// A file, or a directory whose content is wanted; a symbolic link here is followed, below here it is copied.
    pub source: PathBuf,
    /// Where it goes, relative to the root of the snapshot; empty for the root itself.
    pub destination: PathBuf,
    /// Which files of a directory are wanted.
    pub filter: Filter,
}

/// A place that two people's clones of one repository agree on, whatever their umasks.
const DIRECTORY: u32 = 0o755;
const PROGRAM: u32 = 0o755;
const PLAIN: u32 = 0o644;

impl Snapshots {
    /// Copies files of the machine into a new snapshot, the later ones over the earlier.
    ///
    /// Owners become 0:0 and modes 0755 or 0644, so that equal files give equal digests on every machine.
    ///
    /// # Errors
    /// `Source` for paths that leave their directory, and for devices, pipes and sockets; `Io`, `Layer`, `Store`.
    pub fn copy_in(&self, copies: &[CopyIn]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare(None)?;
        let root = active.path();
        set_mode(&root, DIRECTORY)?;
        for copy in copies {
            plain(&copy.destination)?;
            let target = root.join(&copy.destination);
            let source = copy.source.canonicalize().map_err(SnapshotError::io("find", &copy.source))?;
            parents(&root, &copy.destination)?;
            if !source.is_dir() {
                copy_file(&source, &target)?;
                continue;
            }
            directory(&target)?;
            match &copy.filter {
                Filter::All => copy_tree(&source, &target)?,
                Filter::Only(wanted) => {
                    for path in wanted {
                        plain(path)?;
                        through_directories(&source, path)?;
                        parents(&target, path)?;
                        copy_tree(&source.join(path), &target.join(path))?;
                    }
                }
            }
        }
        active.commit()
    }
}

fn plain(path: &Path) -> Result<(), SnapshotError> {
    if path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    Err(SnapshotError::Source { path: path.to_owned(), reason: "the path must be relative, without `.` and `..`" })
}

/// Refuses a path below `root` that leads through a symbolic link, which could lead anywhere.
fn through_directories(root: &Path, path: &Path) -> Result<(), SnapshotError> {
    for above in path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()) {
        let full = root.join(above);
        let metadata = fs::symlink_metadata(&full).map_err(SnapshotError::io("examine", &full))?;
        if !metadata.is_dir() {
            return Err(SnapshotError::Source { path: full, reason: "it is not a directory itself" });
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
            return Err(SnapshotError::Source { path: path.to_owned(), reason: "it is a device, a pipe or a socket" });
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
        return Err(SnapshotError::Source { path: source.to_owned(), reason: "it is a device, a pipe or a socket" });
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
