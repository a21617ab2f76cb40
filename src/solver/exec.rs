//! A step: looked up by its key, or run in a sandbox and kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::SolveError;
use super::error::Failure;
use super::key;
use super::run::{Work, timeout, unsupported};
use super::value::Value;
use crate::llb::{Vertex, pb};
use crate::oci::{Arch, Digest};
use crate::progress::Event;
use crate::recipe;
use crate::sandbox::{self, Mount, Outcome, Step, StepMount};
use crate::snapshot::{Active, SnapshotError};
use crate::store::Lock;

/// Room of the store that holds the records of steps.
const RECORDS: &str = "cache";

/// Lines of a failed step's output that go into the error.
const TAIL: usize = 20;

/// How often to look whether another run is done with a step.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a step takes as descriptors 3 and 4: the ends of the jobserver.
const JOBSERVER: (i32, i32) = (3, 4);

/// `cache/<key>`: the result of a step. Unknown fields are ignored, so that fields may be added.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Snapshot of output 0.
    snapshot: String,
    /// Its content digest.
    content: Digest,
    /// Name of the vertex when it ran, for people.
    name: String,
    /// Wall time of the run in milliseconds.
    milliseconds: u64,
}

impl Work<'_> {
    /// Returns the value of a step and whether it came from the cache.
    pub(super) fn exec(&self, vertex: &Vertex, exec: &pb::ExecOp) -> Result<(Value, bool), SolveError> {
        let contents: Vec<Digest> = vertex.inputs.iter().map(|edge| self.value(&edge.vertex).content).collect();
        let key = key::exec(vertex, exec, &contents);
        let ignore = self.solver.ignore_cache || vertex.metadata.ignore_cache;
        let found = if ignore { None } else { self.recorded(&key)? };
        tracing::debug!(name = vertex.name(), vertex = %vertex.digest, %key, found = found.is_some(), ignore, "step");
        if let Some(value) = found {
            return Ok((value, true));
        }
        self.prefetch();
        // One run at a time works on a key; whoever waited finds the other's record.
        let lock = self.alone(vertex, &format!("step-{}", key.hex()))?;
        if !ignore && let Some(value) = self.recorded(&key)? {
            return Ok((value, true));
        }
        let token = self.solver.jobs.take(|| self.solver.cancel.is_cancelled())?.ok_or(SolveError::Cancelled)?;
        let value = self.told(vertex, None, || self.run(vertex, exec, &key))?;
        drop(token);
        drop(lock);
        self.count_run();
        Ok((value, false))
    }

    /// Takes a lock that another run may hold; waiting is said aloud and ends with this run.
    fn alone(&self, vertex: &Vertex, name: &str) -> Result<Lock, SolveError> {
        let mut told = false;
        loop {
            if let Some(lock) = self.solver.store.try_lock(name)? {
                return Ok(lock);
            }
            if self.solver.cancel.is_cancelled() {
                return Err(SolveError::Cancelled);
            }
            if !told {
                told = true;
                let message = format!("{}: another run works on it; waiting for its result", vertex.name());
                self.progress.event(&Event::Note { message: &message });
            }
            std::thread::sleep(PATIENCE);
        }
    }

    fn recorded(&self, key: &Digest) -> Result<Option<Value>, SolveError> {
        let Some(bytes) = self.solver.store.get_record(RECORDS, &key.hex())? else { return Ok(None) };
        // A record that does not parse is of another format: as good as none.
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { return Ok(None) };
        let snapshot = self.solver.snapshots.get(&record.snapshot).ok().flatten();
        Ok(snapshot.map(|snapshot| Value::ready(record.content, snapshot)))
    }

    fn run(&self, vertex: &Vertex, exec: &pb::ExecOp, key: &Digest) -> Result<Value, SolveError> {
        let start = Instant::now();
        let name = vertex.name();
        let prepared = self.prepare(vertex, exec)?;
        let logs = self.solver.store.room("logs")?;
        let path = logs.join(format!("{}.log", key.hex()));
        let mut log = Log::create(&path)?;
        let mut forward = |data: &[u8]| {
            log.take(data);
            self.progress.event(&Event::Log { vertex: vertex.digest, name, data });
        };
        let exit = sandbox::run(&prepared.step, self.solver.cancel, &mut forward)
            .map_err(|source| SolveError::Sandbox { name: name.to_owned(), source: Box::new(source) })?;
        if exit.outcome == Outcome::Cancelled {
            return Err(SolveError::Cancelled);
        }
        if !exit.success() {
            let failure = Failure { vertex: vertex.digest, name: name.to_owned(), exit, tail: log.tail(), log: path };
            return Err(SolveError::Step(Box::new(failure)));
        }
        let snapshot = prepared.output.commit().map_err(|source| snapshot_error(name, source))?;
        let record = Record {
            snapshot: snapshot.id().to_owned(),
            content: snapshot.digest(),
            name: name.to_owned(),
            milliseconds: u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        let bytes = serde_json::to_vec(&record).expect("a record is JSON");
        self.solver.store.put_record(RECORDS, &key.hex(), &bytes)?;
        Ok(Value::ready(snapshot.digest(), snapshot))
    }

    /// Makes trees of all inputs, empty ones for what is written, and the step over them.
    fn prepare(&self, vertex: &Vertex, exec: &pb::ExecOp) -> Result<Prepared, SolveError> {
        let name = vertex.name();
        let meta = exec.meta.as_ref().ok_or_else(|| unsupported(vertex, "an exec without meta"))?;
        refuse(vertex, exec, meta)?;
        let fail = |source| snapshot_error(name, source);
        let mut root = None;
        let mut mounts = Vec::new();
        let mut output = None;
        let mut scratch = Vec::new();
        for mount in &exec.mounts {
            let made = match (mount.mount_type(), usize::try_from(mount.input)) {
                (pb::MountType::Tmpfs, _) => {
                    let size =
                        mount.tmpfs_opt.as_ref().and_then(|opt| u64::try_from(opt.size).ok()).filter(|size| *size > 0);
                    Mount::Tmpfs { size }
                }
                (pb::MountType::Bind, Ok(index)) if mount.readonly => {
                    let edge = vertex
                        .inputs
                        .get(index)
                        .ok_or_else(|| unsupported(vertex, format!("input {index}, which it does not have")))?;
                    self.tree(*edge)?.view()
                }
                (pb::MountType::Bind, Err(_)) if mount.input == -1 && !mount.readonly => {
                    let active = self.solver.snapshots.prepare().map_err(fail)?;
                    let made = active.mount();
                    match mount.output {
                        0 => output = Some(active),
                        _ => scratch.push(active),
                    }
                    made
                }
                _ => return Err(unsupported(vertex, format!("the mount at {}", mount.dest))),
            };
            if mount.dest == "/" {
                root = Some(made);
            } else {
                mounts.push(StepMount::new(&mount.dest, made));
            }
        }
        let output = output.ok_or_else(|| unsupported(vertex, "a step without output 0"))?;
        let mut env = meta.env.clone();
        let mut inherit = Vec::new();
        if vertex.metadata.description.contains_key(recipe::JOBSERVER) {
            env.push(format!("MAKEFLAGS=-j --jobserver-auth={},{}", JOBSERVER.0, JOBSERVER.1));
            let (read, write) = self.solver.jobs.ends();
            for (number, end) in [(JOBSERVER.0, read), (JOBSERVER.1, write)] {
                let path = || PathBuf::from("jobserver pipe");
                let end = end.try_clone_to_owned();
                let end = end.map_err(|source| SolveError::Io { action: "duplicate", path: path(), source })?;
                inherit.push((number, end));
            }
        }
        let root = root.ok_or_else(|| unsupported(vertex, "a step without a root mount"))?;
        let step = Step {
            mounts,
            env,
            cwd: PathBuf::from(&meta.cwd),
            hostname: meta.hostname.clone(),
            arch: arch(vertex)?,
            timeout: timeout(vertex).map(Duration::from_secs),
            inherit,
            ..Step::bare(root, meta.args.clone())
        };
        Ok(Prepared { step, output, _scratch: scratch })
    }
}

/// A step and the directories it writes; dropped without commit they vanish.
struct Prepared {
    step: Step,
    output: Active,
    _scratch: Vec<Active>,
}

/// Refuses what this engine would silently do otherwise than asked.
fn refuse(vertex: &Vertex, exec: &pb::ExecOp, meta: &pb::Meta) -> Result<(), SolveError> {
    let asks = [
        (!meta.user.is_empty() && meta.user != "root" && meta.user != "0", "another user than root"),
        (meta.proxy_env.is_some(), "a proxy environment"),
        (!meta.extra_hosts.is_empty(), "extra hosts"),
        (!meta.ulimit.is_empty(), "ulimits"),
        (!meta.valid_exit_codes.is_empty(), "other valid exit codes"),
        (exec.network() != pb::NetMode::None, "a network"),
        (exec.security() != pb::SecurityMode::Sandbox, "insecure mode"),
        (!exec.secretenv.is_empty(), "secrets in the environment"),
        (!exec.cdi_devices.is_empty(), "devices"),
        (exec.mounts.iter().any(|mount| !mount.selector.is_empty()), "a mount selector"),
        (exec.mounts.iter().any(|mount| mount.dest == "/" && !mount.readonly), "a writable root"),
    ];
    match asks.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(unsupported(vertex, what)),
        None => Ok(()),
    }
}

fn arch(vertex: &Vertex) -> Result<Arch, SolveError> {
    match &vertex.platform {
        None => Ok(Arch::X86_64),
        Some(platform) => Arch::from_oci(&platform.architecture)
            .filter(|_| platform.os == "linux")
            .ok_or_else(|| unsupported(vertex, format!("platform {}/{}", platform.os, platform.architecture))),
    }
}

pub(super) fn snapshot_error(name: &str, source: SnapshotError) -> SolveError {
    SolveError::Snapshot { name: name.to_owned(), source: Box::new(source) }
}

/// The output of a step: all of it in a file, the last lines in memory.
struct Log {
    file: File,
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

/// A line longer than this is cut in the error's tail, not in the file.
const LONGEST: usize = 2000;

impl Log {
    fn create(path: &Path) -> Result<Self, SolveError> {
        let file = File::create(path).map_err(|source| SolveError::Io {
            action: "create log",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self { file, lines: VecDeque::new(), partial: Vec::new() })
    }

    fn take(&mut self, data: &[u8]) {
        // A full disk must not hide the step's own error, which says the same.
        let _ = self.file.write_all(data);
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if self.lines.len() == TAIL {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    fn tail(mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            self.end_line();
        }
        self.lines.into()
    }
}
