//! The group of a run, in which every step gets its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::error::{CgroupError, Lack};
use super::group::{Group, Part, remove, write};
use super::limits::Limits;
use super::place::{Controller, Place, Version};

/// What our groups are called; what follows is the process.
const NAME: &str = "dockless-";

/// Where the builder is while its group has groups with limits.
const LEAF: &str = "builder";

const CONTROL: &str = "cgroup.subtree_control";

/// The groups of a run. Dropped, they are removed and the builder is where it was.
#[derive(Debug)]
pub struct Groups {
    runs: Vec<Run>,
    /// Why a controller is not there.
    lacks: BTreeMap<Controller, Lack>,
    next: AtomicU64,
}

/// The group of this run in one tree.
#[derive(Debug)]
struct Run {
    parent: PathBuf,
    path: PathBuf,
    version: Version,
    controllers: BTreeSet<Controller>,
    /// The builder has moved into the leaf.
    moved: bool,
    /// Kept open: the lock goes with it.
    _lock: File,
}

impl Groups {
    /// Makes the groups of this run where `place` says that it is, and removes those of runs that are gone.
    ///
    /// # Errors
    /// `Missing` where one of `needed` cannot be had.
    pub fn open(place: &Place, needed: impl IntoIterator<Item = Controller>) -> Result<Self, CgroupError> {
        let mut groups = Self { runs: Vec::new(), lacks: BTreeMap::new(), next: AtomicU64::new(0) };
        let (legacy, mut unified): (BTreeSet<Controller>, BTreeSet<Controller>) =
            Controller::ALL.into_iter().partition(|controller| place.legacy.contains_key(controller));
        let mut trees: BTreeMap<&Path, BTreeSet<Controller>> = BTreeMap::new();
        for controller in legacy {
            trees.entry(&place.legacy[&controller]).or_default().insert(controller);
        }
        for (parent, controllers) in trees {
            match Run::make(parent, Version::V1) {
                Ok(mut run) => {
                    run.controllers = controllers;
                    groups.runs.push(run);
                }
                Err(_) => groups.lacks.extend(controllers.into_iter().map(|controller| (controller, Lack::Legacy))),
            }
        }
        let listed = place.unified.as_deref().map_or_else(BTreeSet::new, |own| controllers(own, "cgroup.controllers"));
        for controller in mem::take(&mut unified) {
            if listed.contains(&controller) {
                unified.insert(controller);
            } else {
                // A group of our own that lacks it was delegated without; otherwise nobody can tell.
                let ours = place.unified.as_deref().is_some_and(is_ours);
                groups.lacks.insert(controller, if ours { Lack::Withheld } else { Lack::Absent });
            }
        }
        if let Some(own) = place.unified.as_deref().filter(|_| !unified.is_empty()) {
            match Run::make(own, Version::V2).map_err(|_| Lack::Denied).and_then(|run| run.enable(&unified)) {
                Ok(run) => groups.runs.push(run),
                Err(lack) => groups.lacks.extend(unified.into_iter().map(|controller| (controller, lack))),
            }
        }
        needed.into_iter().try_for_each(|controller| groups.has(controller))?;
        Ok(groups)
    }

    /// Returns the directories of this run.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.runs.iter().map(|run| run.path.clone()).collect()
    }

    fn has(&self, controller: Controller) -> Result<(), CgroupError> {
        if self.runs.iter().any(|run| run.controllers.contains(&controller)) {
            return Ok(());
        }
        let lack = self.lacks.get(&controller).copied().unwrap_or(Lack::Absent);
        Err(CgroupError::Missing { controller, lack })
    }

    /// Makes the group of one step.
    ///
    /// # Errors
    /// `Missing` where these limits cannot be set here; `Io` where the kernel refuses one.
    pub fn step(&self, limits: &Limits) -> Result<Group, CgroupError> {
        let needed: BTreeSet<Controller> = limits.controllers().collect();
        needed.iter().try_for_each(|controller| self.has(*controller))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut group = Group { parts: Vec::new(), limits: *limits };
        for run in &self.runs {
            let controllers: Vec<Controller> = needed.intersection(&run.controllers).copied().collect();
            if controllers.is_empty() {
                continue;
            }
            let path = run.path.join(format!("step-{number}"));
            fs::create_dir(&path).map_err(|error| CgroupError::io("make", &path, error))?;
            group.parts.push(Part { path, version: run.version, controllers });
        }
        group.limit()?;
        Ok(group)
    }
}

impl Run {
    fn make(parent: &Path, version: Version) -> io::Result<Self> {
        sweep(parent);
        let process = std::process::id();
        for number in 0_u32.. {
            let path = parent.join(format!("{NAME}{process}-{number}"));
            match fs::create_dir(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other?,
            }
            // Between the two calls another run may have taken it for abandoned.
            if let Some(lock) = lock(&path) {
                let (parent, controllers) = (parent.to_owned(), BTreeSet::new());
                return Ok(Self { parent, path, version, controllers, moved: false, _lock: lock });
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    /// Version 2: has controllers act below the group of the run, and makes room for that.
    fn enable(mut self, wanted: &BTreeSet<Controller>) -> Result<Self, Lack> {
        self.controllers.clone_from(wanted);
        // Only the group of the whole machine, which has no type, may hold processes beside groups with limits. Those of
        // processes alone could be had there in others, too, but then the groups below would be threaded and take none.
        if self.parent.join("cgroup.type").exists() {
            let leaf = self.path.join(LEAF);
            fs::create_dir(&leaf).map_err(|_| Lack::Denied)?;
            self.moved = true;
            write(&leaf.join("cgroup.procs"), &std::process::id().to_string()).map_err(|error| why(&error))?;
        }
        let missing: BTreeSet<Controller> = wanted.difference(&controllers(&self.parent, CONTROL)).copied().collect();
        switch(&self.parent, '+', &missing).map_err(|error| why(&error))?;
        switch(&self.path, '+', wanted).map_err(|error| why(&error))?;
        Ok(self)
    }
}

/// Whoever has other processes in its group is asked to give the builder one of its own.
fn why(error: &CgroupError) -> Lack {
    match error {
        CgroupError::Io { source, .. }
            if [libc::EBUSY, libc::EOPNOTSUPP].map(Some).contains(&source.raw_os_error()) =>
        {
            Lack::Crowded
        }
        _ => Lack::Denied,
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.moved {
            // Processes cannot be where controllers act below. Another run that uses them keeps them, and then our
            // leaf is left for the next run to remove.
            let _ = switch(&self.path, '-', &self.controllers);
            let _ = switch(&self.parent, '-', &self.controllers);
            let _ = write(&self.parent.join("cgroup.procs"), &std::process::id().to_string());
            if fs::read_to_string(self.path.join(LEAF).join("cgroup.procs")).is_ok_and(|text| !text.is_empty()) {
                return;
            }
        }
        remove(&self.path);
    }
}

/// Controllers that this process could limit steps with, and what the others lack, without leaving anything behind
/// that acts. For `dockless doctor`.
pub fn delegated(place: &Place) -> (BTreeSet<Controller>, BTreeMap<Controller, Lack>) {
    match Groups::open(place, []) {
        Ok(groups) => (groups.runs.iter().flat_map(|run| run.controllers.clone()).collect(), groups.lacks.clone()),
        Err(_) => (BTreeSet::new(), BTreeMap::new()),
    }
}

/// Removes the groups that killed runs have left where `place` says that this process is. A run with limits does it anyway.
pub fn remove_left(place: &Place) {
    let parents: BTreeSet<&Path> = place.legacy.values().chain(&place.unified).map(PathBuf::as_path).collect();
    parents.into_iter().for_each(sweep);
}

/// Returns the controllers that a file of a group lists.
fn controllers(group: &Path, file: &str) -> BTreeSet<Controller> {
    let text = fs::read_to_string(group.join(file)).unwrap_or_default();
    let names: Vec<&str> = text.split_whitespace().collect();
    Controller::ALL.into_iter().filter(|controller| names.contains(&controller.name())).collect()
}

/// Switches controllers on (`+`) or off (`-`) for the groups below.
fn switch(group: &Path, sign: char, controllers: &BTreeSet<Controller>) -> Result<(), CgroupError> {
    if controllers.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = controllers.iter().map(|controller| format!("{sign}{controller}")).collect();
    write(&group.join(CONTROL), &words.join(" "))
}

fn is_ours(group: &Path) -> bool {
    rustix::fs::access(group.join("cgroup.procs"), rustix::fs::Access::WRITE_OK).is_ok()
        && rustix::fs::access(group, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Locks a group of a run; `None` where another has, or where it is not there any more.
fn lock(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    let (locked, there) = (file.metadata().ok()?, fs::metadata(path).ok()?);
    (locked.ino() == there.ino() && locked.dev() == there.dev()).then_some(file)
}

/// Removes what runs that are gone have left.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(NAME) && lock(&path).is_some() {
            remove(&path);
        }
    }
}
