//! A cache in a directory: an image layout with one manifest (`image-spec image-layout.md`).

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Deserialize;

use super::config::{MEDIA_TYPE, Packed};
use super::error::CacheError;
use crate::http::Stop;
use crate::oci::{Arch, Digest};
use crate::registry::{Layout, Manifest, Platform};
use crate::store::Store;

/// The most bytes of an index that is looked at.
const MOST: u64 = 4 << 20;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    artifact_type: Option<String>,
    digest: Digest,
}

/// Reads the manifest, verified.
pub(super) fn manifest(root: &Path, stop: &Stop, _store: &Store) -> Result<Manifest, CacheError> {
    let layout = Layout::open(root, stop.clone())?;
    let wrong = |reason| CacheError::Directory { path: root.to_owned(), reason };
    let entry = ours(root)?.ok_or_else(|| wrong("holds no cache"))?;
    Ok(layout.resolve(None, Some(&entry), &Platform::linux(Arch::X86_64))?)
}

/// Returns the manifest of the cache in a directory; an error where the directory holds something else.
pub(super) fn ours(root: &Path) -> Result<Option<Digest>, CacheError> {
    let wrong = |reason| CacheError::Directory { path: root.to_owned(), reason };
    let path = root.join("index.json");
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => file.take(MOST).read_to_end(&mut bytes).map_err(CacheError::io("read", &path))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CacheError::io("open", &path)(error)),
    };
    let index: Index = serde_json::from_slice(&bytes).map_err(|_| wrong("has an `index.json` that is none"))?;
    match index.manifests.as_slice() {
        [only] if only.artifact_type.as_deref() == Some(MEDIA_TYPE) => Ok(Some(only.digest)),
        _ => Err(wrong("holds other images")),
    }
}

/// A directory that a cache is written to; others who write wait.
#[derive(Debug)]
pub(super) struct Draft {
    root: std::path::PathBuf,
    _lock: File,
}

impl Draft {
    pub(super) fn open(root: &Path) -> Result<Self, CacheError> {
        let blobs = root.join("blobs/sha256");
        let is_new = !root.join("oci-layout").exists();
        if is_new && fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(CacheError::Directory { path: root.to_owned(), reason: "is not empty and holds no cache" });
        }
        fs::create_dir_all(&blobs).map_err(CacheError::io("create", &blobs))?;
        let lock = File::open(root).map_err(CacheError::io("open", root))?;
        lock.lock().map_err(CacheError::io("lock", root))?;
        // A damaged index is replaced; one of something else is not ours to replace.
        if let Err(error @ CacheError::Directory { reason: "holds other images", .. }) = ours(root) {
            return Err(error);
        }
        let draft = Self { root: root.to_owned(), _lock: lock };
        if is_new {
            draft.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(draft)
    }

    /// Tells whether a blob is there; its bytes are looked at by who reads them.
    pub(super) fn has(&self, packed: &Packed) -> bool {
        fs::symlink_metadata(self.blob(&packed.digest)).is_ok_and(|it| it.is_file() && it.len() == packed.size)
    }

    fn blob(&self, digest: &Digest) -> std::path::PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Adds a blob of a store.
    pub(super) fn add(&self, digest: &Digest, store: &Store) -> Result<(), CacheError> {
        let (from, to) = (store.path(digest), self.blob(digest));
        let file = self.file()?;
        let mut source = store.read(digest)?;
        std::io::copy(&mut source, &mut file.as_file()).map_err(CacheError::io("copy", &from))?;
        publish(file, &to)
    }

    /// Publishes the manifest, after which what it does not name goes.
    pub(super) fn finish(self, index: &[u8], named: &std::collections::BTreeSet<Digest>) -> Result<(), CacheError> {
        let blobs = self.root.join("blobs/sha256");
        File::open(&blobs).and_then(|it| it.sync_all()).map_err(CacheError::io("sync", &blobs))?;
        self.put("index.json", index)?;
        for entry in fs::read_dir(&blobs).map_err(CacheError::io("list", &blobs))?.flatten() {
            let name = entry.file_name();
            if !named.iter().any(|digest| digest.hex().as_str() == name) {
                // A leftover costs room only.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let mut file = self.file()?;
        file.write_all(bytes).map_err(CacheError::io("write", &self.root))?;
        publish(file, &self.root.join(name))
    }

    fn file(&self) -> Result<tempfile::NamedTempFile, CacheError> {
        tempfile::NamedTempFile::new_in(&self.root).map_err(CacheError::io("create a file in", &self.root))
    }
}

fn publish(file: tempfile::NamedTempFile, path: &Path) -> Result<(), CacheError> {
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .and_then(|()| file.as_file().sync_all())
        .map_err(CacheError::io("write", path))?;
    file.persist(path).map_err(|error| CacheError::io("publish", path)(error.error))?;
    Ok(())
}
