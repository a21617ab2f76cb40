//! A finished tree: one directory, or layers over one another.

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::UnmountFlags;

use super::error::SnapshotError;
use super::snapshots::Scratch;
use crate::oci::Digest;
use crate::sys;

/// A finished tree; nobody writes to it any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) id: String,
    pub(super) digest: Digest,
    pub(super) room: PathBuf,
    /// Ids of the snapshots whose layers it consists of, the uppermost first.
    pub(super) layers: Vec<String>,
    /// The lowest layer may hold marks of overlayfs.
    pub(super) marked: bool,
    /// A step or a user wrote it; else it is made of what the store has.
    pub(super) written: bool,
    /// Digest of the layer that was written last, where others are below it.
    pub(super) layer: Option<Digest>,
}

impl Snapshot {
    /// Returns its name in the store.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns its name as a digest: of the tree itself (`layer::written_digest`), or of what it was made of.
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Returns the directory of its own layer: the whole tree where nothing is below, as always for recipes. Read only:
    /// its files may be part of other snapshots too.
    pub fn path(&self) -> PathBuf {
        self.room.join(&self.id).join("fs")
    }

    /// Returns the digest of what was written last over a parent; `None` for whole trees.
    pub const fn layer(&self) -> Option<Digest> {
        self.layer
    }

    /// Returns the ids of its layers, lowest first, for what is to lie on it.
    pub(super) fn below(&self) -> Vec<String> {
        self.layers.iter().rev().cloned().collect()
    }

    /// Returns the number of layers.
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// Returns the directory that holds the whole tree, where it is one directory. Read only: its files may be part of
    /// other snapshots too.
    pub fn directory(&self) -> Option<PathBuf> {
        if self.layers.len() == 1 && !self.marked { self.directories().next() } else { None }
    }

    /// Returns the directories of its layers, the uppermost first.
    pub(super) fn directories(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.layers.iter().map(|layer| self.room.join(layer).join("fs"))
    }
}

/// A tree that can be read, or for an [`super::Active`] written, under a path of this process.
#[derive(Debug)]
pub struct Tree {
    path: PathBuf,
    /// Where layers are mounted, in this process's own mount namespace.
    mounted: Option<Scratch>,
}

impl Tree {
    pub(super) fn directory(path: PathBuf) -> Self {
        Self { path, mounted: None }
    }

    /// Mounts `lower`, the uppermost first, and `upper` with its work directory at a place of its own.
    pub(super) fn mount(
        place: Scratch,
        lower: &[PathBuf],
        upper: Option<(&Path, &Path)>,
    ) -> Result<Self, SnapshotError> {
        let path = place.path().join("mount");
        fs::create_dir(&path).map_err(SnapshotError::io("create", &path))?;
        let open = |path: &PathBuf| sys::open_path(path).map_err(SnapshotError::io("open", path));
        let lower = lower.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let lower: Vec<_> = lower.iter().map(std::os::fd::AsFd::as_fd).collect();
        let failed = |error| SnapshotError::io("mount the layers at", &path)(error);
        let mount = match upper {
            None => sys::overlay(&lower, None).map_err(failed)?,
            Some((upper, work)) => {
                let (upper, work) = (open(&upper.to_owned())?, open(&work.to_owned())?);
                sys::overlay(&lower, Some((upper.as_fd(), work.as_fd()))).map_err(failed)?
            }
        };
        let spot = rustix::fs::open(&path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| SnapshotError::io("open", &path)(errno.into()))?;
        sys::attach(&mount, &spot).map_err(SnapshotError::io("mount the layers at", &path))?;
        Ok(Self { path, mounted: Some(place) })
    }

    /// Returns where the tree is; good as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.mounted.is_some() {
            // Detached even where somebody still reads: the directory below must be empty before it is removed.
            let _ = rustix::mount::unmount(&self.path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
}
