//! A tree becomes an artifact: a tarball, a directory, an image.
//!
//! What always holds: an artifact appears whole or not at all, because it is made beside its destination under a
//! hidden name, synced and renamed; and it has the same bytes for the same tree and options, on any machine, with any
//! number of jobs.
//!
//! ```text
//! tarball          sorted tar, one time, optionally compressed
//! directory        the tree copied out; owned by whoever exports
//! oci_layout       image-spec image-layout.md: oci-layout, index.json, blobs/sha256/...
//! oci_archive      the same in one tar
//! docker_archive   what `docker load` reads: manifest.json, <config>.json, <layer>/layer.tar
//! into_store       blobs and manifest in the store, for `registry::push`
//! ```
//!
//! All images come about in one way: `assemble` packs what is not packed yet into files beside the destination and
//! writes the documents, which gives a list of blobs of known size; a layout renames or copies them into place, an
//! archive copies them (the kernel does, between files), the store takes those that it lacks. Why not packing straight
//! into the archive: its entries begin with a digest and a size, which are known at the end, and a pipe cannot be
//! mended; what is new in an image is mostly small beside its base, whose blobs are never read into this process.
//!
//! The image of a recipe has one layer, because a release tree has no history worth a second one; a foreign graph's has
//! those that its tree lies in, and those of its base as they came. Why not ocipkg: it holds whole blobs in
//! memory, stamps them with the clock, and its archives lack the `oci-layout` file.

mod archive;
mod artifact;
mod aside;
mod assemble;
mod config;
mod document;
mod error;
mod into_store;
mod layout;
mod name;
mod options;
mod packed;
mod saved;
mod tarball;

pub use archive::{docker_archive, oci_archive, stream_image};
pub use artifact::{Artifact, ArtifactKind};
pub use assemble::{ImageFacts, digest_of};
pub use error::ExportError;
pub use into_store::{into_store, tag};
pub use layout::oci_layout;
pub use name::{checked_name, reference};
pub use options::{Annotations, Attach, Attachment, ImageOptions, MediaTypes};
pub use packed::{ImageLayer, LayerBlob};
pub use saved::{NewDirectory, NewFile, PlainTar};
pub use tarball::{TarballOptions, directory, stream_tarball, tarball};
