//! Images as directories and archives.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::image::{ImageIndexBuilder, ImageManifestBuilder, MediaType, PlatformBuilder};
use serde_json::json;
use tempfile::NamedTempFile;

use super::artifact::{Artifact, ArtifactKind, Draft, draft_directory, publish_directory, scratch};
use super::error::ExportError;
use super::image::{ImageOptions, checked_name, descriptor, json};
use super::layout::{ImageLayer, Layout, finish, write_layer, write_synced};
use super::tarball::pack_buffered;
use crate::layer::{Compression, Owner, PackOptions, PackTimes};
use crate::oci::{DiffId, Digest};

/// The annotation that names an image in an index (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Writes an OCI image layout into a new or empty directory. The artifact's digest is the manifest's.
///
/// # Errors
/// `Occupied`, `Pack`, `Io`, `Destination`, `Epoch`, `ImageName`.
pub fn oci_layout(layers: &[ImageLayer], options: &ImageOptions, destination: &Path) -> Result<Artifact, ExportError> {
    let draft = draft_directory(destination)?;
    let (digest, size) = write_image(layers, options, draft.path())?;
    publish_directory(draft, destination)?;
    Ok(Artifact { path: destination.to_owned(), kind: ArtifactKind::OciLayout, digest, size })
}

/// Writes an OCI image layout into one tar.
///
/// # Errors
/// `Pack`, `Io`, `Destination`, `Epoch`, `ImageName`.
pub fn oci_archive(layers: &[ImageLayer], options: &ImageOptions, destination: &Path) -> Result<Artifact, ExportError> {
    let mut archive = Draft::new(destination)?;
    let draft = scratch(destination)?;
    write_image(layers, options, draft.path())?;
    pack_buffered(draft.path(), &plain(options), &mut archive)?;
    archive.publish(ArtifactKind::OciArchive)
}

/// Writes the archive that `docker load` reads, with its layers uncompressed.
///
/// # Errors
/// `Pack`, `Io`, `Destination`, `Epoch`, `ImageName`.
pub fn docker_archive(
    layers: &[ImageLayer],
    options: &ImageOptions,
    destination: &Path,
) -> Result<Artifact, ExportError> {
    let mut archive = Draft::new(destination)?;
    let draft = scratch(destination)?;
    let mut diff_ids = Vec::new();
    for layer in layers {
        let file = NamedTempFile::new_in(draft.path()).map_err(ExportError::io("create a file in", draft.path()))?;
        let packed = write_layer(layer, options, Compression::None, file.as_file())?;
        let directory = draft.path().join(packed.digest.hex());
        // Two layers may be the same.
        fs::create_dir_all(&directory).map_err(ExportError::io("create", &directory))?;
        finish(file, &directory.join("layer.tar"))?;
        diff_ids.push(packed.diff_id);
    }
    let config = options.config(&diff_ids)?;
    let config_name = format!("{}.json", Digest::of(&config).hex());
    write_synced(&draft.path().join(&config_name), &config)?;
    let tags: Vec<String> = options.name.iter().map(|name| checked_name(name)).collect::<Result<_, _>>()?;
    let manifest = json!([{
        "Config": config_name,
        "RepoTags": tags,
        "Layers": diff_ids.iter().map(|diff_id| format!("{}/layer.tar", diff_id.0.hex())).collect::<Vec<_>>(),
    }]);
    write_synced(&draft.path().join("manifest.json"), manifest.to_string().as_bytes())?;
    pack_buffered(draft.path(), &plain(options), &mut archive)?;
    archive.publish(ArtifactKind::DockerArchive)
}

fn plain(options: &ImageOptions) -> PackOptions {
    let times = PackTimes::All(options.epoch);
    PackOptions { times, overlay: false, root: false, owner: Owner::Root, prefix: PathBuf::new() }
}

/// Writes layers, config, manifest and index; returns the manifest's digest and the size of all blobs.
fn write_image(layers: &[ImageLayer], options: &ImageOptions, root: &Path) -> Result<(Digest, u64), ExportError> {
    let layout = Layout::new(root)?;
    let packed: Result<Vec<_>, _> = layers.iter().map(|layer| layout.layer(layer, options)).collect();
    let packed = packed?;
    let diff_ids: Vec<DiffId> = packed.iter().map(|layer| layer.diff_id).collect();
    let config = options.config(&diff_ids)?;
    let config_digest = layout.blob(&config)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig.as_ref(), &config_digest, config.len() as u64))
        .layers(packed.iter().map(|layer| descriptor(&layer.media_type, &layer.digest, layer.size)).collect::<Vec<_>>())
        .build()
        .expect("all required fields are given");
    let manifest = json(&manifest);
    let manifest_digest = layout.blob(&manifest)?;
    let mut described = descriptor(MediaType::ImageManifest.as_ref(), &manifest_digest, manifest.len() as u64);
    let platform = PlatformBuilder::default().os("linux").architecture(options.arch.oci());
    described.set_platform(Some(platform.build().expect("all required fields are given")));
    if let Some(name) = &options.name {
        described.set_annotations(Some([(REF_NAME.to_owned(), checked_name(name)?)].into()));
    }
    let index = ImageIndexBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageIndex)
        .manifests([described])
        .build()
        .expect("all required fields are given");
    layout.file("index.json", &json(&index))?;
    let size: u64 = packed.iter().map(|layer| layer.size).sum();
    Ok((manifest_digest, size + config.len() as u64 + manifest.len() as u64))
}
