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
//! The program is uid 0 of a user namespace nested in the builder's, with the capabilities that Docker gives by
//! default, no way to more, and of the builder's descriptors and environment only what [`Step`] names.
//!
//! Ids: root and users with a range (`subuid(5)`) give the step all their ids. Where one id only exists, every file
//! is the user's: `chown` to another id fails in a step with `EINVAL`, and unpacked files show no other owner.
//!
//! What is not protected: there is no seccomp filter, no limit of memory or processes, and with [`Network::Host`] a
//! step reaches abstract sockets of the machine. A step that keeps a shared file of its mounts busy slows others.
//!
//! Why not fork from the builder: it has threads, and the child of a threaded process may not even allocate. Why not
//! a runtime such as runc: it wants cgroups that an ordinary user does not have, and its own bundle on disk. Why
//! [`enter`] does not execute the command anew: `unshare` wants a single thread, which a young process is.

mod agent;
mod end;
mod enter;
mod error;
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
mod setup;
mod stage;
mod step;
mod stub;
mod user;

pub use agent::AgentSocket;
pub use end::{Cancel, Exit, Outcome};
pub use enter::{Entered, Ids, enter};
pub use error::{Fault, SandboxError};
pub use init::init;
pub use launch::{Launcher, run};
pub use life::{Life, life};
pub use mount::{Mount, Secret, StepMount};
pub use op::{Content, SetupOp};
pub use plan::plan;
pub use probe::{Probe, Trials, probe};
pub use step::{Network, Security, Step, Ulimit};
