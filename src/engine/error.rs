//! Why a graph was not solved, whoever was asked.

use crate::buildkit::BuildKitError;
use crate::snapshot::SnapshotError;
use crate::solver::SolveError;
use crate::store::StoreError;

/// Why an engine did not solve a graph. A step that fails is `SolveError::Step` for every engine, one that was stopped
/// `SolveError::Cancelled`.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// In this process, or in the words of it.
    #[error(transparent)]
    Solve(#[from] SolveError),
    /// At a daemon.
    #[error(transparent)]
    BuildKit(#[from] BuildKitError),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Solve(error.into())
    }
}

impl EngineError {
    /// A failure to keep the result of the vertex `name`.
    pub(super) fn snapshot(name: &str) -> impl Fn(SnapshotError) -> Self {
        let name = name.to_owned();
        move |source| Self::Solve(SolveError::Snapshot { name: name.clone(), source: Box::new(source) })
    }
}
