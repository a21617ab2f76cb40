//! Finding snapshots and making them from layers, files, directories and each other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::active::Active;
use super::copy;
use super::error::SnapshotError;
use crate::layer;
use crate::oci::Digest;
use crate::sandbox::Mount;
use crate::store::Store;

/// The snapshots of a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    root: PathBuf,
    single_id: bool,
}

/// A tree that never changes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    id: String,
    content: Digest,
    path: PathBuf,
}

/// `meta`; unknown fields are ignored, so that fields may be added.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) content: Digest,
}

impl Snapshot {
    /// Returns the ID, a plain file name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the digest of what the tree holds.
    pub const fn digest(&self) -> Digest {
        self.content
    }

    /// Returns where the tree is. Nobody may write there.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Returns the tree as a read-only mount.
    pub fn view(&self) -> Mount {
        Mount::Bind { source: self.path(), readonly: true }
    }
}

impl Snapshots {
    /// Opens the snapshots of `store`; with `single_id` owners that this process cannot give are left out on disk.
    pub fn open(store: &Store, single_id: bool) -> Result<Self, SnapshotError> {
        Ok(Self { root: store.room("snapshots")?, store: store.clone(), single_id })
    }

    pub(super) fn directory(&self, id: &str) -> PathBuf {
        self.root.join(id)
    }

    pub(super) fn snapshot(&self, id: &str, content: Digest) -> Snapshot {
        Snapshot { id: id.to_owned(), content, path: self.directory(id).join("fs") }
    }

    /// Returns the snapshot `id`, if it is there and whole.
    pub fn get(&self, id: &str) -> Result<Option<Snapshot>, SnapshotError> {
        // IDs are hexadecimal digests; anything else, from a damaged record say, names nothing.
        if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let path = self.directory(id).join("meta");
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice::<Meta>(&bytes).ok().map(|meta| self.snapshot(id, meta.content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SnapshotError::Io { action: "read", path, source }),
        }
    }

    /// Begins an empty writable tree.
    pub fn prepare(&self) -> Result<Active, SnapshotError> {
        let active = Active { snapshots: self.clone(), room: self.store.temporary_directory()? };
        let path = active.path();
        fs::create_dir(&path).map_err(SnapshotError::io("create directory", &path))?;
        Ok(active)
    }

    /// Unpacks `layers` (digests of blobs, lowest first) into the snapshot `id`, whose content digest is `id` too.
    pub fn import(&self, id: &Digest, layers: &[Digest]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        for digest in layers {
            let options = layer::UnpackOptions { single_id: self.single_id, ..layer::UnpackOptions::default() };
            layer::unpack(self.store.read(digest)?, &active.path(), &options)?;
        }
        active.commit_as(&id.hex(), id)
    }

    /// Makes the snapshot `id` that holds one file, `filename`, with the bytes of `blob`.
    pub fn file(&self, id: &Digest, blob: &Path, filename: &str) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        copy::share(blob, &active.path().join(filename))?;
        active.commit_as(&id.hex(), id)
    }

    /// Makes the snapshot `id` out of several: all they hold, later ones win.
    pub fn merge(&self, id: &Digest, parts: &[Snapshot]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        for part in parts {
            copy::overlay(&part.path, &active.path())?;
        }
        active.commit_as(&id.hex(), id)
    }

    /// Copies what `include` names of the directory `from` (everything if it is empty); the ID is the content's digest.
    pub fn copy_in(&self, from: &Path, include: &[String]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        copy::copy_in(from, include, &active.path())?;
        active.commit()
    }
}
