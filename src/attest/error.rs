//! Why a tree cannot be described.

use std::io;
use std::path::PathBuf;

/// What is wrong with the files of a tree. Paths are relative to its root.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// A database of packages says something that it cannot mean.
    #[error("`{}` is no database of packages: line {line}: {why}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Something is larger than anything honest.
    #[error("`{}` has more than {limit} {what}", path.display())]
    TooLarge {
        /// The file or directory.
        path: PathBuf,
        /// What is counted.
        what: &'static str,
        /// How many may be.
        limit: u64,
    },
    /// The tree could not be read.
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

impl AttestError {
    /// Returns the way out, where one is known.
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::Database { .. } | Self::TooLarge { .. } => {
                Some("mend the image, or build without --sbom: a list that leaves packages out would be none")
            }
            Self::Io { .. } => None,
        }
    }
}
