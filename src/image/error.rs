//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use crate::export::ExportError;
use crate::layer::LayerError;
use crate::oci::Digest;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// Why an image could not be had, written or named.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A registry, or a way to it, failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The result could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A layer cannot be unpacked.
    #[error("layer {digest} of {image}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Of which image.
        image: String,
        /// Why not.
        source: LayerError,
    },
    /// Not a name.
    #[error("`{text}` cannot name an image: {reason}")]
    Name {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has no such image.
    #[error("there is no image `{name}` in the store{}", Near(near))]
    Unknown {
        /// The name as given.
        name: String,
        /// Names that look like it.
        near: Vec<String>,
    },
    /// The beginning of a digest that several images have.
    #[error("`{name}` may be {}", found.iter().map(Digest::to_string).collect::<Vec<_>>().join(" or "))]
    Ambiguous {
        /// As given.
        name: String,
        /// What it may mean.
        found: Vec<Digest>,
    },
    /// An archive or layout that makes no sense.
    #[error("{what}: {reason}")]
    Archive {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive cannot be read.
    #[error("{what} cannot be read")]
    Read {
        /// Which one.
        what: String,
        /// Why not.
        source: LayerError,
    },
    /// Other bytes than promised.
    #[error("{what} is {actual} but {expected} was promised: nothing was kept")]
    Digest {
        /// What.
        what: String,
        /// The digest promised.
        expected: Digest,
        /// The digest found.
        actual: Digest,
    },
    /// A manifest, an index or a config that makes no sense.
    #[error("{what}: {reason}")]
    Manifest {
        /// Which one.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Something that an image needs is not there.
    #[error("{what} lacks {missing}")]
    Incomplete {
        /// Which image.
        what: String,
        /// What it lacks.
        missing: String,
    },
    /// The image is for another machine.
    #[error("{what} is for {found}, not for {wanted}")]
    Platform {
        /// Which image.
        what: String,
        /// The platform asked for.
        wanted: String,
        /// What it is for.
        found: String,
    },
    /// The image's user is not in its root file system.
    #[error("the user `{user}` of {what}")]
    User {
        /// As the config names it.
        user: String,
        /// Of which image.
        what: String,
        /// Why it means nobody.
        source: io::Error,
    },
    /// The run was interrupted.
    #[error("interrupted while reading {what}")]
    Stopped {
        /// What was read.
        what: String,
    },
}

struct Near<'a>(&'a [String]);

impl std::fmt::Display for Near<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            [] => Ok(()),
            near => {
                write!(f, "; there is {}", near.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl ImageError {
    /// Returns a function for `map_err` that says what was done to which file.
    pub(super) fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Tells whether what the user gave is wrong rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Registry(error) => error.is_input(),
            Self::Export(error) => {
                matches!(
                    error,
                    ExportError::Occupied { .. } | ExportError::Destination { .. } | ExportError::ImageName { .. }
                )
            }
            Self::Read { source: LayerError::Read { source }, .. } => source.kind() == io::ErrorKind::InvalidData,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Layer { source, .. } => !matches!(source, LayerError::Io { .. }),
            Self::Name { .. }
            | Self::Unknown { .. }
            | Self::Ambiguous { .. }
            | Self::Archive { .. }
            | Self::Read { .. }
            | Self::Digest { .. }
            | Self::Manifest { .. }
            | Self::Incomplete { .. }
            | Self::Platform { .. }
            | Self::User { .. } => true,
            Self::Store(_) | Self::Stopped { .. } => false,
        }
    }

    /// Tells whether the run was interrupted.
    pub fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Registry(RegistryError::Stopped { .. }))
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::Registry(error) => return error.help(),
            Self::Unknown { near, .. } if near.is_empty() => {
                "`dockless image ls` shows what there is, `dockless image pull` brings more"
            }
            Self::Unknown { .. } => "`dockless image ls` shows what there is",
            Self::Name { .. } => "write it like `debian:bookworm` or `ghcr.io/owner/name@sha256:…`",
            Self::Ambiguous { .. } => "give more of the digest",
            Self::Platform { .. } => "ask for that platform with --platform, or pull another image",
            Self::Incomplete { .. } => "pull or load it again, or ask for one --platform",
            Self::Archive { .. } | Self::Digest { .. } => {
                "have it written anew, by `dockless image save`, `docker save`, `skopeo copy` or `podman save`"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }
}
