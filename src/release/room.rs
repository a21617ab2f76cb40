//! How much room a run will need, told before its first step.
//!
//! An estimate of what is missing, rather high than low: what stays (root filesystems, sources, outputs, tarballs), and on top
//! the largest steps that may run at the same time. What is in the store already needs nothing. While steps run, the
//! solver watches what is really there.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;

use super::variant::{Cell, Maker, VariantError};
use crate::build::{BuildError, Corridor, inputs};
use crate::llb::{Vertex, pb};
use crate::oci::Digest;
use crate::recipe::{Disk, Lowered, Request};
use crate::solver::{self, Reserve, SolveError};

/// A source of unknown size: the largest that there is, CPython's, has 26 millions of bytes.
const SOURCE: u64 = 32 << 20;

/// An image of a registry as a root filesystem, fetched and unpacked: Debian's has 120 millions of bytes.
const IMAGE: u64 = 512 << 20;

/// What becomes of a byte of a package: itself, its part of an uncompressed layer, of a tree (measured for ours: 7.8 in all).
const PACKAGE: u64 = 8;

/// A tarball with its documents and logs, in the store or in the directory of a release.
const TARBALL: u64 = 48 << 20;

/// The same with tests, static pieces and debug information.
const FULL: u64 = 112 << 20;

/// What is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Estimate {
    /// Bytes that stay.
    stays: u64,
    /// Bytes that steps need while they run.
    running: Vec<u64>,
}

impl Estimate {
    /// Returns the most bytes that are there at one time, with this many steps at a time.
    fn most(&self, jobs: NonZeroUsize) -> u64 {
        let mut running = self.running.clone();
        running.sort_unstable_by(|one, other| other.cmp(one));
        running.iter().take(jobs.get()).fold(self.stays, |sum, bytes| sum.saturating_add(*bytes))
    }

    fn step(&mut self, disk: Disk) {
        self.stays = self.stays.saturating_add(disk.output);
        self.running.push(disk.build.saturating_sub(disk.output));
    }
}

impl Maker<'_> {
    /// Refuses to begin what the disks cannot hold: that of the store, and that of `place`, where the directory will be.
    ///
    /// # Errors
    /// `Build` with `SolveError::Room`, and those of lowering and looking.
    pub fn check_room(&self, cells: &[Cell], place: &Path) -> Result<(), VariantError> {
        let reserve = self.engine.bounds.reserve;
        let refused = |error: SolveError| VariantError::from(BuildError::from(error));
        let tarballs: u64 = TARBALL + if self.full { FULL } else { 0 };
        let dist = tarballs.saturating_mul(cells.len() as u64);
        // The directory is to be made: what it will be in is there.
        let place = std::path::absolute(place).unwrap_or_else(|_| place.to_owned());
        let above = place.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        // What stays free is what builds leave: a copy of what is done may take it.
        solver::check_room(above, dist, Reserve::Bytes(0)).map_err(refused)?;
        let root = self.engine.store.root();
        let beside = if is_same_disk(above, root) { dist } else { 0 };
        let check = |estimate: &Estimate| match estimate.most(self.engine.jobs.total()) {
            0 => Ok(()),
            most => solver::check_room(root, most.saturating_add(beside), reserve),
        };
        // All of it is quickly counted, and mostly there is room for that: then nobody has to look what is missing.
        let lowered = self.lowered(cells)?;
        if check(&self.estimate(&lowered, false)?).is_ok() {
            return Ok(());
        }
        check(&self.estimate(&lowered, true)?).map_err(refused)
    }

    fn lowered(&self, cells: &[Cell]) -> Result<Vec<Lowered>, VariantError> {
        let mut all = Vec::new();
        for cell in cells {
            let corridor =
                Corridor { project: self.project, engine: self.engine, profile: cell.profile, epoch: self.epoch };
            for name in self.trees() {
                let request = Request { name: (*name).to_owned(), version: Some(cell.variant.version.clone()) };
                all.push(corridor.lower(&[request], cell.variant.arch)?);
            }
        }
        Ok(all)
    }

    /// Estimates all of it, or what is missing of it.
    fn estimate(&self, all: &[Lowered], looking: bool) -> Result<Estimate, VariantError> {
        let (mut estimate, mut seen) = (Estimate::default(), BTreeSet::new());
        for (number, lowered) in all.iter().enumerate() {
            let graph = &lowered.graph;
            let (steps, sources): (Vec<Digest>, BTreeSet<Digest>) = if looking {
                let missing = self.engine.missing(graph, &inputs(self.project, lowered)).map_err(BuildError::from)?;
                (missing.steps, missing.sources)
            } else {
                let is_source = |vertex: &&Vertex| matches!(vertex.op, pb::op::Op::Source(_));
                let sources = graph.vertices().filter(is_source).map(|vertex| vertex.digest).collect();
                (lowered.disk.keys().copied().collect(), sources)
            };
            if steps.contains(&graph.output().vertex) {
                let is_full = self.full && number % 2 == 1;
                estimate.stays = estimate.stays.saturating_add(if is_full { FULL } else { TARBALL });
            }
            for step in steps.into_iter().filter(|step| seen.insert(*step)) {
                estimate.step(lowered.disk.get(&step).copied().unwrap_or_default());
            }
            for source in sources.into_iter().filter(|source| seen.insert(*source)) {
                estimate.stays = estimate.stays.saturating_add(self.source(lowered, graph.vertex(&source)));
            }
        }
        Ok(estimate)
    }

    /// Bytes that a source needs in the store: a file and its tree share them.
    fn source(&self, lowered: &Lowered, vertex: &Vertex) -> u64 {
        let pb::op::Op::Source(source) = &vertex.op else { return 0 };
        if source.identifier.starts_with("local://") {
            return 0;
        }
        let digest = source.identifier.rsplit_once("@sha256:").and_then(|(_, hex)| Digest::from_hex(hex).ok());
        let Some(digest) = digest else { return IMAGE };
        if let Some(choice) = lowered.sources.get(&digest) {
            return if self.engine.store.contains(&digest).is_some() {
                0
            } else {
                choice.source.size.unwrap_or(SOURCE)
            };
        }
        let rootfs = lowered.images.get(&digest).and_then(|name| self.project.rootfs.get(name));
        rootfs.map_or(IMAGE, |rootfs| rootfs.lock.packages.iter().map(|package| package.size * PACKAGE).sum())
    }
}

fn is_same_disk(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let disk = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    disk(one) == disk(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_steps_that_run_at_a_time_need_room_beside_all_that_stays() {
        let mut estimate = Estimate { stays: 1000, running: Vec::new() };
        for (build, output) in [(50, 10), (500, 100), (20, 20), (300, 10), (5, 10)] {
            estimate.step(Disk { build, output });
        }
        let most = |jobs| estimate.most(NonZeroUsize::new(jobs).expect("a number"));
        assert_eq!(estimate.stays, 1150);
        assert_eq!((most(1), most(2), most(100)), (1150 + 400, 1150 + 400 + 290, 1150 + 400 + 290 + 40));
    }
}
