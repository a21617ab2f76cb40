//! Trees out of trees: layers laid over one another, and what one tree has that another has not.
//!
//! `ops.proto MergeOp`, `DiffOp`. A merge applies the layers of each part in order, with what they delete; a layer
//! that comes again later counts there only, because whatever it brings is put on top once more. A difference between
//! a tree and one that it was built on is its own layers; between others it is found by comparing.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode};
use walkdir::WalkDir;

use super::committed::Snapshot;
use super::error::SnapshotError;
use super::meta::{Meta, Origin};
use super::snapshots::Snapshots;
use super::tree::{Copied, Files, attribute_names, dress, make_directory, put, walk_error};
use crate::oci::Digest;
use crate::ownership;

impl Snapshots {
    /// Lays `parts` over one another, making the snapshot `id`: of files at the same place the last one stays.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn merge(&self, id: &Digest, parts: &[Snapshot]) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        let layers = stacked(parts);
        // What steps wrote is small, and one directory is read faster than many; images are large.
        let linked = !self.has_overlay() || parts.iter().all(|part| part.written && part.directory().is_some());
        if linked || layers.len() > self.deepest() {
            for part in parts {
                active.lay(part)?;
            }
            return active.commit_derived(id);
        }
        let marked = parts.first().is_some_and(|part| part.marked);
        let below = layers.into_iter().rev().collect();
        active.commit_layers(id, &Meta { below, empty: true, marked, ..Meta::whole(*id, Origin::Derived) })
    }

    /// Makes the snapshot `id` of what changes `lower` into `upper`, deletions too; `None` is an empty tree.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub fn difference(
        &self,
        id: &Digest,
        lower: Option<&Snapshot>,
        upper: Option<&Snapshot>,
    ) -> Result<Snapshot, SnapshotError> {
        let active = self.prepare()?;
        let empty;
        let (lower, upper) = match (lower, upper) {
            (None, None) => return active.commit_derived(id),
            (Some(lower), Some(upper)) => (lower, upper),
            (one, other) => {
                empty = self.prepare()?.commit(super::Times::Ignored)?;
                (one.unwrap_or(&empty), other.unwrap_or(&empty))
            }
        };
        if self.has_overlay()
            && let Some(own) = upper.layers.strip_suffix(lower.layers.as_slice())
        {
            let below = own.iter().rev().cloned().collect();
            return active
                .commit_layers(id, &Meta { below, empty: true, marked: true, ..Meta::whole(*id, Origin::Derived) });
        }
        let (lower, upper) = (self.read(lower)?, self.read(upper)?);
        // A kernel shows the marks of a directory that lies over nothing, so those lie over empty ones.
        let floor = self.prepare()?;
        compare(lower.path(), upper.path(), &active.path(), &floor.path())?;
        let below = Digest::of(format!("floor {id}").as_bytes());
        let floor = floor.commit_derived(&below)?;
        let below = vec![floor.id().to_owned()];
        active.commit_layers(id, &Meta { below, marked: true, ..Meta::whole(*id, Origin::Derived) })
    }
}

/// Layers of all parts, the uppermost first, each once.
fn stacked(parts: &[Snapshot]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all = parts.iter().rev().flat_map(|part| part.layers.iter());
    all.filter(|layer| seen.insert(layer.as_str())).cloned().collect()
}

/// Puts into `to` what must be laid over `lower` to get `upper`, and into `floor` the directories that hold marks.
fn compare(lower: &Path, upper: &Path, to: &Path, floor: &Path) -> Result<(), SnapshotError> {
    let mut directories = vec![(upper.to_owned(), to.to_owned(), examine(upper)?)];
    let mut copied = Copied::new();
    for entry in WalkDir::new(upper).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| walk_error(error, upper))?;
        let source = entry.path();
        let relative = source.strip_prefix(upper).unwrap_or(source);
        let metadata = examine(source)?;
        let old = fs::symlink_metadata(lower.join(relative)).ok();
        let same = old.as_ref().is_some_and(|old| is_same(old, &metadata))
            && attribute_names(source)? == attribute_names(&lower.join(relative))?
            && recorded(source, &metadata) == recorded(&lower.join(relative), &metadata)
            && (!is_coarse(&metadata) || equal(source, &lower.join(relative))?);
        if same {
            continue;
        }
        above(upper, relative, to, &mut directories)?;
        let target = to.join(relative);
        if metadata.is_dir() {
            make_directory(&target)?;
            directories.push((source.to_owned(), target, metadata));
        } else {
            put(source, &target, &metadata, Files::Copied, &mut copied)?;
        }
    }
    let mut walk = WalkDir::new(lower).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| walk_error(error, lower))?;
        let relative = entry.path().strip_prefix(lower).unwrap_or(entry.path()).to_owned();
        let now = fs::symlink_metadata(upper.join(&relative)).ok();
        let hidden = entry.file_type().is_dir() && now.as_ref().is_none_or(|now| !now.is_dir());
        if now.is_none() {
            above(upper, &relative, to, &mut directories)?;
            let target = to.join(&relative);
            let under = floor.join(relative.parent().unwrap_or(Path::new("")));
            fs::create_dir_all(&under).map_err(SnapshotError::io("create", &under))?;
            rustix::fs::mknodat(CWD, &target, FileType::CharacterDevice, Mode::from_raw_mode(0o600), 0)
                .map_err(|errno| SnapshotError::io("mark as deleted", &target)(errno.into()))?;
        }
        if hidden {
            walk.skip_current_dir();
        }
    }
    directories.sort_by(|a, b| a.1.cmp(&b.1));
    directories.dedup_by(|a, b| a.1 == b.1);
    dress(&directories)
}

type Dressed = Vec<(std::path::PathBuf, std::path::PathBuf, Metadata)>;

/// Makes the directories above `relative`, which look as in `upper`.
fn above(upper: &Path, relative: &Path, to: &Path, directories: &mut Dressed) -> Result<(), SnapshotError> {
    let mut missing: Vec<&Path> = relative.ancestors().skip(1).take_while(|path| !to.join(path).is_dir()).collect();
    missing.reverse();
    for path in missing {
        let (source, target) = (upper.join(path), to.join(path));
        make_directory(&target)?;
        let metadata = examine(&source)?;
        directories.push((source, target, metadata));
    }
    Ok(())
}

fn examine(path: &Path) -> Result<Metadata, SnapshotError> {
    fs::symlink_metadata(path).map_err(SnapshotError::io("examine", path))
}

/// Tells whether nothing that a layer keeps differs. Like every differ of layers this trusts sizes and times; a
/// directory's own time is no change (continuity `fs/diff.go`).
fn is_same(old: &Metadata, new: &Metadata) -> bool {
    let facts = |it: &Metadata| (it.mode(), it.uid(), it.gid(), it.rdev());
    let times = |it: &Metadata| (it.mtime(), it.mtime_nsec());
    facts(old) == facts(new) && (new.is_dir() || times(old) == times(new) && old.len() == new.len())
}

/// The owner that a file has by its record.
fn recorded(path: &Path, metadata: &Metadata) -> Option<(u32, u32)> {
    ownership::owner_of(path, FileType::from_raw_mode(metadata.mode()))
}

/// Tells whether a file's time says little: in whole seconds, as archives and file operations have it.
fn is_coarse(metadata: &Metadata) -> bool {
    metadata.is_file() && metadata.mtime_nsec() == 0
}

/// Tells whether two files hold the same bytes.
fn equal(one: &Path, other: &Path) -> Result<bool, SnapshotError> {
    let open = |path: &Path| File::open(path).map(BufReader::new).map_err(SnapshotError::io("open", path));
    let (mut left, mut right) = (open(one)?, open(other)?);
    loop {
        let (a, b) = (
            left.fill_buf().map_err(SnapshotError::io("read", one))?,
            right.fill_buf().map_err(SnapshotError::io("read", other))?,
        );
        let length = a.len().min(b.len());
        if length == 0 || a[..length] != b[..length] {
            return Ok(a.is_empty() && b.is_empty());
        }
        left.consume(length);
        right.consume(length);
    }
}
