//! The engine that needs nobody else.

use std::fmt::Debug;

use super::EngineError;
use crate::cache::Caches;
use crate::llb::{Executor, Graph};
use crate::progress::Progress;
use crate::registry::Registry;
use crate::sandbox::{Cancel, Launcher};
use crate::snapshot::Snapshots;
use crate::solver::{Bounds, Inputs, Jobs, Solved, Solver};
use crate::source::Origins;
use crate::store::Store;

/// Solves graphs.
pub trait Engine: Debug {
    /// Solves `graph` over `inputs` and returns the tree of its result, in the store.
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError>;
}

/// Solves graphs in this process, steps in namespaces.
#[derive(Debug)]
pub struct Embedded {
    /// Where everything is kept.
    pub store: Store,
    /// Trees in that store.
    pub snapshots: Snapshots,
    /// Where files may be fetched from.
    pub origins: Origins,
    /// Caches from elsewhere that may be asked.
    pub caches: Caches,
    /// Where images may be fetched from.
    pub registry: Registry,
    /// The budget of all steps of all graphs solved by this engine.
    pub jobs: Jobs,
    /// What graphs may ask for.
    pub executor: Executor,
    /// Runs steps.
    pub launcher: Launcher,
    /// Stops everything.
    pub cancel: Cancel,
    /// What every step may use at most.
    pub bounds: Bounds,
    /// Do not look results up.
    pub ignore_cache: bool,
}

impl Engine for Embedded {
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError> {
        let solver = Solver {
            store: &self.store,
            snapshots: &self.snapshots,
            inputs,
            origins: &self.origins,
            caches: &self.caches,
            registry: &self.registry,
            jobs: &self.jobs,
            executor: &self.executor,
            launcher: &self.launcher,
            cancel: &self.cancel,
            bounds: &self.bounds,
            ignore_cache: self.ignore_cache,
        };
        Ok(solver.solve(graph, progress)?)
    }
}

impl<E: Engine> Engine for &E {
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError> {
        (**self).solve(graph, inputs, progress)
    }
}
