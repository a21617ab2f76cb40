//! Why a table could not be made at all.

use std::io;
use std::path::{Path, PathBuf};

use super::super::prove::ProofError;
use crate::sandbox::SandboxError;
use crate::source::SourceError;
use crate::store::StoreError;

/// Why trials could not be made; a trial that fails is a row of its table.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    /// The tarball or a file of ours.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// A root filesystem's list or lock is wrong.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tarball whose description lacks what trials need.
    #[error("`{}` has no opt/python/PYTHON.json that tells {what}", path.display())]
    Description {
        /// The tarball.
        path: PathBuf,
        /// What it does not tell.
        what: &'static str,
    },
    /// A list of packages says nonsense.
    #[error("the list of packages: {why}")]
    List {
        /// What is wrong, with the operand.
        why: String,
    },
    /// A name that was asked for is none.
    #[error("there is no {what} `{name}`: {}", known.join(", "))]
    Unknown {
        /// root, package
        what: &'static str,
        /// The name.
        name: String,
        /// Those there are.
        known: Vec<String>,
    },
}

impl From<SandboxError> for TrialError {
    fn from(error: SandboxError) -> Self {
        Self::Proof(error.into())
    }
}

impl TrialError {
    /// Returns what makes an error of one act on one path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Proof(ProofError::Io { action, path, source })
    }
}
