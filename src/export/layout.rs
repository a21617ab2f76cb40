//! Writing an OCI image layout (`image-spec image-layout.md`).

use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::error::ExportError;
use super::image::ImageOptions;
use super::tarball::pack_buffered;
use crate::layer::{Compression, Compressor, Hashed, PackOptions};
use crate::oci::{DiffId, Digest, Hasher};

/// A directory of blobs in the making.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    blobs: PathBuf,
}

/// A packed layer that is one of the blobs.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerBlob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) diff_id: DiffId,
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

    /// Packs `tree` and adds it as a layer.
    pub(super) fn layer(&self, tree: &Path, options: &ImageOptions) -> Result<LayerBlob, ExportError> {
        let file = NamedTempFile::new_in(&self.root).map_err(ExportError::io("create a file in", &self.root))?;
        let packed = write_layer(tree, options, options.compression, file.as_file())?;
        let path = self.blobs.join(packed.digest.hex());
        finish(file, &path)?;
        Ok(packed)
    }
}

/// Packs `tree` into an open file.
pub(super) fn write_layer(
    tree: &Path,
    options: &ImageOptions,
    compression: Compression,
    file: &File,
) -> Result<LayerBlob, ExportError> {
    let failed = |source| ExportError::Io { action: "write the layer of", path: tree.to_owned(), source };
    let blob = Counted { out: BufWriter::with_capacity(256 << 10, file), hasher: Hasher::default() };
    let compressor = Compressor::new(blob, compression, options.jobs).map_err(failed)?;
    let mut hashed = Hashed::new(compressor);
    let how = PackOptions { epoch: options.epoch, owner: options.owner, prefix: PathBuf::new() };
    pack_buffered(tree, &how, &mut hashed)?;
    let (compressor, diff_id, _) = hashed.finish();
    let mut blob = compressor.finish().map_err(failed)?;
    blob.out.flush().map_err(failed)?;
    let size = blob.hasher.size();
    Ok(LayerBlob { digest: blob.hasher.finish(), size, diff_id })
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
