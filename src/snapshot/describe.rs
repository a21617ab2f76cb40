//! What collection wants to know of trees that nobody has opened.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::cache_mount::CACHE_MOUNTS;
use super::error::SnapshotError;
use super::meta::{META, Origin, PackedLayer, boot};
use super::snapshots::Snapshots;

/// A snapshot, seen from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Ids of what it lies on, lowest first.
    pub below: Vec<String>,
    /// Packed layers that it was unpacked from.
    pub packed: Vec<PackedLayer>,
    /// Somebody may still find it by its id alone: it follows from what the store has, and was made in this run of the
    /// kernel.
    pub is_found: bool,
    /// When it was last asked for, in seconds since 1970.
    pub used: i64,
}

impl Snapshots {
    /// Describes the snapshot `id`; `None` where there is none.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn describe(&self, id: &str) -> Result<Option<Described>, SnapshotError> {
        let Some(meta) = self.meta(id)? else { return Ok(None) };
        let path = self.directory(id).with_file_name(META);
        let used = fs::symlink_metadata(&path).map_or(0, |file| file.mtime());
        let is_found = meta.origin == Origin::Derived && !meta.noted && meta.boot == boot();
        Ok(Some(Described { below: meta.below, packed: meta.packed, is_found, used }))
    }

    /// Returns the name of the cache mount that lies in `<store>/mounts/<id>`, and when it was last used, in seconds
    /// since 1970. Those of earlier versions have no name.
    pub fn describe_cache_mount(&self, id: &str) -> (String, i64) {
        let place = self.store.root().join(CACHE_MOUNTS).join(id);
        let path = place.join(META);
        let used = fs::symlink_metadata(&path).or_else(|_| fs::symlink_metadata(&place)).map_or(0, |file| file.mtime());
        (fs::read_to_string(&path).unwrap_or_default(), used)
    }
}
