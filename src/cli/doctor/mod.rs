//! `dockless doctor`: what this machine can do, what is missing, and the command that mends it.
//!
//! ```text
//! facts ....... what was found out, as plain data
//! gather ...... finds it out
//! i386 ........ executes a program of 32-bit x86
//! mirror ...... asks a Debian mirror whether it is there
//! diagnosis ... judges facts; pure
//! rung ........ which way of running steps would be taken
//! render ...... the table for people, JSON for programs
//! ```
//!
//! What always holds: nothing on the machine is changed, and the store is not created; a question that cannot be answered is told as such and never
//! guessed; only what makes a build impossible makes the exit code 3. What was probed for real (user namespaces,
//! overlay) outweighs what the kernel's switches say about it.

mod diagnosis;
mod facts;
mod gather;
mod i386;
mod mirror;
mod render;
mod rung;

pub use diagnosis::{Finding, State, can_build, diagnose};
pub use facts::{Disk, Facts, Memory, MirrorAnswer};
pub use gather::{Surroundings, gather};
pub use render::{json, table};
