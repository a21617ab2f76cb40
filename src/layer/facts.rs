//! What one layer of a tree is, so that another machine can tell whether it got the same.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::{Instant, layer_digest, written_digest};
use super::error::LayerError;
use crate::oci::{Digest, Hasher};

/// What is known of one layer without looking into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFacts {
    /// Name of the tree that it lies on; none for a whole tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    /// Digest of its files ([`layer_digest`] over a parent, else [`written_digest`]).
    pub tree: Digest,
    /// Times before this one are part of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Instant>,
    /// What else its name was made of, where it has one of its own ([`again`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonce: Option<Digest>,
}

impl LayerFacts {
    /// Tells whether the files in `directory` are those of the layer.
    ///
    /// # Errors
    /// `Io`.
    pub fn describe(&self, directory: &Path) -> Result<bool, LayerError> {
        let digest = if self.parent.is_some() { layer_digest } else { written_digest };
        Ok(digest(directory, self.since)? == self.tree)
    }

    /// Returns the name that says what the whole tree holds.
    pub fn content(&self) -> Digest {
        self.parent.map_or(self.tree, |parent| over(&parent, &self.tree))
    }
}

/// Returns the digest of a tree: of what lies on top, over a tree with the digest `parent`.
pub fn over(parent: &Digest, layer: &Digest) -> Digest {
    combined(b"dockless over 1", parent, layer)
}

/// Returns a name for one more tree of what `content` says; with another nonce, another name.
pub fn again(content: &Digest, nonce: &Digest) -> Digest {
    combined(b"dockless again 1", content, nonce)
}

fn combined(kind: &[u8], first: &Digest, second: &Digest) -> Digest {
    let mut hasher = Hasher::default();
    hasher.field(kind);
    hasher.field(first.as_bytes());
    hasher.field(second.as_bytes());
    hasher.finish()
}
