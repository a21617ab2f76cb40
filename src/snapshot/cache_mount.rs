//! Directories that live longer than a build, for steps that bring their own cache (`ops.proto CacheOpt`).

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::committed::Snapshot;
use super::error::SnapshotError;
use super::meta::META;
use super::snapshots::Snapshots;
use super::tree::{Files, lay};
use crate::oci::Digest;
use crate::store::{Lock, remove_tree};

/// Room of the store that holds them.
pub const CACHE_MOUNTS: &str = "mounts";

/// Who else may use a cache mount meanwhile (`ops.proto CacheSharingOpt`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Everybody.
    Shared,
    /// Nobody: who comes while it is in use gets another directory.
    Private,
    /// Nobody: who comes while it is in use waits.
    Locked,
}

/// A cache mount in use.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    _lock: Option<Lock>,
}

impl CacheMount {
    /// Returns the directory.
    pub fn path(&self) -> PathBuf {
        self.path.clone()
    }
}

impl Snapshots {
    /// Returns the cache mount `name`, made of the directory `seed` of a tree where it is new; `None` where it is
    /// somebody's own at the moment.
    ///
    /// What is in it is no content: no key and no result knows it.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn cache_mount(
        &self,
        name: &str,
        seed: Option<(&Snapshot, &Path)>,
        sharing: Sharing,
    ) -> Result<Option<CacheMount>, SnapshotError> {
        let hex = Digest::of(name.as_bytes()).hex();
        let room = self.store.room(CACHE_MOUNTS)?;
        for number in 0.. {
            let id = format!("{hex}-{number}");
            let lock = if sharing == Sharing::Shared { None } else { self.store.try_lock(&format!("mount-{id}"))? };
            match (sharing, &lock) {
                (Sharing::Locked, None) => return Ok(None),
                (Sharing::Private, None) => continue,
                _ => {}
            }
            let place = room.join(&id);
            if place.is_dir() && !place.join("fs").is_dir() {
                // A step without mounts took it into its root and died, or has it there now.
                if lock.is_none() {
                    continue;
                }
                remove_tree(&place).map_err(SnapshotError::io("remove", &place))?;
            }
            if !place.is_dir() {
                self.publish_mount(&place, name, |tree| self.seed(tree, seed))?;
            }
            self.store.touch(&format!("{CACHE_MOUNTS}/{id}"), META);
            return Ok(Some(CacheMount { path: place.join("fs"), _lock: lock }));
        }
        unreachable!("there are more numbers than runs")
    }

    /// Tells whether there is a cache mount `name`.
    ///
    /// # Errors
    /// `Store`.
    pub fn has_cache_mount(&self, name: &str) -> Result<bool, SnapshotError> {
        Ok(self.store.room(CACHE_MOUNTS)?.join(format!("{}-0", Digest::of(name.as_bytes()).hex())).is_dir())
    }

    /// Makes the cache mount `name`, filled by `fill`, unless there is one.
    pub(super) fn make_cache_mount(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let place = self.store.room(CACHE_MOUNTS)?.join(format!("{}-0", Digest::of(name.as_bytes()).hex()));
        self.publish_mount(&place, name, fill)
    }

    fn seed(&self, tree: &Path, seed: Option<(&Snapshot, &Path)>) -> Result<(), SnapshotError> {
        if let Some((snapshot, selector)) = seed {
            let from = self.read(snapshot)?;
            let failed = |errno: rustix::io::Errno| SnapshotError::io("open", selector)(errno.into());
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let root = rustix::fs::open(from.path(), flags, Mode::empty()).map_err(failed)?;
            let selector = if selector.as_os_str().is_empty() { Path::new("/") } else { selector };
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let directory = OFlags::DIRECTORY | flags;
            let chosen = rustix::fs::openat2(&root, selector, directory, Mode::empty(), resolve).map_err(failed)?;
            // The open directory itself, wherever its name leads by now.
            lay(&PathBuf::from(format!("/proc/self/fd/{}/.", chosen.as_raw_fd())), tree, Files::Copied)?;
        }
        Ok(())
    }

    fn publish_mount(
        &self,
        place: &Path,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        let scratch = self.scratch()?;
        let tree = scratch.tree();
        fs::create_dir(&tree).map_err(SnapshotError::io("create", &tree))?;
        fill(&tree)?;
        let path = scratch.path().join(META);
        fs::write(&path, name).map_err(SnapshotError::io("write", &path))?;
        match fs::rename(scratch.path(), place) {
            Ok(()) => {
                scratch.release();
                Ok(())
            }
            // Another run was faster.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => Ok(()),
            Err(error) => Err(SnapshotError::io("publish", place)(error)),
        }
    }
}
