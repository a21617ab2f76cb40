//! Image layouts on disk (`image-spec image-layout.md`), read as warily as a registry.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::error::RegistryError;
use super::image::{Image, complete, promised};
use super::incoming::Incoming;
use super::manifest::{Descriptor, Entry, MOST, Manifest, entries, select};
use super::platform::Platform;
use super::repository::already;
use crate::http::Stop;
use crate::oci::Digest;
use crate::store::{SealedBlob, Store, Stored};

/// The annotation that carries a tag (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Copies are made in pieces of this many bytes.
const PIECE: usize = 1 << 18;

/// A directory with `oci-layout`, `index.json` and `blobs/`.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    stop: Stop,
}

impl Layout {
    /// Opens the layout in `root`; `stop` ends imports.
    ///
    /// # Errors
    /// `Layout` where it is none, `Io`.
    pub fn open(root: &Path, stop: Stop) -> Result<Self, RegistryError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Marker {
            image_layout_version: String,
        }
        let layout = Self { root: root.to_owned(), stop };
        let bytes = match layout.file(&root.join("oci-layout")) {
            Err(RegistryError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(layout.wrong("there is no file `oci-layout` in it"));
            }
            file => bounded(file?, &root.join("oci-layout"), MOST)?,
        };
        match serde_json::from_slice::<Marker>(&bytes) {
            Ok(marker) if marker.image_layout_version.starts_with("1.") => Ok(layout),
            Ok(_) => Err(layout.wrong("it is of another version than 1")),
            Err(error) => Err(layout.wrong(&format!("`oci-layout` in it is not as it must be: {error}"))),
        }
    }

    /// Returns the manifest that a digest or a tag means on a platform; without either, the only one there is.
    ///
    /// A digest may be that of any manifest among the blobs, as BuildKit has it.
    ///
    /// # Errors
    /// `Layout`, `Platform`, `Manifest`, `Digest`, `Io`.
    pub fn resolve(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
        platform: &Platform,
    ) -> Result<Manifest, RegistryError> {
        let what = format!("image layout `{}`", self.root.display());
        let top = if let Some(digest) = digest {
            self.manifest(digest)?
        } else {
            let path = self.root.join("index.json");
            let all = entries(&what, &bounded(self.file(&path)?, &path, MOST)?)?;
            let entry = self.pick(&all, tag)?;
            promised(self.manifest(&entry.digest)?, &entry.descriptor(), &what)?
        };
        select(&what, top, platform, &|descriptor| promised(self.manifest(&descriptor.digest)?, descriptor, &what))
    }

    fn pick<'a>(&self, all: &'a [Entry], tag: Option<&str>) -> Result<&'a Entry, RegistryError> {
        let named = |entry: &Entry| entry.annotations.get(REF_NAME).cloned();
        match (tag, all) {
            (Some(tag), _) => all.iter().find(|entry| named(entry).as_deref() == Some(tag)).ok_or_else(|| {
                let known: Vec<String> = all.iter().filter_map(named).collect();
                self.wrong(&format!("nothing in it is called `{tag}`, only: {}", known.join(", ")))
            }),
            (None, [only]) => Ok(only),
            (None, _) => Err(self.wrong(&format!("it has {} images: say which one by tag or digest", all.len()))),
        }
    }

    /// Brings an image into the store, all of it or nothing.
    ///
    /// # Errors
    /// As `resolve`, and `Digest`, `Size`, `Store` of its blobs.
    pub fn import(
        &self,
        tag: Option<&str>,
        digest: Option<&Digest>,
        platform: &Platform,
        store: &Store,
    ) -> Result<Image, RegistryError> {
        let manifest = self.resolve(tag, digest, platform)?;
        let incoming = Incoming::new(store);
        incoming.keep_manifest(&manifest)?;
        let what = format!("image layout `{}`", self.root.display());
        let image = complete(&what, &manifest, &incoming, &|blob: &Descriptor| {
            if !incoming.has(&blob.digest, Some(blob.size), &what)? {
                incoming.keep(self.read_blob(&blob.digest, Some(blob.size), store)?, None);
            }
            Ok(())
        })?;
        incoming.publish()?;
        Ok(image)
    }

    /// Brings one blob into the store, verified.
    ///
    /// # Errors
    /// `Layout` where it is not there, `Digest`, `Size`, `Store`, `Io`, `Stopped`.
    pub fn blob(&self, digest: &Digest, size: Option<u64>, store: &Store) -> Result<Stored, RegistryError> {
        let what = format!("`{}`", self.blob_path(digest).display());
        match already(store, digest, size, &what)? {
            Some(stored) => Ok(stored),
            None => Ok(self.read_blob(digest, size, store)?.commit()?),
        }
    }

    fn read_blob(&self, digest: &Digest, size: Option<u64>, store: &Store) -> Result<SealedBlob, RegistryError> {
        let path = self.blob_path(digest);
        let what = format!("`{}`", path.display());
        let mut file = self.open_blob(digest)?;
        let actual = file.metadata().map_err(RegistryError::io("examine", &path))?.len();
        if let Some(expected) = size.filter(|size| *size != actual) {
            return Err(RegistryError::Size { what, expected, actual, more: false });
        }
        let mut writer = store.writer()?;
        let mut piece = vec![0; PIECE];
        loop {
            if self.stop.asked() {
                return Err(RegistryError::Stopped { what });
            }
            let count = match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(RegistryError::io("read", &path)(error)),
            };
            writer.write_all(&piece[..count]).map_err(RegistryError::io("write", &store.path(digest)))?;
            if writer.size() > actual {
                return Err(RegistryError::Size { what, expected: actual, actual: writer.size(), more: true });
            }
        }
        let sealed = writer.seal();
        let actual = sealed.stored().digest;
        if actual == *digest { Ok(sealed) } else { Err(RegistryError::Digest { what, expected: *digest, actual }) }
    }

    fn manifest(&self, digest: &Digest) -> Result<Manifest, RegistryError> {
        let path = self.blob_path(digest);
        let manifest = Manifest::new(bounded(self.open_blob(digest)?, &path, MOST)?, None);
        let actual = manifest.descriptor.digest;
        if actual == *digest {
            return Ok(manifest);
        }
        Err(RegistryError::Digest { what: format!("`{}`", path.display()), expected: *digest, actual })
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn open_blob(&self, digest: &Digest) -> Result<File, RegistryError> {
        match self.file(&self.blob_path(digest)) {
            Err(RegistryError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(self.wrong(&format!("blob {digest} is not in it")))
            }
            other => other,
        }
    }

    /// Opens a regular file; a pipe under that name is refused, not waited for.
    fn file(&self, path: &Path) -> Result<File, RegistryError> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(RegistryError::io("open", path))?;
        if file.metadata().map_err(RegistryError::io("examine", path))?.is_file() {
            Ok(file)
        } else {
            Err(self.wrong(&format!("`{}` is not a file", path.display())))
        }
    }

    fn wrong(&self, reason: &str) -> RegistryError {
        RegistryError::Layout { path: self.root.clone(), reason: reason.to_owned() }
    }
}

fn bounded(file: File, path: &Path, most: u64) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(RegistryError::io("read", path))?;
    if bytes.len() as u64 > most {
        return Err(RegistryError::TooLarge { what: format!("`{}`", path.display()), most });
    }
    Ok(bytes)
}
