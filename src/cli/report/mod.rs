//! How a command ends when it does not end well.
//!
//! ```text
//! error: `zlib` failed: exit status 2
//!   ╭─[recipes/zlib.toml:4:10]      the place in a file that a person wrote, where there is one
//!   …
//!   cause: …                        from the outside in
//!   last 20 lines of its output:    of a failed step
//!   │ …
//!   whole log: …
//! help: …                           the way out
//! ```
//!
//! What always holds: a report goes to standard error in one write; the exit code tells whose turn it is
//! ([`Exit`]); text that others wrote (output, file contents, names) cannot drive the terminal. A panic is a report
//! too: it says that the fault is ours and how to tell us. A closed standard output is no error.

mod failure;
mod panic;
mod picture;
mod stdout;

pub use failure::{Exit, Report, SourcePicture};
pub use panic::install as install_panic_report;
pub use stdout::{Printed, print};
