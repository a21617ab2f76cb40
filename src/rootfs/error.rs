//! What can be wrong with a root filesystem's list, lock or packages.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::oci::Digest;

/// A place in a text, for whoever draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Bytes of `text` that the message is about.
    pub span: Range<usize>,
}

/// Why a root filesystem could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A file that names an image is not what it should be; the picture shows where.
    #[error("{message}")]
    Text {
        /// One line.
        message: String,
        /// What to do.
        help: String,
        /// Where.
        picture: Box<Picture>,
    },
    /// A list or lock is not what its schema says.
    #[error("`{}` is not what it should be", path.display())]
    Toml {
        /// The file the text is from.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value in a list or lock that cannot be.
    #[error("{}: {what} `{value}`: {why}", path.display())]
    Value {
        /// The file the text is from.
        path: PathBuf,
        /// Which value.
        what: &'static str,
        /// The value.
        value: String,
        /// What it should be.
        why: &'static str,
    },
    /// List and lock do not belong together.
    #[error("the lock of root filesystem `{name}` does not belong to its list: {why}")]
    Stale {
        /// Name of the root filesystem.
        name: String,
        /// What differs.
        why: String,
    },
    /// A package is not a well-formed .deb.
    #[error("package `{package}` is not a sound .deb: {why}")]
    Package {
        /// The package's file name.
        package: String,
        /// What is wrong with it.
        why: String,
    },
    /// A package's archive could not be read or decompressed.
    #[error("failed to unpack package `{package}`")]
    Unpack {
        /// The package's file name.
        package: String,
        /// What the decompressor or the kernel said.
        source: io::Error,
    },
    /// A package wants a path that another has in a way that cannot be merged.
    #[error("package `{package}` has {what} at `{path}`, where {there} is already")]
    Conflict {
        /// The package's file name.
        package: String,
        /// The path.
        path: String,
        /// What the package has.
        what: &'static str,
        /// What is there.
        there: &'static str,
    },
    /// The layer could not be written.
    #[error("failed to write the layer of a root filesystem")]
    Layer {
        /// What the kernel said.
        source: io::Error,
    },
    /// The image's manifest or config could not be put into words.
    #[error("failed to describe the image of root filesystem `{name}`")]
    Describe {
        /// Name of the root filesystem.
        name: String,
        /// What the image-spec types said.
        source: oci_spec::OciSpecError,
    },
    /// A manifest in the store is not one that we made.
    #[error("manifest {digest} in the store is not an image's")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// What the image-spec types said.
        source: oci_spec::OciSpecError,
    },
}

impl RootfsError {
    /// Makes the error of a place in a file.
    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, message: String, help: &str) -> Self {
        // A span past the end (an error at end of file) is drawn on the last byte.
        let end = span.end.min(text.len());
        let picture = Picture { path: path.to_owned(), text: text.to_owned(), span: span.start.min(end)..end };
        Self::Text { message, help: help.to_owned(), picture: Box::new(picture) }
    }

    /// Where in which file, if it is about one.
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Self::Text { picture, .. } => Some(picture),
            _ => None,
        }
    }

    /// Tells whether a list or lock is wrong, rather than a package or the machine.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Text { .. } | Self::Toml { .. } | Self::Value { .. } | Self::Stale { .. } | Self::Conflict { .. }
        )
    }

    /// Returns the way out, where one is known.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Text { help, .. } => Some(help.clone()),
            Self::Stale { name, .. } => Some(format!("write it anew with `dockless lock --update rootfs/{name}`")),
            Self::Toml { path, .. } | Self::Value { path, .. } => {
                let name = path.file_stem()?.to_string_lossy();
                let lock = path.extension().is_some_and(|extension| extension == "lock");
                lock.then(|| format!("locks are not edited: write it anew with `dockless lock --update rootfs/{name}`"))
            }
            Self::Conflict { .. } => {
                Some("leave one of the packages out of the list, or the path (`remove`)".to_owned())
            }
            Self::Layer { source } if source.kind() == io::ErrorKind::StorageFull => {
                Some("free some space, or put the store elsewhere with --store DIR".to_owned())
            }
            _ => None,
        }
    }
}
