//! Control groups: what a step may use of the machine, where the kernel lets us say so.
//!
//! ```text
//! <own>/dockless-<pid>/          the group of a run, locked (flock(2)) while the run lives
//! <own>/dockless-<pid>/builder   version 2: the builder itself, where it had to make room
//! <own>/dockless-<pid>/step-<n>  a step, with its limits
//! ```
//!
//! What always holds: groups are made below the one that the builder was started in and nowhere else, so that whatever
//! limits the builder limits its steps; a group whose run is gone is nobody's, and the next run removes it; what was
//! not asked for is not touched: without a limit there is no group. A limit that cannot be set is an error with the
//! way out, never a guess.
//!
//! Version 2 (`cgroup-v2.rst`): the group must be delegated (`systemd.resource-control(5)`, `Delegate=`). Processes live
//! in leaves only, so the builder moves itself into one when it is alone in its group, and back at its end; killed, it
//! leaves that to whoever made its group, as systemd does, which removes a scope with all that is in it. Version 1
//! (`cgroup-v1/cgroups.rst`): one tree a controller, writable for root. With both, each controller is where it is.
//!
//! Why not ask systemd for a scope over its bus, as container engines do: that is a protocol and a daemon, and
//! `systemd-run --user --scope -p Delegate=yes dockless …` says the same in one line, which the error does.
//! Why the run's group is locked and not merely named by its process: ids are used again, and mean nothing in the
//! next PID namespace.

mod error;
mod group;
mod groups;
mod limits;
mod place;

pub use error::{CgroupError, Lack};
pub use group::{Group, Met};
pub use groups::{Groups, delegated, remove_left};
pub use limits::{Cpus, LEAST_MEMORY, Limits, parse_size, size};
pub use place::{Controller, Place, Version};
