//! Files that are to belong to one tree only.
//!
//! Mounts keep hard links apart; renames do not: a step can link a file of a cache into its result, and the next step
//! that writes to the cache would change what is published.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use walkdir::WalkDir;

use super::ground::Ground;

/// Gives `tree` its own copy of every file that has names elsewhere too.
pub(super) fn separate(ground: &Ground, tree: &Path) -> io::Result<()> {
    let mut found: BTreeMap<(u64, u64), (u64, Vec<PathBuf>)> = BTreeMap::new();
    for entry in WalkDir::new(tree) {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if !metadata.is_dir() && metadata.nlink() > 1 {
            let inode = (metadata.dev(), metadata.ino());
            found.entry(inode).or_insert((metadata.nlink(), Vec::new())).1.push(entry.into_path());
        }
    }
    for (links, names) in found.into_values() {
        if names.len() as u64 == links {
            continue;
        }
        let place = ground.directory()?;
        let (copy, name) = (place.join("copy"), place.join("name"));
        ground.copy(&names[0], &copy)?;
        for path in &names {
            let above = path.parent().filter(|_| path != tree);
            let before = above.map(|above| Ok::<_, io::Error>((above, fs::symlink_metadata(above)?))).transpose()?;
            fs::hard_link(&copy, &name)?;
            fs::rename(&name, path)?;
            if let Some((above, metadata)) = before {
                let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
                let times = Timestamps {
                    last_access: time(metadata.atime(), metadata.atime_nsec()),
                    last_modification: time(metadata.mtime(), metadata.mtime_nsec()),
                };
                rustix::fs::utimensat(CWD, above, &times, AtFlags::empty())?;
            }
        }
        crate::store::remove_tree(&place)?;
    }
    Ok(())
}
