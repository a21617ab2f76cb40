//! What goes wrong with trees on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::LayerError;
use crate::store::StoreError;

/// A snapshot that could not be made, found or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// An id that cannot be a directory's name.
    #[error("`{id}` cannot name a snapshot: use 1 to 128 letters, digits and `-`")]
    Id {
        /// The id as given.
        id: String,
    },
    /// A pattern of a local source is not one of those we understand.
    #[error("include pattern `{pattern}` is not a plain path inside the directory")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// A local directory has something that cannot be an input.
    #[error("`{}` is neither a file, a directory nor a symbolic link", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// An include pattern leads through a symbolic link, which could lead anywhere.
    #[error("`{}` is on the way to an included file, but it is not a directory itself", path.display())]
    Detour {
        /// The link.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer did not unpack, or a tree could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl SnapshotError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(
                "free room on the disk (`dockless cache prune`), or put the store elsewhere with --store DIR"
                    .to_owned(),
            ),
            Self::Pattern { .. } => Some("name files and directories; wildcards are not supported yet".to_owned()),
            Self::Detour { .. } => Some("include the place that the link points to".to_owned()),
            _ => None,
        }
    }

    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
