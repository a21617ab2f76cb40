//! Who solves a graph. An engine knows nothing of Python, recipes or releases: graph in, tree in the store out.
//!
//! [`Embedded`] works the graph off in this process. A remote BuildKit will be the second implementation; both end at
//! the store, so that `export` and `release` never learn who built.

mod embedded;

pub use embedded::{Embedded, Engine, EngineError, Part};
