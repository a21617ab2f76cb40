//! Trees on disk: prepared, committed, viewed, merged (containerd's words).
//!
//! ```text
//! <store>/snapshots/<id>/fs      the tree
//! <store>/snapshots/<id>/meta    {"content":"sha256:…"}: digest of what the tree holds
//! <store>/tmp/run-…/…            trees in the making
//! ```
//!
//! What always holds:
//! - A snapshot never changes. It appears by one rename, complete with its meta; whoever comes second with the same ID
//!   throws his own away. So `kill -9` leaves a tree in `tmp/`, which the next run sweeps, and never half a snapshot.
//! - The ID of a step's output is the digest of its content: equal outputs are one tree.
//! - Files of snapshots are shared by hard links (merges, single files), so they are only ever mounted read-only or as
//!   lower layers; what is written goes to an [`Active`], which nobody else sees.
//!
//! Merges are trees of hard links and not overlays of many layers: they cost a few thousand links, work on every file
//! system and kernel, have no limit on the number of inputs, and look the same to whoever reads them.
//!
//! Not protected against: a power cut. Trees are not synced to disk one by one, which would cost more than building
//! them; after one, `dockless cache prune` is the way out.

mod active;
mod copy;
mod error;
mod snapshots;

pub use active::Active;
pub use error::SnapshotError;
pub use snapshots::{Snapshot, Snapshots};
