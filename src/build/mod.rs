//! The corridor: one build is recipe -> graph -> tree -> artifact.
//!
//! [`Project`] reads the files that recipes, locks and root filesystems are; everything after that is a value until
//! the engine solves it.

mod corridor;
mod error;
mod project;

pub use corridor::{Built, Corridor, inputs, pinned, say};
pub use error::BuildError;
pub use project::{Project, SETS};
