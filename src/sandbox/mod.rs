//! One step in its own namespaces: planned as a value, set up by its own init, gone with it.
//!
//! ```text
//! builder (any thread)      guard                 process 1              program
//!   run ── /proc/self/exe ─> unshare user, pid
//!       <─ plan, id maps ──> fork ──────────────> unshare the rest,
//!                                                 mount, pivot, fork ──> session, limits, capabilities, exec
//!       <══ one pipe: standard output and error of the program ══════════
//!       <── one socket: failures of the setup, the program's end, and by closing it, the builder's end
//! ```
//!
//! What always holds: a failing program is an [`Exit`], a failing setup a [`SandboxError`] that names the act, its
//! operand and the way out. When [`run`] returns, no process and no mount of the step is left; the same when the
//! builder is killed, because the guard sees its socket close and the kernel kills a PID namespace with its process 1.
//! The program lives in a user namespace nested in the builder's and has of the builder's descriptors and environment
//! only what [`Step`] names.
//!
//! Surroundings: [`Step::new`] gives what BuildKit gives to an `ExecOp` (`ops.proto ExecOp`, `executor/oci` and the
//! runtime's defaults): the user of the root's own `/etc/passwd`, a `HOME` and a `PATH`, the working directory, generated
//! `/etc/hosts` and `/etc/resolv.conf`, `/proc`, `/dev` with `pts`, `shm` (64 MiB) and `mqueue`, `/sys`; the capabilities
//! that Docker gives by default, set-uid programs that work. [`Step::bare`] gives our recipes next to nothing of that,
//! because all of it is a way in for the machine. Mount points that had to be made are removed again.
//!
//! Ids: root and users with a range (`subuid(5)`) give the step all their ids. Where one id only exists, every file
//! is the user's: `chown` to another id fails in a step with `EINVAL`, no other user can be become, and unpacked files
//! show no other owner.
//!
//! Where there are no namespaces for root, as in ordinary containers, [`settle`] chooses a changed root instead, which
//! [`Launcher::in_chroot`] runs steps in: `chroot/mod.rs`, `docs/isolation.md`.
//!
//! What is not protected: there is no seccomp filter, no limit of memory or processes without a [`Step::group`], and
//! with [`Network::Host`] a step reaches abstract sockets of the machine. A step that keeps a shared file of its mounts
//! busy slows others.
//!
//! What is not done: a parent group that a graph names (`ops.proto Meta.cgroupParent`), which is the caller's to choose
//! by starting the builder in it (`cgroup`). Loop devices; CDI devices; control groups of version 1 below `/sys`.
//!
//! Cost: about four milliseconds a step, spread over a new process, six namespaces and some thirty mounts. Files of ours
//! lie on one memory file system that the root needs anyway, masks are clones of one empty directory, overlays are
//! volatile: what a step wrote is not forced to disk when its mount ends.
//!
//! Why not fork from the builder: it has threads, and the child of a threaded process may not even allocate. Why not
//! a runtime such as runc: it wants cgroups that an ordinary user does not have, and its own bundle on disk. Why
//! [`enter`] does not execute the command anew: `unshare` wants a single thread, which a young process is.

mod agent;
mod calls;
mod chroot;
mod confine;
mod end;
mod enter;
mod error;
mod filter;
mod init;
mod inside;
mod launch;
mod life;
mod message;
mod mount;
mod op;
mod patchwork;
mod plan;
mod probe;
mod program;
mod rung;
mod sealed;
mod setup;
mod stage;
mod step;
mod stub;
mod tried;
mod user;

pub use agent::AgentSocket;
pub use chroot::CopyTree;
pub use end::{Cancel, Exit, Outcome};
pub use enter::{Entered, Ids, enter};
pub use error::{Fault, SandboxError};
pub use init::init;
pub use launch::{Launcher, run};
pub use life::{Life, life};
pub use mount::{Mount, Secret, StepMount};
pub use op::{Content, SetupOp};
pub use plan::{GENERATED, plan};
pub use probe::{Chroot, Probe, Trials, probe};
pub use rung::{Isolation, Rung, Settled, settle};
pub use step::{Network, Security, Step, Ulimit};
pub use tried::tried_ids;
pub use user::{Identity, find as find_user};
