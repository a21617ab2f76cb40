//! BuildKit's daemon, as its clients see it: one connection, the control API, and a session that serves what it asks for.
//!
//! ```text
//! address   where a daemon is: unix, tcp, ssh, docker, kube-pod
//! dial      a connection to it, with TLS where it is asked for
//! daemon    Control.Info, ListWorkers, Solve, Status; what it can do
//! session   what it may have of us (its own header)
//! message   the words on the wire
//! ```
//!
//! What always holds: everything runs on the caller's runtime and ends with the values here; nothing of a daemon is
//! trusted with a path, a size or a digest; a connection that breaks is told apart from a solve that fails, because only
//! the first is worth another daemon.
//!
//! Why not a client of others: see docs/dependencies.md.

mod address;
mod daemon;
mod dial;
mod error;
pub mod message;
mod session;

pub use address::{Address, AddressError};
pub use daemon::{Cache, CacheKind, Daemon, Export, Facts, Job, Solving};
pub use dial::{Dialer, Tls};
pub use error::BuildKitError;
pub use session::{Demand, Offer, Received, Shared};
