//! Images in the store, where they wait to be pushed or used.

use std::collections::BTreeMap;
use std::io::Write;

use super::assemble::{ImageFacts, assemble};
use super::document;
use super::error::ExportError;
use super::name::reference;
use super::options::{ImageOptions, MediaTypes};
use super::packed::ImageLayer;
use crate::oci::Digest;
use crate::store::Store;

/// Puts an image into the store, whole; what names others comes after them, and nothing is tagged.
///
/// # Errors
/// `Store` and whatever hinders making an image.
pub fn into_store(layers: &[ImageLayer], options: &ImageOptions, store: &Store) -> Result<ImageFacts, ExportError> {
    let scratch = store.temporary_directory()?;
    let image = assemble(layers, options, scratch.path())?;
    for blob in image.blobs {
        if store.contains(&blob.digest) == Some(blob.size) {
            continue;
        }
        let mut writer = store.writer()?;
        blob.copy(&mut writer, &options.stop)?;
        writer.commit_as(&blob.digest)?;
    }
    Ok(image.facts)
}

/// Gives an image of the store its names. What is attached to it gets a tag beside each, as in registries that have no
/// list of referrers (`distribution-spec spec.md#referrers-tag-schema`): what no tag leads to does not stay.
///
/// # Errors
/// `Store`, `ImageName`.
pub fn tag(names: &[String], image: &ImageFacts, store: &Store) -> Result<Vec<String>, ExportError> {
    let references = names.iter().map(|name| reference(name)).collect::<Result<Vec<_>, _>>()?;
    let mut tagged = Vec::new();
    for reference in &references {
        if !image.attachments.is_empty() {
            let index = document::index(MediaTypes::Oci, &image.attachments, &BTreeMap::new());
            let digest = Digest::of(&index);
            let mut writer = store.writer()?;
            writer.write_all(&index).map_err(ExportError::io("write", &store.path(&digest)))?;
            writer.commit_as(&digest)?;
            let descriptor = document::descriptor(MediaTypes::Oci.index(), &digest, index.len() as u64);
            let name = format!("{}/{}:sha256-{}", reference.registry(), reference.repository(), image.manifest.hex());
            store.tag(&name, &descriptor)?;
        }
        store.tag(&reference.to_string(), &image.descriptor)?;
        tagged.push(reference.to_string());
    }
    Ok(tagged)
}
