//! What can go wrong between trees and archives.

use std::io;
use std::path::{Path, PathBuf};

use crate::oci::DiffId;

/// Why a tree could not be packed or an archive not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// To which file; inside the root, where there is one.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The archive's bytes cannot be read or do not decompress.
    #[error("failed to read the archive")]
    Read {
        /// What the reader or the decoder said.
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("failed to write the archive")]
    Write {
        /// What the writer said.
        source: io::Error,
    },
    /// The archive ends before its end mark.
    #[error("the archive is cut short after {offset} bytes: fetch it again")]
    Truncated {
        /// Bytes read, uncompressed.
        offset: u64,
    },
    /// A header or extension record makes no sense.
    #[error("the archive is malformed at byte {offset}: {reason}")]
    Malformed {
        /// Where the header starts, uncompressed.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// An entry's name cannot be a name inside a tree.
    #[error("archive entry `{entry}` is refused: {reason}")]
    Entry {
        /// The entry's name.
        entry: String,
        /// Why not.
        reason: &'static str,
    },
    /// A hard link does not lead to a file of the tree.
    #[error("archive entry `{entry}` is a hard link to `{target}`, which is no file inside the tree")]
    HardLink {
        /// The entry's name.
        entry: String,
        /// Where it points.
        target: String,
    },
    /// The archive is larger than allowed.
    #[error("the archive has more than {limit} {what}: it is no honest layer, or the limit is too low")]
    Limit {
        /// What there is too much of, with its unit.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The archive is not the one that the image means.
    #[error("the archive has the diff ID `{}`, but the image's configuration says `{}`: one of both is wrong", found.0, expected.0)]
    DiffId {
        /// What the configuration says.
        expected: Box<DiffId>,
        /// What the archive has.
        found: Box<DiffId>,
    },
    /// A file changed while it was packed.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A name that has another meaning in a layer.
    #[error("`{}` cannot be packed: names that begin with `.wh.` mean deletion in a layer", path.display())]
    WhiteoutName {
        /// The file.
        path: PathBuf,
    },
}

impl LayerError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a, E: Into<io::Error>>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(E) -> Self + use<'a, E> {
        move |source| Self::Io { action, path: path.to_owned(), source: source.into() }
    }
}
