//! What can be wrong with a cache.

use std::io;
use std::path::{Path, PathBuf};

use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why a cache was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The config makes no sense.
    #[error("it is no cache of dockless: {reason}")]
    Config {
        /// What is wrong with it.
        reason: String,
    },
    /// The directory holds something else.
    #[error("`{}` {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More than a cache may have.
    #[error("{what} has more than {most} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The bound.
        most: u64,
    },
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
    /// A blob or a manifest could not be had or given.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store for what travels failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CacheError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Returns an error with its causes in one line, for notes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
