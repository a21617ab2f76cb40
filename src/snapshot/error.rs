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
    /// A path to copy in, or its destination, is not plain.
    #[error("`{}` cannot be copied in: {reason}", path.display())]
    Source {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: &'static str,
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
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
