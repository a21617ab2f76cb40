//! Trees on disk: prepared for a step, committed when it succeeded, viewed by others, merged.
//!
//! What always holds: a snapshot appears whole, by one rename, or not at all; nobody writes to it afterwards; equal
//! content has equal digests; an [`Active`] that is dropped, or whose process is killed, leaves nothing that the next
//! run does not sweep away. Two runs that commit the same id get the same snapshot, the first one's.
//!
//! ```text
//! <store>/snapshots/<id>/fs/      the whole tree
//!                        meta     content digest, bytes, the kernel's boot id
//! <store>/tmp/<run>/<name>/fs/    in the making: the tree,
//!                          upper/ work/   or its difference to a parent
//! ```
//!
//! Ids are the hexadecimal digits of a key, or `content-<digest>`. A commit over a parent shares unchanged files with
//! it by hard links, and so does a merge, so ten merged outputs cost directories only; where links are impossible
//! files are cloned or copied, with the same digest.
//!
//! Nothing is synced to disk on commit, because that would flush the scratch files of all running steps as well.
//! Instead the boot id is noted, and a snapshot of an earlier boot is hashed once before it is used again.
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
pub use copy::{CopyIn, Filter};
pub use error::SnapshotError;
pub use snapshots::{Snapshot, Snapshots};
