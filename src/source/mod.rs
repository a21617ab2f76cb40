//! Where bytes come from: pinned files by HTTP and from directories, root filesystems made of packages, and whatever
//! else a source operation of LLB may name (images: `registry`).
//!
//! What always holds: nothing that a lock names enters the store under another digest; every pinned file can be had
//! from a directory instead (`--source-dir`), and `--offline` never opens a socket. Origins are data (`Origins`):
//! this module reads no environment and no clock, but pauses and timeouts. Names, modes and addresses from outside are
//! made harmless here.
//!
//! ```text
//! identifier ..... what a source operation names
//! fetch  ......... a pin to a blob: the store, directories, origins in order, retries
//! http ........... one transfer, resumable; headers are read apart
//! partial ........ what has come of a file, on disk between runs
//! origin ......... pins, mirrors, proxies, patience
//! rootfs ......... packages -> one image in the store; base: one of a registry instead
//! apt ............ this machine's mirrors and its resolver
//! download ....... one file of any address, revalidated; filename: what it is called
//! git ............ a repository at a commit, by the machine's `git`
//! local .......... a user's directory, by value; follow: links among its paths; look: whether it has changed;
//!                  listing: its entries in order, for who sends them
//! lock ........... `dockless lock` for root filesystems
//! ```
//!
//! Why not trust TLS or a mirror's signature instead: a digest in a lock is reviewed once, serves every origin alike,
//! and a plain mirror next door is as good as any.

mod apt;
mod base;
mod download;
mod error;
mod fetch;
mod filename;
mod follow;
pub mod git;
mod headers;
mod http;
mod identifier;
mod listing;
mod local;
mod lock;
mod look;
mod names;
mod origin;
mod partial;
mod reason;
mod rootfs;
mod wait;

pub use crate::http::{Patience, Proxies, Stop};
pub use apt::{host_mirrors, host_sources};
pub use base::{check_base, fetch_base, read_base, update_base};
pub use download::{Downloaded, FileAttributes, HttpSource, Secrets, download};
pub use error::SourceError;
pub use fetch::{LARGEST, PARALLEL, fetch, fetch_all};
pub use identifier::{Identifier, IdentifierError, LocalSource, ResolveMode};
pub use listing::{Listed, Listing};
pub use local::{Copied, local};
pub use lock::{assemble_root, read_rootfs, read_roots, update_rootfs};
pub use look::{Look, look};
pub use origin::{Origins, Pinned};
pub use reason::{Reason, Tried};
pub use rootfs::{Assembled, assemble, reproduce, tag};
