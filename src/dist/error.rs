//! What is wrong with a release directory.

use std::io;
use std::path::{Path, PathBuf};

use super::Stage;
use crate::oci::Digest;

/// Why a directory is not taken for a release.
#[derive(Debug, thiserror::Error)]
pub enum DistError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is nothing that vouches for the files.
    #[error("`{}` has no SHA256SUMS: nothing says what belongs to the release", root.display())]
    NoSums {
        /// The directory.
        root: PathBuf,
    },
    /// SHA256SUMS or another list is not what `sha256sum` writes.
    #[error("`{}` line {line}: {reason}", path.display())]
    Sums {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is named and not there.
    #[error("`{name}` is named in {by} but is not in `{}`", root.display())]
    Missing {
        /// The directory.
        root: PathBuf,
        /// The file.
        name: String,
        /// What names it.
        by: &'static str,
    },
    /// A file has other bytes than promised.
    #[error("`{name}` is {actual} but {by} says {expected}: the directory was changed after it was made")]
    Tampered {
        /// The file.
        name: String,
        /// What promises it.
        by: String,
        /// The digest promised.
        expected: Digest,
        /// The digest of what is there.
        actual: Digest,
    },
    /// Files that nothing vouches for.
    #[error("`{}` has files that SHA256SUMS does not name: {}", root.display(), names.join(", "))]
    Unlisted {
        /// The directory.
        root: PathBuf,
        /// The files.
        names: Vec<String>,
    },
    /// Something is not a plain file.
    #[error("`{}` is {kind}, not a plain file", path.display())]
    NotAFile {
        /// What is there.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A tarball whose name does not say what it is.
    #[error("the name `{name}` says no version and architecture, as `release-3.12-x86_64.tar.gz` does")]
    Name {
        /// The tarball.
        name: String,
    },
    /// There is no tarball at all.
    #[error("`{}` has no tarball", root.display())]
    Empty {
        /// The directory.
        root: PathBuf,
    },
    /// It is the directory of another stage.
    #[error("`{}` is {}, not {}", root.display(), of(*found), of(*wanted))]
    Stage {
        /// The directory.
        root: PathBuf,
        /// The stage that made it; none is the last one.
        found: Option<Stage>,
        /// The stage that was to have made it.
        wanted: Option<Stage>,
    },
    /// Something that no release leaves is where one is to be put.
    #[error("`{}` is no release, and is not replaced by one: it has `{name}`", root.display())]
    Foreign {
        /// The directory.
        root: PathBuf,
        /// What is in it.
        name: String,
    },
    /// release.json makes no sense.
    #[error("`{}`: {reason}", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn of(stage: Option<Stage>) -> String {
    stage.map_or_else(|| "a release".to_owned(), |stage| format!("a directory of stage {}", stage.name()))
}

impl DistError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether what the user gave is wrong rather than the machine.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
            }
            _ => true,
        }
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<&'static str> {
        Some(match self {
            Self::Io { .. } if self.is_input() => "name the directory that `dockless release` made, usually dist",
            Self::NoSums { .. } | Self::Empty { .. } => "name the directory that `dockless release` made, usually dist",
            Self::Tampered { .. } | Self::Missing { .. } => {
                "make the directory anew with `dockless release`, or take it anew from where it came; nothing was published"
            }
            Self::Unlisted { .. } => "remove what is not part of the release, or make the directory anew",
            Self::Stage { wanted: None, .. } => "make a release of it: `dockless release --stage release DIR`",
            Self::Stage { wanted: Some(Stage::Build), .. } => "name what `dockless release --stage build` made",
            Self::Stage { wanted: Some(Stage::Test), .. } => "name what `dockless release --stage test` made of it",
            Self::Stage { wanted: Some(Stage::Package), .. } => {
                "name what `dockless release --stage package` made of it"
            }
            Self::Foreign { .. } => "move it away, or name another directory with --out DIR",
            Self::Name { .. } => {
                "set `name` in recipes/release.toml to a pattern with {version} and {arch} between hyphens"
            }
            _ => return None,
        })
    }
}
