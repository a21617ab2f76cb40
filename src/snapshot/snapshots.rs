//! The room of the store where finished trees are.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use walkdir::WalkDir;

use super::active::Active;
use super::error::SnapshotError;
use super::tree::{Files, lay, walk_error};
use crate::layer::{UnpackOptions, tree_digest, unpack};
use crate::oci::{Digest, Hasher};
use crate::sandbox::Mount;
use crate::store::{Store, remove_tree};
use crate::sys;

/// All finished trees of a store. Cheap to clone, for use by any number of threads and processes at once.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    room: PathBuf,
    /// Overlays work on this file system, tried when first needed.
    overlay: Arc<OnceLock<bool>>,
}

/// A finished tree; nobody writes to it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    id: String,
    digest: Digest,
    size: u64,
    path: PathBuf,
}

impl Snapshot {
    /// Returns its name in the store.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the digest of its content (`layer::tree_digest`).
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the bytes in its files.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the directory that holds the whole tree. Read only: its files may be part of other snapshots too.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }

    /// Returns what a step mounts to read the tree.
    pub fn view(&self) -> Mount {
        Mount::Bind { source: self.path.clone(), readonly: true }
    }
}

/// What is written beside a tree.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    digest: Digest,
    size: u64,
    /// In which run of the kernel the tree was written or last verified.
    boot: String,
}

const META: &str = "meta";

/// A temporary directory of the store; what is in it goes with it, closed directories too.
#[derive(Debug)]
pub(super) struct Scratch(Option<TempDir>);

impl Scratch {
    pub(super) fn path(&self) -> &Path {
        self.0.as_ref().expect("only taken when the scratch itself is consumed").path()
    }

    pub(super) fn tree(&self) -> PathBuf {
        self.path().join("fs")
    }

    /// Stops looking after it.
    fn release(mut self) {
        let _: Option<PathBuf> = self.0.take().map(TempDir::keep);
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(directory) = self.0.take() {
            // What is left is swept away by a later run.
            let _ = remove_tree(&directory.keep());
        }
    }
}

impl Snapshots {
    /// Opens the snapshots of a store.
    ///
    /// # Errors
    /// `Store`.
    pub fn open(store: &Store) -> Result<Self, SnapshotError> {
        let room = store.room("snapshots")?;
        Ok(Self { store: store.clone(), room, overlay: Arc::default() })
    }

    /// The same, but every tree is copied, as on machines without overlay.
    #[must_use]
    pub fn without_overlay(self) -> Self {
        Self { overlay: Arc::new(OnceLock::from(false)), ..self }
    }

    /// Returns the snapshot `id`; `None` where there is none.
    ///
    /// One that was written in an earlier run of the kernel is read whole once, because a power cut may have taken
    /// the end of it; one that is not as it was is removed.
    ///
    /// # Errors
    /// `Id`, `Io`, `Layer`.
    pub fn get(&self, id: &str) -> Result<Option<Snapshot>, SnapshotError> {
        check(id)?;
        let place = self.room.join(id);
        let path = place.join(META);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(error) => return Err(SnapshotError::io("read", &path)(error)),
        };
        let Ok(meta) = serde_json::from_slice::<Meta>(&bytes) else {
            self.remove(id)?;
            return Ok(None);
        };
        let tree = place.join("fs");
        let boot = boot();
        if meta.boot != boot {
            if tree_digest(&tree).ok() != Some(meta.digest) {
                self.remove(id)?;
                return Ok(None);
            }
            self.write_meta(&path, &Meta { boot, ..meta })?;
        }
        Ok(Some(Snapshot { id: id.to_owned(), digest: meta.digest, size: meta.size, path: tree }))
    }

    /// Begins a tree: an empty one, or one that looks like `parent` and is stored as its difference where the machine
    /// has overlays, as a copy where not.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn prepare(&self, parent: Option<&Snapshot>) -> Result<Active, SnapshotError> {
        match parent {
            Some(parent) if self.has_overlay() => Active::over(self, parent),
            other => Active::plain(self, other),
        }
    }

    /// Unpacks layers, lowest first, blobs of the store by digest, into one tree.
    ///
    /// # Errors
    /// `Layer`, `Store`, `Io`.
    pub fn import(&self, layers: &[Digest]) -> Result<Snapshot, SnapshotError> {
        let single_id = is_single()?;
        // A tree whose owners could not be kept is another one than that with them.
        let id = key(if single_id { "import single" } else { "import" }, layers);
        if let Some(snapshot) = self.get(&id)? {
            return Ok(snapshot);
        }
        let active = self.prepare(None)?;
        let options = UnpackOptions { single_id, ..UnpackOptions::default() };
        for layer in layers {
            unpack(self.store.read(layer)?, &active.path(), &options)?;
        }
        active.commit_as(&id)
    }

    /// Lays snapshots over one another: of files at the same place the last one stays.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`.
    pub fn merge(&self, snapshots: &[Snapshot]) -> Result<Snapshot, SnapshotError> {
        if let [only] = snapshots {
            return Ok(only.clone());
        }
        let id = key("merge", &snapshots.iter().map(Snapshot::digest).collect::<Vec<_>>());
        if let Some(snapshot) = self.get(&id)? {
            return Ok(snapshot);
        }
        let active = self.prepare(None)?;
        for snapshot in snapshots {
            lay(&snapshot.path, &active.path(), Files::Linked)?;
        }
        active.commit_as(&id)
    }

    /// Removes the snapshot `id`; fine where there is none. Nobody may be using it.
    ///
    /// # Errors
    /// `Id`, `Io`, `Store`.
    pub fn remove(&self, id: &str) -> Result<(), SnapshotError> {
        check(id)?;
        let place = self.room.join(id);
        let scratch = self.scratch()?;
        // Out of sight first: whoever looks sees a whole snapshot or none.
        match fs::rename(&place, scratch.path().join("removed")) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(SnapshotError::io("remove", &place)(error)),
            Ok(()) => remove_tree(scratch.path()).map_err(SnapshotError::io("remove", scratch.path())),
        }
    }

    /// Lists the ids of all snapshots, sorted.
    ///
    /// # Errors
    /// `Io`.
    pub fn list(&self) -> Result<Vec<String>, SnapshotError> {
        let entries = fs::read_dir(&self.room).map_err(SnapshotError::io("list", &self.room))?;
        let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let names = names.map_err(SnapshotError::io("list", &self.room))?;
        let mut ids: Vec<String> = names.into_iter().filter_map(|name| name.into_string().ok()).collect();
        ids.sort();
        Ok(ids)
    }

    pub(super) fn scratch(&self) -> Result<Scratch, SnapshotError> {
        Ok(Scratch(Some(self.store.temporary_directory()?)))
    }

    /// Gives the tree in `scratch` its meta and its name, `content-<digest>` without one.
    pub(super) fn publish(&self, scratch: Scratch, id: Option<&str>) -> Result<Snapshot, SnapshotError> {
        let tree = scratch.tree();
        let digest = tree_digest(&tree)?;
        let id = id.map_or_else(|| format!("content-{}", digest.hex()), str::to_owned);
        check(&id)?;
        let size = size(&tree)?;
        let meta = serde_json::to_vec(&Meta { digest, size, boot: boot() }).expect("a meta is plain data");
        let path = scratch.path().join(META);
        fs::write(&path, meta).map_err(SnapshotError::io("write", &path))?;
        let place = self.room.join(&id);
        match fs::rename(scratch.path(), &place) {
            Ok(()) => {
                scratch.release();
                Ok(Snapshot { id, digest, size, path: place.join("fs") })
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                match self.get(&id)? {
                    Some(snapshot) => Ok(snapshot),
                    // It was damaged and is gone now.
                    None => self.publish(scratch, Some(&id)),
                }
            }
            Err(error) => Err(SnapshotError::io("publish", &place)(error)),
        }
    }

    fn write_meta(&self, path: &Path, meta: &Meta) -> Result<(), SnapshotError> {
        let scratch = self.scratch()?;
        let new = scratch.path().join(META);
        let bytes = serde_json::to_vec(meta).expect("a meta is plain data");
        fs::write(&new, bytes).map_err(SnapshotError::io("write", &new))?;
        fs::rename(&new, path).map_err(SnapshotError::io("replace", path))
    }

    /// Tells whether overlays work here; tried once.
    fn has_overlay(&self) -> bool {
        *self.overlay.get_or_init(|| self.scratch().is_ok_and(|scratch| sys::probe_overlay(scratch.path()).is_ok()))
    }
}

/// Tells whether files can have one owner only, so that archives' owners are lost.
fn is_single() -> Result<bool, SnapshotError> {
    let maps = sys::current_map().map_err(SnapshotError::io("read", Path::new("/proc/self/uid_map")))?;
    Ok(maps.0.is_single() || maps.1.is_single() || !sys::has_capability(CapabilitySet::CHOWN))
}

fn check(id: &str) -> Result<(), SnapshotError> {
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain { Ok(()) } else { Err(SnapshotError::Id { id: id.to_owned() }) }
}

/// The id of a tree that follows from others in one way only.
fn key(word: &str, digests: &[Digest]) -> String {
    let mut hasher = Hasher::default();
    hasher.field(word.as_bytes());
    for digest in digests {
        hasher.field(digest.as_bytes());
    }
    hasher.finish().hex()
}

/// Names this run of the kernel; empty where it has no name, and then nothing is verified.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn size(tree: &Path) -> Result<u64, SnapshotError> {
    let mut size = 0;
    for entry in WalkDir::new(tree) {
        let entry = entry.map_err(|error| walk_error(error, tree))?;
        let metadata = fs::symlink_metadata(entry.path()).map_err(SnapshotError::io("examine", entry.path()))?;
        if metadata.is_file() {
            size += metadata.len();
        }
    }
    Ok(size)
}
