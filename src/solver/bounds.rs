//! What steps may use at most: what the caller says, and what a graph says of single steps.

use std::sync::OnceLock;
use std::time::Duration;

use super::SolveError;
use super::disk::Reserve;
use crate::cgroup::{CgroupError, Cpus, Group, Groups, Limits, Place, remove_left};
use crate::llb::{Vertex, pb};
use crate::progress::{Event, Progress};

/// The bounds of every step of a run. None of them is part of a cache key: what a step leaves is the same.
#[derive(Debug, Default)]
pub struct Bounds {
    /// No step runs longer; one that has a timeout of its own has the shorter of both.
    pub timeout: Option<Duration>,
    /// What all of them together leave free of the disk.
    pub reserve: Reserve,
    limits: Limits,
    /// Made for the first step that has a limit.
    groups: OnceLock<Result<Groups, String>>,
}

impl Bounds {
    /// Bounds of every step.
    ///
    /// # Errors
    /// `Missing` with the way out where this machine does not let us set such limits.
    pub fn new(limits: Limits, timeout: Option<Duration>) -> Result<Self, CgroupError> {
        let bounds = Self { timeout, limits, ..Self::default() };
        if !limits.is_empty() {
            // Kept even if unused until a step runs: what cannot be set is found before hours are spent.
            let _ = bounds.groups.set(Ok(open(&limits)?));
        } else if let Ok(place) = Place::own() {
            // What a killed run has left is for whoever comes next to remove.
            remove_left(&place);
        }
        Ok(bounds)
    }

    /// Makes the group of a step that has limits.
    ///
    /// What the caller asks for is set or an error; what a graph asks for (`ops.proto OpMetadata.linux_resources`) is a
    /// wish, which BuildKit's rootless worker does not grant either, and is told where it cannot be had.
    pub(super) fn group(&self, vertex: &Vertex, progress: &dyn Progress) -> Result<Option<Group>, SolveError> {
        let wished = vertex.metadata.linux_resources.as_ref().map(wished).unwrap_or_default();
        let limits = self.limits.and(wished);
        if limits.is_empty() {
            return Ok(None);
        }
        let groups = self.groups.get_or_init(|| open(&Limits::default()).map_err(|error| error.to_string()));
        let made = match groups {
            Ok(groups) => groups.step(&limits).map_err(|error| (error.to_string(), Some(error))),
            Err(reason) => Err((reason.clone(), None)),
        };
        match made {
            Ok(group) => Ok(Some(group)),
            Err((_, Some(source))) if !self.limits.is_empty() && limits == self.limits => {
                Err(SolveError::Limits { name: vertex.name().to_owned(), source })
            }
            Err((reason, _)) => {
                let message = format!("{}: limits that the graph names are not applied: {reason}", vertex.name());
                progress.event(&Event::Note { message: &message });
                let groups = groups.as_ref().ok().filter(|_| !self.limits.is_empty());
                groups
                    .map(|groups| groups.step(&self.limits))
                    .transpose()
                    .map_err(|source| SolveError::Limits { name: vertex.name().to_owned(), source })
            }
        }
    }
}

fn open(limits: &Limits) -> Result<Groups, CgroupError> {
    let own = "/proc/self/cgroup";
    let place = Place::own().map_err(|source| CgroupError::Io { action: "read", path: own.into(), source })?;
    Groups::open(&place, limits.controllers())
}

/// What a graph wishes for one step; zero is nothing, as in the runtime specification. Sets of processors and memory
/// nodes are not kept: they name a machine that the graph does not know.
fn wished(resources: &pb::LinuxResources) -> Limits {
    let some = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let memory = some(resources.memory);
    // Without a word about swap the runtime leaves it alone, and so do we.
    let swap = match resources.memory_swap {
        ..=0 => u64::MAX,
        both => both.cast_unsigned().saturating_sub(memory.unwrap_or(0)),
    };
    let period = if resources.cpu_period == 0 { 100_000 } else { resources.cpu_period };
    Limits {
        memory,
        swap: memory.and(Some(swap)),
        pids: None,
        cpus: some(resources.cpu_quota).and_then(|quota| Cpus::of(quota, period)),
        shares: Some(resources.cpu_shares).filter(|shares| *shares > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_wishes_in_the_words_of_the_runtime() {
        assert!(wished(&pb::LinuxResources::default()).is_empty());
        let resources = pb::LinuxResources {
            memory: 100,
            memory_swap: 150,
            cpu_quota: 50_000,
            cpu_shares: 512,
            ..pb::LinuxResources::default()
        };
        let limits = wished(&resources);
        assert_eq!((limits.memory, limits.swap, limits.shares), (Some(100), Some(50), Some(512)));
        assert_eq!(limits.cpus, Cpus::parse("0.5"));
        let negative = pb::LinuxResources { memory: -1, cpu_quota: -1, memory_swap: -1, ..resources };
        assert_eq!(wished(&negative), Limits { shares: Some(512), ..Limits::default() });
    }
}
