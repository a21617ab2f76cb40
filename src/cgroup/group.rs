//! The group of one step.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::error::CgroupError;
use super::limits::{Limits, size};
use super::place::{Controller, Version};

/// How often an emptied group is tried to be removed; the kernel counts the dying a moment longer.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// A directory of a step's group and what it limits.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) version: Version,
    pub(super) controllers: Vec<Controller>,
}

/// The group of one step. Dropped, everything in it is killed and it is removed.
#[derive(Debug)]
pub struct Group {
    pub(super) parts: Vec<Part>,
    pub(super) limits: Limits,
}

/// The limits that a step ran into, with their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Met {
    /// The kernel killed processes to keep this many bytes.
    pub memory: Option<u64>,
    /// The kernel refused processes beyond this number.
    pub pids: Option<u64>,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(memory) = self.memory {
            write!(f, "; out of memory: the kernel killed what went over the step's limit of {}", size(memory))?;
        }
        if let Some(pids) = self.pids {
            write!(f, "; the kernel refused new processes: the step's limit is {pids}")?;
        }
        Ok(())
    }
}

pub(super) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    // Files of a group exist or do not; none is ever made.
    let opened = fs::File::options().write(true).open(path);
    let written = opened.and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| CgroupError::io("write to", path, error))
}

impl Group {
    /// Sets the limits.
    pub(super) fn limit(&self) -> Result<(), CgroupError> {
        for part in &self.parts {
            for setting in
                part.controllers.iter().flat_map(|controller| self.limits.settings(*controller, part.version))
            {
                match write(&part.path.join(setting.file), &setting.value) {
                    Err(_) if setting.optional => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Moves a process into the group; its children will be in it, too.
    ///
    /// # Errors
    /// `Io`, e.g. for a process that has ended.
    pub fn add(&self, pid: u32) -> Result<(), CgroupError> {
        self.parts.iter().try_for_each(|part| write(&part.path.join("cgroup.procs"), &pid.to_string()))
    }

    /// Returns its directories.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.parts.iter().map(|part| part.path.clone()).collect()
    }

    /// Tells which limits have been met so far.
    pub fn met(&self) -> Met {
        let mut met = Met::default();
        for part in &self.parts {
            let count = |file: &str, key: &str| count(&part.path.join(file), key);
            let (file, key) = match part.version {
                Version::V1 => ("memory.oom_control", "oom_kill"),
                Version::V2 => ("memory.events", "oom_kill"),
            };
            if part.controllers.contains(&Controller::Memory) && count(file, key) > 0 {
                met.memory = self.limits.memory;
            }
            if part.controllers.contains(&Controller::Pids) && count("pids.events", "max") > 0 {
                met.pids = self.limits.pids;
            }
        }
        met
    }
}

/// Reads a flat keyed file; 0 where there is no such key.
fn count(path: &Path, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok());
    values.next().unwrap_or(0)
}

impl Drop for Group {
    fn drop(&mut self) {
        for part in &self.parts {
            remove(&part.path);
        }
    }
}

/// Kills everything in a group and the groups below it, and removes them; tells whether they are gone.
pub(super) fn remove(path: &Path) -> bool {
    // Version 2 since Linux 5.14 does it at once; elsewhere the end of the step's PID namespace has.
    let _ = write(&path.join("cgroup.kill"), "1");
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    for _ in 0..TRIES {
        match fs::remove_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            Err(error) => return error.kind() == io::ErrorKind::NotFound,
            Ok(()) => return true,
        }
    }
    false
}
