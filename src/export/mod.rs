//! A tree becomes an artifact: a tarball, a directory, an image.
//!
//! What always holds: an artifact appears whole or not at all, because it is made beside its destination under a
//! hidden name, synced and renamed; and it has the same bytes for the same tree and options, on any machine, with any
//! number of jobs.
//!
//! ```text
//! tarball          sorted tar, owner 0:0, one time, optionally compressed
//! directory        the tree copied out; owned by whoever exports
//! oci_layout       image-spec image-layout.md: oci-layout, index.json, blobs/sha256/...
//! oci_archive      the same in one tar
//! docker_archive   what `docker load` reads: manifest.json, <config>.json, <layer>/layer.tar
//! ```
//!
//! The image of a recipe has one layer, because a release tree has no history worth a second one; a foreign graph's has
//! those that its tree lies in, and those of its base as they came. Why not ocipkg: it holds whole blobs in
//! memory, stamps them with the clock, and its archives lack the `oci-layout` file.

mod archive;
mod artifact;
mod error;
mod image;
mod layout;
mod saved;
mod tarball;

pub use archive::{docker_archive, oci_archive, oci_layout};
pub use artifact::{Artifact, ArtifactKind};
pub use error::ExportError;
pub use image::ImageOptions;
pub use layout::{ImageLayer, LayerBlob};
pub use saved::{NewDirectory, NewFile, PlainTar};
pub use tarball::{TarballOptions, directory, tarball};
