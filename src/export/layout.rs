//! Writing an OCI image layout (`image-spec image-layout.md`).

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ExportError;
use super::image::ImageOptions;
use super::tarball::pack_buffered;
use crate::layer::{Compression, Compressor, Hashed, Limits, PackOptions, decompress};
use crate::oci::{DiffId, Digest, Hasher};

/// A directory of blobs in the making.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    blobs: PathBuf,
}

/// A packed layer (`image-spec layer.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: DiffId,
    /// How it is compressed.
    pub media_type: String,
}

/// One layer of an image to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLayer {
    /// A directory.
    Tree {
        /// Where it is.
        path: PathBuf,
        /// It is an upper directory of overlayfs, whose marks become whiteouts.
        overlay: bool,
    },
    /// A layer that is packed already.
    Blob {
        /// Where its bytes are.
        path: PathBuf,
        /// What they are.
        blob: LayerBlob,
    },
}

impl Layout {
    pub(super) fn new(root: &Path) -> Result<Self, ExportError> {
        let blobs = root.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(ExportError::io("create", &blobs))?;
        let layout = Self { root: root.to_owned(), blobs };
        layout.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(layout)
    }

    /// Writes a file of the layout's own.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        write_synced(&self.root.join(name), bytes)
    }

    /// Adds a small blob.
    pub(super) fn blob(&self, bytes: &[u8]) -> Result<Digest, ExportError> {
        let digest = Digest::of(bytes);
        write_synced(&self.blobs.join(digest.hex()), bytes)?;
        Ok(digest)
    }

    /// Adds a layer, packing it where it is not a blob already.
    pub(super) fn layer(&self, layer: &ImageLayer, options: &ImageOptions) -> Result<LayerBlob, ExportError> {
        if let ImageLayer::Blob { path, blob } = layer {
            let to = self.blobs.join(blob.digest.hex());
            if !to.exists() {
                reflink_copy::reflink_or_copy(path, &to).map_err(ExportError::io("copy", path))?;
            }
            return Ok(blob.clone());
        }
        let file = NamedTempFile::new_in(&self.root).map_err(ExportError::io("create a file in", &self.root))?;
        let packed = write_layer(layer, options, options.compression, file.as_file())?;
        let path = self.blobs.join(packed.digest.hex());
        finish(file, &path)?;
        Ok(packed)
    }
}

/// Packs a layer into an open file, or copies the archive that it is already.
pub(super) fn write_layer(
    layer: &ImageLayer,
    options: &ImageOptions,
    compression: Compression,
    file: &File,
) -> Result<LayerBlob, ExportError> {
    let (ImageLayer::Tree { path: tree, .. } | ImageLayer::Blob { path: tree, .. }) = layer;
    let failed = |source| ExportError::Io { action: "write the layer of", path: tree.clone(), source };
    let blob = Counted { out: BufWriter::with_capacity(256 << 10, file), hasher: Hasher::default() };
    let compressor = Compressor::new(blob, compression, options.jobs).map_err(failed)?;
    let mut hashed = Hashed::new(compressor);
    match layer {
        ImageLayer::Tree { path, overlay } => {
            let (times, owner) = (options.times, options.owner);
            let how = PackOptions { times, overlay: *overlay, root: false, owner, prefix: PathBuf::new() };
            pack_buffered(path, &how, &mut hashed)?;
        }
        ImageLayer::Blob { path, .. } => {
            let packed = File::open(path).map_err(ExportError::io("open", path))?;
            let mut archive = decompress(packed, &Limits::default()).map_err(failed)?;
            io::copy(&mut archive, &mut hashed).map_err(failed)?;
        }
    }
    let (compressor, diff_id, _) = hashed.finish();
    let mut blob = compressor.finish().map_err(failed)?;
    blob.out.flush().map_err(failed)?;
    let size = blob.hasher.size();
    let media_type = compression.media_type().to_owned();
    Ok(LayerBlob { digest: blob.hasher.finish(), size, diff_id, media_type })
}

/// Gives a temporary file its name, readable for all and synced.
pub(super) fn finish(file: NamedTempFile, path: &Path) -> Result<(), ExportError> {
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))
        .and_then(|()| file.as_file().sync_all())
        .map_err(ExportError::io("write", path))?;
    file.persist(path).map_err(|error| ExportError::io("publish", path)(error.error))?;
    Ok(())
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), ExportError> {
    File::create(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.set_permissions(Permissions::from_mode(0o644))?;
            file.sync_all()
        })
        .map_err(ExportError::io("write", path))
}

struct Counted<W> {
    out: W,
    hasher: Hasher,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
