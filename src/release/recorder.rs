//! Remembers what was done for one variant, and passes everything on under the variant's name.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::dist;
use crate::llb::{Graph, pb};
use crate::oci::Digest;
use crate::progress::{Event, Progress};

/// What is told of one variant, kept.
pub(super) struct Recorder<'a> {
    told: &'a dyn Progress,
    /// What names of steps begin with, where several variants are worked on.
    prefix: Option<String>,
    /// When the run began.
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    notes: Vec<String>,
    steps: BTreeMap<Digest, Seen>,
    /// What was done beside steps: packing, testing.
    others: Vec<dist::Step>,
}

#[derive(Default)]
struct Seen {
    step: dist::Step,
    log: Option<PathBuf>,
    error: Option<String>,
}

/// A step's output: a name for its file, and where it is; none where the store has it no more.
pub(super) type StepLog = (String, Option<PathBuf>);

impl<'a> Recorder<'a> {
    pub(super) fn new(told: &'a dyn Progress, prefix: Option<String>, began: Instant) -> Self {
        Self { told, prefix, began, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> f64 {
        milliseconds(self.began.elapsed().as_secs_f64())
    }

    /// Does something that is no step, and remembers how long it took.
    pub(super) fn during<T>(&self, name: &str, act: impl FnOnce() -> T) -> T {
        let started = self.now();
        let done = act();
        let seconds = milliseconds(self.now() - started);
        self.lock().others.push(dist::Step { name: name.to_owned(), started, seconds, cached: false });
        done
    }

    /// Returns the steps of a graph that something is known of, in the graph's order, then what else was done.
    pub(super) fn steps(&self, graph: &Graph) -> Vec<dist::Step> {
        let state = self.lock();
        let seen = execs(graph).filter_map(|digest| state.steps.get(&digest)).filter(|seen| !seen.step.name.is_empty());
        seen.map(|seen| seen.step.clone()).chain(state.others.iter().cloned()).collect()
    }

    /// Returns the names of steps that failed or were stopped.
    pub(super) fn unfinished(&self) -> Vec<String> {
        let state = self.lock();
        state.steps.values().filter(|seen| seen.error.is_some()).map(|seen| seen.step.name.clone()).collect()
    }

    /// Returns the logs of these steps by names for files, and the text of all of them.
    pub(super) fn logs(&self, title: &str, graph: &Graph) -> (Vec<StepLog>, Vec<u8>) {
        let state = self.lock();
        let mut text = format!("{title}\n");
        for note in &state.notes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{note}");
        }
        let mut all = text.into_bytes();
        let mut logs: Vec<StepLog> = Vec::new();
        for seen in execs(graph).filter_map(|digest| state.steps.get(&digest)) {
            let step = &seen.step;
            let how = match (&seen.error, step.cached) {
                (Some(error), _) => format!("failed after {} s: {error}", step.seconds),
                (None, true) => "taken from the store, with what it printed when it ran".to_owned(),
                (None, false) => format!("{} s", step.seconds),
            };
            all.extend_from_slice(format!("\n== {}: {how}\n", step.name).as_bytes());
            match seen.log.as_ref().map(fs::read) {
                Some(Ok(output)) => all.extend_from_slice(&output),
                _ => all.extend_from_slice(b"(the store does not have what it printed)\n"),
            }
            if !all.ends_with(b"\n") {
                all.push(b'\n');
            }
            logs.push((file_name(&step.name, &logs), seen.log.clone()));
        }
        (logs, all)
    }
}

fn execs(graph: &Graph) -> impl Iterator<Item = Digest> {
    graph.vertices().filter(|vertex| matches!(vertex.op, pb::op::Op::Exec(_))).map(|vertex| vertex.digest)
}

/// Seconds, exact to the millisecond.
fn milliseconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1000.0).round() / 1000.0
}

/// A file name for a step that no other has.
fn file_name(step: &str, taken: &[StepLog]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._+".contains(c) { c } else { '-' };
    let name: String = step.chars().take(100).map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    let is_free = |file: &String| !taken.iter().any(|(other, _)| other == file);
    let numbered = (2..).map(|number| format!("{name}-{number}.log"));
    std::iter::once(format!("{name}.log")).chain(numbered).find(is_free).expect("numbers do not end")
}

impl Progress for Recorder<'_> {
    fn event(&self, event: &Event<'_>) {
        let now = self.now();
        {
            let mut state = self.lock();
            match *event {
                Event::Started { vertex, name, .. } => {
                    let step = dist::Step { name: name.to_owned(), started: now, ..dist::Step::default() };
                    state.steps.entry(vertex).or_default().step = step;
                }
                Event::Cached { vertex, name } => {
                    let step = &mut state.steps.entry(vertex).or_default().step;
                    *step = dist::Step { name: name.to_owned(), started: now, seconds: 0.0, cached: true };
                }
                Event::Finished { vertex, elapsed, error, .. } => {
                    let seen = state.steps.entry(vertex).or_default();
                    seen.step.seconds = milliseconds(elapsed.as_secs_f64());
                    seen.error = error.map(str::to_owned);
                }
                Event::Output { vertex, log } => state.steps.entry(vertex).or_default().log = Some(log.to_owned()),
                Event::Note { message } => state.notes.push(message.to_owned()),
                _ => {}
            }
        }
        let Some(prefix) = &self.prefix else { return self.told.event(event) };
        let named = |name: &str| format!("{prefix}: {name}");
        match *event {
            Event::Started { vertex, name, reason } => {
                self.told.event(&Event::Started { vertex, name: &named(name), reason });
            }
            Event::Cached { vertex, name } => self.told.event(&Event::Cached { vertex, name: &named(name) }),
            Event::Finished { vertex, name, elapsed, error } => {
                self.told.event(&Event::Finished { vertex, name: &named(name), elapsed, error });
            }
            Event::Log { vertex, name, data } => self.told.event(&Event::Log { vertex, name: &named(name), data }),
            Event::Note { message } => self.told.event(&Event::Note { message: &named(message) }),
            _ => self.told.event(event),
        }
    }
}
