//! Who solves a graph. An engine knows nothing of Python, recipes or releases: graph in, tree in the store out.
//!
//! [`Embedded`] works the graph off in this process; [`BuildKit`] has a daemon do it, or one of several. Both end at the
//! store, so that `export` and `release` never learn who built.

mod buildkit;
mod embedded;
mod error;

pub use buildkit::{BuildKit, Daemons, adapted};
pub use embedded::{Embedded, Engine, Part};
pub use error::EngineError;
