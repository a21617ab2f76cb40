//! The trees that a step can see: values only. `snapshot` and `solver` make them, [`super::run`] mounts them.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A tree or file that a step can see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A directory, file or socket of the machine as it is.
    Bind {
        /// The directory or file; symbolic links are followed.
        source: PathBuf,
        /// No writing.
        readonly: bool,
    },
    /// Layers over one another, read-only (`overlayfs.rst`).
    Layers {
        /// At least two, the uppermost first.
        lower: Vec<PathBuf>,
    },
    /// Layers under a writable one (`overlayfs.rst`).
    Overlay {
        /// The layers below, the uppermost first.
        lower: Vec<PathBuf>,
        /// Takes the writes.
        upper: PathBuf,
        /// An empty directory on the file system of `upper`.
        work: PathBuf,
    },
    /// Empty memory, gone with the step. Its root has the mode of the directory that it covers, 1777 without one.
    Tmpfs {
        /// Most bytes; half of the memory without.
        size: Option<u64>,
    },
    /// A file of the step's own memory, read-only, never on disk (`ops.proto SecretOpt`).
    Secret(Secret),
}

/// The content of a [`Mount::Secret`]; its bytes are never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The bytes.
    pub data: Vec<u8>,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Permission bits; without one of `0o111` nothing in it can be executed.
    pub mode: u32,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes, {}:{}, {:o})", self.data.len(), self.uid, self.gid, self.mode)
    }
}

/// A [`Mount`] and where the step sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMount {
    /// Absolute path without `..`; made where it does not exist.
    pub destination: PathBuf,
    /// The tree.
    pub mount: Mount,
    /// The directory or file of the tree that is shown, the whole tree where it is empty (`ops.proto Mount.selector`).
    /// Symbolic links and `..` never lead out of the tree.
    pub selector: PathBuf,
    /// No writing, whatever the tree itself would allow.
    pub readonly: bool,
}

impl StepMount {
    /// Shows the whole of `mount` at `destination`.
    pub fn new(destination: impl Into<PathBuf>, mount: Mount) -> Self {
        Self { destination: destination.into(), mount, selector: PathBuf::new(), readonly: false }
    }
}

impl Mount {
    /// Says it in a few words, for errors.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Bind { source, .. } => source.display().to_string(),
            Self::Overlay { lower, upper, .. } => format!("overlay of {} under {}", lower.len(), upper.display()),
            Self::Layers { lower } => format!("overlay of {}", lower.len()),
            Self::Tmpfs { .. } => "tmpfs".to_owned(),
            Self::Secret(_) => "secret".to_owned(),
        }
    }

    /// Paths of the machine that must be open before anything covers them.
    pub(super) fn sources(&self) -> Vec<&Path> {
        match self {
            Self::Bind { source, .. } => vec![source],
            Self::Overlay { lower, upper, work } => lower.iter().chain([upper, work]).map(PathBuf::as_path).collect(),
            Self::Layers { lower } => lower.iter().map(PathBuf::as_path).collect(),
            Self::Tmpfs { .. } | Self::Secret(_) => Vec::new(),
        }
    }

    /// Tells whether mount points made in it outlive the step.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Overlay { .. } | Self::Bind { readonly: false, .. })
    }

    /// Tells whether nothing can be written to it.
    pub(super) fn is_readonly(&self) -> bool {
        matches!(self, Self::Layers { .. } | Self::Secret(_) | Self::Bind { readonly: true, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Mount::Secret(Secret { data: b"hunter2".to_vec(), uid: 0, gid: 0, mode: 0o400 });
        assert_eq!(format!("{secret:?} {}", secret.describe()), "Secret(Secret(7 bytes, 0:0, 400)) secret");
    }
}
