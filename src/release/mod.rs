//! The matrix becomes a release.
//!
//! ```text
//! matrix ......... which variant is worked on, and who stops whom
//! variant ........ one variant: built, packed, described      recorder: what was done for it
//! room ........... how much room a run will need
//! prove, proven .. tests of a tarball, and those that it passed before
//! product ........ what came of a variant: facts (facts.rs) and files
//! join ........... directories of a stage, read
//! assemble ....... products become a directory of a stage, of a release, or of what failed
//! output ......... written beside, checked, renamed once
//! ```
//!
//! A tarball is made once per tree: it is kept in the store as a blob under the content of the tree, tested there, and
//! only then part of a product. So `dist/` never holds a tarball that was not tested, and never a part of a release.
//!
//! Stages are the same steps with directories in between, so that each may run on a machine of its own: the builder writes
//! down what only it knows (provenance, SBOMs, steps), and later stages add to it and change nothing.

mod archive;
mod assemble;
mod elf;
mod facts;
mod join;
mod matrix;
mod output;
mod package;
mod product;
mod prove;
mod proven;
mod recorder;
mod room;
mod sizes;
mod suite;
mod testing;
mod trials;
mod variant;

pub use assemble::{AssembleError, Words, failed, forget_failed, release, stage};

pub use join::{JoinError, all_tested, join};

pub use matrix::{Ended, Pace, each};

pub use output::OutputError;

pub use product::{Bytes, Product};

pub use proven::{ProveError, prove_and_remember, proven, remember_suite, tests};

pub use testing::Tester;

pub use variant::{Built, Cell, Maker, VariantError};

pub use prove::{Outcome, Proof, ProofError, Row, edition, prove};

pub use sizes::{Part, Sizes};

pub use trials::{Machine, Supplies, Trial, TrialError, Trials, Verdict, packages, roots};

pub use package::{Artifact, ReleaseError, Variant, package};

pub use suite::{Expectation, Expectations, FileReport, Place, Report, Suite, SuiteError, judge, suite, unexpected};
