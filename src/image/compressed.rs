//! Images whose plain layers are compressed before they travel.
//!
//! A layer that is compressed changes its digest, and that of the manifest. So it is done where somebody asks for it, and
//! for images of docker archives, which came without a manifest: nobody else knows them by the digest that ours has.

use std::io::{self, BufWriter, Read as _};
use std::num::NonZeroUsize;

use serde_json::Value;

use super::docker;
use super::document::{Document, Kind};
use super::error::ImageError;
use super::tags::loose;
use crate::http::Stop;
use crate::layer::{Compression, Compressor};
use crate::oci::Digest;
use crate::registry::Descriptor;
use crate::store::{Store, Stored};

/// Bytes compressed between two looks at whether to stop.
const STRETCH: u64 = 8 << 20;

/// Tells whether the manifest of the store is one that we wrote for a docker archive with plain layers.
///
/// # Errors
/// `Manifest`, `Store`, `Io`.
pub fn is_of_docker_archive(store: &Store, digest: &Digest) -> Result<bool, ImageError> {
    let (document, bytes) = Document::read(store, digest)?;
    let Kind::Image { config, layers } = &document.kind else { return Ok(false) };
    let layers: Vec<Descriptor> = layers.iter().map(super::document::Entry::descriptor).collect();
    Ok(layers.iter().any(|layer| is_plain(&layer.media_type))
        && docker::manifest(&config.descriptor(), &layers) == bytes)
}

fn is_plain(media_type: &str) -> bool {
    media_type == Compression::None.media_type()
}

/// Returns the manifest of the same image with all plain layers compressed, which is in the store without a name then;
/// the very same one where there are none. Of an index nothing is changed.
///
/// # Errors
/// `Stopped`, `Manifest`, `Store`, `Io`.
pub fn compressed(
    store: &Store,
    image: &Descriptor,
    (compression, jobs): (Compression, NonZeroUsize),
    what: &str,
    stop: &Stop,
) -> Result<Descriptor, ImageError> {
    let (document, bytes) = Document::read(store, &image.digest)?;
    let (Kind::Image { layers, .. }, true) = (&document.kind, document.is_image()) else { return Ok(image.clone()) };
    if compression == Compression::None || !layers.iter().any(|layer| is_plain(&layer.media_type)) {
        return Ok(image.clone());
    }
    let mut manifest: Value = serde_json::from_slice(&bytes).expect("it was read a moment ago");
    for (at, layer) in layers.iter().enumerate().filter(|(_, layer)| is_plain(&layer.media_type)) {
        let stored = packed(store, &layer.digest, (compression, jobs), stop)?;
        let stored = stored.ok_or_else(|| ImageError::Stopped { what: what.to_owned() })?;
        let entry = &mut manifest["layers"][at];
        entry["mediaType"] = compression.media_type().into();
        entry["digest"] = stored.digest.to_string().into();
        entry["size"] = stored.size.into();
    }
    let mut writer = store.writer()?;
    io::Write::write_all(&mut writer, manifest.to_string().as_bytes())
        .map_err(ImageError::io("write to", store.root()))?;
    let stored = writer.commit()?;
    loose(store, &stored.digest, what)?;
    Ok(Descriptor { media_type: document.media_type, digest: stored.digest, size: stored.size })
}

/// Compresses a plain layer; `None` where it was to stop.
fn packed(
    store: &Store,
    layer: &Digest,
    (compression, jobs): (Compression, NonZeroUsize),
    stop: &Stop,
) -> Result<Option<Stored>, ImageError> {
    let path = store.path(layer);
    let failed = |source| ImageError::Io { action: "compress", path: path.clone(), source };
    let mut plain = store.read(layer)?;
    let blob = BufWriter::with_capacity(256 << 10, store.writer()?);
    let mut out = Compressor::new(blob, compression, jobs).map_err(failed)?;
    while io::copy(&mut (&mut plain).take(STRETCH), &mut out).map_err(failed)? > 0 {
        if stop.asked() {
            return Ok(None);
        }
    }
    let blob = out.finish().map_err(failed)?;
    Ok(Some(blob.into_inner().map_err(|error| failed(error.into_error()))?.commit()?))
}
