//! Mount points that were made in a tree that outlives the step, and taking them back.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use serde::{Deserialize, Serialize};

use super::inside;

/// Whose mount it is, which decides what becomes of the mount points made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The step's, or a file that only exists for the step.
    Step,
    /// Of every system, as `/proc` is. BuildKit's runtime leaves these.
    System,
}

/// What has been made and mounted so far; all paths are real ones, without symbolic links.
#[derive(Debug, Default)]
pub(super) struct Stubs {
    /// Made paths to be taken back, outer first.
    made: Vec<PathBuf>,
    /// Places mounted on, with whether what is made there outlives the step.
    mounted: BTreeMap<PathBuf, bool>,
}

/// Which of the made paths are taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rule {
    /// Also those for the system's mounts and those in other trees than the root.
    pub(super) all: bool,
    /// Also the parents that were missing.
    pub(super) parents: bool,
}

impl Stubs {
    pub(super) fn mount(&mut self, place: PathBuf, kept: bool) {
        self.mounted.insert(place, kept);
    }

    /// Takes note of what was made for a mount point, outer first.
    pub(super) fn note(&mut self, made: &[PathBuf], owner: Owner, rule: Rule) {
        let ours = self.ours(made, owner, rule);
        self.made.extend(ours);
    }

    /// Returns what is to be taken back of what was made for a mount point, outer first.
    pub(super) fn ours(&self, made: &[PathBuf], owner: Owner, rule: Rule) -> Vec<PathBuf> {
        if owner == Owner::System && !rule.all {
            return Vec::new();
        }
        let last = made.len().saturating_sub(1);
        let is_ours = |(at, path): &(usize, &PathBuf)| {
            let below = path.ancestors().skip(1).find_map(|place| Some((place, *self.mounted.get(place)?)));
            // Another step may use the same cache and the same mount point in it right now.
            let ours = below.is_some_and(|(place, kept)| kept && (rule.all || place == Path::new("/")));
            ours && (*at == last || rule.parents)
        };
        made.iter().enumerate().filter(is_ours).map(|(_, path)| path.clone()).collect()
    }

    /// Takes back, after the program has ended, the mount points that would outlive the step.
    pub(super) fn remove(&self, root: BorrowedFd<'_>) {
        // Errors leave an empty directory more in the result of the step, which is no reason to fail it.
        for stub in self.made.iter().rev() {
            for place in self.mounted.keys().rev().filter(|place| place.starts_with(stub)) {
                let _ = unmount(place.as_path(), UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            }
            let _ = inside::unmake(root, stub);
        }
    }
}
