//! Which daemon gets a graph, and which one gets it when that one fails.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::attempt::platform;
use crate::buildkit::{BuildKitError, Cache, CacheKind, Daemon, Dialer, Facts};
use crate::engine::{Embedded, Engine, EngineError};
use crate::llb::{Graph, pb};
use crate::progress::{Event, Progress};
use crate::registry::Platform;
use crate::sandbox::Cancel;
use crate::solver::{Inputs, SolveError, Solved};

/// Threads that carry bytes; solves wait on threads of their own.
const THREADS: usize = 2;

/// Daemons that share the graphs of a run.
#[derive(Debug)]
pub struct Daemons {
    pub(super) runtime: Runtime,
    /// Caches beside the daemons' own.
    pub(super) caches: Vec<Cache>,
    dialers: Vec<Dialer>,
    states: Mutex<Vec<State>>,
}

/// What is known of one daemon.
#[derive(Debug, Default, Clone)]
struct State {
    /// Graphs of ours that it has.
    load: usize,
    facts: Option<Facts>,
    /// It failed, and so it is asked last.
    failures: usize,
}

/// Has daemons solve graphs.
#[derive(Debug)]
pub struct BuildKit<'a> {
    /// Who makes what daemons ask for, and keeps what they send.
    pub local: &'a Embedded,
    /// The daemons.
    pub daemons: &'a Daemons,
    /// Stops the graphs that are solved by this.
    pub cancel: Cancel,
}

impl Daemons {
    /// Makes them of their addresses, of which there is at least one; nobody is asked yet.
    ///
    /// # Errors
    /// `Io`
    pub fn new(dialers: Vec<Dialer>, caches: Vec<Cache>) -> Result<Self, BuildKitError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("buildkit")
            .enable_all()
            .build()
            .map_err(|source| BuildKitError::Io { action: "start the network threads", source })?;
        let states = Mutex::new(vec![State::default(); dialers.len()]);
        Ok(Self { runtime, caches, dialers, states })
    }

    /// Returns the engine over `local`.
    pub fn engine<'a>(&'a self, local: &'a Embedded, cancel: Cancel) -> BuildKit<'a> {
        BuildKit { local, daemons: self, cancel }
    }

    /// Returns how many graphs may well be solved at the same time.
    pub fn count(&self) -> usize {
        self.dialers.len()
    }

    fn states(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the directories of local caches.
    pub(super) fn cache_directories(&self) -> BTreeSet<PathBuf> {
        let local = self.caches.iter().filter(|cache| cache.r#type == "local");
        let place = |cache: &Cache| {
            let key = match cache.kind {
                CacheKind::From => "src",
                CacheKind::To => "dest",
            };
            cache.attrs.get(key).map(PathBuf::from)
        };
        local.filter_map(place).collect()
    }

    /// Takes the best daemon that is not among `tried`: one that is known to build for the platform before one that is
    /// not asked yet, one that has not failed before one that has, one with little to do before one with much.
    fn choose(&self, tried: &BTreeSet<usize>, wanted: &Platform) -> Option<Turn<'_>> {
        let mut states = self.states();
        let fits = |state: &State| state.facts.as_ref().map_or(1, |facts| if builds(facts, wanted) { 0 } else { 2 });
        let rank = |index: &usize| {
            let state = &states[*index];
            (state.failures > 0, fits(state) == 2, state.load, fits(state), state.failures, *index)
        };
        let index = (0..states.len()).filter(|index| !tried.contains(index)).min_by_key(rank)?;
        states[index].load += 1;
        Some(Turn { daemons: self, index })
    }
}

/// A daemon that a graph is at.
struct Turn<'a> {
    daemons: &'a Daemons,
    index: usize,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.daemons.states()[self.index].load -= 1;
    }
}

/// Tells whether a daemon builds for a platform.
fn builds(facts: &Facts, wanted: &Platform) -> bool {
    let is = |platform: &pb::Platform| {
        let offered = Platform::new(&platform.os, &platform.architecture, &platform.variant);
        offered == *wanted || platform.os == "linux" && offered.architecture == wanted.architecture
    };
    facts.platforms.is_empty() || facts.platforms.iter().any(is)
}

impl Engine for BuildKit<'_> {
    fn solve(&self, graph: &Graph, inputs: &Inputs, progress: &dyn Progress) -> Result<Solved, EngineError> {
        let wanted = platform(graph);
        let (mut tried, mut first) = (BTreeSet::new(), None);
        while let Some(turn) = self.daemons.choose(&tried, &wanted) {
            tried.insert(turn.index);
            let error = match self.at(&turn, graph, inputs, (&wanted, progress)) {
                Err(EngineError::BuildKit(error)) if error.is_of_daemon() => error,
                result => return result,
            };
            let is_platform = matches!(error, BuildKitError::Platform { .. } | BuildKitError::Capability { .. });
            if !is_platform {
                self.daemons.states()[turn.index].failures += 1;
            }
            if tried.len() < self.daemons.dialers.len() {
                let message = format!("{}: another daemon is asked", causes(&error));
                progress.event(&Event::Note { message: &message });
            }
            // A daemon of the wrong kind says less than one that broke.
            if first.as_ref().is_none_or(|_| !is_platform) {
                first = Some(error);
            }
        }
        Err(first.expect("there is a daemon").into())
    }
}

impl BuildKit<'_> {
    /// Has the daemon of a turn solve a graph.
    fn at(
        &self,
        turn: &Turn<'_>,
        graph: &Graph,
        inputs: &Inputs,
        (wanted, progress): (&Platform, &dyn Progress),
    ) -> Result<Solved, EngineError> {
        let known = self.daemons.states()[turn.index].facts.clone();
        let (daemon, facts) = self.until_stopped(self.meet(turn.index, known.clone(), inputs))??;
        let daemon = Arc::new(daemon);
        if known.is_none() {
            let message = format!("BuildKit {} at {}", facts.version, daemon.address());
            progress.event(&Event::Note { message: &message });
            self.daemons.states()[turn.index].facts = Some(facts.clone());
        }
        if !builds(&facts, wanted) {
            let name = |platform: &pb::Platform| format!("{}/{}", platform.os, platform.architecture);
            let mut offered: Vec<String> = facts.platforms.iter().map(name).collect();
            offered.dedup();
            return Err(BuildKitError::Platform {
                address: daemon.address().to_owned(),
                wanted: wanted.to_string(),
                offered: offered.join(", "),
            }
            .into());
        }
        match self.attempt((Arc::clone(&daemon), &facts), graph, inputs, progress) {
            Err(EngineError::BuildKit(error)) if facts.layers && error.is_exporter() => {
                // What it has built is in its cache.
                let message = format!("{} sends no layers: the result comes as one archive", daemon.address());
                progress.event(&Event::Note { message: &message });
                let facts = Facts { layers: false, ..facts };
                self.daemons.states()[turn.index].facts = Some(facts.clone());
                self.attempt((daemon, &facts), graph, inputs, progress)
            }
            result => result,
        }
    }

    /// Connects with a daemon and finds out what it is, where that is not known yet.
    async fn meet(
        &self,
        index: usize,
        known: Option<Facts>,
        inputs: &Inputs,
    ) -> Result<(Daemon, Facts), BuildKitError> {
        let daemon = Daemon::open(&self.daemons.dialers[index]).await?;
        if let Some(facts) = known {
            return Ok((daemon, facts));
        }
        let facts = daemon.facts().await?;
        let (demands, _) = mpsc::unbounded_channel();
        let capabilities = daemon.capabilities(self.offer(inputs, demands)).await?;
        Ok((daemon, Facts { capabilities, ..facts }))
    }

    /// Waits for `work`, or until the run is to end.
    fn until_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, EngineError> {
        self.daemons.runtime.block_on(async {
            let stopped = async {
                while !self.cancel.is_cancelled() {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            };
            tokio::select! {
                done = work => Ok(done),
                () = stopped => Err(SolveError::Cancelled.into()),
            }
        })
    }
}

fn causes(error: &BuildKitError) -> String {
    use std::error::Error as _;
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
