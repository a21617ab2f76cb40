//! `dockless test --suite`: CPython's own test suite, run by a finished tree.
//!
//! ```text
//! run ....... the -full tarball in a locked root filesystem of Debian, as an ordinary user   suite.py: a file at a time
//! report .... what suite.py says of a file
//! expected .. tests/cpython/expected-3.X.toml: what fails, where, and why
//! judge ..... the two compared: rows
//! sibling ... the tarball that people get beside the -full one: the same interpreter, no tests
//! ```
//!
//! What always holds: whatever fails and is in no list fails the gate by its name; whatever is in a list and does not exist
//! fails it, too; what is in a list and passes is noticed.

mod error;
mod expected;
mod judge;
mod report;
mod run;
mod sibling;

pub use error::SuiteError;
pub use expected::{Expectation, Expectations};
pub use judge::{judge, unexpected};
pub use report::{FileReport, Report};
pub use run::{Place, Suite, suite};
