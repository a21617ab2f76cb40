//! The room of the store where finished trees are.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::active::Active;
use super::copy::copy_in;
use super::error::SnapshotError;
use super::tree::{Files, lay, share};
use crate::layer::{UnpackOptions, tree_digest, unpack};
use crate::oci::Digest;
use crate::sandbox::Mount;
use crate::store::{Store, remove_tree};
use crate::sys;

/// All finished trees of a store. Cheap to clone, for use by any number of threads and processes at once.
#[derive(Debug, Clone)]
pub struct Snapshots {
    store: Store,
    room: PathBuf,
    single_id: bool,
    /// Overlays work on this file system, tried when first needed.
    overlay: Arc<OnceLock<bool>>,
}

/// A finished tree; nobody writes to it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    id: String,
    digest: Digest,
    path: PathBuf,
}

impl Snapshot {
    /// Returns its name in the store.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the digest that stands for its content: of the tree itself (`layer::tree_digest`), or of what it was
    /// made of.
    pub const fn digest(&self) -> Digest {
        self.digest
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

/// What the digest of a snapshot is a digest of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Origin {
    /// Of the tree, which a step or a user wrote.
    Written,
    /// Of layers, files or trees in the store, from which it can be made again.
    Derived,
}

/// What is written beside a tree. Unknown fields are ignored, so that fields may be added.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    content: Digest,
    origin: Origin,
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
    /// Opens the snapshots of `store`; with `single_id` owners that this process cannot give are left out on disk.
    ///
    /// # Errors
    /// `Store`.
    pub fn open(store: &Store, single_id: bool) -> Result<Self, SnapshotError> {
        let room = store.room("snapshots")?;
        Ok(Self { store: store.clone(), room, single_id, overlay: Arc::default() })
    }

    /// The same, but every tree is copied, as on machines without overlay.
    #[must_use]
    pub fn without_overlay(self) -> Self {
        Self { overlay: Arc::new(OnceLock::from(false)), ..self }
    }

    /// Returns the snapshot `id`; `None` where there is none, and for what cannot be an id.
    ///
    /// A power cut may have taken the end of a tree that was written in an earlier run of the kernel: a written one is
    /// hashed before it is used again, and a derived one is removed, to be made anew.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn get(&self, id: &str) -> Result<Option<Snapshot>, SnapshotError> {
        if check(id).is_err() {
            return Ok(None);
        }
        let boot = boot();
        let found = |meta: &Meta| self.snapshot(id, meta.content);
        match self.meta(id)? {
            None => return Ok(None),
            Some(meta) if meta.boot == boot => return Ok(Some(found(&meta))),
            Some(_) => {}
        }
        // One run at a time, so that none removes what another has just made again.
        let _lock = self.store.lock(&format!("snapshot-{id}"))?;
        let Some(meta) = self.meta(id)? else { return Ok(None) };
        let snapshot = found(&meta);
        let whole = meta.boot == boot
            || meta.origin == Origin::Written && tree_digest(&snapshot.path).ok() == Some(meta.content);
        if !whole {
            self.remove(id)?;
            return Ok(None);
        }
        if meta.boot != boot {
            self.write_meta(id, &Meta { boot, ..meta })?;
        }
        Ok(Some(snapshot))
    }

    /// Begins an empty tree.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn prepare(&self) -> Result<Active, SnapshotError> {
        Active::plain(self, None)
    }

    /// Begins a tree that looks like `parent`; the difference is written where the machine has overlays, and to a copy
    /// where it has none.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn prepare_over(&self, parent: &Snapshot) -> Result<Active, SnapshotError> {
        if self.has_overlay() { Active::over(self, parent) } else { Active::plain(self, Some(parent)) }
    }

    /// Unpacks `layers`, digests of blobs, lowest first, into the snapshot `id`, which stands for them.
    ///
    /// # Errors
    /// `Layer`, `Store`, `Io`.
    pub fn import(&self, id: &Digest, layers: &[Digest]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        let options = UnpackOptions { single_id: self.single_id, ..UnpackOptions::default() };
        for layer in layers {
            unpack(self.store.read(layer)?, &active.path(), &options)?;
        }
        active.commit_derived(id)
    }

    /// Makes the snapshot `id` that holds one file, `filename`, with the bytes of the file `blob`, which nobody writes
    /// to any more.
    ///
    /// # Errors
    /// `Pattern` for a name that is a path, `Io`, `Store`.
    pub fn file(&self, id: &Digest, blob: &Path, filename: &str) -> Result<Snapshot, SnapshotError> {
        if filename.is_empty() || matches!(filename, "." | "..") || filename.contains('/') {
            return Err(SnapshotError::Pattern { pattern: filename.to_owned() });
        }
        let active = self.prepare()?;
        share(blob, &active.path().join(filename))?;
        active.commit_derived(id)
    }

    /// Lays `parts` over one another, making the snapshot `id`: of files at the same place the last one stays.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn merge(&self, id: &Digest, parts: &[Snapshot]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        for part in parts {
            lay(&part.path, &active.path(), Files::Linked)?;
        }
        active.commit_derived(id)
    }

    /// Copies what `include` names of the directory `from`, everything if it is empty.
    ///
    /// Owners become those of this process and modes 0755 or 0644, so that equal files give equal digests whatever
    /// the umask of the checkout was. Symbolic links are copied, never followed.
    ///
    /// # Errors
    /// `Pattern`, `Detour`, `Kind` for the directory; `Io`, `Layer`, `Store`.
    pub fn copy_in(&self, from: &Path, include: &[String]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        copy_in(from, include, &active.path())?;
        active.commit()
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

    /// Gives the tree in `scratch` its meta and its name.
    ///
    /// Where the name is taken, because another run was faster, that one's tree is as good.
    pub(super) fn publish(
        &self,
        scratch: Scratch,
        content: &Digest,
        origin: Origin,
    ) -> Result<Snapshot, SnapshotError> {
        let id = content.hex();
        let path = scratch.path().join(META);
        fs::write(&path, bytes(&Meta { content: *content, origin, boot: boot() }))
            .map_err(SnapshotError::io("write", &path))?;
        let place = self.room.join(&id);
        match fs::rename(scratch.path(), &place) {
            Ok(()) => {
                scratch.release();
                Ok(self.snapshot(&id, *content))
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                match self.get(&id)? {
                    Some(snapshot) => Ok(snapshot),
                    // It was damaged and is gone now.
                    None => self.publish(scratch, content, origin),
                }
            }
            Err(error) => Err(SnapshotError::io("publish", &place)(error)),
        }
    }

    fn snapshot(&self, id: &str, digest: Digest) -> Snapshot {
        Snapshot { id: id.to_owned(), digest, path: self.room.join(id).join("fs") }
    }

    /// Reads what is written beside a tree; a damaged one is as good as none, and then the tree goes too.
    fn meta(&self, id: &str) -> Result<Option<Meta>, SnapshotError> {
        let path = self.room.join(id).join(META);
        match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(meta) => Ok(Some(meta)),
                Err(_) => self.remove(id).map(|()| None),
            },
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(SnapshotError::io("read", &path)(error)),
        }
    }

    fn write_meta(&self, id: &str, meta: &Meta) -> Result<(), SnapshotError> {
        let scratch = self.scratch()?;
        let (new, path) = (scratch.path().join(META), self.room.join(id).join(META));
        fs::write(&new, bytes(meta)).map_err(SnapshotError::io("write", &new))?;
        fs::rename(&new, &path).map_err(SnapshotError::io("replace", &path))
    }

    /// Tells whether overlays work here; tried once.
    fn has_overlay(&self) -> bool {
        *self.overlay.get_or_init(|| self.scratch().is_ok_and(|scratch| sys::probe_overlay(scratch.path()).is_ok()))
    }
}

fn check(id: &str) -> Result<(), SnapshotError> {
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain { Ok(()) } else { Err(SnapshotError::Id { id: id.to_owned() }) }
}

fn bytes(meta: &Meta) -> Vec<u8> {
    serde_json::to_vec(meta).expect("a meta is plain data")
}

/// Names this run of the kernel; empty where it has no name, and then nothing is verified.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|text| text.trim().to_owned()).unwrap_or_default()
}
