//! Trees to layer tars and back, and the digest of a tree.
//!
//! What always holds: equal trees pack to equal bytes, whatever the order of directories on disk, the number of jobs
//! or the clock; unpacking touches nothing outside the root it was given, whatever the archive says; a limit that is
//! passed is an error, never a silent cut.
//!
//! ```text
//! tree --pack--> tar --Compressor--> blob          image-spec layer.md
//! blob --decompress--> tar --unpack--> tree        whiteouts: image-spec layer.md#whiteouts
//! tree --tree_digest--> digest of content, names, modes, owners, links, extended attributes; no times
//! ```
//!
//! The archive reader knows ustar, PAX (`pax(1)`) and GNU long names. It uses the `tar` crate for single headers only:
//! that crate's `unpack` turns devices into empty files, takes whiteouts literally and resolves absolute links on the
//! host, and its reader takes extension records of any length into memory. Paths are resolved by the kernel
//! (`openat2(2)` with `RESOLVE_IN_ROOT`), not by comparing strings, which symbolic links defeat.

mod ahead;
mod compress;
mod decompress;
mod digest;
mod dress;
mod error;
mod extensions;
mod facts;
mod header;
mod members;
mod pack;
mod place;
mod reader;
mod rewrite;
mod sparse;
mod unpack;
mod walk;
mod writers;

pub use compress::{Compression, Compressor, Hashed};
pub use decompress::decompress;
pub use digest::{Instant, layer_digest, times_digest, tree_digest, written_digest};
pub use error::LayerError;
pub use facts::{LayerFacts, again, over};
pub use members::{Member, MemberKind, Members, is_archive};
pub use pack::{Owner, PackOptions, PackTimes, Packed, pack};
pub use reader::Limits;
pub use rewrite::clamp_times;
pub use unpack::{UnpackOptions, Unpacked, unpack};
pub use walk::is_content;
