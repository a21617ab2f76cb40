//! A tree in the making.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::SnapshotError;
use super::snapshots::{Origin, Scratch, Snapshot, Snapshots};
use super::tree::{Files, lay};
use super::upper;
use crate::layer::tree_digest;
use crate::oci::Digest;
use crate::sandbox::Mount;

/// A tree that a step may write to; dropped, it leaves nothing.
#[derive(Debug)]
pub struct Active {
    pub(super) snapshots: Snapshots,
    pub(super) scratch: Scratch,
    /// The tree below, where only differences are kept.
    pub(super) parent: Option<Snapshot>,
}

impl Active {
    /// A tree whose files are all its own; a copy of `parent` where there is one.
    pub(super) fn plain(snapshots: &Snapshots, parent: Option<&Snapshot>) -> Result<Self, SnapshotError> {
        let scratch = snapshots.scratch()?;
        let tree = scratch.tree();
        fs::create_dir(&tree).map_err(SnapshotError::io("create", &tree))?;
        if let Some(parent) = parent {
            lay(&parent.path(), &tree, Files::Copied)?;
        }
        Ok(Self { snapshots: snapshots.clone(), scratch, parent: None })
    }

    /// The differences to `parent`.
    pub(super) fn over(snapshots: &Snapshots, parent: &Snapshot) -> Result<Self, SnapshotError> {
        let active = Self { snapshots: snapshots.clone(), scratch: snapshots.scratch()?, parent: Some(parent.clone()) };
        for path in [active.path(), active.work()] {
            fs::create_dir(&path).map_err(SnapshotError::io("create", &path))?;
        }
        // The root of an overlay looks like the root of its upper layer.
        let below = fs::symlink_metadata(parent.path()).map_err(SnapshotError::io("examine", &parent.path()))?;
        super::tree::dress(&[(parent.path(), active.path(), below)])?;
        Ok(active)
    }

    /// Returns what a step mounts to write to this tree.
    pub fn mount(&self) -> Mount {
        match &self.parent {
            None => Mount::Bind { source: self.path(), readonly: false },
            Some(parent) => Mount::Overlay { lower: vec![parent.path()], upper: self.path(), work: self.work() },
        }
    }

    /// Returns where writes end: the whole tree where it was prepared without a parent, else maybe differences only.
    pub fn path(&self) -> PathBuf {
        if self.parent.is_some() { self.scratch.path().join("upper") } else { self.scratch.tree() }
    }

    fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// Publishes the tree under the digest of its content; equal trees are one snapshot.
    ///
    /// # Errors
    /// `Io`, `Layer`, `Store`; nothing is published then.
    pub fn commit(self) -> Result<Snapshot, SnapshotError> {
        self.flatten()?;
        let content = tree_digest(&self.scratch.tree())?;
        self.snapshots.publish(self.scratch, &content, Origin::Written)
    }

    /// Publishes the tree under the digest of what it was made of.
    pub(super) fn commit_derived(self, id: &Digest) -> Result<Snapshot, SnapshotError> {
        self.snapshots.publish(self.scratch, id, Origin::Derived)
    }

    /// Makes differences a whole tree, which shares unchanged files with its parent.
    fn flatten(&self) -> Result<(), SnapshotError> {
        let Some(parent) = &self.parent else { return Ok(()) };
        let tree = self.scratch.tree();
        fs::create_dir(&tree).map_err(SnapshotError::io("create", &tree))?;
        lay(&parent.path(), &tree, Files::Linked)?;
        upper::apply(&self.path(), &tree)?;
        for path in [self.path(), self.work()] {
            clear(&path)?;
        }
        Ok(())
    }
}

fn clear(path: &Path) -> Result<(), SnapshotError> {
    match crate::store::remove_tree(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(SnapshotError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
