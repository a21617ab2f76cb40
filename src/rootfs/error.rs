//! What can be wrong with a root filesystem's list, lock or packages.

use std::io;
use std::path::PathBuf;

use crate::oci::Digest;

/// Why a root filesystem could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// A list or lock is not what its schema says.
    #[error("{}: {source}", path.display())]
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
    #[error(
        "the lock of root filesystem `{name}` is not of its list: {why}; write it anew with \
         `dockless lock --update rootfs/{name}`"
    )]
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
    #[error("failed to unpack package `{package}`: {source}")]
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
    #[error("failed to write the layer of a root filesystem: {source}")]
    Layer {
        /// What the kernel said.
        source: io::Error,
    },
    /// The image's manifest or config could not be put into words.
    #[error("failed to describe the image of root filesystem `{name}`: {source}")]
    Describe {
        /// Name of the root filesystem.
        name: String,
        /// What the image-spec types said.
        source: oci_spec::OciSpecError,
    },
    /// A manifest in the store is not one that we made.
    #[error("manifest {digest} in the store is not an image's: {source}")]
    Manifest {
        /// Its digest.
        digest: Digest,
        /// What the image-spec types said.
        source: oci_spec::OciSpecError,
    },
}
