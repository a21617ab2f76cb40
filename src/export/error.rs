//! What can go wrong on the way out.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::LayerError;
use crate::oci::Digest;
use crate::store::StoreError;

/// Why an artifact could not be made. Nothing is left at the destination.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The tree cannot be packed.
    #[error("failed to pack `{}`", tree.display())]
    Pack {
        /// The tree.
        tree: PathBuf,
        /// Why not.
        source: LayerError,
    },
    /// The tree cannot be copied out.
    #[error("failed to copy `{}` to `{}`", tree.display(), destination.display())]
    Copy {
        /// The tree.
        tree: PathBuf,
        /// Where it should go.
        destination: PathBuf,
        /// Why not.
        source: LayerError,
    },
    /// A directory with files in it is in the way.
    #[error("`{}` is there and not empty: remove it or choose another destination", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// A destination that names no file, such as `/` or `..`.
    #[error("`{}` is no place for an artifact: name a file or a new directory", path.display())]
    Destination {
        /// The destination as given.
        path: PathBuf,
    },
    /// The store cannot take or give something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer's bytes are not those that it was taken in with.
    #[error("`{}` is not the layer {digest} any more: remove it and build again", path.display())]
    Damaged {
        /// The layer's file.
        path: PathBuf,
        /// What it should hold.
        digest: Digest,
    },
    /// A front end's config is none.
    #[error("the config of the image is wrong: `{what}` must be {wanted}")]
    Config {
        /// Where.
        what: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// Docker's documents cannot say it.
    #[error("docker's media types know no {what}: leave `oci-mediatypes=false` out")]
    MediaTypes {
        /// What.
        what: &'static str,
    },
    /// The run was asked to end.
    #[error("stopped before the export was finished")]
    Stopped,
    /// The epoch is no date.
    #[error("epoch {epoch} is no date that an image can carry: use seconds since 1970 before the year 9999")]
    Epoch {
        /// Seconds since 1970.
        epoch: u64,
    },
    /// The image's name cannot be one.
    #[error("`{name}` cannot name an image: write it like `python:3.11`, in lower case")]
    ImageName {
        /// The name as given.
        name: String,
    },
}

impl ExportError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
