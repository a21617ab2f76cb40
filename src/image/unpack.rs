//! An image becomes a directory: all of its layers, one over the other (`image-spec layer.md#applying-changesets`).
//!
//! Each layer is checked against its diff ID on the way: what is published was what the config promised.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::error::ImageError;
use super::tags::image;
use crate::export::NewDirectory;
use crate::http::Stop;
use crate::layer::{LayerError, UnpackOptions, Unpacked, unpack as unpack_layer};
use crate::oci::Digest;
use crate::registry::{Image, Platform};
use crate::store::Store;

/// An image on disk.
#[derive(Debug, Clone)]
pub struct Tree {
    /// The image.
    pub image: Image,
    /// Its config.
    pub config: serde_json::Value,
    /// What all layers together brought, and what could not be done.
    pub unpacked: Unpacked,
}

/// Unpacks an image of the store into a directory at `destination`, new or empty, which appears whole or not at all.
/// With `single_id` what belongs to others stays ours and is counted.
///
/// # Errors
/// `Layer`, `Digest`, `Export`, `Stopped` and those of [`image`].
pub fn unpack(
    store: &Store,
    digest: &Digest,
    platform: (&Platform, bool),
    what: &str,
    destination: &Path,
    (single_id, stop): (bool, &Stop),
) -> Result<Tree, ImageError> {
    let (image, config) = image(store, digest, platform, what)?;
    let draft = NewDirectory::begin(destination)?;
    let unpacked = lay(store, &image, what, draft.path(), single_id, stop)?;
    draft.publish()?;
    Ok(Tree { image, config, unpacked })
}

/// Unpacks the layers of an image into a directory in the making.
pub(super) fn lay(
    store: &Store,
    image: &Image,
    what: &str,
    root: &Path,
    single_id: bool,
    stop: &Stop,
) -> Result<Unpacked, ImageError> {
    let mut all = Unpacked::default();
    for (layer, diff_id) in image.layers.iter().zip(&image.diff_ids) {
        let options = UnpackOptions { single_id, diff_id: Some(*diff_id), ..UnpackOptions::default() };
        let file = Stopping { file: store.read(&layer.digest)?, stop };
        let unpacked = unpack_layer(file, root, &options);
        if stop.asked() {
            return Err(ImageError::Stopped { what: what.to_owned() });
        }
        let unpacked = unpacked.map_err(|source| match source {
            LayerError::DiffId { expected, found } => {
                let what = format!("the content of layer {} of {what}", layer.digest);
                ImageError::Digest { what, expected: expected.0, actual: found.0 }
            }
            source => ImageError::Layer { digest: layer.digest, image: what.to_owned(), source },
        })?;
        all.entries += unpacked.entries;
        all.bytes += unpacked.bytes;
        all.owners_refused += unpacked.owners_refused;
        all.owners_recorded += unpacked.owners_recorded;
        all.attributes_refused += unpacked.attributes_refused;
        all.nodes_recorded += unpacked.nodes_recorded;
        all.nodes_refused += unpacked.nodes_refused;
    }
    Ok(all)
}

/// A file that ends with an error when the run is to end.
struct Stopping<'a> {
    file: File,
    stop: &'a Stop,
}

impl Read for Stopping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.asked() { Err(io::Error::other("interrupted")) } else { self.file.read(buffer) }
    }
}
