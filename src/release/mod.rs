//! From a built tree to `dist/`.
//!
//! ```text
//! dist/release-3.11-x86_64.tar.gz          opt/python/…; owner 0:0, sorted, one time, same bytes every time
//! dist/release-3.11-x86_64.tar.gz.sha256   `sha256sum -c` format
//! ```
//!
//! A tarball is made once per tree: it is kept in the store as a blob under the content of the tree, tested there, and
//! only then put into `dist/` by rename, tarball first and checksum last. So `dist/` never holds a tarball that was not
//! tested, nor a checksum without its tarball.

mod archive;
mod elf;
mod package;
mod prove;
mod sizes;
mod suite;
mod trials;

pub use prove::{Outcome, Proof, ProofError, Row, edition, prove};

pub use sizes::{Part, Sizes};

pub use trials::{Machine, Supplies, Trial, TrialError, Trials, Verdict, packages, roots};

pub use package::{Artifact, ReleaseError, Variant, package};

pub use suite::{Expectation, Expectations, FileReport, Place, Report, Suite, SuiteError, judge, suite, unexpected};
