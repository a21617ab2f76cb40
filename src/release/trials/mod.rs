//! `dockless test --roots` and `--packages`: a release in the places and with the packages of real life.
//!
//! ```text
//! tree ...... a tarball, unpacked; steps that run its Python
//! roots ..... root filesystems × aspects (roots.py)        empty, busybox, Debian's, and what matters of others
//! packages .. packages × installers and environments (packages.py, packages.toml)
//! trial ..... one cell of such a table; what scripts report
//! ```
//!
//! What always holds: a script runs in our sandbox by the Python under test, one process a subject, so that a crash is a
//! cell and not the end. What cannot be tried here (no mirror, no index, no apt) is a cell that says so. Only what installs
//! packages reaches the network, with the machine's own configuration of pip; what uses them does not.
//!
//! Why not in every `dockless test`: these want a mirror and an index, and take minutes.

mod error;
mod packages;
mod roots;
mod tree;
mod trial;

pub use error::TrialError;
pub use packages::{Machine, packages};
pub use roots::{Supplies, roots};
pub use trial::{Trial, Trials, Verdict};
