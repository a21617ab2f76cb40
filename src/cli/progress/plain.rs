//! The view for files and logs: one line an event.
//!
//! ```text
//! 17 steps to look at
//! #1 rootfs bookworm-x86_64 cached
//! #2 zlib 1.3.1 started (the environment changed)      the reason only with -v
//! #2 0.81 | checking for gcc... gcc
//! #3 source python3.11 3.0s: 12.3 of 19.9 MB, 3.10 MB/s
//! #2 zlib 1.3.1 done 3.20s
//! note: mirror answered late, trying again
//! 3.12-x86_64 testing                                  where a variant of a release is
//! 17 steps: 15 done, 2 cached, 63.1s
//! ```
//!
//! Steps are numbered in the order in which they appear. A line of output carries the seconds since its step began;
//! it is written when it is complete. What is fetched is told at most every [`EVERY`] a step.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::oci::Digest;
use crate::progress::Event;

use super::lines::Lines;
use super::moving::{Item, Moving};
use super::text::clean;
use super::units::elapsed;
use super::view::{Clock, Counts, Output};

/// Least time between two lines about what a step fetches.
const EVERY: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Plain {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: Output,
    numbers: BTreeMap<Digest, usize>,
    steps: Vec<Step>,
    counts: Counts,
    /// Say why a step was not taken from the cache.
    verbose: bool,
}

#[derive(Debug, Default)]
struct Step {
    name: String,
    since: Duration,
    lines: Lines,
    moving: Moving,
    told: Duration,
}

impl Plain {
    pub(super) fn new(out: Output, clock: Clock, verbose: bool) -> Self {
        let state = State { out, numbers: BTreeMap::new(), steps: Vec::new(), counts: Counts::default(), verbose };
        Self { clock, state: Mutex::new(state) }
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        state.counts.event(event);
        state.tell(event, now, &mut text);
        // Whoever stopped listening does not stop the build.
        let _ = state.out.write_all(text.as_bytes());
    }

    /// Writes output that was left without a line end, and the sum of everything.
    pub(super) fn finish(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (at, step) in state.steps.iter_mut().enumerate() {
            let since = step.since;
            step.lines.finish(|line| log_line(&mut text, at, now.saturating_sub(since), line));
        }
        if let Some(words) = state.counts.words(now) {
            let _ = writeln!(text, "{words}");
        }
        let _ = state.out.write_all(text.as_bytes());
        let _ = state.out.flush();
    }
}

impl State {
    fn step(&mut self, vertex: Digest, now: Duration) -> usize {
        if let Some(at) = self.numbers.get(&vertex) {
            return *at;
        }
        let at = self.steps.len();
        self.numbers.insert(vertex, at);
        self.steps.push(Step { since: now, told: now, name: vertex.short(), ..Step::default() });
        at
    }

    fn named(&mut self, vertex: Digest, name: &str, now: Duration) -> usize {
        let at = self.step(vertex, now);
        self.steps[at].name = clean(name.as_bytes());
        at
    }

    // Writing to a String cannot fail, hence the ignored results.
    fn tell(&mut self, event: &Event<'_>, now: Duration, text: &mut String) {
        match event {
            Event::Planned { vertices } => {
                let _ = writeln!(text, "{vertices} steps to look at");
            }
            Event::Started { vertex, name, reason } => {
                let at = self.named(*vertex, name, now);
                let reason = reason.filter(|_| self.verbose);
                let step = &mut self.steps[at];
                // A vertex may be worked on again by a later solve of the same run.
                (step.since, step.told, step.moving) = (now, now, Moving::default());
                let _ = write!(text, "#{} {} started", at + 1, step.name);
                let _ = match reason {
                    Some(reason) => writeln!(text, " ({})", clean(reason.as_bytes())),
                    None => writeln!(text),
                };
            }
            Event::Cached { vertex, name } => {
                let at = self.named(*vertex, name, now);
                let _ = writeln!(text, "#{} {} cached", at + 1, self.steps[at].name);
            }
            Event::Finished { vertex, name, elapsed: time, error } => {
                let at = self.named(*vertex, name, now);
                let step = &mut self.steps[at];
                let since = now.saturating_sub(step.since);
                step.lines.finish(|line| log_line(text, at, since, line));
                let _ = match error {
                    None if step.moving.is_empty() => {
                        writeln!(text, "#{} {} done {}", at + 1, step.name, elapsed(*time))
                    }
                    None => {
                        let moved = step.moving.words(now);
                        writeln!(text, "#{} {} done {} ({moved})", at + 1, step.name, elapsed(*time))
                    }
                    Some(error) => {
                        let error = clean(error.as_bytes());
                        writeln!(text, "#{} {} failed {}: {error}", at + 1, step.name, elapsed(*time))
                    }
                };
            }
            Event::Status { vertex, id, current, total } => {
                let at = self.step(*vertex, now);
                let step = &mut self.steps[at];
                step.moving.update(now, &clean(id.as_bytes()), Item { current: *current, total: *total });
                if now >= step.told + EVERY {
                    step.told = now;
                    let since = elapsed(now.saturating_sub(step.since));
                    let _ = writeln!(text, "#{} {} {since}: {}", at + 1, step.name, step.moving.words(now));
                }
            }
            Event::Log { vertex, name, data } => {
                let at = self.named(*vertex, name, now);
                let step = &mut self.steps[at];
                let since = now.saturating_sub(step.since);
                step.lines.push(data, |line| log_line(text, at, since, line));
            }
            Event::Output { .. } => {}
            Event::Variant { name, phase } => {
                let _ = writeln!(text, "{} {}", clean(name.as_bytes()), phase.name());
            }
            Event::Note { message } => {
                let _ = writeln!(text, "note: {}", clean(message.as_bytes()));
            }
        }
    }
}

fn log_line(text: &mut String, at: usize, since: Duration, line: &[u8]) {
    let line = clean(line);
    let _ = writeln!(text, "#{} {:.2} | {line}", at + 1, since.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{Page, events, fake_clock};
    use super::*;

    #[test]
    fn every_event_is_one_line() {
        let page = Page::default();
        let (clock, turn) = fake_clock();
        let view = Plain::new(page.output(), clock, true);
        events(&turn, &|event| view.event(&event));
        view.finish();
        assert_eq!(
            page.text(),
            "\
17 steps to look at
#1 rootfs bookworm cached
#2 zlib started (input 1 changed)
#2 0.81 | checking for gcc... gcc
note: ^[[2Jmirror answered late
#3 source started
#3 source 3.50s: 2.00 of 8.00 MB, 571 kB/s
#3 source done 4.00s (8.00 MB)
#2 5.00 | half \u{fffd}^@ line
#2 zlib failed 5.00s: exit status 2
17 steps: 1 done, 1 cached, 1 failed, 6.00s
"
        );
    }

    #[test]
    fn a_reader_that_went_away_ends_nothing() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
        }
        let (clock, turn) = fake_clock();
        let view = Plain::new(Output::new(Closed), clock, false);
        events(&turn, &|event| view.event(&event));
        view.finish();
    }
}
