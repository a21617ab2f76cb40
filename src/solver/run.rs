//! The loop: workers take ready vertices until the result is there or something fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::bounds::Bounds;
use super::carried::Answered;
use super::disk::Watch;
use super::inputs::Inputs;
use super::key;
use super::record::Record;
use super::schedule::Schedule;
use super::source::Found;
use super::value::Value;
use super::{Jobs, SolveError};
use crate::cache::{Caches, Output};
use crate::file::FileError;
use crate::llb::{Edge, Executor, Graph, Vertex, pb};
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::recipe;
use crate::registry::Registry;
use crate::sandbox::{Cancel, Launcher};
use crate::snapshot::{Snapshot, SnapshotError, Snapshots};
use crate::source::Origins;
use crate::store::Store;

/// The embedded engine's worker: solves one graph in one store.
#[derive(Debug)]
pub struct Solver<'a> {
    /// Where blobs, records and logs live.
    pub store: &'a Store,
    /// Where trees live.
    pub snapshots: &'a Snapshots,
    /// What sources stand for.
    pub inputs: &'a Inputs,
    /// Where files may be fetched from.
    pub origins: &'a Origins,
    /// Caches from elsewhere that may be asked.
    pub caches: &'a Caches,
    /// Where images may be fetched from.
    pub registry: &'a Registry,
    /// The job budget.
    pub jobs: &'a Jobs,
    /// What graphs may ask for.
    pub executor: &'a Executor,
    /// Runs steps.
    pub launcher: &'a Launcher,
    /// Stops everything.
    pub cancel: &'a Cancel,
    /// What every step may use at most.
    pub bounds: &'a Bounds,
    /// Do not look results up (they are still kept).
    pub ignore_cache: bool,
}

/// A solved graph.
#[derive(Debug)]
pub struct Solved {
    /// The tree of the result.
    pub snapshot: Snapshot,
    /// What it holds.
    pub content: Digest,
    /// Number of vertices that ran a program.
    pub ran: usize,
    /// Number of vertices answered from the cache.
    pub cached: usize,
    /// What was made or found, for export.
    pub kept: Vec<Kept>,
    /// Snapshots that the result consists of.
    pub ends: Vec<Digest>,
    /// What left each snapshot, in the words of a front end, for the history of an image.
    pub made_by: BTreeMap<Digest, String>,
    /// What the sources of the graph turned out to be, by the digests of their vertices.
    pub pins: BTreeMap<Digest, Pin>,
}

/// What a source turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// An image by its manifest, a file by its bytes.
    Sha256(Digest),
    /// A repository by its commit.
    Commit(String),
    /// A directory by the content of its files (`cache`).
    Content(Digest),
}

/// A result and all keys by which it is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The keys.
    pub keys: Vec<Digest>,
    /// What the operation left.
    pub outputs: Vec<Output>,
}

/// Workers beside the steps: fetches, unpacking, merging.
const OTHERS: usize = 8;

/// What workers share.
pub(super) struct Work<'a> {
    pub(super) solver: &'a Solver<'a>,
    pub(super) graph: &'a Graph,
    pub(super) progress: &'a dyn Progress,
    pub(super) watch: &'a Watch<'a>,
    /// In how many graphs this one lies.
    pub(super) depth: usize,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    schedule: Schedule,
    /// Outputs of the vertices that are done.
    values: BTreeMap<Digest, Vec<Arc<Value>>>,
    /// What sources whose trees are not there yet turned out to be.
    found: BTreeMap<Digest, Found>,
    pins: BTreeMap<Digest, Pin>,
    /// Vertices that caches elsewhere have answered.
    pub(super) answered: BTreeMap<Digest, Answered>,
    /// Contents of file operations, whose trees may come from elsewhere.
    pub(super) expected: BTreeSet<Digest>,
    kept: Vec<Kept>,
    steps: usize,
    ran: usize,
    cached: usize,
    /// Sources that a step will need soon, fetched by idle workers meanwhile.
    wanted: Vec<Digest>,
    prefetching: bool,
    error: Option<SolveError>,
}

impl Solver<'_> {
    /// Solves `graph` and returns its result as a tree on disk.
    pub fn solve(&self, graph: &Graph, progress: &dyn Progress) -> Result<Solved, SolveError> {
        let watch = Watch::new(self.store.root(), self.bounds.reserve, self.cancel);
        watch.during(|| {
            loop {
                match self.solve_at(graph, (progress, &watch), 0) {
                    // Each time one record less is asked.
                    Err(SolveError::Lost { name }) => tracing::debug!(name, "solved again without a record"),
                    result => return result,
                }
            }
        })
    }

    /// Solves a graph that lies in `depth` others.
    pub(super) fn solve_at(
        &self,
        graph: &Graph,
        (progress, watch): (&dyn Progress, &Watch<'_>),
        depth: usize,
    ) -> Result<Solved, SolveError> {
        self.executor.admit(graph)?;
        progress.event(&Event::Planned { vertices: graph.len() });
        let state = State { schedule: Schedule::new(graph, cost), ..State::default() };
        let work = Work { solver: self, graph, progress, watch, depth, state: Mutex::new(state), wake: Condvar::new() };
        let workers = (self.jobs.total().get() + OTHERS).min(graph.len());
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| work.worker());
            }
        });
        let state = work.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.error {
            return Err(error);
        }
        let work = Work {
            solver: self,
            graph,
            progress,
            watch,
            depth,
            state: Mutex::new(State { error: None, ..state }),
            wake: Condvar::new(),
        };
        let output = graph.output();
        let snapshot = work.tree(output)?;
        let content = work.value(output).content;
        work.tell_unneeded();
        work.settle()?;
        let (ends, made_by) = (work.ends(output), work.made_by());
        let mut state = work.lock();
        let (kept, pins) = (std::mem::take(&mut state.kept), std::mem::take(&mut state.pins));
        Ok(Solved { snapshot, content, ran: state.ran, cached: state.cached, kept, ends, made_by, pins })
    }
}

/// Steps weigh what their recipe allows them at most; everything else is light.
fn cost(vertex: &Vertex) -> u64 {
    match vertex.op {
        pb::op::Op::Exec(_) => timeout(vertex).unwrap_or(60),
        _ => 1,
    }
}

/// Returns the timeout of a step in seconds, if its metadata has one.
pub(super) fn timeout(vertex: &Vertex) -> Option<u64> {
    vertex.metadata.description.get(recipe::TIMEOUT)?.parse().ok()
}

/// Why a vertex runs whose record is there.
const GONE: &str = "a tree that it lies on is gone";

/// What a worker found to do.
enum Task {
    Vertex(Digest),
    Fetch(Digest),
}

impl<'a> Work<'a> {
    /// Work on a graph whose vertices are looked at one by one.
    pub(super) fn idle(
        solver: &'a Solver<'a>,
        graph: &'a Graph,
        progress: &'a dyn Progress,
        watch: &'a Watch<'a>,
    ) -> Self {
        Self { solver, graph, progress, watch, depth: 0, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Notes what a vertex is without working on it.
    pub(super) fn note(&self, vertex: &Vertex, values: Vec<Value>) {
        self.lock().values.insert(vertex.digest, values.into_iter().map(Arc::new).collect());
    }
}

impl Work<'_> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns an output of a vertex that is done.
    pub(super) fn value(&self, edge: Edge) -> Arc<Value> {
        let state = self.lock();
        let outputs = state.values.get(&edge.vertex).expect("inputs are done before their users");
        Arc::clone(outputs.get(edge.index).expect("edges name outputs that exist"))
    }

    /// Remembers what a source is, for whoever will want its tree.
    pub(super) fn note_found(&self, vertex: &Vertex, found: Found) {
        self.pin(vertex, found.pin());
        self.lock().found.insert(vertex.digest, found);
    }

    /// Remembers what a source is, for whoever will want to say what went into the result.
    pub(super) fn pin(&self, vertex: &Vertex, pin: Pin) {
        self.lock().pins.insert(vertex.digest, pin);
    }

    /// Returns what a source is.
    pub(super) fn found(&self, vertex: &Vertex) -> Found {
        self.lock().found.get(&vertex.digest).cloned().expect("noted with the value that is lazy")
    }

    /// Notes how a vertex was answered and returns its values.
    pub(super) fn answer(&self, vertex: &Vertex, mut keys: Vec<Digest>, record: Record) -> Vec<Value> {
        keys.extend(record.selected);
        if matches!(vertex.op, pb::op::Op::Exec(_)) {
            self.tell_output(vertex, &keys);
        }
        let values = record.values();
        let mut state = self.lock();
        state.kept.push(Kept { keys: keys.clone(), outputs: record.outputs.clone() });
        if record.carried {
            if matches!(vertex.op, pb::op::Op::File(_)) {
                let made = |(index, output): (usize, &Output)| {
                    // The name of a tree follows from the key under which it was made, which may be the other one.
                    let mut all = keys.iter().chain(self.solver.caches.keys_of(&record.outputs));
                    all.any(|key| key::output(key, index) == output.content).then_some(output.content)
                };
                let contents: Vec<Digest> = record.outputs.iter().enumerate().filter_map(made).collect();
                state.expected.extend(contents);
            }
            state.answered.insert(vertex.digest, Answered { keys, record });
        }
        values
    }

    /// Adds what a graph in this one came from.
    pub(super) fn keep_all(&self, kept: Vec<Kept>) {
        self.lock().kept.extend(kept);
    }

    /// Returns the snapshots of operations that a tree consists of.
    fn ends(&self, output: Edge) -> Vec<Digest> {
        let (mut ends, mut open) = (Vec::new(), vec![output]);
        let mut seen = BTreeSet::new();
        while let Some(edge) = open.pop() {
            let vertex = self.graph.vertex(&edge.vertex);
            match vertex.op {
                pb::op::Op::Merge(_) | pb::op::Op::Diff(_) | pb::op::Op::Passthrough(_) => {
                    open.extend(vertex.inputs.iter().filter(|edge| seen.insert(**edge)));
                }
                pb::op::Op::Source(_) => {}
                _ => ends.push(self.value(edge).id),
            }
        }
        ends
    }

    fn made_by(&self) -> BTreeMap<Digest, String> {
        let mut made_by = BTreeMap::new();
        for (digest, outputs) in &self.lock().values {
            let vertex = self.graph.vertex(digest);
            if matches!(vertex.op, pb::op::Op::Exec(_) | pb::op::Op::File(_)) {
                for output in outputs {
                    made_by.entry(output.id).or_insert_with(|| vertex.label());
                }
            }
        }
        made_by
    }

    /// Counts steps that really ran, and vertices answered from the cache.
    pub(super) fn count(&self, ran: usize, cached: usize) {
        let mut state = self.lock();
        state.ran += ran;
        state.cached += cached;
    }

    fn worker(&self) {
        while let Some(task) = self.task() {
            let result = match &task {
                Task::Vertex(digest) => self.vertex(digest),
                Task::Fetch(digest) => self.tree(Edge { vertex: *digest, index: 0 }).map(drop),
            };
            let mut state = self.lock();
            if let Task::Vertex(digest) = task {
                if state.schedule.is_step(&digest) {
                    state.steps -= 1;
                }
                if result.is_ok() {
                    state.schedule.done(&digest);
                }
            }
            if let Err(error) = result {
                // The first real failure counts; what it cancels is only its consequence.
                let is_lost = matches!(error, SolveError::Lost { .. });
                let weak = |old: &SolveError| matches!(old, SolveError::Cancelled | SolveError::Lost { .. });
                if state.error.as_ref().is_none_or(weak) {
                    state.error = Some(error);
                }
                // What runs is good for the next try too.
                if !is_lost {
                    self.solver.cancel.cancel();
                }
            }
            drop(state);
            self.wake.notify_all();
        }
    }

    /// Waits for something to do; `None` when all is done or something failed.
    fn task(&self) -> Option<Task> {
        let mut state = self.lock();
        loop {
            if state.error.is_some() || state.schedule.is_finished() {
                return None;
            }
            if self.solver.cancel.is_cancelled() {
                state.error = Some(SolveError::Cancelled);
                return None;
            }
            let more_steps = state.steps < self.solver.jobs.total().get();
            if let Some(digest) = state.schedule.next(more_steps) {
                if state.schedule.is_step(&digest) {
                    state.steps += 1;
                }
                return Some(Task::Vertex(digest));
            }
            if let Some(digest) = state.wanted.pop() {
                return Some(Task::Fetch(digest));
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells of the vertices whose trees nobody asked for, because a record answered everything that uses them.
    fn tell_unneeded(&self) {
        for vertex in self.graph.vertices() {
            let lazy = matches!(vertex.op, pb::op::Op::Source(_) | pb::op::Op::Merge(_) | pb::op::Op::Diff(_));
            if lazy && !self.value(Edge { vertex: vertex.digest, index: 0 }).is_made() {
                self.progress.event(&Event::Cached { vertex: vertex.digest, name: vertex.name() });
            }
        }
    }

    /// A step missed the cache: what is not done yet will probably run too, so its sources are fetched meanwhile.
    pub(super) fn prefetch(&self) {
        let mut state = self.lock();
        if state.prefetching {
            return;
        }
        state.prefetching = true;
        let sources = self.graph.vertices().filter(|vertex| matches!(vertex.op, pb::op::Op::Source(_)));
        // Popped from the end: graph order is the order of use.
        let mut wanted: Vec<Digest> =
            sources.map(|vertex| vertex.digest).filter(|d| state.values.contains_key(d)).collect();
        wanted.reverse();
        state.wanted = wanted;
        drop(state);
        self.wake.notify_all();
    }

    /// Finds out the contents of a vertex's outputs, running it if it does something that the cache does not have.
    pub(super) fn vertex(&self, digest: &Digest) -> Result<(), SolveError> {
        let vertex = self.graph.vertex(digest);
        let (values, cached) = match &vertex.op {
            pb::op::Op::Exec(exec) => self.exec(vertex, exec)?,
            pb::op::Op::File(file) => self.file(vertex, file)?,
            pb::op::Op::Build(build) => (self.build(vertex, build)?, false),
            // Whether these have anything to do shows when somebody asks for their trees.
            pb::op::Op::Source(source) => (vec![self.source(vertex, source)?], false),
            pb::op::Op::Merge(merge) => (vec![self.merge(vertex, merge)?], false),
            pb::op::Op::Diff(diff) => (vec![self.difference(vertex, diff)], false),
            pb::op::Op::Passthrough(passthrough) => (self.passthrough(vertex, passthrough)?, false),
        };
        let mut state = self.lock();
        state.cached += usize::from(cached);
        state.values.insert(*digest, values.into_iter().map(Arc::new).collect());
        drop(state);
        if cached {
            self.progress.event(&Event::Cached { vertex: *digest, name: vertex.name() });
        }
        Ok(())
    }

    /// Runs a vertex whose record is there but whose trees are not any more.
    pub(super) fn again(&self, vertex: &Vertex, index: usize) -> Result<Snapshot, SolveError> {
        let values = match &vertex.op {
            pb::op::Op::Exec(exec) => self.told(vertex, Some(GONE), || self.step(vertex, exec, &vertex.digest))?,
            pb::op::Op::File(file) => {
                self.told(vertex, Some(GONE), || self.file_trees(vertex, file, &vertex.digest))?
            }
            _ => Vec::new(),
        };
        let value = values.get(index).ok_or_else(|| unsupported(vertex, format!("output {index}")))?;
        value.tree(|| Err(unsupported(vertex, "a tree that cannot be made again")))
    }

    /// Tells the beginning and end of `act` on `vertex`.
    pub(super) fn told<T>(
        &self,
        vertex: &Vertex,
        reason: Option<&str>,
        act: impl FnOnce() -> Result<T, SolveError>,
    ) -> Result<T, SolveError> {
        let (digest, name) = (vertex.digest, vertex.name());
        let start = Instant::now();
        self.progress.event(&Event::Started { vertex: digest, name, reason });
        let made = is_watched(vertex).then(|| self.watch.making(name));
        let result = act();
        drop(made);
        let error = result.as_ref().err().filter(|error| !matches!(error, SolveError::Lost { .. }));
        let error = error.map(ToString::to_string);
        self.progress.event(&Event::Finished {
            vertex: digest,
            name,
            elapsed: start.elapsed(),
            error: error.as_deref(),
        });
        result
    }
}

/// Tells whether what is made may fill the disk: not the user's own directories, which are copied to look at them also
/// where everything is cached, nor graphs in this one, whose vertices are looked at themselves.
fn is_watched(vertex: &Vertex) -> bool {
    match &vertex.op {
        pb::op::Op::Source(source) => !source.identifier.starts_with("local://"),
        pb::op::Op::Build(_) => false,
        _ => true,
    }
}

pub(super) fn snapshot_error(name: &str, source: SnapshotError) -> SolveError {
    SolveError::Snapshot { name: name.to_owned(), source: Box::new(source) }
}

pub(super) fn file_error(vertex: &Vertex, error: FileError) -> SolveError {
    SolveError::File { name: vertex.name().to_owned(), source: Box::new(error) }
}

pub(super) fn unsupported(vertex: &Vertex, what: impl Into<String>) -> SolveError {
    SolveError::Unsupported { name: vertex.name().to_owned(), what: what.into() }
}
