//! Works a graph off: schedule, cache keys, jobs, operations.
//!
//! Every vertex becomes a *value*: a tree whose **content digest** is known, and which is on disk only when somebody
//! needs it there. Content first, tree later is what makes a finished build cheap to ask for again: sources, images and
//! merges know their content without being fetched, unpacked or merged, and a step knows its own from its record.
//!
//! ```text
//! source, image   content = what the graph pins            on demand: fetch, verify, unpack
//! local           content = digest of the filtered files   copied in at once
//! merge           content = hash of the inputs' contents   on demand: hard-linked together
//! exec            key = hash of the op and its inputs' contents
//!                 record cache/<key> -> snapshot and its content digest, else run it
//! ```
//!
//! What always holds:
//! - A key never contains the digest of an input *vertex*, only of its content. So a step that ran again and made the
//!   same tree stops everything below it, and origins, names and mirrors change nothing.
//! - A record is written after its snapshot is in place, both by rename: kill -9 leaves either both or a lost snapshot
//!   that garbage collection finds.
//! - Two runs that share a store take one lock a key: the second waits and then finds the record.
//! - What is made ends while the store's disk still has room (`disk.rs`), and nothing half-made stays.
//! - Steps and the `make`s inside them draw on one jobserver, so `--jobs 2` means two compilers.
//!
//! Why threads and not async: a step is a process and a fetch is a blocking call; there are as many as jobs plus a few.

mod bounds;
mod carried;
mod disk;
mod error;
mod exec;
mod export;
mod file;
mod inputs;
mod jobs;
mod key;
mod look;
mod mounts;
mod nested;
mod record;
mod run;
mod schedule;
mod scrub;
mod source;
mod step;
mod tree;
mod value;

pub use crate::cache::Output;
pub use bounds::Bounds;
pub use disk::{Low, Reserve, check_room};
pub use error::{Failure, SolveError};
pub use export::{ExportCacheError, Extent, PACKED, export_cache};
pub use inputs::{Directory, Inputs, SecretValue};
pub use jobs::{Jobs, JobsError};
pub use look::Missing;
pub use record::{PARTS, RECORDS, Record};
pub use run::{Kept, Pin, Solved, Solver};
pub use source::SEEN;
