//! `dockless release`: its options, what is told of the matrix, and where its failures go.
//!
//! ```text
//! args ........ options and stages            plan ..... cells, names, profiles: all that is refused early
//! build ....... the matrix, built and tested  stages ... directories of a stage, taken on
//! finish ...... what came of it: a directory, a report, an exit code
//! ```

mod args;
mod build;
mod finish;
mod plan;
mod stages;

pub(super) use args::{EXAMPLES, Release, StageArg};
pub(super) use build::build;
pub(super) use stages::{join, test};
