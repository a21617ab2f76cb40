//! What takes room in a store, and what may go: facts are gathered, a plan is made of them, the plan is carried out.
//!
//! What always holds:
//! - Collection has the store alone, so nothing that a running build uses can go.
//! - A plan is a value; `--dry-run` prints the very plan that would be carried out, with the bytes it frees.
//! - Records go before the trees they lead to, and trees before those they lie on; each goes out of sight by one rename
//!   or unlink. So kill -9 leaves nothing that points to what is gone; the rest lies in `tmp/`, and the next run sweeps.
//! - Tags, and every blob that can be reached from one, stay.
//! - Bytes are blocks on disk. A file with several names counts once, and is free when its last name goes; one that also
//!   has a name outside of the store frees nothing.
//!
//! ```text
//! step        records of an operation and what it wrote      image       a base tree, unpacked
//! tree        other trees: sources, merges, parts of steps   blob        by digest
//! mount       a cache mount of steps                         repository  a clone of git
//! log         what a step printed                            download    a part of one
//! ```
//!
//! Last use is the modification time of a record or a `meta` (touched when they are found), and for blobs the later of
//! access and modification. What lies below is used whenever what lies above is.
//!
//! Why mark and sweep and not reference counts on disk: counts that a killed run left wrong would never be right again.

mod act;
mod error;
mod facts;
mod gather;
mod plan;
mod policy;
mod usage;

pub use act::collect;
pub use error::CollectError;
pub use facts::{Facts, Keep, Kind, Place, Tree, Unit};
pub use gather::gather;
pub use plan::{Plan, Removed, Row, plan, rows};
pub use policy::{Filter, Policy, PolicyError, age, size};
pub use usage::Usage;
