//! All that can end a build, for whoever tells the user.

use std::path::PathBuf;

use crate::buildkit::BuildKitError;
use crate::engine::EngineError;
use crate::export::ExportError;
use crate::recipe::RecipeError;
use crate::solver::SolveError;
use crate::source::SourceError;

/// Why there is no artifact.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A recipe, lock or request is wrong.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// The graph was not solved.
    #[error(transparent)]
    Engine(#[from] SolveError),
    /// A daemon did not solve the graph.
    #[error(transparent)]
    BuildKit(#[from] BuildKitError),
    /// The result could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A source could not be fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is no project here.
    #[error("`{}` has no recipes/ directory", path.display())]
    NoProject {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file of the project cannot be read.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Solve(error) => error.into(),
            EngineError::BuildKit(error) => error.into(),
        }
    }
}
