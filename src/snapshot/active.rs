//! A tree in the making.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::committed::{Snapshot, Tree};
use super::copied::Copied;
use super::error::SnapshotError;
use super::meta::{Meta, Origin};
use super::snapshots::{Scratch, Snapshots};
use super::tree::{Files, lay};
use crate::layer::{Instant, again, layer_digest, over, times_digest, written_digest};
use crate::oci::{Digest, Hasher};
use crate::sandbox::Mount;

/// Which times of files are part of what a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// None: whatever reads the tree sets its own.
    Ignored,
    /// Those that somebody chose: earlier than the tree was begun. What the clock gave is no content.
    Chosen,
}

/// A tree that a step may write to; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Active {
    snapshots: Snapshots,
    scratch: Scratch,
    /// The tree below, where only differences are kept.
    parent: Option<Snapshot>,
    /// What it is a copy of, where only differences are kept in the end.
    copied: Option<Box<Copied>>,
    /// When it was begun, by the clock of the file system.
    begun: Instant,
}

impl Active {
    /// A tree whose files are all its own; a copy of `parent` where there is one.
    pub(super) fn plain(snapshots: &Snapshots, parent: Option<&Snapshot>) -> Result<Self, SnapshotError> {
        let mut active = Self::begin(snapshots, None)?;
        for layer in parent.into_iter().flat_map(|parent| parent.directories().collect::<Vec<_>>().into_iter().rev()) {
            lay(&layer, &active.path(), Files::Copied)?;
        }
        let copied = parent.map(|parent| Copied::of(&active.path(), parent, active.scratch.path()));
        active.copied = copied.transpose()?.map(Box::new);
        Ok(active)
    }

    /// The differences to `parent`.
    pub(super) fn over(snapshots: &Snapshots, parent: &Snapshot) -> Result<Self, SnapshotError> {
        let active = Self::begin(snapshots, Some(parent.clone()))?;
        let work = active.work();
        fs::create_dir(&work).map_err(SnapshotError::io("create", &work))?;
        // The root of an overlay looks like the root of its upper layer.
        if let Some(top) = parent.directories().next() {
            let below = fs::symlink_metadata(&top).map_err(SnapshotError::io("examine", &top))?;
            super::tree::dress(&[(top, active.path(), below)])?;
        }
        Ok(active)
    }

    fn begin(snapshots: &Snapshots, parent: Option<Snapshot>) -> Result<Self, SnapshotError> {
        let scratch = snapshots.scratch()?;
        let tree = scratch.tree();
        fs::create_dir(&tree).map_err(SnapshotError::io("create", &tree))?;
        let made = fs::symlink_metadata(&tree).map_err(SnapshotError::io("examine", &tree))?;
        let begun = Instant { seconds: made.mtime(), nanoseconds: made.mtime_nsec() };
        Ok(Self { snapshots: snapshots.clone(), scratch, parent, copied: None, begun })
    }

    /// Returns when it was begun, by the clock of the file system: seconds since 1970 and nanoseconds.
    pub const fn begun(&self) -> (i64, i64) {
        (self.begun.seconds, self.begun.nanoseconds)
    }

    /// Returns what a step mounts to write to this tree.
    ///
    /// # Errors
    /// `Store`.
    pub fn mount(&self) -> Mount {
        match &self.parent {
            None => Mount::Bind { source: self.path(), readonly: false },
            Some(parent) => {
                Mount::Overlay { lower: parent.directories().collect(), upper: self.path(), work: self.work() }
            }
        }
    }

    /// Opens the tree for writing under a path of this process.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn open(&self) -> Result<Tree, SnapshotError> {
        match &self.parent {
            None => Ok(Tree::directory(self.path())),
            Some(parent) => {
                let lower: Vec<PathBuf> = parent.directories().collect();
                Tree::mount(self.snapshots.scratch()?, &lower, Some((&self.path(), &self.work())))
            }
        }
    }

    /// Returns where writes end: the whole tree where it was prepared without a parent, else maybe differences only.
    pub fn path(&self) -> PathBuf {
        self.scratch.tree()
    }

    fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// Lays the layers of `snapshot` over what is there, sharing its files.
    pub(super) fn lay(&self, snapshot: &Snapshot) -> Result<(), SnapshotError> {
        let layers: Vec<PathBuf> = snapshot.directories().collect();
        layers.iter().rev().try_for_each(|layer| lay(layer, &self.path(), Files::Linked))
    }

    /// Returns the differences to what it is a copy of, as if they had been written to a layer of their own.
    fn split(self) -> Result<Self, SnapshotError> {
        let Some(copied) = &self.copied else { return Ok(self) };
        let layer = Self::begin(&self.snapshots, Some(copied.parent().clone()))?;
        copied.split(&self.path(), &layer.path())?;
        Ok(Self { begun: self.begun, ..layer })
    }

    /// Publishes the tree under the digest of its content; equal trees are one snapshot.
    ///
    /// The content of differences is a digest of them and of the content below.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`; nothing is published then.
    pub fn commit(self, times: Times) -> Result<Snapshot, SnapshotError> {
        if self.copied.is_some() {
            return self.split()?.commit(times);
        }
        let since = (times == Times::Chosen).then_some(self.begun);
        let Some(parent) = &self.parent else {
            let content = written_digest(&self.path(), since)?;
            let meta = Meta { since, ..Meta::whole(content, Origin::Written) };
            return self.snapshots.publish(self.scratch, &content, &meta);
        };
        clear(&self.work())?;
        let layer = layer_digest(&self.path(), since)?;
        let content = over(&parent.digest(), &layer);
        let (parent, below) = (Some(parent.digest()), parent.below());
        let meta = Meta { below, parent, layer: Some(layer), since, ..Meta::whole(content, Origin::Written) };
        self.snapshots.publish(self.scratch, &content, &meta)
    }

    /// Publishes a whole tree under a digest of its content and the times of its files; returns also that of the content
    /// alone.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`; nothing is published then.
    pub fn commit_timed(self) -> Result<(Digest, Snapshot), SnapshotError> {
        let content = written_digest(&self.path(), None)?;
        let mut hasher = Hasher::default();
        hasher.field(b"dockless timed 1");
        hasher.field(content.as_bytes());
        hasher.field(times_digest(&self.path())?.as_bytes());
        let id = hasher.finish();
        // As a derived one: what it was copied from is there in every run.
        let snapshot = self.snapshots.publish(self.scratch, &id, &Meta::whole(id, Origin::Derived))?;
        Ok((content, snapshot))
    }

    /// Returns a name for `commit_derived` that no other tree has.
    pub fn unique(&self, content: &Digest) -> Digest {
        again(content, &self.nonce())
    }

    fn nonce(&self) -> Digest {
        Digest::of(format!("{} {:?}", self.path().display(), self.begun).as_bytes())
    }

    /// Publishes the tree under the digest of what it was made of.
    ///
    /// # Errors
    /// `Io`, `Store`; nothing is published then.
    pub fn commit_derived(self, id: &Digest) -> Result<Snapshot, SnapshotError> {
        self.derived(id, false)
    }

    /// As `commit_derived`, for a tree that nobody looks for who has not noted its id: collection may take it where
    /// nobody has.
    ///
    /// # Errors
    /// As `commit_derived`.
    pub fn commit_noted(self, id: &Digest) -> Result<Snapshot, SnapshotError> {
        self.derived(id, true)
    }

    fn derived(self, id: &Digest, noted: bool) -> Result<Snapshot, SnapshotError> {
        if self.copied.is_some() {
            return self.split()?.derived(id, noted);
        }
        let below = self.parent.as_ref().map(Snapshot::below).unwrap_or_default();
        let (parent, nonce) = (self.parent.as_ref().map(Snapshot::digest), Some(self.nonce()));
        if self.parent.is_some() {
            clear(&self.work())?;
        }
        let meta = Meta { below, parent, nonce, noted, ..Meta::whole(*id, Origin::Derived) };
        self.snapshots.publish(self.scratch, id, &meta)
    }

    /// As `commit_derived`, for layers that were put together elsewhere.
    pub(super) fn commit_layers(self, id: &Digest, meta: &Meta) -> Result<Snapshot, SnapshotError> {
        self.snapshots.publish(self.scratch, id, meta)
    }
}

fn clear(path: &Path) -> Result<(), SnapshotError> {
    match crate::store::remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
