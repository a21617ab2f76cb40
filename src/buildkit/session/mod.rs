//! What we serve to a daemon while it solves: HTTP/2 with the roles exchanged, inside a call of ours.
//!
//! ```text
//! Control.Session  ──►  tunnel: pieces of bytes ◄─► HTTP/2, on which the daemon is the client
//!   FileSync.DiffCopy          files          directories of the user, filtered (fsutil `Send`)
//!   Content.Info, Read, Write  content        blobs that the graph names, local caches, and what comes back
//!   FileSend.DiffCopy          archive        what comes back of daemons that cannot send layers
//!   Secrets.GetSecret          secrets        secrets that the user gave
//!   SSH.ForwardAgent           agent          agents that the user gave
//!   Auth.FetchToken, …         tokens         tokens of registries, got here: passwords never leave the machine
//!   Health.Check               (service)      that we are alive
//! ```
//!
//! What always holds: only what an [`Offer`] names is given; a daemon that asks for more is told so and learns nothing of
//! what is there.

mod agent;
mod archive;
mod content;
mod files;
pub(super) mod layout;
mod offer;
mod service;
mod tokens;
mod tunnel;

pub use archive::Received;
pub use offer::{Demand, Offer, Shared};
pub(super) use service::Session;
