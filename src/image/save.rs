//! Images of the store become archives and layouts.
//!
//! The OCI forms hold manifests and blobs byte for byte, so that digests stay. A docker archive holds no manifest:
//! `<hex>.json` is the config, `<hex>/layer.tar` a layer uncompressed under its diff ID, as `docker save` wrote it before
//! version 25, and every other tool reads it. Equal images make equal bytes: no entry has a time or an owner, and what
//! the archive holds is in the order of its names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::document::{Document, OCI_INDEX, contents};
use super::error::ImageError;
use super::name::Name;
use super::tags::{image, platform_of};
use crate::export::{NewDirectory, NewFile, PlainTar};
use crate::layer::{LayerError, Limits, decompress};
use crate::oci::Digest;
use crate::registry::{Descriptor, Platform};
use crate::store::{SealedBlob, Store};

/// Forms of saved images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveFormat {
    /// An OCI image layout in one tar.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
    /// An OCI image layout as a directory.
    Oci,
}

/// One image to save.
#[derive(Debug, Clone)]
pub struct Saving {
    /// Its manifest or index.
    pub descriptor: Descriptor,
    /// What it is called in the archive.
    pub names: Vec<Name>,
}

/// Saves images, in their order, to a file or directory at `destination`, or as a stream to `out`. A docker archive
/// takes the image of `platform` out of an index.
///
/// # Errors
/// `Incomplete` where the store lacks a part, `Digest` where a layer is not what its config says, `Platform`,
/// `Manifest`, `Export`, `Store`, `Io`.
pub fn save(
    store: &Store,
    images: &[Saving],
    format: SaveFormat,
    platform: &Platform,
    to: Destination<'_>,
) -> Result<(), ImageError> {
    match (format, to) {
        (SaveFormat::Oci, Destination::Path(path)) => directory(store, images, path),
        (SaveFormat::Oci, Destination::Stream(_)) => {
            let reason = "a directory cannot be written to a stream".to_owned();
            Err(ImageError::Archive { what: "standard output".to_owned(), reason })
        }
        (_, Destination::Stream(out)) => archive(store, images, format, platform, out).map(|_| ()),
        (_, Destination::Path(path)) => {
            let file = BufWriter::with_capacity(256 << 10, NewFile::begin(path)?);
            let file = archive(store, images, format, platform, file)?;
            let file = file.into_inner().map_err(|error| ImageError::io("write", path)(error.into_error()))?;
            file.publish()?;
            Ok(())
        }
    }
}

/// Where saved images go.
pub enum Destination<'a> {
    /// A file or directory with this name.
    Path(&'a Path),
    /// As a stream.
    Stream(&'a mut dyn Write),
}

impl std::fmt::Debug for Destination<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

fn archive<W: Write>(
    store: &Store,
    images: &[Saving],
    format: SaveFormat,
    platform: &Platform,
    out: W,
) -> Result<W, ImageError> {
    let written = |source| ImageError::Io { action: "write", path: "the archive".into(), source };
    let mut tar = PlainTar::new(out);
    if format == SaveFormat::DockerArchive {
        docker(store, images, platform, &mut tar)?;
    } else {
        let blobs = blobs(store, images)?;
        let index = index(store, images)?;
        // First what says what the rest is, for readers that do not seek.
        for (name, bytes) in [("oci-layout", OCI_LAYOUT), ("index.json", &index)] {
            tar.file(name, bytes.len() as u64, &mut &*bytes).map_err(written)?;
        }
        tar.directory("blobs").and_then(|()| tar.directory("blobs/sha256")).map_err(written)?;
        for (digest, size) in &blobs {
            let mut file = store.read(digest)?;
            tar.file(&format!("blobs/sha256/{}", digest.hex()), *size, &mut file).map_err(written)?;
        }
    }
    tar.finish().map_err(written)
}

/// Content of `oci-layout` (`image-spec image-layout.md#oci-layout-file`).
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

fn directory(store: &Store, images: &[Saving], path: &Path) -> Result<(), ImageError> {
    let blobs = blobs(store, images)?;
    let index = index(store, images)?;
    let draft = NewDirectory::begin(path)?;
    let place = draft.path().join("blobs/sha256");
    fs::create_dir_all(&place).map_err(ImageError::io("create", &place))?;
    for digest in blobs.keys() {
        let to = place.join(digest.hex());
        reflink_copy::reflink_or_copy(store.path(digest), &to).map_err(ImageError::io("copy to", &to))?;
        synced(&to)?;
    }
    for (name, bytes) in [("oci-layout", OCI_LAYOUT), ("index.json", &index)] {
        let to = draft.path().join(name);
        fs::write(&to, bytes).map_err(ImageError::io("write", &to))?;
        synced(&to)?;
    }
    Ok(draft.publish()?)
}

fn synced(path: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt as _;
    File::open(path)
        .and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(0o644))?;
            file.sync_all()
        })
        .map_err(ImageError::io("sync", path))
}

/// Returns all blobs of the images; those of an index that were never asked for stay out.
fn blobs(store: &Store, images: &[Saving]) -> Result<BTreeMap<Digest, u64>, ImageError> {
    let mut all = BTreeMap::new();
    for image in images {
        let content = contents(store, &image.descriptor.digest)?;
        if let Some(missing) = content.missing.first() {
            let what = image.names.first().map_or_else(|| image.descriptor.digest.to_string(), Name::to_string);
            return Err(ImageError::Incomplete { what, missing: format!("blob {missing}") });
        }
        all.extend(content.blobs);
    }
    Ok(all)
}

/// Writes `index.json`: one entry for each name, under which other tools find it.
fn index(store: &Store, images: &[Saving]) -> Result<Vec<u8>, ImageError> {
    let mut entries = Vec::new();
    for image in images {
        let Descriptor { media_type, digest, size } = &image.descriptor;
        let mut entry = json!({ "mediaType": media_type, "digest": digest, "size": size });
        if let Some(platform) = described(store, digest)? {
            entry["platform"] = platform;
        }
        if image.names.is_empty() {
            entries.push(entry.clone());
        }
        for name in &image.names {
            let mut annotations = json!({ "org.opencontainers.image.ref.name": name.to_string() });
            if name.tag().is_some() {
                annotations["io.containerd.image.name"] = json!(name.to_string());
            }
            entry["annotations"] = annotations;
            entries.push(entry.clone());
        }
    }
    Ok(json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }).to_string().into_bytes())
}

/// Returns the platform of an image, as an index describes it (`image-spec image-index.md`).
fn described(store: &Store, digest: &Digest) -> Result<Option<Value>, ImageError> {
    let (document, _) = Document::read(store, digest)?;
    let super::document::Kind::Image { config, .. } = &document.kind else { return Ok(None) };
    if !document.is_image() {
        return Ok(None);
    }
    let config = super::document::blob(store, &config.digest, super::document::MOST_CONFIG)?;
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(platform_of(&config).map(|platform| {
        let mut described = json!({ "os": platform.os, "architecture": platform.architecture });
        if !platform.variant.is_empty() {
            described["variant"] = platform.variant.into();
        }
        described
    }))
}

/// Writes the files of a docker archive.
fn docker<W: Write>(
    store: &Store,
    images: &[Saving],
    platform: &Platform,
    tar: &mut PlainTar<W>,
) -> Result<(), ImageError> {
    let written = |source| ImageError::Io { action: "write", path: "the archive".into(), source };
    let mut manifest = Vec::new();
    let mut configs = BTreeSet::new();
    let mut layers = BTreeMap::<Digest, (Descriptor, String)>::new();
    for saving in images {
        let what = saving.names.first().map_or_else(|| saving.descriptor.digest.to_string(), Name::to_string);
        let (found, _) = image(store, &saving.descriptor.digest, (platform, false), &what)?;
        let tags: Vec<String> = saving.names.iter().filter(|name| name.tag().is_some()).map(Name::to_string).collect();
        manifest.push(json!({
            "Config": format!("{}.json", found.config.digest.hex()),
            "RepoTags": tags,
            "Layers": found.diff_ids.iter().map(|id| format!("{}/layer.tar", id.0.hex())).collect::<Vec<_>>(),
        }));
        configs.insert((found.config.digest, found.config.size));
        for (layer, diff_id) in found.layers.into_iter().zip(&found.diff_ids) {
            layers.entry(diff_id.0).or_insert_with(|| (layer, what.clone()));
        }
    }
    let manifest = Value::Array(manifest).to_string();
    tar.file("manifest.json", manifest.len() as u64, &mut manifest.as_bytes()).map_err(written)?;
    for (digest, size) in configs {
        tar.file(&format!("{}.json", digest.hex()), size, &mut store.read(&digest)?).map_err(written)?;
    }
    for (diff_id, (layer, what)) in layers {
        // A tar says how long a file is before its bytes: they wait in a file, one layer at a time.
        let plain = if layer.digest == diff_id { None } else { Some(uncompressed(store, &layer, &diff_id, &what)?) };
        let (mut bytes, size) = match &plain {
            Some(plain) => (plain.open()?, plain.stored().size),
            None => (store.read(&layer.digest)?, layer.size),
        };
        tar.directory(&diff_id.hex()).map_err(written)?;
        tar.file(&format!("{}/layer.tar", diff_id.hex()), size, &mut bytes).map_err(written)?;
    }
    Ok(())
}

/// Decompresses a layer into the store's corner for what is in the making; its bytes are what its config says.
fn uncompressed(store: &Store, layer: &Descriptor, diff_id: &Digest, what: &str) -> Result<SealedBlob, ImageError> {
    let failed = |source| {
        let source = LayerError::Read { source };
        ImageError::Layer { digest: layer.digest, image: what.to_owned(), source }
    };
    let mut bytes = decompress(store.read(&layer.digest)?, &Limits::default()).map_err(failed)?;
    let mut out = BufWriter::with_capacity(256 << 10, store.writer()?);
    io::copy(&mut bytes, &mut out).map_err(failed)?;
    let out = out.into_inner().map_err(|error| failed(error.into_error()))?.seal();
    if out.stored().digest != *diff_id {
        let what = format!("the content of layer {} of {what}", layer.digest);
        return Err(ImageError::Digest { what, expected: *diff_id, actual: out.stored().digest });
    }
    Ok(out)
}
