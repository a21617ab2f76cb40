//! Layers and what is said about them become an image: every blob, and what names what.

use std::collections::BTreeSet;
use std::path::Path;

use oci_spec::image::Descriptor;

use super::config::config;
use super::document::{self, NOTHING};
use super::error::ExportError;
use super::options::{ImageOptions, MediaTypes};
use super::packed::{Blob, ImageLayer, layer};
use crate::layer::Compression;
use crate::oci::{DiffId, Digest};

/// What an image turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its manifest, or the index around it; with platform and annotations, as a layout's index names it.
    pub descriptor: Descriptor,
    /// Digest of its manifest, which attachments have as their subject.
    pub manifest: Digest,
    /// Digest of its config.
    pub config: Digest,
    /// The manifests of what is attached to it, as a list of referrers names them.
    pub attachments: Vec<Descriptor>,
}

impl ImageFacts {
    /// Returns the digest by which the image is known.
    pub fn digest(&self) -> Digest {
        digest_of(&self.descriptor)
    }
}

/// Returns the digest in a descriptor that we made.
pub fn digest_of(descriptor: &Descriptor) -> Digest {
    descriptor.digest().to_string().parse().expect("descriptors of ours have SHA-256 digests")
}

/// An image before it is anywhere.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) facts: ImageFacts,
    /// Everything that it consists of, each blob once; what names others comes after them.
    pub(super) blobs: Vec<Blob>,
    /// Diff IDs of the layers, lowest first.
    pub(super) diff_ids: Vec<DiffId>,
}

impl Assembled {
    /// Bytes of all blobs.
    pub(super) fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }
}

/// Packs what is not packed yet into `scratch`, and writes the documents.
///
/// # Errors
/// `Pack`, `Io`, `Epoch`, `Config`, `MediaTypes`, `Damaged`, `Stopped`.
pub(super) fn assemble(
    layers: &[ImageLayer],
    options: &ImageOptions,
    scratch: &Path,
) -> Result<Assembled, ExportError> {
    let types = options.media_types;
    possible(options)?;
    let (mut blobs, mut descriptors, mut diff_ids) = (Vec::new(), Vec::new(), Vec::new());
    for one in layers {
        if options.stop.asked() {
            return Err(ExportError::Stopped);
        }
        let (packed, blob) = layer(one, options, scratch)?;
        descriptors.push(document::descriptor(&packed.media_type, &packed.digest, packed.size));
        diff_ids.push(packed.diff_id);
        blobs.push(blob);
    }
    let mut put = |bytes: Vec<u8>, media_type: &str| {
        let blob = Blob::document(bytes);
        let descriptor = document::descriptor(media_type, &blob.digest, blob.size);
        blobs.push(blob);
        descriptor
    };
    let config = config(options, &diff_ids, &[])?;
    let config_descriptor = put(document::bytes(&config), types.config());
    let annotations = &options.annotations;
    let manifest = document::manifest(types, &config_descriptor, &descriptors, &annotations.manifest);
    let manifest = put(manifest, types.manifest());
    let subject = digest_of(&manifest);
    let mut attachments = Vec::new();
    let said = [options.attachments.clone(), options.attach.describe(&subject)].concat();
    if types == MediaTypes::Docker && !said.is_empty() {
        return Err(ExportError::MediaTypes { what: "attachments" });
    }
    if !said.is_empty() {
        put(NOTHING.to_vec(), "");
    }
    for attachment in &said {
        let (bytes, descriptor) = document::artifact(attachment, &manifest);
        put(attachment.bytes.clone(), "");
        put(bytes, "");
        attachments.push(descriptor);
    }
    let mut top = manifest;
    document::set_platform(&mut top, &config);
    document::annotate(&mut top, &annotations.manifest_descriptor);
    if annotations.need_index() {
        let index = document::index(types, &[top], &annotations.index);
        top = put(index, types.index());
        document::annotate(&mut top, &annotations.index_descriptor);
    }
    // Two layers may be the same.
    let mut seen = BTreeSet::new();
    blobs.retain(|blob| seen.insert(blob.digest));
    let facts = ImageFacts { descriptor: top, manifest: subject, config: digest_of(&config_descriptor), attachments };
    Ok(Assembled { facts, blobs, diff_ids })
}

/// Docker's documents cannot say everything that OCI's can.
fn possible(options: &ImageOptions) -> Result<(), ExportError> {
    let refused = |what| Err(ExportError::MediaTypes { what });
    match options.media_types {
        MediaTypes::Oci => Ok(()),
        _ if matches!(options.compression, Compression::Zstd { .. }) => refused("zstd"),
        _ if !options.annotations.is_empty() => refused("annotations"),
        MediaTypes::Docker => Ok(()),
    }
}
