//! A vertex that is done: its content is known, its tree perhaps not yet on disk.

use std::sync::{Mutex, PoisonError};

use crate::oci::Digest;
use crate::snapshot::Snapshot;

/// The result of a vertex.
#[derive(Debug)]
pub(crate) struct Value {
    /// Digest of what the tree holds.
    pub(crate) content: Digest,
    tree: Mutex<Option<Snapshot>>,
}

impl Value {
    /// A value whose tree is made when asked for.
    pub(crate) const fn lazy(content: Digest) -> Self {
        Self { content, tree: Mutex::new(None) }
    }

    /// A value whose tree is there.
    pub(crate) const fn ready(content: Digest, snapshot: Snapshot) -> Self {
        Self { content, tree: Mutex::new(Some(snapshot)) }
    }

    /// Tells whether the tree was made or found.
    pub(crate) fn is_made(&self) -> bool {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Returns the tree, making it with `make` if this is the first to ask; others wait meanwhile.
    pub(crate) fn tree<E>(&self, make: impl FnOnce() -> Result<Snapshot, E>) -> Result<Snapshot, E> {
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = tree.as_ref() {
            return Ok(snapshot.clone());
        }
        let snapshot = make()?;
        *tree = Some(snapshot.clone());
        Ok(snapshot)
    }
}
