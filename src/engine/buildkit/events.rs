//! What a daemon says, as the events of a solve.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::buildkit::message::{StatusResponse, Timestamp, Vertex};
use crate::llb::{Graph, pb};
use crate::oci::Digest;
use crate::progress::{Event, Progress, Tail};
use crate::sandbox::{Exit, Outcome};
use crate::solver::Failure;
use crate::store::Store;

/// Room of the store with what steps printed.
const LOGS: &str = "logs";

/// One vertex, as far as the daemon has told.
#[derive(Debug, Default)]
struct Seen {
    name: String,
    began: Option<(i64, i32)>,
    told: Told,
    error: Option<String>,
    log: Option<Log>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    Begun,
    Ended,
}

/// The output of a step: all of it in a file, the last lines in memory.
#[derive(Debug)]
struct Log {
    file: Option<File>,
    path: PathBuf,
    last: Tail,
}

/// Turns what a daemon says into events.
pub(super) struct Events<'a> {
    graph: &'a Graph,
    own: &'a BTreeMap<Digest, Digest>,
    /// Vertices by name, where only one has it.
    names: BTreeMap<String, Option<Digest>>,
    progress: &'a dyn Progress,
    store: &'a Store,
    seen: BTreeMap<String, Seen>,
    /// Steps that ran, and vertices that were answered from a cache.
    pub(super) ran: usize,
    pub(super) cached: usize,
}

/// Which vertex failed.
pub(super) enum Failed {
    /// A step's program.
    Step(Box<Failure>),
    /// Something else: its name and what the daemon says.
    Vertex(String, String),
}

impl<'a> Events<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        own: &'a BTreeMap<Digest, Digest>,
        progress: &'a dyn Progress,
        store: &'a Store,
    ) -> Self {
        progress.event(&Event::Planned { vertices: graph.len() });
        let mut names = BTreeMap::new();
        for vertex in graph.vertices() {
            let entry = names.entry(vertex.name().to_owned());
            entry.and_modify(|found| *found = None).or_insert(Some(vertex.digest));
        }
        Self { graph, own, names, progress, store, seen: BTreeMap::new(), ran: 0, cached: 0 }
    }

    /// Tells what one message says.
    pub(super) fn take(&mut self, status: &StatusResponse) {
        for vertex in &status.vertexes {
            self.vertex(vertex);
        }
        for moved in &status.statuses {
            let Some(digest) = self.digest(&moved.vertex) else { continue };
            let id = if moved.name.is_empty() { &moved.id } else { &moved.name };
            let number = |n: i64| u64::try_from(n).unwrap_or_default();
            let total = Some(number(moved.total)).filter(|total| *total > 0);
            self.progress.event(&Event::Status { vertex: digest, id, current: number(moved.current), total });
        }
        for log in &status.logs {
            let Some(digest) = self.digest(&log.vertex) else { continue };
            let store = self.store;
            let seen = self.seen.entry(log.vertex.clone()).or_default();
            seen.log.get_or_insert_with(|| Log::create(store, &digest)).take(&log.msg);
            self.progress.event(&Event::Log { vertex: digest, name: &seen.name, data: &log.msg });
        }
        for warning in &status.warnings {
            let message = format!("warning: {}", String::from_utf8_lossy(&warning.short));
            self.progress.event(&Event::Note { message: &message });
        }
    }

    /// Returns the digest of a vertex of the graph as we call it, or of one that the daemon has made up.
    fn digest(&self, text: &str) -> Option<Digest> {
        let digest: Digest = text.parse().ok()?;
        Some(self.own(text).map_or(digest, |own| own.digest))
    }

    /// Returns the vertex of the graph that a daemon means. It may have written an op anew, in its own bytes: then the
    /// name tells.
    fn own(&self, text: &str) -> Option<&'a crate::llb::Vertex> {
        let known = self.own.get(&text.parse().ok()?).copied();
        let named = || self.names.get(&self.seen.get(text)?.name).copied().flatten();
        Some(self.graph.vertex(&known.or_else(named)?))
    }

    fn vertex(&mut self, vertex: &Vertex) {
        let seen = self.seen.entry(vertex.digest.clone()).or_default();
        if seen.name.is_empty() {
            seen.name.clone_from(&vertex.name);
        }
        let Some(digest) = self.digest(&vertex.digest) else { return };
        let own = self.own(&vertex.digest);
        let seen = self.seen.entry(vertex.digest.clone()).or_default();
        if let Some(own) = own {
            own.name().clone_into(&mut seen.name);
        }
        let name = seen.name.clone();
        if let Some(began) = vertex.started.as_ref().map(moment) {
            let is_again = seen.told == Told::Ended && seen.began.is_some_and(|before| before < began);
            // One that is answered from a cache may be begun after all, when somebody wants its files.
            if seen.told == Told::Nothing && !vertex.cached || is_again && vertex.completed.is_none() {
                self.progress.event(&Event::Started { vertex: digest, name: &name, reason: None });
                seen.told = Told::Begun;
            }
            seen.began = Some(began);
        }
        if !vertex.error.is_empty() {
            seen.error = Some(vertex.error.clone());
        }
        if vertex.cached && seen.told == Told::Nothing {
            self.progress.event(&Event::Cached { vertex: digest, name: &name });
            self.cached += usize::from(own.is_some());
            seen.told = Told::Ended;
        } else if let Some(ended) = &vertex.completed
            && seen.told == Told::Begun
        {
            let elapsed = seen.began.map_or(Duration::ZERO, |began| between(began, moment(ended)));
            let error = Some(vertex.error.as_str()).filter(|error| !error.is_empty());
            self.progress.event(&Event::Finished { vertex: digest, name: &name, elapsed, error });
            self.ran += usize::from(own.is_some_and(|own| matches!(own.op, pb::op::Op::Exec(_))));
            seen.told = Told::Ended;
        }
    }

    /// Ends what the daemon did not end, because the connection broke or the run was stopped.
    pub(super) fn end(&mut self, why: &str) {
        let open: Vec<String> =
            self.seen.iter().filter(|(_, seen)| seen.told == Told::Begun).map(|(text, _)| text.clone()).collect();
        for text in open {
            let Some(vertex) = self.digest(&text) else { continue };
            let Some(seen) = self.seen.get_mut(&text) else { continue };
            seen.told = Told::Ended;
            let (name, elapsed) = (seen.name.as_str(), Duration::ZERO);
            self.progress.event(&Event::Finished { vertex, name, elapsed, error: Some(why) });
        }
    }

    /// Returns the vertex that made the solve fail: what is cancelled with it is only its consequence.
    pub(super) fn failed(&mut self) -> Option<Failed> {
        let is_cause = |seen: &Seen| seen.error.as_deref().is_some_and(|error| !error.ends_with("context canceled"));
        let (text, _) = self.seen.iter().find(|(_, seen)| is_cause(seen))?;
        let text = text.clone();
        let vertex = self.digest(&text)?;
        let is_step = self.own(&text).is_some_and(|own| matches!(own.op, pb::op::Op::Exec(_)));
        let seen = self.seen.get_mut(&text)?;
        let (name, message) = (seen.name.clone(), seen.error.clone().unwrap_or_default());
        match code(&message).filter(|_| is_step) {
            Some(code) => {
                let log = seen.log.take().unwrap_or_else(|| Log::create(self.store, &vertex));
                let path = log.path.clone();
                let exit = Exit { outcome: Outcome::Code(code), max_rss: 0, met: crate::cgroup::Met::default() };
                Some(Failed::Step(Box::new(Failure { vertex, name, exit, tail: log.last.into_lines(), log: path })))
            }
            None => Some(Failed::Vertex(name, message)),
        }
    }
}

/// Reads the exit code in the words of BuildKit's executor (`gateway/errdefs ExitError`; `exec.go` before 0.9).
fn code(message: &str) -> Option<i32> {
    let (before, rest) = message.rsplit_once(": exit code: ")?;
    if !before.ends_with("did not complete successfully") && !before.contains("executor failed running [") {
        return None;
    }
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn moment(time: &Timestamp) -> (i64, i32) {
    (time.seconds, time.nanos)
}

fn between(began: (i64, i32), ended: (i64, i32)) -> Duration {
    let nanos = |(seconds, nanos): (i64, i32)| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    Duration::from_nanos(u64::try_from(nanos(ended) - nanos(began)).unwrap_or_default())
}

impl Log {
    fn create(store: &Store, vertex: &Digest) -> Self {
        let name = format!("{}.log", vertex.hex());
        let path = store.room(LOGS).unwrap_or_else(|_| store.root().join(LOGS)).join(name);
        // Without a file the lines in memory still tell what went wrong.
        Self { file: File::create(&path).ok(), path, last: Tail::default() }
    }

    fn take(&mut self, data: &[u8]) {
        if let Some(file) = &mut self.file {
            // A full disk must not hide the step's own error.
            let _ = file.write_all(data);
        }
        self.last.take(data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_read_from_the_words_of_the_executor() {
        let said = "process \"/bin/sh -c false\" did not complete successfully: exit code: 17";
        assert_eq!(code(said), Some(17));
        assert_eq!(code(&format!("{said}: more")), Some(17));
        assert_eq!(code("executor failed running [/bin/sh -c exit 17]: exit code: 17"), Some(17));
        assert_eq!(code("failed to load cache key: not found"), None);
        assert_eq!(code("somebody says: exit code: 17"), None);
    }
}
