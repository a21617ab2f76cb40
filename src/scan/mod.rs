//! What scanners say of a release: SBOMs, unpacked trees, the repository.
//!
//! ```text
//! scanner ........ the programs that we know, what each can look at, and its command line
//! run ............ runs them, one after the other, with a bound on time and output
//! sarif .......... what they found, in one document (SARIF 2.1.0), and how severe it is
//! ```
//!
//! What always holds: a scanner that fails is told and counts as a failure, for silence is no clean bill; a severity that
//! a scanner does not give is taken from its level; findings are ordered, so that equal scans give equal documents (but
//! for what databases learn meanwhile).

mod error;
mod run;
mod sarif;
mod scanner;

pub use error::ScanError;
pub use run::{Scanned, scan};
pub use sarif::{Finding, Severity, findings, merge};
pub use scanner::{Limits, SCANNERS, Scanner, Subject, installed};
