//! Trees on disk: prepared for a step, committed when it succeeded, viewed by others, merged.
//!
//! What always holds: a snapshot appears whole, by one rename, or not at all; nobody writes to it afterwards; an
//! [`Active`] that is dropped, or whose process is killed, leaves nothing that the next run does not sweep away. Two
//! runs that commit the same id get the same snapshot, the first one's.
//!
//! ```text
//! <store>/snapshots/<id>/fs/      the whole tree
//!                        meta     {"content":"sha256:…","origin":"written","boot":"…"}
//! <store>/tmp/<run>/<name>/fs/    in the making: the tree,
//!                          upper/ work/   or its difference to a parent
//! ```
//!
//! The id of a tree that was written is the digest of its content, so equal outputs are one tree; the id of one that
//! is derived (layers unpacked, a file of the store, a merge) is the digest of what it was made of, so it needs no
//! hashing. Files are shared by hard links with parents, parts and blobs, so ten merged outputs cost directories only;
//! where links are impossible files are cloned or copied. Hence snapshots are only ever mounted read-only.
//!
//! Nothing is synced to disk on commit, because that would flush the scratch files of all running steps as well.
//! Instead the kernel's boot id is noted: of an earlier boot, a written tree is hashed once before it is used again,
//! and a derived one is made anew.
//!
//! In a user namespace with a range of ids trees have other owners than the user: only the command inside its
//! namespace ([`crate::sandbox::enter`]) can remove them. With a single id all is the user's.
//!
//! Why whole trees and not chains of differences: a step reads one directory instead of twenty, hashing and packing
//! need no mounts, the kernel's limits on layers do not matter, and a machine without overlay differs in speed only.

mod active;
mod copy;
mod error;
mod snapshots;
mod tree;
mod upper;

pub use active::Active;
pub use error::SnapshotError;
pub use snapshots::{Snapshot, Snapshots};
