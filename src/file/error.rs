//! What goes wrong with file operations.

use std::io;
use std::path::{Path, PathBuf};

use crate::layer::LayerError;
use crate::pattern::PatternError;

/// A file operation that failed. Paths are those inside the tree.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such path.
    #[error("`{}`: not found", path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// A wildcard matches nothing.
    #[error("`{pattern}` not found: no path matches")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A directory stands where a file is to come.
    #[error("cannot replace to directory `{}` with file", path.display())]
    FileOverDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Something else stands where a directory is to come.
    #[error("cannot copy to non-directory: `{}`", path.display())]
    DirectoryOverFile {
        /// What stands there.
        path: PathBuf,
    },
    /// Symbolic links lead in a circle.
    #[error("too many symbolic links on the way to `{}`", path.display())]
    TooManyLinks {
        /// The path that was to be resolved.
        path: PathBuf,
    },
    /// A tree is deeper than any honest one.
    #[error("`{}` is nested deeper than 256 directories", path.display())]
    TooDeep {
        /// The directory.
        path: PathBuf,
    },
    /// It is not a regular file, but has to be.
    #[error("`{}` is not a regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// A user database is larger than any honest one.
    #[error("`{}` exceeds {limit} bytes", path.display())]
    TooLarge {
        /// The path.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A device that overlayfs would read as a deletion.
    #[error("`{}` is a device 0:0, which means a deletion in an overlay", path.display())]
    Whiteout {
        /// The path.
        path: PathBuf,
    },
    /// The root of a tree cannot be removed.
    #[error("cannot remove `/`: it is the root of the tree")]
    Root,
    /// A mode in words that makes no sense.
    #[error("invalid mode `{mode}`")]
    Mode {
        /// The mode as given.
        mode: String,
    },
    /// A wildcard, include or exclude pattern means nothing.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// An archive did not unpack.
    #[error("failed to unpack `{}`", path.display())]
    Unpack {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: LayerError,
    },
}

impl FileError {
    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        let text = match self {
            Self::NotFound { .. } => {
                "check the spelling, and that neither .dockerignore nor an earlier step removes it"
            }
            Self::NoMatch { .. } => "check the pattern, and that .dockerignore does not hide what it should match",
            Self::FileOverDirectory { .. } | Self::DirectoryOverFile { .. } => {
                "choose another destination, remove what is there in an earlier step, or copy with --link"
            }
            Self::Root => "remove what is in it: `/*` with a wildcard",
            Self::Mode { .. } => "write an octal mode like 0644 or words like u=rwX,go=rX",
            Self::Whiteout { .. } => "leave it out with an exclude pattern",
            Self::Pattern(error) => return Some(error.help()),
            Self::Io { action: "set the owner of", .. } => {
                "a user needs subordinate ids (/etc/subuid, /etc/subgid) to give files to others"
            }
            Self::Io { action: "create device", .. } => "leave it out with an exclude pattern, or build as root",
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free room on the disk (`dockless cache prune`), or put the store elsewhere with --store DIR"
            }
            _ => return None,
        };
        Some(text.to_owned())
    }

    /// Returns a function for `map_err` that says what was done to which path inside the tree.
    pub(super) fn io<'a, E: Into<io::Error>>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(E) -> Self + use<'a, E> {
        move |source| Self::Io { action, path: shown(path), source: source.into() }
    }
}

/// A path relative to a tree's root as users know it.
pub(super) fn shown(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}
