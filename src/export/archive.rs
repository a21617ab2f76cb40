//! Images as one tar. Everything that goes in has a known size by then, so it is written from front to end.

use std::io::Write;
use std::path::Path;

use serde_json::json;
use tar::{EntryType, Header};

use super::artifact::{Artifact, ArtifactKind, Draft, scratch};
use super::assemble::{Assembled, ImageFacts, assemble};
use super::error::ExportError;
use super::layout::{OCI_LAYOUT, index};
use super::name::checked_name;
use super::options::ImageOptions;
use super::packed::{Blob, Content, ImageLayer};
use crate::layer::Compression;

/// Size of a block of a tar.
const BLOCK: u64 = 512;

/// Writes an OCI image layout into one tar.
///
/// # Errors
/// `Destination`, `ImageName`, `Io` and whatever hinders making an image.
pub fn oci_archive(layers: &[ImageLayer], options: &ImageOptions, destination: &Path) -> Result<Artifact, ExportError> {
    publish(ArtifactKind::OciArchive, layers, options, destination)
}

/// Writes the archive that `docker load` reads, with its layers uncompressed.
///
/// # Errors
/// As `oci_archive`.
pub fn docker_archive(
    layers: &[ImageLayer],
    options: &ImageOptions,
    destination: &Path,
) -> Result<Artifact, ExportError> {
    publish(ArtifactKind::DockerArchive, layers, options, destination)
}

fn publish(
    kind: ArtifactKind,
    layers: &[ImageLayer],
    options: &ImageOptions,
    destination: &Path,
) -> Result<Artifact, ExportError> {
    let draft = Draft::new(destination)?;
    let scratch = scratch(destination)?;
    let (facts, size) = stream(kind, layers, options, scratch.path(), draft.file())?;
    let path = draft.publish()?;
    Ok(Artifact { path, kind, digest: facts.digest(), size, image: Some(facts) })
}

/// Writes an archive of an image to `out`, such as a pipe, with `scratch` for what has to be packed first. Nothing is
/// written before the image is complete.
///
/// # Errors
/// As `oci_archive`.
pub fn stream_image(
    kind: ArtifactKind,
    layers: &[ImageLayer],
    options: &ImageOptions,
    scratch: &Path,
    out: impl Write,
) -> Result<ImageFacts, ExportError> {
    stream(kind, layers, options, scratch, out).map(|(facts, _)| facts)
}

fn stream(
    kind: ArtifactKind,
    layers: &[ImageLayer],
    options: &ImageOptions,
    scratch: &Path,
    out: impl Write,
) -> Result<(ImageFacts, u64), ExportError> {
    let mut out = Archive { out, epoch: options.epoch, size: 0 };
    let facts = if kind == ArtifactKind::DockerArchive {
        let plain = ImageOptions { compression: Compression::None, force_compression: true, ..options.clone() };
        let image = assemble(layers, &plain, scratch)?;
        out.docker(&image, options)?;
        image.facts
    } else {
        let image = assemble(layers, options, scratch)?;
        out.oci(&image, options)?;
        image.facts
    };
    Ok((facts, out.size))
}

struct Archive<W> {
    out: W,
    epoch: u64,
    size: u64,
}

impl<W: Write> Archive<W> {
    /// `image-spec image-layout.md`, what is to be read first in front.
    fn oci(&mut self, image: &Assembled, options: &ImageOptions) -> Result<(), ExportError> {
        let index = index(image, options)?;
        self.file("oci-layout", &Blob::document(OCI_LAYOUT.to_vec()), options)?;
        self.file("index.json", &Blob::document(index), options)?;
        self.directory("blobs/")?;
        self.directory("blobs/sha256/")?;
        for blob in &image.blobs {
            self.file(&format!("blobs/sha256/{}", blob.digest.hex()), blob, options)?;
        }
        self.end()
    }

    /// What `docker save` wrote before it wrote layouts: a directory a layer, named by its diff ID.
    fn docker(&mut self, image: &Assembled, options: &ImageOptions) -> Result<(), ExportError> {
        let tags: Vec<String> = options.names.iter().map(|name| checked_name(name)).collect::<Result<_, _>>()?;
        let layer = |hex: String| format!("{hex}/layer.tar");
        let config = format!("{}.json", image.facts.config.hex());
        let manifest = json!([{
            "Config": config,
            "RepoTags": tags,
            "Layers": image.diff_ids.iter().map(|diff_id| layer(diff_id.0.hex())).collect::<Vec<_>>(),
        }]);
        self.file("manifest.json", &Blob::document(manifest.to_string().into_bytes()), options)?;
        for blob in &image.blobs {
            if blob.digest == image.facts.config {
                self.file(&config, blob, options)?;
            } else if !matches!(blob.content, Content::Bytes(_)) {
                self.directory(&format!("{}/", blob.digest.hex()))?;
                self.file(&layer(blob.digest.hex()), blob, options)?;
            }
        }
        self.end()
    }

    fn directory(&mut self, name: &str) -> Result<(), ExportError> {
        self.header(name, EntryType::Directory, 0o755, 0)
    }

    fn file(&mut self, name: &str, blob: &Blob, options: &ImageOptions) -> Result<(), ExportError> {
        self.header(name, EntryType::Regular, 0o644, blob.size)?;
        blob.copy(&mut self.out, &options.stop)?;
        self.size += blob.size;
        let rest = (BLOCK - blob.size % BLOCK) % BLOCK;
        self.write(&[0; BLOCK as usize][..rest as usize])
    }

    fn header(&mut self, name: &str, kind: EntryType, mode: u32, size: u64) -> Result<(), ExportError> {
        let mut header = Header::new_ustar();
        let field = &mut header.as_ustar_mut().expect("made as ustar").name;
        field[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.epoch);
        header.set_cksum();
        self.write(header.as_bytes())
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.write(&[0; 2 * BLOCK as usize])?;
        self.out.flush().map_err(ExportError::io("write", Path::new("the archive")))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).map_err(ExportError::io("write", Path::new("the archive")))
    }
}
