//! Where bytes come from: pinned files by HTTP and from directories, and root filesystems made of packages.
//!
//! What always holds: nothing enters the store that a lock did not name by digest; everything fetched can be had
//! from a directory instead (`--source-dir`), and `--offline` never opens a socket. Origins are data (`Origins`):
//! this module reads no environment and no clock, but pauses and timeouts.
//!
//! ```text
//! fetch  ......... a pin to a blob: the store, directories, origins in order, retries
//! http ........... one transfer, resumable; tokio and reqwest live here and nowhere else; headers are read apart
//! partial ........ what has come of a file, on disk between runs
//! origin ......... pins, mirrors, proxies, patience
//! rootfs ......... packages -> one image in the store
//! apt ............ this machine's mirrors and its resolver
//! lock ........... `dockless lock` for root filesystems
//! ```
//!
//! Why not trust TLS or a mirror's signature instead: a digest in a lock is reviewed once, serves every origin alike,
//! and a plain mirror next door is as good as any.

mod apt;
mod error;
mod fetch;
mod headers;
mod http;
mod lock;
mod origin;
mod partial;
mod reason;
mod rootfs;
mod wait;

pub use apt::{host_mirrors, host_sources};
pub use error::SourceError;
pub use fetch::{LARGEST, PARALLEL, fetch, fetch_all};
pub use lock::{read_rootfs, update_rootfs};
pub use origin::{Origins, Patience, Pinned, Proxies, Stop};
pub use reason::{Reason, Tried};
pub use rootfs::{Assembled, assemble, reproduce, tag};
