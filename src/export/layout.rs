//! Images as directories (`image-spec image-layout.md`).

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use oci_spec::image::Descriptor;

use super::artifact::{Artifact, ArtifactKind, draft_directory, publish_directory};
use super::assemble::{Assembled, assemble};
use super::document;
use super::error::ExportError;
use super::name::{checked_name, reference};
use super::options::{ImageOptions, MediaTypes};
use super::packed::{Content, ImageLayer};

/// The annotation that names an image in an index (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The one that containerd and docker take the whole name from (containerd `images/annotations.go`).
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// Content of `oci-layout` (`image-spec image-layout.md#oci-layout-file`).
pub(super) const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes an OCI image layout into a new or empty directory.
///
/// # Errors
/// `Occupied`, `Destination`, `ImageName`, `Io` and whatever hinders making an image.
pub fn oci_layout(layers: &[ImageLayer], options: &ImageOptions, destination: &Path) -> Result<Artifact, ExportError> {
    let draft = draft_directory(destination)?;
    let root = draft.path();
    let blobs = root.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(ExportError::io("create", &blobs))?;
    let image = assemble(layers, options, root)?;
    let (size, facts) = (image.size(), image.facts.clone());
    let index = index(&image, options)?;
    let mut files = vec![write(&root.join("oci-layout"), OCI_LAYOUT)?, write(&root.join("index.json"), &index)?];
    for blob in image.blobs {
        let path = blobs.join(blob.digest.hex());
        files.push(match blob.content {
            Content::Bytes(bytes) => write(&path, &bytes)?,
            Content::Made(file) => {
                let file = file.persist(&path).map_err(|error| ExportError::io("name", &path)(error.error))?;
                readable(&file, &path)?;
                file
            }
            Content::File(_) => {
                let mut file = File::create(&path).map_err(ExportError::io("create", &path))?;
                blob.copy(&mut file, &options.stop)?;
                readable(&file, &path)?;
                file
            }
        });
    }
    // At the end, so that the disk was already busy with the first while the last were written.
    for file in files {
        file.sync_all().map_err(ExportError::io("sync", root))?;
    }
    publish_directory(draft, destination)?;
    let (path, kind, digest) = (destination.to_owned(), ArtifactKind::OciLayout, facts.digest());
    Ok(Artifact { path, kind, digest, size, image: Some(facts) })
}

/// Writes `index.json`: the image under each of its names, and what is attached to it.
pub(super) fn index(image: &Assembled, options: &ImageOptions) -> Result<Vec<u8>, ExportError> {
    let facts = &image.facts;
    let mut manifests: Vec<Descriptor> = Vec::new();
    for name in &options.names {
        let mut named = facts.descriptor.clone();
        let names = [(REF_NAME, checked_name(name)?), (CONTAINERD_NAME, reference(name)?.to_string())];
        document::annotate(&mut named, &names.map(|(key, value)| (key.to_owned(), value)).into());
        manifests.push(named);
    }
    if manifests.is_empty() {
        manifests.push(facts.descriptor.clone());
    }
    manifests.extend(facts.attachments.iter().cloned());
    Ok(document::index(MediaTypes::Oci, &manifests, &std::collections::BTreeMap::new()))
}

fn write(path: &PathBuf, bytes: &[u8]) -> Result<File, ExportError> {
    let mut file = File::create(path).map_err(ExportError::io("create", path))?;
    file.write_all(bytes).map_err(ExportError::io("write", path))?;
    readable(&file, path)?;
    Ok(file)
}

fn readable(file: &File, path: &Path) -> Result<(), ExportError> {
    file.set_permissions(Permissions::from_mode(0o644)).map_err(ExportError::io("change the mode of", path))
}
