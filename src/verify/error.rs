//! Why something could not be verified at all.

use std::io;
use std::path::{Path, PathBuf};

use crate::dist::DistError;
use crate::layer::LayerError;
use crate::sign::SignError;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is no release directory.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// Signatures could not be looked at.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// It is no archive.
    #[error("`{}` is not a release tarball", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<LayerError>,
    },
    /// What a tree says of itself makes no sense.
    #[error("`{}`: PYTHON.json: {why}", path.display())]
    Description {
        /// The tarball.
        path: PathBuf,
        /// What is wrong.
        why: String,
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
    /// There is nothing to build it again by.
    #[error("`{}` cannot be built again: {why}", path.display())]
    NoRecipe {
        /// The tarball.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl VerifyError {
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether what was given is no release, rather than the machine unable.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Dist(error) => error.is_input(),
            Self::Sign(error) => !error.is_machine(),
            Self::Archive { source, .. } => {
                !matches!(**source, LayerError::Read { ref source } if source.raw_os_error().is_some())
            }
            Self::Description { .. } | Self::NoRecipe { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        }
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Dist(error) => error.help(),
            Self::Sign(error) => error.help(),
            Self::Archive { .. } | Self::Description { .. } => Some("name a tarball that `dockless release` made"),
            Self::NoRecipe { .. } => Some("provenance (.intoto.jsonl) beside the tarball says how it was made"),
            Self::Io { .. } => None,
        }
    }
}
