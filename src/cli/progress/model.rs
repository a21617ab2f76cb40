//! What the live view knows: built from events, drawn by `frame.rs`.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::oci::Digest;
use crate::progress::{Event, Phase};

use super::lines::Lines;
use super::moving::{Item, Moving};
use super::style::Style;
use super::text::clean;
use super::units::elapsed;
use super::view::Counts;

/// Lines of output kept of each running step.
const TAIL: usize = 20;
/// Bytes kept of one such line; no terminal shows more of it.
const LINE: usize = 2048;

/// The state of a solve.
#[derive(Debug)]
pub(super) struct Model {
    style: Style,
    pub(super) counts: Counts,
    /// Vertices being worked on, in order of their start.
    pub(super) running: Vec<Running>,
    /// Variants of a release, where each is, and since when.
    pub(super) variants: Vec<(String, Phase, Duration)>,
    /// Finished lines that are to be written above the live region.
    pub(super) above: Vec<String>,
    shown_tails: BTreeSet<Digest>,
}

/// A vertex being worked on.
#[derive(Debug)]
pub(super) struct Running {
    vertex: Digest,
    pub(super) name: String,
    pub(super) since: Duration,
    pub(super) moving: Moving,
    lines: Lines,
    tail: VecDeque<Vec<u8>>,
}

impl Running {
    /// Returns the newest line of output that holds anything, fit for the terminal.
    pub(super) fn last_line(&self) -> String {
        let pending = clean(&self.lines.pending()[..self.lines.pending().len().min(LINE)]);
        if !pending.trim().is_empty() {
            return pending;
        }
        self.tail.iter().rev().map(|line| clean(line)).find(|line| !line.trim().is_empty()).unwrap_or_default()
    }

    fn log(&mut self, data: &[u8]) {
        let tail = &mut self.tail;
        self.lines.push(data, |line| keep(tail, line));
    }
}

fn keep(tail: &mut VecDeque<Vec<u8>>, line: &[u8]) {
    if tail.len() == TAIL {
        tail.pop_front();
    }
    tail.push_back(line[..line.len().min(LINE)].to_vec());
}

impl Model {
    pub(super) fn new(style: Style) -> Self {
        Self {
            style,
            counts: Counts::default(),
            running: Vec::new(),
            variants: Vec::new(),
            above: Vec::new(),
            shown_tails: BTreeSet::new(),
        }
    }

    pub(super) fn has_shown_tail(&self, vertex: &Digest) -> bool {
        self.shown_tails.contains(vertex)
    }

    fn running(&mut self, vertex: Digest) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.vertex == vertex)
    }

    fn start(&mut self, vertex: Digest, name: &str, now: Duration) {
        self.running.retain(|running| running.vertex != vertex);
        self.running.push(Running {
            vertex,
            name: clean(name.as_bytes()),
            since: now,
            moving: Moving::default(),
            lines: Lines::default(),
            tail: VecDeque::new(),
        });
    }

    /// Takes one event.
    pub(super) fn event(&mut self, event: &Event<'_>, now: Duration) {
        self.counts.event(event);
        match *event {
            Event::Planned { .. } | Event::Cached { .. } | Event::Output { .. } => {}
            Event::Variant { name, phase } => self.variant(&clean(name.as_bytes()), phase, now),
            Event::Started { vertex, name, .. } => self.start(vertex, name, now),
            Event::Finished { vertex, name, elapsed, error } => self.end(vertex, name, elapsed, error),
            Event::Status { vertex, id, current, total } => {
                if let Some(running) = self.running(vertex) {
                    running.moving.update(now, &clean(id.as_bytes()), Item { current, total });
                }
            }
            Event::Log { vertex, data, .. } => {
                if let Some(running) = self.running(vertex) {
                    running.log(data);
                }
            }
            Event::Note { message } => {
                let mark = self.style.paint("33", "note:");
                self.above.push(format!("{mark} {}", clean(message.as_bytes())));
            }
        }
    }

    fn variant(&mut self, name: &str, phase: Phase, now: Duration) {
        match self.variants.iter_mut().find(|(known, _, _)| known == name) {
            Some(variant) => (variant.1, variant.2) = (phase, now),
            None => self.variants.push((name.to_owned(), phase, now)),
        }
        let (colour, mark) = match phase {
            Phase::Passed => ("32", if self.style.unicode { "✔" } else { "ok" }),
            Phase::Failed => ("31", if self.style.unicode { "✘" } else { "FAILED" }),
            _ => return,
        };
        self.above.push(format!("{} {name} {}", self.style.paint(colour, mark), phase.name()));
    }

    fn end(&mut self, vertex: Digest, name: &str, time: Duration, error: Option<&str>) {
        let at = self.running.iter().position(|running| running.vertex == vertex);
        let ended = at.map(|at| self.running.remove(at));
        let name = clean(name.as_bytes());
        let time = elapsed(time);
        let Some(error) = error else {
            let mark = self.style.paint("32", if self.style.unicode { "✔" } else { "ok" });
            let moved = ended.map(|running| running.moving.words(running.since)).filter(|words| !words.is_empty());
            let moved = moved.map(|words| format!("  {words}")).unwrap_or_default();
            let rest = self.style.paint("2", &format!("{time}{moved}"));
            self.above.push(format!("{mark} {name}  {rest}"));
            return;
        };
        let mark = self.style.paint("31", if self.style.unicode { "✘" } else { "FAILED" });
        self.above.push(format!("{mark} {name}  {time}  {}", clean(error.as_bytes())));
        let Some(mut running) = ended else { return };
        let tail = &mut running.tail;
        running.lines.finish(|line| keep(tail, line));
        if running.tail.is_empty() {
            return;
        }
        let bar = self.style.paint("2", if self.style.unicode { "│" } else { "|" });
        self.above.extend(running.tail.iter().map(|line| format!("  {bar} {}", clean(line))));
        self.shown_tails.insert(vertex);
    }
}
