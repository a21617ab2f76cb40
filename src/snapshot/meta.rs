//! What is written beside a tree.

use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::layer::Instant;
use crate::oci::Digest;

/// Name of the file.
pub(super) const META: &str = "meta";

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
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) content: Digest,
    pub(super) origin: Origin,
    /// In which run of the kernel the tree was written or last verified.
    pub(super) boot: String,
    /// Snapshots whose layers lie below this one's, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) below: Vec<String>,
    /// Name of the snapshot that its own layer lies on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) parent: Option<Digest>,
    /// What the names of trees made again consist of beside what they hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nonce: Option<Digest>,
    /// Digest of the layer alone, where it is one over others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) layer: Option<Digest>,
    /// Times before this one are part of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Instant>,
    /// The snapshot has no layer of its own, only those below.
    #[serde(default)]
    pub(super) empty: bool,
    /// Packed layers that it was unpacked from, lowest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) packed: Vec<PackedLayer>,
    /// Its lowest layer may hold marks of overlayfs, so it is never shown without an overlay.
    #[serde(default)]
    pub(super) marked: bool,
    /// Nobody finds it by its id alone: it is good only as long as somebody has noted the id.
    #[serde(default)]
    pub(super) noted: bool,
}

/// A packed layer in the store (`image-spec layer.md`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackedLayer {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// How it is compressed.
    pub media_type: String,
}

/// Where one layer of a tree is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerPlace {
    /// In the blobs that it was unpacked from.
    Packed(Vec<PackedLayer>),
    /// In a directory.
    Directory {
        /// The snapshot that left it, by its digest's hexadecimal digits.
        id: String,
        /// The directory.
        path: PathBuf,
        /// It may hold marks of overlayfs.
        overlay: bool,
    },
}

impl Meta {
    /// A whole tree in one directory.
    pub(super) fn whole(content: Digest, origin: Origin) -> Self {
        Self {
            content,
            origin,
            boot: boot(),
            below: Vec::new(),
            parent: None,
            nonce: None,
            layer: None,
            since: None,
            empty: false,
            packed: Vec::new(),
            marked: false,
            noted: false,
        }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a meta is plain data")
    }
}

/// Names this run of the kernel; empty where it has no name, and then nothing is verified.
pub(super) fn boot() -> String {
    static BOOT: OnceLock<String> = OnceLock::new();
    let read = || fs::read_to_string("/proc/sys/kernel/random/boot_id");
    BOOT.get_or_init(|| read().map(|text| text.trim().to_owned()).unwrap_or_default()).clone()
}
