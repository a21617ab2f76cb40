//! The upper layer of an overlay becomes part of a whole tree (`overlayfs.rst`).

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use walkdir::WalkDir;

use super::error::SnapshotError;
use super::tree::{OVERLAY, attribute_names, dress, make_directory, walk_error};
use crate::store::remove_tree;

/// Marks a directory that hides the one below it; `y` as value.
const OPAQUE: &str = "user.overlay.opaque";

/// Moves what `upper` holds over the tree in `to`, deleting there what it has deleted.
pub(super) fn apply(upper: &Path, to: &Path) -> Result<(), SnapshotError> {
    let mut directories = Vec::new();
    // Sorted, each directory is read before its files are moved away.
    for entry in WalkDir::new(upper).sort_by_file_name() {
        let entry = entry.map_err(|error| walk_error(error, upper))?;
        let source = entry.path();
        let target = to.join(source.strip_prefix(upper).unwrap_or(source));
        let metadata = fs::symlink_metadata(source).map_err(SnapshotError::io("examine", source))?;
        let replace = || remove_tree(&target).map_err(SnapshotError::io("replace", &target));
        if metadata.is_dir() {
            if is_opaque(source) {
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
        if metadata.is_file() {
            forget(source)?;
        }
        fs::rename(source, &target).map_err(SnapshotError::io("move", source))?;
    }
    dress(&directories)
}

fn is_opaque(directory: &Path) -> bool {
    let mut value = [0; 4];
    rustix::fs::lgetxattr(directory, OPAQUE, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

/// Takes overlay's own attributes off a file.
fn forget(file: &Path) -> Result<(), SnapshotError> {
    for name in attribute_names(file)?.iter().filter(|name| name.starts_with(OVERLAY)) {
        rustix::fs::lremovexattr(file, name.as_slice())
            .map_err(|errno| SnapshotError::io("clean attributes of", file)(errno.into()))?;
    }
    Ok(())
}
