//! What can go wrong while room is counted and made.

use std::io;
use std::path::PathBuf;

use crate::image::ImageError;
use crate::snapshot::SnapshotError;
use crate::store::StoreError;

/// Why room was not counted, or not all of it made.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tree could not be read or removed.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// An image could not be followed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file could not be looked at.
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
