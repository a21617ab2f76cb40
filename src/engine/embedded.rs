//! The engine that needs nobody else.

use std::fmt::Debug;

use super::EngineError;
use crate::cache::Caches;
use crate::llb::{Executor, Graph};
use crate::progress::Progress;
use crate::registry::Registry;
use crate::sandbox::{Cancel, Launcher};
use crate::snapshot::Snapshots;
use crate::solver::{Bounds, Inputs, Jobs, Missing, Solved, Solver};
use crate::source::{Origins, Stop};
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

impl Embedded {
    /// Returns this engine for one of several graphs that are solved at the same time: what `cancel` stops is that graph
    /// only, also where a step of it fails.
    pub fn part(&self, cancel: Cancel) -> Part<'_> {
        let asked = cancel.clone();
        let origins = Origins { stop: Stop::new(move || asked.is_cancelled()), ..self.origins.clone() };
        Part { engine: self, origins, cancel }
    }

    /// Returns what a graph would still have to do.
    ///
    /// # Errors
    /// As `solve`, about what is in the store.
    pub fn missing(&self, graph: &Graph, inputs: &Inputs) -> Result<Missing, EngineError> {
        Ok(self.solver(inputs, &self.origins, &self.cancel).missing(graph)?)
    }

    fn solver<'a>(&'a self, inputs: &'a Inputs, origins: &'a Origins, cancel: &'a Cancel) -> Solver<'a> {
        Solver {
            store: &self.store,
            snapshots: &self.snapshots,
            inputs,
            origins,
            caches: &self.caches,
            registry: &self.registry,
            jobs: &self.jobs,
            executor: &self.executor,
            launcher: &self.launcher,
            cancel,
            bounds: &self.bounds,
            ignore_cache: self.ignore_cache,
        }
    }
}

impl Engine for Embedded {
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError> {
        Ok(self.solver(inputs, &self.origins, &self.cancel).solve(graph, progress)?)
    }
}

/// An engine as one of several graphs has it: store, jobs and limits are shared, the end is its own.
#[derive(Debug)]
pub struct Part<'a> {
    /// The engine.
    pub engine: &'a Embedded,
    origins: Origins,
    /// Stops this graph.
    pub cancel: Cancel,
}

impl Engine for Part<'_> {
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError> {
        Ok(self.engine.solver(inputs, &self.origins, &self.cancel).solve(graph, progress)?)
    }
}
