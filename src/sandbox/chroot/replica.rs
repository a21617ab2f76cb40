//! A copy of a read-only root, used by one step after the other.
//!
//! A root file system has ten thousand files, and a step of a recipe is to change none of them. So a copy is used again,
//! unless the step has changed something after all: that shows in the change time of an inode, which nobody can set.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use walkdir::WalkDir;

use super::ground::Ground;
use crate::store::remove_tree;

/// When an inode was last changed: seconds and nanoseconds.
type Changed = (i64, i64);

/// How long a file system's clock stands still at most.
const TICK: Duration = Duration::from_millis(1);

/// A copy of a tree; gone when dropped.
#[derive(Debug)]
pub(super) struct Replica {
    place: PathBuf,
    /// Nothing in it was changed later.
    made: Changed,
}

/// Mode and owner of a directory.
pub(super) type Look = (u32, u32, u32);

pub(super) fn look(metadata: &Metadata) -> Look {
    (metadata.mode(), metadata.uid(), metadata.gid())
}

impl Replica {
    pub(super) fn make(ground: &Ground, layers: &[PathBuf]) -> io::Result<Self> {
        let mut replica = Self { place: ground.directory()?, made: (0, 0) };
        ground.lay(layers, &replica.tree())?;
        for entry in WalkDir::new(replica.tree()) {
            replica.made = replica.made.max(changed(&entry?.metadata()?));
        }
        // What a step changes from now on is to have a later time.
        let clock = replica.place.join("clock");
        loop {
            fs::write(&clock, "")?;
            if changed(&fs::metadata(&clock)?) > replica.made {
                return Ok(replica);
            }
            fs::remove_file(&clock)?;
            thread::sleep(TICK);
        }
    }

    /// The tree itself.
    pub(super) fn tree(&self) -> PathBuf {
        self.place.join("fs")
    }

    /// Tells whether everything is as it was copied; `touched` are the directories, relative to the tree, whose entries
    /// were replaced and put back, as they looked before.
    pub(super) fn is_whole(&self, touched: &BTreeMap<PathBuf, Look>) -> bool {
        let tree = self.tree();
        WalkDir::new(&tree).into_iter().all(|entry| {
            let Ok((path, metadata)) = entry.and_then(|entry| Ok((entry.path().to_owned(), entry.metadata()?))) else {
                return false;
            };
            match touched.get(path.strip_prefix(&tree).unwrap_or(Path::new(""))) {
                Some(before) => *before == look(&metadata),
                None => changed(&metadata) <= self.made,
            }
        })
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = remove_tree(&self.place);
    }
}

fn changed(metadata: &Metadata) -> Changed {
    (metadata.ctime(), metadata.ctime_nsec())
}
