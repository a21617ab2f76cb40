//! Where the roots of steps are put together.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::replica::Replica;
use crate::store::remove_tree;

/// Makes the second path an exact copy of the first, a file or a directory; a directory that is there already is laid
/// over, and marks of overlayfs delete what they say.
pub type CopyTree = fn(&Path, &Path) -> io::Result<()>;

/// A directory for roots in the making and copies that are not in use; gone when dropped.
#[derive(Debug)]
pub(in crate::sandbox) struct Ground {
    place: PathBuf,
    copy: CopyTree,
    names: AtomicU64,
    idle: Mutex<BTreeMap<Vec<PathBuf>, Vec<Replica>>>,
}

impl Ground {
    pub(in crate::sandbox) fn new(place: &Path, copy: CopyTree) -> Self {
        // Best so, and not needed where nobody else is root: what steps are shown may be secret.
        let _ = fs::set_permissions(place, Permissions::from_mode(0o700));
        Self { place: place.to_owned(), copy, names: AtomicU64::new(0), idle: Mutex::default() }
    }

    /// Makes an empty directory that is somebody else's to remove.
    pub(super) fn directory(&self) -> io::Result<PathBuf> {
        let path = self.place.join(self.names.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Copies a file or a directory.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.copy)(from, to)
    }

    /// Copies directories over one another, the uppermost first.
    pub(super) fn lay(&self, layers: &[PathBuf], to: &Path) -> io::Result<()> {
        fs::create_dir(to)?;
        layers.iter().rev().try_for_each(|layer| self.copy(layer, to))
    }

    /// Returns a copy of the tree that `layers` make, the uppermost first, which nobody else has.
    pub(super) fn replica(&self, layers: &[PathBuf]) -> io::Result<Replica> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(layers).and_then(Vec::pop);
        match idle {
            Some(replica) => Ok(replica),
            None => Replica::make(self, layers),
        }
    }

    /// Keeps a copy for the next step that wants the same.
    pub(super) fn keep(&self, layers: Vec<PathBuf>, replica: Replica) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(layers).or_default().push(replica);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        // What is left is swept away with the rest of the store's temporary files.
        let _ = remove_tree(&self.place);
    }
}
