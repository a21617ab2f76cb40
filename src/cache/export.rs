//! Writing a cache.

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;

use serde_json::json;

use super::config::{Config, MEDIA_TYPE, Packed};
use super::error::CacheError;
use super::layout::Draft;
use super::place::Place;
use crate::layer::{Compression, Compressor, Hashed, LayerError, Owner, PackOptions, PackTimes, pack};
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::Repository;
use crate::store::Store;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Layers that a manifest may have (`crate::registry`).
const LAYERS: usize = 1024;

/// A cache in the making: layers first, then the config that names them; dropped, it leaves blobs that nobody names.
#[derive(Debug)]
pub struct Exporter {
    to: To,
    /// What travels.
    store: Store,
    place: tempfile::TempDir,
    compression: Compression,
    jobs: NonZeroUsize,
}

#[derive(Debug)]
enum To {
    Directory(Draft),
    Registry(Box<Repository>, String),
}

impl Exporter {
    /// Begins a cache; what is packed waits in a corner of `store`.
    ///
    /// # Errors
    /// `Directory`, `Io`, `Registry`, `Store`.
    pub fn begin(
        place: &Place,
        store: &Store,
        compression: Compression,
        jobs: NonZeroUsize,
    ) -> Result<Self, CacheError> {
        let to = match place {
            Place::Directory(path) => To::Directory(Draft::open(path)?),
            Place::Registry(registry, reference) => {
                let tag = reference.tag().unwrap_or("latest").to_owned();
                To::Registry(Box::new(registry.repository(reference)?), tag)
            }
        };
        let corner = store.temporary_directory()?;
        let store = Store::open(&corner.path().join("store"))?;
        Ok(Self { to, store, place: corner, compression, jobs })
    }

    /// Returns a word for how layers are compressed.
    pub const fn compression(&self) -> &'static str {
        match self.compression {
            Compression::Gzip { .. } => "gzip",
            _ => "zstd",
        }
    }

    /// Tells whether a layer is there already.
    ///
    /// # Errors
    /// `Registry`.
    pub fn has(&self, packed: &Packed, progress: &dyn Progress) -> Result<bool, CacheError> {
        match &self.to {
            To::Directory(draft) => Ok(draft.has(packed)),
            To::Registry(repository, _) => Ok(repository.has_blob(&packed.digest, progress)?),
        }
    }

    /// Packs a directory, with marks of overlayfs as whiteouts where it is a layer, and adds it.
    ///
    /// # Errors
    /// `Ok(Err(_))` for a tree that cannot be packed, `Io`, `Registry`, `Store`.
    pub fn add(
        &self,
        directory: &Path,
        overlay: bool,
        progress: &dyn Progress,
    ) -> Result<Result<Packed, LayerError>, CacheError> {
        let failed = |source| CacheError::io("pack", directory)(source);
        let blob = BufWriter::with_capacity(256 << 10, self.store.writer()?);
        let mut archive = Hashed::new(Compressor::new(blob, self.compression, self.jobs).map_err(failed)?);
        let how = PackOptions {
            times: PackTimes::Kept(None),
            overlay,
            root: true,
            owner: Owner::Keep,
            prefix: std::path::PathBuf::new(),
        };
        let mut buffered = BufWriter::with_capacity(64 << 10, &mut archive);
        let packed = match pack(directory, &how, &mut buffered) {
            Ok(packed) => packed,
            Err(error) => return Ok(Err(error)),
        };
        buffered.flush().map_err(failed)?;
        drop(buffered);
        let mut blob = archive.finish().0.finish().map_err(failed)?;
        blob.flush().map_err(failed)?;
        let stored = blob.into_inner().map_err(|error| failed(error.into_error()))?.commit()?;
        self.put(&stored.digest, progress)?;
        Ok(Ok(Packed { digest: stored.digest, size: stored.size, length: packed.size }))
    }

    fn put(&self, digest: &Digest, progress: &dyn Progress) -> Result<(), CacheError> {
        match &self.to {
            To::Directory(draft) => draft.add(digest, &self.store)?,
            To::Registry(repository, _) => repository.put_blob(digest, &self.store, progress)?,
        }
        // What has gone out is not needed twice.
        let _ = std::fs::remove_file(self.store.path(digest));
        Ok(())
    }

    fn blob(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let mut writer = self.store.writer()?;
        writer.write_all(bytes).map_err(CacheError::io("write", self.place.path()))?;
        Ok(writer.commit()?.digest)
    }

    /// Publishes the cache; returns the digest of its manifest.
    ///
    /// # Errors
    /// `Config` for more layers than a manifest may have, `Io`, `Registry`, `Store`.
    pub fn finish(self, config: &Config, progress: &dyn Progress) -> Result<Digest, CacheError> {
        let bytes = config.bytes();
        let config_digest = self.blob(&bytes)?;
        self.put(&config_digest, progress)?;
        let packed = config.packed();
        if packed.len() > LAYERS {
            return Err(CacheError::Config { reason: format!("{} layers are more than {LAYERS}", packed.len()) });
        }
        let media_type = self.compression.media_type();
        let layers: Vec<_> = packed
            .values()
            .map(|layer| json!({"mediaType": media_type, "digest": layer.digest, "size": layer.size}))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": MEDIA_TYPE,
            "config": {"mediaType": MEDIA_TYPE, "digest": config_digest, "size": bytes.len()},
            "layers": layers,
        })
        .to_string();
        let digest = Digest::of(manifest.as_bytes());
        match &self.to {
            To::Directory(_) => {
                self.blob(manifest.as_bytes())?;
                self.put(&digest, progress)?;
            }
            To::Registry(repository, tag) => {
                repository.put_manifest(tag, MANIFEST, manifest.as_bytes(), progress)?;
            }
        }
        if let To::Directory(draft) = self.to {
            let entry = json!({
                "mediaType": MANIFEST, "artifactType": MEDIA_TYPE, "digest": digest, "size": manifest.len(),
            });
            let index = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [entry],
            });
            let mut named: BTreeSet<Digest> = packed.into_keys().collect();
            named.extend([config_digest, digest]);
            draft.finish(index.to_string().as_bytes(), &named)?;
        }
        Ok(digest)
    }
}
