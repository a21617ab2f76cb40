//! Why the suite could not be run or judged.

use std::io;
use std::path::{Path, PathBuf};

use super::super::prove::ProofError;
use crate::source::SourceError;

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The tarball is no `-full` one.
    #[error("`{}` has no tests inside: CPython's test suite is in the -full tarball", path.display())]
    NoTests {
        /// The tarball.
        path: PathBuf,
    },
    /// A list of expected failures is wrong.
    #[error("`{}`: {message}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
    /// There is no root filesystem to run in.
    #[error("there is no rootfs/{name}.lock to run the suite in")]
    NoRoot {
        /// Name and architecture.
        name: String,
    },
    /// The runner ended before it had run all files.
    #[error("the test suite did not come to its end: {ended}: {said}")]
    Broken {
        /// How it ended.
        ended: String,
        /// Its last lines.
        said: String,
    },
    /// The tarball or the sandbox.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The root filesystem cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl SuiteError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| ProofError::Io { action, path, source }.into()
    }
}
