//! A step: looked up by its keys, or run in a sandbox and kept.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use super::SolveError;
use super::error::Failure;
use super::key::{self, Ingredients};
use super::mounts::Output;
use super::record::Record;
use super::run::{Work, snapshot_error};
use super::scrub::Scrub;
use super::step::{cwd, is_recipe};
use super::value::Value;
use crate::llb::{Vertex, pb};
use crate::oci::Digest;
use crate::progress::{Event, Tail};
use crate::sandbox::{Exit, Outcome};
use crate::snapshot::Times;
use crate::store::Lock;

/// Room of the store with what steps printed, by the key under which they ran.
const LOGS: &str = "logs";

/// How often to look whether another run is done with a step.
const PATIENCE: Duration = Duration::from_millis(100);

/// The values of a vertex, and whether they came from the cache.
pub(super) type Answer = (Vec<Value>, bool);

impl Work<'_> {
    /// Returns the values of a step.
    pub(super) fn exec(&self, vertex: &Vertex, exec: &pb::ExecOp) -> Result<Answer, SolveError> {
        let base = key::exec(vertex, exec);
        let whole = self.whole_parts(vertex, exec, base.clone());
        self.cached(vertex, &whole, || self.selected_parts(vertex, exec, base), |key| self.step(vertex, exec, key))
    }

    /// Answers a vertex from the cache under one of its two keys, or makes its values and keeps them under both.
    ///
    /// `selected` looks into the trees of inputs, so it is asked only when the whole key finds nothing.
    pub(super) fn cached(
        &self,
        vertex: &Vertex,
        parts: &Ingredients,
        selected: impl FnOnce() -> Result<Option<Ingredients>, SolveError>,
        make: impl FnOnce(&Digest) -> Result<Vec<Value>, SolveError>,
    ) -> Result<Answer, SolveError> {
        let whole = parts.key();
        let ignore = self.solver.ignore_cache || vertex.metadata.ignore_cache;
        let found = if ignore { None } else { self.recorded(vertex, &whole)? };
        tracing::debug!(name = vertex.name(), vertex = %vertex.digest, key = %whole, found = found.is_some(), ignore, "looked up");
        if let Some(record) = found {
            return Ok((self.answer(vertex, vec![whole], record), true));
        }
        let reason = if ignore { "the cache is ignored".to_owned() } else { self.reason(vertex, parts) };
        self.prefetch();
        // One run at a time works on a key; whoever waited finds the other's record.
        let lock = self.alone(vertex, &format!("step-{}", whole.hex()))?;
        let key = selected()?.map_or(whole, |parts| parts.key());
        if !ignore {
            for other in [whole, key] {
                if let Some(mut record) = self.recorded(vertex, &other)? {
                    // The next look-up finds it by the cheap key.
                    record.selected = Some(key).filter(|key| *key != whole);
                    if !record.carried {
                        self.keep(&whole, &record)?;
                    }
                    self.remember(vertex, parts);
                    return Ok((self.answer(vertex, vec![whole], record), true));
                }
            }
        }
        // Trees of inputs are work of their own vertices.
        for edge in &vertex.inputs {
            self.tree(*edge)?;
        }
        // Before it is said to have started: a step may wait for those whose compilers hold all the jobs.
        let token = match vertex.op {
            pb::op::Op::Exec(_) => {
                let token = self.solver.jobs.take(|| self.solver.cancel.is_cancelled())?;
                Some(token.ok_or(SolveError::Cancelled)?)
            }
            _ => None,
        };
        let start = Instant::now();
        let values = self.told(vertex, Some(&reason), || make(&key))?;
        let mut record = Record::of(&values, vertex.name(), start.elapsed());
        record.selected = Some(key).filter(|key| *key != whole);
        self.keep(&key, &record)?;
        if key != whole {
            self.keep(&whole, &record)?;
        }
        self.remember(vertex, parts);
        drop((token, lock));
        self.answer(vertex, vec![whole], record);
        Ok((values, false))
    }

    /// Tells where the output of a step is that was answered by one of `keys`, where it was run here.
    pub(super) fn tell_output(&self, vertex: &Vertex, keys: &[Digest]) {
        let room = self.solver.store.root().join(LOGS);
        if let Some(log) = keys.iter().map(|key| room.join(log_name(key))).find(|log| log.is_file()) {
            self.progress.event(&Event::Output { vertex: vertex.digest, log: &log });
        }
    }

    /// Takes a lock that another run may hold; waiting is said aloud and ends with this run.
    pub(super) fn alone(&self, vertex: &Vertex, name: &str) -> Result<Lock, SolveError> {
        let mut waited = 0;
        loop {
            if let Some(lock) = self.solver.store.try_lock(name)? {
                return Ok(lock);
            }
            self.pause(vertex, "it is being made already; waiting for its result", &mut waited)?;
        }
    }

    /// Waits a moment for another run, saying aloud why if this is the first time; ends with this run.
    pub(super) fn pause(&self, vertex: &Vertex, why: &str, waited: &mut u32) -> Result<(), SolveError> {
        if self.solver.cancel.is_cancelled() {
            return Err(SolveError::Cancelled);
        }
        if *waited == 0 {
            self.progress.event(&Event::Note { message: &format!("{}: {why}", vertex.name()) });
        }
        *waited += 1;
        std::thread::sleep(PATIENCE);
        Ok(())
    }

    /// Runs a step and commits what it wrote.
    pub(super) fn step(&self, vertex: &Vertex, exec: &pb::ExecOp, key: &Digest) -> Result<Vec<Value>, SolveError> {
        self.count(1, 0);
        let name = vertex.name();
        let mut mounts = self.mounts(vertex, exec, &cwd(exec))?;
        let step = self.describe(vertex, exec, &mut mounts)?;
        let path = self.solver.store.room(LOGS)?.join(log_name(key));
        let mut log = Log::create(&path)?;
        self.progress.event(&Event::Output { vertex: vertex.digest, log: &path });
        let mut forward = |data: &[u8]| {
            log.take(data);
            self.progress.event(&Event::Log { vertex: vertex.digest, name, data });
        };
        let mut scrub = self.scrub(exec);
        let mut scrubbed = |data: &[u8]| scrub.take(data, &mut forward);
        let exit = self.solver.launcher.run(&step, self.solver.cancel, &mut scrubbed);
        scrub.finish(&mut forward);
        let exit = exit.map_err(|source| SolveError::Sandbox { name: name.to_owned(), source: Box::new(source) })?;
        if exit.outcome == Outcome::Cancelled {
            return Err(SolveError::Cancelled);
        }
        if !is_success(exec, &exit) {
            let failure =
                Failure { vertex: vertex.digest, name: name.to_owned(), exit, tail: log.last.into_lines(), log: path };
            return Err(SolveError::Step(Box::new(failure)));
        }
        // Recipes pack their outputs with times of their own; what else may run here keeps those it chose.
        let times = if is_recipe(vertex) { Times::Ignored } else { Times::Chosen };
        let commit = |output| match output {
            Output::Written(active) => {
                active.commit(times).map(Value::ready).map_err(|source| snapshot_error(name, source))
            }
            Output::Input(value) => Ok(value),
        };
        std::mem::take(&mut mounts.outputs).into_values().map(commit).collect()
    }
}

impl Work<'_> {
    /// Takes the secrets that `exec` is given out of what it prints.
    fn scrub(&self, exec: &pb::ExecOp) -> Scrub {
        let mounted = exec.mounts.iter().filter_map(|mount| mount.secret_opt.as_ref()).map(|secret| &secret.id);
        let named = exec.secretenv.iter().map(|secret| &secret.id);
        Scrub::new(mounted.chain(named).filter_map(|id| self.solver.inputs.secrets.get(id)))
    }
}

fn log_name(key: &Digest) -> String {
    format!("{}.log", key.hex())
}

/// Tells whether the program ended as it may (`ops.proto Meta.validExitCodes`).
fn is_success(exec: &pb::ExecOp, exit: &Exit) -> bool {
    let codes = exec.meta.as_ref().map(|meta| meta.valid_exit_codes.as_slice()).unwrap_or_default();
    match exit.outcome {
        Outcome::Code(code) if !codes.is_empty() => codes.contains(&code),
        outcome => outcome == Outcome::Code(0),
    }
}

/// The output of a step: all of it in a file, the last lines in memory.
struct Log {
    file: File,
    last: Tail,
}

impl Log {
    fn create(path: &Path) -> Result<Self, SolveError> {
        let file = File::create(path).map_err(|source| SolveError::Io {
            action: "create log",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { file, last: Tail::default() })
    }

    fn take(&mut self, data: &[u8]) {
        // A full disk must not hide the step's own error, which says the same.
        let _ = self.file.write_all(data);
        self.last.take(data);
    }
}
