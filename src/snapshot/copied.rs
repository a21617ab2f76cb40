//! What was changed in a copy of a tree, kept as overlayfs would have kept it.
//!
//! Where there is no overlay a tree that is built on is copied, and afterwards what differs becomes a layer over its
//! parent: so an image has the same layers wherever it is made. A file is as it was if its inode and change time are,
//! which nobody can set; a directory if its own entries and looks are, because entries below it have their own say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FileType, Mode, XattrFlags};
use walkdir::WalkDir;

use super::committed::Snapshot;
use super::error::SnapshotError;
use super::tree::{OPAQUE, dress, walk_error};
use crate::sandbox;

/// How long a file system's clock stands still at most.
const TICK: Duration = Duration::from_millis(1);

/// A time of an inode: seconds and nanoseconds.
type Time = (i64, i64);

/// One entry as it was copied.
#[derive(Debug)]
struct Entry {
    inode: u64,
    /// When it was made, where the file system tells: numbers of inodes are given again at once.
    born: Option<SystemTime>,
    mode: u32,
    owner: (u32, u32),
    modified: Time,
    changed: Time,
}

impl Entry {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: metadata.ino(),
            born: metadata.created().ok(),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Tells whether it is the same one, whatever was changed of it.
    fn is(&self, other: &Self) -> bool {
        (self.inode, self.born) == (other.inode, other.born)
    }

    fn looks_like(&self, other: &Self) -> bool {
        self.is(other) && (self.mode, self.owner, self.modified) == (other.mode, other.owner, other.modified)
    }
}

/// A copy of a tree, and how everything in it was when it was made.
#[derive(Debug)]
pub(super) struct Copied {
    parent: Snapshot,
    entries: BTreeMap<PathBuf, Entry>,
}

/// What is to be done to make a layer of the differences.
#[derive(Default)]
struct Plan {
    directories: BTreeMap<PathBuf, Metadata>,
    opaque: Vec<PathBuf>,
    moved: Vec<PathBuf>,
    deleted: Vec<PathBuf>,
}

impl Copied {
    /// Looks at the copy of `parent` at `tree`, which nobody may have changed; `scratch` is a directory beside it.
    pub(super) fn of(tree: &Path, parent: &Snapshot, scratch: &Path) -> Result<Self, SnapshotError> {
        let mut entries = BTreeMap::new();
        for entry in WalkDir::new(tree) {
            let entry = entry.map_err(|error| walk_error(error, tree))?;
            let metadata = entry.metadata().map_err(|error| walk_error(error, tree))?;
            let path = entry.path().strip_prefix(tree).unwrap_or(entry.path()).to_owned();
            entries.insert(path, Entry::of(&metadata));
        }
        let last = entries.values().map(|entry| entry.changed).max().unwrap_or_default();
        // What is changed from now on is to have a later time.
        let clock = scratch.join("clock");
        loop {
            fs::write(&clock, "").map_err(SnapshotError::io("create", &clock))?;
            let now = Entry::of(&fs::metadata(&clock).map_err(SnapshotError::io("examine", &clock))?).changed;
            fs::remove_file(&clock).map_err(SnapshotError::io("remove", &clock))?;
            if now > last {
                return Ok(Self { parent: parent.clone(), entries });
            }
            thread::sleep(TICK);
        }
    }

    /// Returns what was copied.
    pub(super) const fn parent(&self) -> &Snapshot {
        &self.parent
    }

    /// Moves everything that differs from `tree` to the empty directory `layer`, with marks of what was deleted.
    pub(super) fn split(&self, tree: &Path, layer: &Path) -> Result<(), SnapshotError> {
        let plan = self.compare(tree)?;
        for path in plan.directories.keys().filter(|path| !path.as_os_str().is_empty()) {
            let target = layer.join(path);
            fs::create_dir(&target).map_err(SnapshotError::io("create", &target))?;
        }
        for path in &plan.moved {
            let (from, to) = (tree.join(path), layer.join(path));
            fs::rename(&from, &to).map_err(SnapshotError::io("move", &from))?;
        }
        for path in &plan.deleted {
            let target = layer.join(path);
            rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, Mode::empty(), 0)
                .map_err(|errno| SnapshotError::io("mark as deleted", &target)(errno.into()))?;
        }
        for path in &plan.opaque {
            let target = layer.join(path);
            rustix::fs::lsetxattr(&target, OPAQUE, b"y", XattrFlags::empty())
                .map_err(|errno| SnapshotError::io("mark as replaced", &target)(errno.into()))?;
        }
        let directories: Vec<_> = plan
            .directories
            .into_iter()
            .map(|(path, metadata)| (tree.join(&path), layer.join(&path), metadata))
            .collect();
        dress(&directories)
    }

    fn compare(&self, tree: &Path) -> Result<Plan, SnapshotError> {
        let mut plan = Plan::default();
        let (mut all, mut seen, mut kept) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let mut wanted = Vec::new();
        for entry in WalkDir::new(tree).sort_by_file_name() {
            let entry = entry.map_err(|error| walk_error(error, tree))?;
            let metadata = entry.metadata().map_err(|error| walk_error(error, tree))?;
            let path = entry.path().strip_prefix(tree).unwrap_or(entry.path()).to_owned();
            let now = Entry::of(&metadata);
            // What was below a directory that is not the old one any more is of no consequence.
            let below = path.parent().is_none_or(|parent| kept.contains(parent));
            let before = self.entries.get(&path).filter(|_| below);
            if metadata.is_dir() {
                match before {
                    Some(before) if before.is(&now) => {
                        kept.insert(path.clone());
                        if !before.looks_like(&now) {
                            wanted.push(path.clone());
                        }
                    }
                    replaced => {
                        wanted.push(path.clone());
                        plan.opaque.extend(replaced.map(|_| path.clone()));
                    }
                }
                all.insert(path.clone(), metadata);
            } else if !before.is_some_and(|before| is_same(&path, before, &now)) {
                wanted.extend(path.parent().map(Path::to_owned));
                plan.moved.push(path.clone());
            }
            seen.insert(path);
        }
        for path in self.entries.keys().filter(|path| !seen.contains(*path)) {
            if let Some(parent) = path.parent().filter(|parent| kept.contains(*parent)) {
                wanted.push(parent.to_owned());
                plan.deleted.push(path.clone());
            }
        }
        // The root is there in every layer.
        wanted.push(PathBuf::new());
        for path in wanted.iter().flat_map(|path| path.ancestors()) {
            if let Some(metadata) = all.remove(path) {
                plan.directories.insert(path.to_owned(), metadata);
            }
        }
        Ok(plan)
    }
}

/// Tells whether a file is the one that was copied, unchanged.
fn is_same(path: &Path, before: &Entry, now: &Entry) -> bool {
    // Files that every step finds covered were moved out of the way, which changes no more than that time.
    let covered = || sandbox::GENERATED.iter().any(|generated| Path::new(generated).strip_prefix("/") == Ok(path));
    before.looks_like(now) && (before.changed == now.changed || covered())
}
