//! Why a tree is not there.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::LayerError;
use crate::store::StoreError;

/// A tree could not be made, kept or found.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A layer could not be unpacked, or a tree not read for its digest.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The pattern of a local source is not one of those we understand.
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
    /// A file could not be used.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl SnapshotError {
    /// Makes the closure for `map_err` that adds what was tried on what.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free room on the disk, or put the store elsewhere with --store DIR".to_owned())
            }
            Self::Pattern { .. } => Some("name files and directories; wildcards are not supported yet".to_owned()),
            _ => None,
        }
    }
}
