//! A tree that is being written.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::error::SnapshotError;
use super::snapshots::{Snapshot, Snapshots};
use crate::layer;
use crate::oci::Digest;
use crate::sandbox::Mount;
use crate::store;

/// An empty writable tree; dropped without [`Active::commit`] it vanishes.
#[derive(Debug)]
pub struct Active {
    pub(super) snapshots: Snapshots,
    pub(super) room: TempDir,
}

impl Active {
    /// Returns the tree as a writable mount.
    pub fn mount(&self) -> Mount {
        Mount::Bind { source: self.path(), readonly: false }
    }

    /// Returns where the tree is.
    pub(super) fn path(&self) -> PathBuf {
        self.room.path().join("fs")
    }

    /// Ends writing and publishes the tree under the digest of its content.
    pub fn commit(self) -> Result<Snapshot, SnapshotError> {
        let content = layer::tree_digest(&self.path())?;
        self.commit_as(&content.hex(), &content)
    }

    /// Publishes the tree as `id`; if another run was quicker, its tree is the result.
    pub(super) fn commit_as(self, id: &str, content: &Digest) -> Result<Snapshot, SnapshotError> {
        let meta = self.room.path().join("meta");
        let bytes = serde_json::to_vec(&super::snapshots::Meta { content: *content }).expect("meta is JSON");
        fs::write(&meta, bytes).map_err(SnapshotError::io("write", &meta))?;
        let target = self.snapshots.directory(id);
        match fs::rename(self.room.path(), &target) {
            Ok(()) => Ok(self.snapshots.snapshot(id, *content)),
            // The directory is there and not empty: equal content, so either will do.
            Err(_) if is_published(&target) => Ok(self.snapshots.snapshot(id, *content)),
            Err(source) => Err(SnapshotError::Io { action: "publish", path: target, source }),
        }
    }
}

fn is_published(directory: &Path) -> bool {
    directory.join("meta").is_file()
}

impl Drop for Active {
    fn drop(&mut self) {
        // Steps leave directories that nobody may enter, which TempDir alone would not remove.
        let _ = store::remove_tree(self.room.path());
    }
}
