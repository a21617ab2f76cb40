//! Trees on disk: prepared for a step, committed when it succeeded, viewed by others, merged, compared.
//!
//! What always holds: a snapshot appears whole, by one rename, or not at all; nobody writes to it afterwards; an
//! [`Active`] that is dropped, or whose process is killed, leaves nothing that the next run does not sweep away. Two
//! runs that commit the same id get the same snapshot, the first one's. What a snapshot lies on is there before it and
//! goes after it.
//!
//! ```text
//! <store>/snapshots/<id>/fs/      the files of this layer; the whole tree where nothing is below
//!                        meta     {"content":"sha256:…","origin":"written","boot":"…","below":["<id>",…]}
//! <store>/mounts/<id>-<n>/fs/     cache mounts: no content, written by steps
//!                         meta    their name, for people
//! <store>/tmp/<run>/<name>/fs/    in the making: the tree, or its difference to a parent
//!                          work/  overlayfs's own
//!                          mount/ layers under a path of this process, in its own mount namespace
//! ```
//!
//! The id of a tree that was written is the digest of its content, so equal outputs are one tree; the id of one that
//! is derived (layers unpacked, a file of the store, a merge, a file operation) is the digest of what it was made of,
//! so it needs no hashing. A step that writes to a whole root filesystem costs what it writes: its layer is overlayfs's
//! upper directory as it is, with overlayfs's marks of what was deleted (`overlayfs.rst`). Trees of recipes have
//! nothing below: files are shared by hard links with parts and blobs, so ten merged outputs cost directories only;
//! where links are impossible files are cloned or copied. Hence snapshots are only ever mounted read-only.
//!
//! Nothing is synced to disk on commit, because that would flush the scratch files of all running steps as well.
//! Instead the kernel's boot id is noted: of an earlier boot, a written tree is hashed once before it is used again,
//! and a derived one is made anew.
//!
//! In a user namespace with a range of ids trees have other owners than the user: only the command inside its
//! namespace ([`crate::sandbox::enter`]) can remove them. With a single id all is the user's.
//!
//! The modification time of `meta` is when the tree or the cache mount was last asked for: what collection goes by.
//!
//! Why both whole trees and layers: a recipe's step reads a handful of small outputs, which are cheapest as one
//! directory, while a foreign graph changes little in a large image twenty times in a row. A stack that gets too deep
//! is laid into one directory. Where there is no overlay a tree that is built on is copied, and what differs in the end
//! becomes the same layer as with one; whoever reads a stack gets it laid into one directory.

mod active;
mod cache_mount;
mod carried;
mod committed;
mod copied;
mod copy;
mod describe;
mod error;
mod meta;
mod snapshots;
mod stack;
mod tree;

pub use active::{Active, Times};
pub use cache_mount::{CACHE_MOUNTS, CacheMount, Sharing};
pub use committed::{Snapshot, Tree};
pub use describe::Described;
pub use error::SnapshotError;
pub use meta::{LayerPlace, PackedLayer};
pub use snapshots::Snapshots;
pub use tree::copy_tree;
