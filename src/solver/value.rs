//! An output of a vertex that is done: its content is known, its tree perhaps not yet on disk.

use std::sync::{Mutex, PoisonError};

use crate::oci::Digest;
use crate::snapshot::Snapshot;

/// One output of a vertex.
#[derive(Debug)]
pub(crate) struct Value {
    /// Digest of what the tree holds.
    pub(crate) content: Digest,
    /// Name of the snapshot that has the tree, or will have it.
    pub(crate) id: Digest,
    tree: Mutex<Option<Snapshot>>,
}

impl Value {
    /// A value whose tree is looked up, or made, when asked for; the snapshot is named by its content.
    pub(crate) const fn lazy(content: Digest) -> Self {
        Self::named(content, content)
    }

    /// A value whose tree is, or will be, the snapshot `id`.
    pub(crate) const fn named(content: Digest, id: Digest) -> Self {
        Self { content, id, tree: Mutex::new(None) }
    }

    /// A value whose tree is there.
    pub(crate) fn ready(snapshot: Snapshot) -> Self {
        Self::made(snapshot.digest(), snapshot)
    }

    /// A value whose tree is there, under another name than its content's.
    pub(crate) fn made(content: Digest, snapshot: Snapshot) -> Self {
        Self { content, id: snapshot.digest(), tree: Mutex::new(Some(snapshot)) }
    }

    /// The same output once more, as that of another vertex.
    pub(crate) fn again(&self) -> Self {
        Self {
            content: self.content,
            id: self.id,
            tree: Mutex::new(self.tree.lock().unwrap_or_else(PoisonError::into_inner).clone()),
        }
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
