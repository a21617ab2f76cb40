//! `dockless doctor`: what this machine can do, what is missing, and the command that mends it.
//!
//! ```text
//! facts ....... what was found out, as plain data
//! gather ...... finds it out
//! i386 ........ executes a program of 32-bit x86
//! mirror ...... asks a Debian mirror whether it is there
//! diagnosis ... judges facts, all of them pure, with the rows of each in
//!   container   who may loosen what is around us
//!   namespaces  user namespaces and what forbids them
//!   ids         subordinate ids
//!   place       file systems
//!   groups      limits of steps
//!   kernel      what it offers, open files, the clock
//!   reach       registries
//!   rung        which way of running steps would be taken
//! render ...... the table for people, JSON for programs
//! ```
//!
//! What always holds: nothing on the machine is changed, and the store is not created; a question that cannot be answered is told as such and never
//! guessed; only what makes a build impossible makes the exit code 3. What was probed for real (user namespaces,
//! overlay) outweighs what the kernel's switches say about it.

mod container;
mod diagnosis;
mod facts;
mod finding;
mod gather;
mod groups;
mod i386;
mod ids;
mod kernel;
mod mirror;
mod namespaces;
mod place;
mod reach;
mod render;
mod rung;

pub use container::Container;
pub use diagnosis::{can_build, diagnose};
pub use facts::{Answer, Facts, Memory};
pub use finding::{Finding, State};
pub use gather::{Surroundings, gather};
pub use groups::Delegation;
pub use ids::{Grants, Ids, Tool};
pub use kernel::{Clock, Descriptors, Offers};
pub use place::Disk;
pub use render::{json, table};
