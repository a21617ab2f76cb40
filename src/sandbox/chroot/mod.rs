//! A step without namespaces and mounts, for root in an ordinary container: a tree put together by copies and renames,
//! `chroot(2)`, and what the kernel lets anybody forbid himself (`landlock(7)`, `seccomp(2)`, `capabilities(7)`).
//!
//! ```text
//! ground ...... where roots are put together; copies of read-only roots that wait for the next step
//! replica ..... such a copy, and whether a step has left it as it was
//! assembly .... the plan of a step done with renames instead of mounts, and taken apart again
//! cover ....... one tree in the place of another: as a mount would be, but for everybody to see
//! furniture ... what a system's own mounts hold: /dev, /proc
//! links ....... files that are to belong to one tree only
//! steps ....... which acts of a plan are done how
//! guard ....... the process that starts the program and ends everything it started
//! attempt ..... whether this can be done here
//! ```
//!
//! What always holds: the step sees copies of what it may not change, because root can write wherever it can look; what
//! it may change is moved in and out again. Nothing of the container outside the store is ever written to. Whatever the
//! step did to the place of a mount, what was mounted there goes back to where it came from.
//!
//! What is missing compared with namespaces is said in `docs/isolation.md`.

mod assembly;
mod attempt;
mod cover;
mod furniture;
mod ground;
mod guard;
mod links;
mod replica;
mod steps;

pub(super) use assembly::Assembly;
pub(super) use attempt::attempt;
pub use ground::CopyTree;
pub(super) use ground::Ground;
pub(super) use guard::{Base, guard};
pub(super) use steps::{assembled, programs};
