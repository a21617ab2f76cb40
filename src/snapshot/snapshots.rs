//! The room of the store where finished trees are.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;

use super::active::Active;
use super::committed::{Snapshot, Tree};
use super::error::SnapshotError;
use super::meta::{LayerPlace, META, Meta, Origin, PackedLayer, boot};
use super::tree::share;
use crate::layer::{UnpackOptions, layer_digest, unpack, written_digest};
use crate::oci::{DiffId, Digest};
use crate::sandbox::Mount;
use crate::store::{Store, remove_tree};
use crate::sys;

/// How many layers may lie under one that is written where overlays set no limit: as many as they allow.
const DEEPEST: usize = 100;

/// Room of the store that holds them.
const ROOM: &str = "snapshots";

/// All finished trees of a store. Cheap to clone, for use by any number of threads and processes at once.
#[derive(Debug, Clone)]
pub struct Snapshots {
    pub(super) store: Store,
    room: PathBuf,
    single_id: bool,
    /// How many layers overlays can have on this file system, tried when first needed; 0 where there are none.
    overlay: Arc<OnceLock<usize>>,
    /// What this process has found whole, so that a long stack of layers is looked at once.
    whole: Arc<Mutex<BTreeSet<String>>>,
    /// What this process has marked as used.
    marked: Arc<Mutex<BTreeSet<String>>>,
}

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
    pub(super) fn release(mut self) {
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
        let room = store.room(ROOM)?;
        let (overlay, whole, marked) = (Arc::default(), Arc::default(), Arc::default());
        Ok(Self { store: store.clone(), room, single_id, overlay, whole, marked })
    }

    /// Tells whether all files belong to one user here, whoever should own them.
    pub const fn single_id(&self) -> bool {
        self.single_id
    }

    /// The same, but every tree is copied, as on machines without overlay.
    #[must_use]
    pub fn without_overlay(self) -> Self {
        Self { overlay: Arc::new(OnceLock::from(0)), ..self }
    }

    /// Returns the snapshot `id` with everything below it; `None` where a part is missing, and for what cannot be an
    /// id.
    ///
    /// A power cut may have taken the end of a tree that was written in an earlier run of the kernel: a written one is
    /// hashed before it is used again, and a derived one is removed, to be made anew.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn get(&self, id: &str) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(meta) = self.sound(id)? else { return Ok(None) };
        if self.marked().insert(id.to_owned()) {
            self.store.touch(&format!("{ROOM}/{id}"), META);
        }
        for below in &meta.below {
            if !self.looked_at().contains(below) {
                if self.sound(below)?.is_none() {
                    return Ok(None);
                }
                self.looked_at().insert(below.clone());
            }
        }
        Ok(Some(self.snapshot(id, &meta)))
    }

    fn marked(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looked_at(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.whole.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether the uppermost layer of the snapshot `id` is there; those below may have to be made again.
    ///
    /// # Errors
    /// As `get`.
    pub fn has(&self, id: &str) -> Result<bool, SnapshotError> {
        Ok(self.sound(id)?.is_some())
    }

    /// Returns the meta of a snapshot whose own layer is as it was written.
    pub(super) fn sound(&self, id: &str) -> Result<Option<Meta>, SnapshotError> {
        if check(id).is_err() {
            return Ok(None);
        }
        let boot = boot();
        match self.meta(id)? {
            None => return Ok(None),
            Some(meta) if meta.boot == boot => return Ok(Some(meta)),
            Some(_) => {}
        }
        // One run at a time, so that none removes what another has just made again.
        let _lock = self.store.lock(&format!("snapshot-{id}"))?;
        let Some(meta) = self.meta(id)? else { return Ok(None) };
        let directory = self.directory(id);
        let whole = meta.boot == boot
            || match (meta.origin, &meta.layer) {
                (Origin::Written, Some(layer)) => layer_digest(&directory, meta.since).ok() == Some(*layer),
                (Origin::Written, None) => written_digest(&directory, meta.since).ok() == Some(meta.content),
                (Origin::Derived, _) => false,
            };
        if !whole {
            self.remove(id)?;
            return Ok(None);
        }
        if meta.boot != boot {
            self.write_meta(id, &Meta { boot, ..meta.clone() })?;
        }
        Ok(Some(meta))
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
        let (has_overlay, deepest) = (self.has_overlay(), self.deepest());
        let flat;
        let parent = if parent.depth() < if has_overlay { deepest } else { DEEPEST } {
            parent
        } else {
            flat = self.flat(parent)?;
            &flat
        };
        if has_overlay { Active::over(self, parent) } else { Active::plain(self, Some(parent)) }
    }

    /// Opens a tree under a path of this process.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn read(&self, snapshot: &Snapshot) -> Result<Tree, SnapshotError> {
        match snapshot.directory() {
            Some(path) => Ok(Tree::directory(path)),
            None if !self.has_overlay() => Ok(Tree::directory(self.flat(snapshot)?.path())),
            None => Tree::mount(self.scratch()?, &self.lower(snapshot)?, None),
        }
    }

    /// Returns what a step mounts to read the tree.
    ///
    /// # Errors
    /// `Store`.
    pub fn view(&self, snapshot: &Snapshot) -> Result<Mount, SnapshotError> {
        Ok(match snapshot.directory() {
            Some(source) => Mount::Bind { source, readonly: true },
            None if !self.has_overlay() => Mount::Bind { source: self.flat(snapshot)?.path(), readonly: true },
            None => Mount::Layers { lower: self.lower(snapshot)? },
        })
    }

    /// Returns the layers to mount for `snapshot`: never fewer than two, which overlayfs wants.
    fn lower(&self, snapshot: &Snapshot) -> Result<Vec<PathBuf>, SnapshotError> {
        let mut lower: Vec<PathBuf> = snapshot.directories().collect();
        if lower.len() < 2 {
            lower.push(self.store.room("empty")?);
        }
        Ok(lower)
    }

    /// Returns the same tree in one directory.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn flat(&self, snapshot: &Snapshot) -> Result<Snapshot, SnapshotError> {
        if snapshot.directory().is_some() {
            return Ok(snapshot.clone());
        }
        let id = Digest::of(format!("flat {}", snapshot.id()).as_bytes());
        if let Some(found) = self.get(&id.hex())? {
            return Ok(found);
        }
        let active = self.prepare()?;
        active.lay(snapshot)?;
        active.commit_derived(&id)
    }

    /// Returns where the layers of a tree are, the lowest first.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn layers(&self, snapshot: &Snapshot) -> Result<Vec<LayerPlace>, SnapshotError> {
        let mut places = Vec::new();
        for (index, id) in snapshot.layers.iter().rev().enumerate() {
            let packed = self.meta(id)?.map(|meta| meta.packed).unwrap_or_default();
            // Blobs may have been collected since.
            let is_there =
                !packed.is_empty() && packed.iter().all(|layer| self.store.contains(&layer.digest).is_some());
            let overlay = index > 0 || snapshot.marked;
            let directory = || LayerPlace::Directory { id: id.clone(), path: self.directory(id), overlay };
            places.push(if is_there { LayerPlace::Packed(packed) } else { directory() });
        }
        Ok(places)
    }

    /// Unpacks `layers`, blobs of the store, lowest first, into the snapshot `id`, which stands for them.
    ///
    /// # Errors
    /// `Layer`, `Store`, `Io`.
    pub fn import(&self, id: &Digest, layers: &[PackedLayer]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        for layer in layers {
            let diff_id = Some(DiffId(layer.diff_id));
            let options = UnpackOptions { single_id: self.single_id, diff_id, ..UnpackOptions::default() };
            unpack(self.store.read(&layer.digest)?, &active.path(), &options)?;
        }
        active.commit_layers(id, &Meta { packed: layers.to_vec(), ..Meta::whole(*id, Origin::Derived) })
    }

    /// Copies what `include` names of a user's directory, everything if it is empty; owners, times and odd modes of the
    /// machine stay behind.
    ///
    /// # Errors
    /// `Pattern`, `Kind`, `Detour`, `Io`, `Layer`, `Store`.
    pub fn copy_in(&self, directory: &Path, include: &[String]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        super::copy::copy_in(directory, include, &active.path())?;
        active.commit(super::Times::Ignored)
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

    /// Removes the snapshot `id`; fine where there is none. Nobody may be using it, nor one that lies on it.
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

    /// Returns the ids that the snapshot `id` lies on, lowest first; `None` where there is no such snapshot.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn below(&self, id: &str) -> Result<Option<Vec<String>>, SnapshotError> {
        Ok(self.meta(id)?.map(|meta| meta.below))
    }

    /// Returns the directory of the snapshot's own layer.
    pub fn directory(&self, id: &str) -> PathBuf {
        self.room.join(id).join("fs")
    }

    pub(super) fn scratch(&self) -> Result<Scratch, SnapshotError> {
        Ok(Scratch(Some(self.store.temporary_directory()?)))
    }

    /// Gives the tree in `scratch` its meta and the name `id`.
    ///
    /// Where the name is taken, because another run was faster, that one's tree is as good.
    pub(super) fn publish(&self, scratch: Scratch, id: &Digest, meta: &Meta) -> Result<Snapshot, SnapshotError> {
        let name = id.hex();
        let path = scratch.path().join(META);
        fs::write(&path, meta.bytes()).map_err(SnapshotError::io("write", &path))?;
        let place = self.room.join(&name);
        match fs::rename(scratch.path(), &place) {
            Ok(()) => {
                scratch.release();
                Ok(self.snapshot(&name, meta))
            }
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                match self.sound(&name)? {
                    Some(meta) => Ok(self.snapshot(&name, &meta)),
                    // It was damaged and is gone now.
                    None => self.publish(scratch, id, meta),
                }
            }
            Err(error) => Err(SnapshotError::io("publish", &place)(error)),
        }
    }

    pub(super) fn snapshot(&self, id: &str, meta: &Meta) -> Snapshot {
        let own = (!meta.empty).then_some(id);
        Snapshot {
            id: id.to_owned(),
            digest: meta.content,
            room: self.room.clone(),
            layers: own.into_iter().chain(meta.below.iter().rev().map(String::as_str)).map(str::to_owned).collect(),
            marked: meta.marked,
            written: meta.origin == Origin::Written,
            layer: meta.layer,
        }
    }

    /// Reads what is written beside a tree; a damaged one is as good as none, and then the tree goes too.
    pub(super) fn meta(&self, id: &str) -> Result<Option<Meta>, SnapshotError> {
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
        fs::write(&new, meta.bytes()).map_err(SnapshotError::io("write", &new))?;
        fs::rename(&new, &path).map_err(SnapshotError::io("replace", &path))
    }

    /// Tells whether overlays work here.
    pub(super) fn has_overlay(&self) -> bool {
        self.deepest() > 0
    }

    /// Returns how many layers may lie under one that is written; a deeper stack is laid into one directory first.
    pub(super) fn deepest(&self) -> usize {
        let works = || self.scratch().is_ok_and(|scratch| sys::probe_overlay(scratch.path()).is_ok());
        *self.overlay.get_or_init(|| if works() { sys::deepest_overlay() } else { 0 })
    }
}

fn check(id: &str) -> Result<(), SnapshotError> {
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain { Ok(()) } else { Err(SnapshotError::Id { id: id.to_owned() }) }
}
