//! What file operations do to trees (`ops.proto FileOp`), and the content keys of what they read.
//!
//! Works on directories that are plain paths of this process: a mounted snapshot, or a directory. The solver opens
//! them, calls one function an action and chains what lies between.
//!
//! What always holds:
//! - Nothing outside the two roots is read or written. A path is resolved name by name on descriptors; symbolic links
//!   are followed in parents, absolute ones and `..` start at the root again, and dangling ones lead to a place inside
//!   that may be made, as BuildKit has it (continuity `fs.RootPath`). What came out is opened with
//!   `RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS` (`openat2(2)`), so that a link which appears later is an error, not a way.
//! - No existing file is ever written to: it is replaced. A tree may share its files with others by hard links.
//! - Nothing blocks: what is no regular file is never opened.
//! - A content key has no times in it and not the name of what was selected; names below it count.
//!
//! Why not `RESOLVE_IN_ROOT` alone: the kernel cannot resolve a path that is not there yet, and a copy makes its
//! destination.
//!
//! Where this is not BuildKit (fsutil `copy.go`):
//! - a block device is copied as one and not as a character device;
//! - a device 0:0 is refused, because overlayfs reads it as a deletion;
//! - of the extended attributes only those go along that a layer can carry;
//! - a link to `a/../b`, where `a` is a link too, leads where the kernel says and not to `b`;
//! - the key of a selection with patterns follows the selected link;
//! - a malformed wildcard is an error, and so is a tree deeper than 256 directories.
//!
//! What an ordinary user may not make: devices in an unpacked archive are left out without a word and those in a copy
//! are an error, both as in rootless BuildKit.

mod act;
mod chmod;
mod content;
mod copier;
mod copy;
mod error;
mod metadata;
mod owner;
mod select;
mod tree;

pub use act::{mkdir, mkfile, rm, symlink};
pub use content::{Selection, content};
pub use copy::copy;
pub use error::FileError;
pub use metadata::FileOptions;
pub use owner::{Owner, owner};
