//! Blobs by digest on disk: an OCI image layout with rooms for others beside it.
//!
//! What always holds: a name under `blobs/` has exactly the bytes its name says, because bytes enter through a
//! temporary file that is hashed on the way, synced and renamed; records and the index are replaced whole or not at
//! all; a process that dies leaves only files under `tmp/`, which the next one sweeps away. Everything may be used by
//! any number of processes and threads at once.
//!
//! ```text
//! <root>/oci-layout            image-spec image-layout.md
//!        index.json            tags: named roots, each a manifest (image-spec image-index.md)
//!        blobs/sha256/<hex>    mode 0444
//!        version               format of this directory, one line: `1`
//!        lock                  held shared by whoever uses the store, exclusively by garbage collection
//!        locks/<name>          named locks between processes; a file is there only while its lock is wanted; ours begin with a dot
//!        tmp/<run>/            what one run has in the making; tmp/<run>.lock is held while that run lives
//!        <room>/               records and trees of other modules (cache, snapshots, logs)
//! ```
//!
//! Why files and not a database: two runs share one store, an embedded database locks its file for one of them, and
//! `rename(2)` is all the transaction that is needed. Why `flock(2)` and not lock files with a process ID: the kernel
//! frees the former when their owner dies, and process IDs mean nothing in another namespace.

mod blob;
mod error;
mod index;
mod layout;
mod lock;
mod record;
mod run;

pub use blob::{BlobWriter, SealedBlob, Stored};
pub use error::StoreError;
pub use layout::Store;
pub use lock::Lock;
pub use run::remove_tree;
