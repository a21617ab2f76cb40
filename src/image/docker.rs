//! What `docker save` wrote before version 25, and skopeo, podman, kaniko and crane write still: `manifest.json`, which
//! names configs and layers by files (moby `image/spec/v1.2.md#combined-image-json--filesystem-changeset-format`).
//!
//! Such an archive has no manifest: we write one, always the same for the same config and layers. Layers stay as they
//! are, mostly uncompressed, so that the image keeps its ID and nothing has to be packed anew. A layer that docker finds
//! twice is a link to the first, `../<hex>/layer.tar`.

use std::fs::File;
use std::io::{self, Read as _};

use serde::Deserialize;
use serde_json::json;

use super::document::{LAYERS, MOST, MOST_CONFIG, OCI_MANIFEST};
use super::error::ImageError;
use super::load::Found;
use super::name::Name;
use super::pieces::Pieces;
use crate::layer::{Hashed, LayerError, Limits, decompress};
use crate::oci::{self, DiffId, Digest};
use crate::registry::Descriptor;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Finds the images of such an archive.
pub(super) fn images(pieces: &mut Pieces<'_>) -> Result<Vec<Found>, ImageError> {
    let bytes = pieces.read("manifest.json", MOST)?.expect("it was seen");
    let saved: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(|error| pieces.wrong(&format!("its `manifest.json` is not as it must be: {error}")))?;
    if saved.is_empty() {
        return Err(pieces.wrong("no image is in it"));
    }
    saved.iter().map(|saved| image(pieces, saved)).collect()
}

fn image(pieces: &mut Pieces<'_>, saved: &Saved) -> Result<Found, ImageError> {
    let config = pieces.read(&saved.config, MOST_CONFIG)?;
    let config = config.ok_or_else(|| lacks(pieces, &saved.config))?;
    let diff_ids = oci::diff_ids(&config)
        .map_err(|error| pieces.wrong(&format!("`{}`: not the config of an image: {error}", saved.config)))?;
    let files = saved.layers.as_deref().unwrap_or_default();
    if files.len() != diff_ids.len() || files.len() > LAYERS {
        let reason = format!("`{}` names {} layers, `manifest.json` {}", saved.config, diff_ids.len(), files.len());
        return Err(pieces.wrong(&reason));
    }
    let mut layers = Vec::new();
    for (file, DiffId(diff_id)) in files.iter().zip(&diff_ids) {
        layers.push(layer(pieces, file, diff_id)?);
    }
    let tags = saved.repo_tags.iter().flatten();
    let names: Vec<Name> = tags.map(|tag| tag.parse()).collect::<Result<_, _>>()?;
    let stored = pieces.stored(&saved.config)?.ok_or_else(|| lacks(pieces, &saved.config))?;
    let config = Descriptor { media_type: CONFIG.to_owned(), digest: stored.digest, size: stored.size };
    let manifest = manifest(&config, &layers);
    let (digest, size) = (Digest::of(&manifest), manifest.len() as u64);
    Ok(Found {
        descriptor: Descriptor { media_type: OCI_MANIFEST.to_owned(), digest, size },
        names,
        files: files.iter().chain([&saved.config]).cloned().collect(),
        made: vec![manifest],
        absent: 0,
    })
}

/// Writes the manifest that such an archive lacks.
pub(super) fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let described = |it: &Descriptor| json!({"mediaType": it.media_type, "digest": it.digest, "size": it.size});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(config),
        "layers": layers.iter().map(described).collect::<Vec<_>>(),
    });
    manifest.to_string().into_bytes()
}

fn lacks(pieces: &Pieces<'_>, file: &str) -> ImageError {
    ImageError::Incomplete { what: pieces.what().to_owned(), missing: format!("`{file}`") }
}

/// Describes a layer, checked against the config's word for it.
fn layer(pieces: &mut Pieces<'_>, name: &str, diff_id: &Digest) -> Result<Descriptor, ImageError> {
    let stored = pieces.stored(name)?.ok_or_else(|| lacks(pieces, name))?;
    let what = format!("layer `{name}` of {}", pieces.what());
    let mut file = pieces.open(name)?.ok_or_else(|| lacks(pieces, name))?;
    let mut magic = [0; 4];
    let count = file.read(&mut magic).map_err(ImageError::io("read", name.as_ref()))?;
    let ending = match &magic[..count] {
        [0x1f, 0x8b, ..] => "+gzip",
        [0x28, 0xb5, 0x2f, 0xfd] => "+zstd",
        _ => "",
    };
    let actual = if ending.is_empty() {
        stored.digest
    } else {
        let file = pieces.open(name)?.ok_or_else(|| lacks(pieces, name))?;
        uncompressed(file).map_err(|source| ImageError::Read { what: what.clone(), source })?
    };
    if actual != *diff_id {
        return Err(ImageError::Digest { what, expected: *diff_id, actual });
    }
    let media_type = format!("application/vnd.oci.image.layer.v1.tar{ending}");
    Ok(Descriptor { media_type, digest: stored.digest, size: stored.size })
}

/// Returns the digest of a layer's bytes when they are uncompressed.
fn uncompressed(file: File) -> Result<Digest, LayerError> {
    let read = |source| LayerError::Read { source };
    let mut bytes = decompress(file, &Limits::default()).map_err(read)?;
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut bytes, &mut hashed).map_err(read)?;
    Ok(hashed.finish().1.0)
}
