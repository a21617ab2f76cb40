//! Layers of trees on their way to and from other machines.
//!
//! Nothing that comes is believed: files are unpacked aside and hashed, and a tree that was written gets its name only
//! if the name says just that. A derived tree's name says how it was made; who receives one answers for the name.

use std::io::Read;
use std::path::PathBuf;

use super::committed::Snapshot;
use super::error::SnapshotError;
use super::meta::{Meta, Origin};
use super::snapshots::Snapshots;
use crate::layer::{LayerFacts, Limits, UnpackOptions, layer_digest, unpack, written_digest};
use crate::oci::Digest;

impl Snapshots {
    /// Returns what the layer of the snapshot `id` is; `None` where there is none that could be given away: no such
    /// snapshot, none with files of its own, one of an image, or one whose parent is not known.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`.
    pub fn facts(&self, id: &Digest) -> Result<Option<LayerFacts>, SnapshotError> {
        let Some(meta) = self.sound(&id.hex())? else { return Ok(None) };
        if meta.empty || meta.marked || !meta.packed.is_empty() || meta.parent.is_none() != meta.below.is_empty() {
            return Ok(None);
        }
        let directory = self.directory(&id.hex());
        let tree = match (meta.origin, meta.layer, meta.parent) {
            (Origin::Written, Some(layer), _) => layer,
            (Origin::Written, None, _) => meta.content,
            (Origin::Derived, _, Some(_)) => layer_digest(&directory, None)?,
            (Origin::Derived, _, None) => written_digest(&directory, None)?,
        };
        Ok(Some(LayerFacts { parent: meta.parent, tree, since: meta.since, nonce: meta.nonce }))
    }

    /// Unpacks a layer that came from elsewhere over `parent` into the snapshot `id`; `None` where it is not what
    /// `facts` say, or cannot be had here.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`; nothing is published then.
    pub fn receive(
        &self,
        id: &Digest,
        facts: &LayerFacts,
        parent: Option<&Snapshot>,
        archive: impl Read + Send,
        limits: Limits,
    ) -> Result<Option<Snapshot>, SnapshotError> {
        let over = parent.is_some();
        if parent.map(Snapshot::digest) != facts.parent
            || parent.is_some_and(|parent| parent.depth() >= self.deepest() || !self.has_overlay())
        {
            return Ok(None);
        }
        let active = self.prepare()?;
        let single_id = self.single_id();
        let options = UnpackOptions { limits, single_id, whiteouts: over, overlay: over, ..UnpackOptions::default() };
        unpack(archive, &active.path(), &options)?;
        if !facts.describe(&active.path())? {
            return Ok(None);
        }
        let origin = if facts.content() == *id { Origin::Written } else { Origin::Derived };
        let meta = Meta {
            below: parent.map(Snapshot::below).unwrap_or_default(),
            parent: facts.parent,
            layer: (over && origin == Origin::Written).then_some(facts.tree),
            since: facts.since,
            nonce: facts.nonce,
            noted: origin == Origin::Derived,
            ..Meta::whole(*id, origin)
        };
        active.commit_layers(id, &meta).map(Some)
    }

    /// Returns the cache mounts that one of `ids` names, all if there are none: names and directories, sorted.
    ///
    /// # Errors
    /// `Store`.
    pub fn cache_mounts(&self, ids: &[String]) -> Result<Vec<(String, PathBuf)>, SnapshotError> {
        let room = self.store.room(super::CACHE_MOUNTS)?;
        let entries = std::fs::read_dir(&room).map_err(SnapshotError::io("list", &room))?;
        let mut found = Vec::new();
        for place in entries.flatten().map(|entry| entry.path()) {
            let Ok(name) = std::fs::read_to_string(place.join(super::meta::META)) else { continue };
            // Of those that several steps had for themselves at the same time the first one is as good as any.
            let first = place.file_name().is_some_and(|file| file.to_string_lossy().ends_with("-0"));
            // What a mount began with is part of its name.
            let is =
                |id: &String| name.strip_prefix(id.as_str()).is_some_and(|r| r.is_empty() || r.starts_with(":sha256:"));
            if first && (ids.is_empty() || ids.iter().any(is)) {
                found.push((name, place.join("fs")));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Makes the cache mount `name` of an archive, unless there is one.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`.
    pub fn receive_cache_mount(
        &self,
        name: &str,
        archive: impl Read + Send,
        limits: Limits,
    ) -> Result<(), SnapshotError> {
        self.make_cache_mount(name, |tree| {
            let options =
                UnpackOptions { limits, single_id: self.single_id(), whiteouts: false, ..UnpackOptions::default() };
            unpack(archive, tree, &options)?;
            Ok(())
        })
    }
}
