//! The view for programs: one JSON object a line.
//!
//! Schema 1. Fields are only ever added. `time` is in seconds since the command began, `vertex` a digest
//! (`sha256:…`), bytes are counted in bytes.
//!
//! ```text
//! {"time":0.0,"event":"begin","schema":1}
//! {"time":0.1,"event":"planned","vertices":17}
//! {"time":0.1,"event":"cached","vertex":"sha256:…","name":"rootfs bookworm"}
//! {"time":0.1,"event":"started","vertex":"sha256:…","name":"zlib","reason":"input 1 changed"}    reason may be null
//! {"time":0.9,"event":"log","vertex":"sha256:…","name":"zlib","line":"checking for gcc... gcc"}
//! {"time":1.0,"event":"status","vertex":"sha256:…","id":"zlib.tar.gz","unit":"bytes","current":0,"total":8000000}
//! {"time":4.0,"event":"finished","vertex":"sha256:…","name":"zlib","elapsed":3.2,"error":null}
//! {"time":4.0,"event":"note","message":"mirror answered late"}
//! {"time":5.0,"event":"variant","name":"3.12-x86_64","phase":"testing"}
//! {"time":6.0,"event":"end","planned":17,"done":1,"cached":1,"failed":0}
//! ```
//!
//! `phase` is waiting, building, packing, testing, passed, failed or skipped. `line` is one line of output without its line end, as it was written but for bytes that are no UTF-8 (U+FFFD);
//! lines of more than 16 KiB come in pieces. `unit` is `bytes` or `items`; `total` is null while it is not known. A
//! `status` is told at most ten times a second for one `id`, and always when it is complete.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::oci::Digest;
use crate::progress::Event;

use super::lines::Lines;
use super::moving::is_count;
use super::view::{Clock, Counts, Output};

/// Least time between two states of one moving thing.
const EVERY: Duration = Duration::from_millis(100);

/// Version of the schema.
const SCHEMA: u32 = 1;

#[derive(Debug)]
pub(super) struct Json {
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    out: Output,
    lines: BTreeMap<Digest, (String, Lines)>,
    told: BTreeMap<(Digest, String), Duration>,
    counts: Counts,
}

#[derive(Serialize)]
struct Line<'a> {
    time: f64,
    #[serde(flatten)]
    entry: Entry<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Entry<'a> {
    Begin { schema: u32 },
    Planned { vertices: usize },
    Cached { vertex: Digest, name: &'a str },
    Started { vertex: Digest, name: &'a str, reason: Option<&'a str> },
    Log { vertex: Digest, name: &'a str, line: &'a str },
    Status { vertex: Digest, id: &'a str, unit: &'static str, current: u64, total: Option<u64> },
    Finished { vertex: Digest, name: &'a str, elapsed: f64, error: Option<&'a str> },
    Variant { name: &'a str, phase: &'static str },
    Note { message: &'a str },
    End(Counts),
}

/// Seconds, exact to the millisecond.
fn seconds(time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are long")]
    let milliseconds = time.as_millis() as f64;
    milliseconds / 1000.0
}

fn append(text: &mut Vec<u8>, now: Duration, entry: Entry<'_>) {
    // Maps with string keys and finite numbers cannot fail to serialise; a Vec takes every byte.
    if serde_json::to_writer(&mut *text, &Line { time: seconds(now), entry }).is_ok() {
        text.push(b'\n');
    }
}

impl Json {
    pub(super) fn new(mut out: Output, clock: Clock) -> Self {
        let mut text = Vec::new();
        append(&mut text, clock.now(), Entry::Begin { schema: SCHEMA });
        let _ = out.write_all(&text);
        let state = State { out, lines: BTreeMap::new(), told: BTreeMap::new(), counts: Counts::default() };
        Self { clock, state: Mutex::new(state) }
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        state.counts.event(event);
        state.tell(event, now, &mut text);
        // Whoever stopped listening does not stop the build.
        let _ = state.out.write_all(&text);
    }

    pub(super) fn finish(&self) {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = Vec::new();
        let vertices: Vec<Digest> = state.lines.keys().copied().collect();
        for vertex in vertices {
            state.last_line(vertex, now, &mut text);
        }
        append(&mut text, now, Entry::End(state.counts));
        let _ = state.out.write_all(&text);
        let _ = state.out.flush();
    }
}

impl State {
    fn tell(&mut self, event: &Event<'_>, now: Duration, text: &mut Vec<u8>) {
        let entry = match *event {
            Event::Planned { vertices } => Entry::Planned { vertices },
            Event::Cached { vertex, name } => Entry::Cached { vertex, name },
            Event::Started { vertex, name, reason } => Entry::Started { vertex, name, reason },
            Event::Note { message } => Entry::Note { message },
            Event::Variant { name, phase } => Entry::Variant { name, phase: phase.name() },
            Event::Output { .. } => return,
            Event::Finished { vertex, name, elapsed, error } => {
                self.last_line(vertex, now, text);
                self.told.retain(|(of, _), _| *of != vertex);
                Entry::Finished { vertex, name, elapsed: seconds(elapsed), error }
            }
            Event::Status { vertex, id, current, total } => {
                let told = self.told.get(&(vertex, id.to_owned()));
                let is_due =
                    told.is_none_or(|told| now >= *told + EVERY) || total.is_some_and(|total| current >= total);
                if !is_due {
                    return;
                }
                self.told.insert((vertex, id.to_owned()), now);
                let unit = if is_count(id) { "items" } else { "bytes" };
                Entry::Status { vertex, id, unit, current, total }
            }
            Event::Log { vertex, name, data } => {
                let (_, lines) = self.lines.entry(vertex).or_insert_with(|| (name.to_owned(), Lines::default()));
                lines.push(data, |line| log_line(text, now, (vertex, name), line));
                return;
            }
        };
        append(text, now, entry);
    }

    fn last_line(&mut self, vertex: Digest, now: Duration, text: &mut Vec<u8>) {
        if let Some((name, mut lines)) = self.lines.remove(&vertex) {
            lines.finish(|line| log_line(text, now, (vertex, &name), line));
        }
    }
}

fn log_line(text: &mut Vec<u8>, now: Duration, (vertex, name): (Digest, &str), line: &[u8]) {
    append(text, now, Entry::Log { vertex, name, line: &String::from_utf8_lossy(line) });
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{Page, events, fake_clock, vertex};
    use super::*;

    #[test]
    fn the_schema_stays() {
        let page = Page::default();
        let (clock, turn) = fake_clock();
        let view = Json::new(page.output(), clock);
        events(&turn, &|event| view.event(&event));
        view.finish();
        let (rootfs, zlib, source) = (vertex("rootfs"), vertex("zlib"), vertex("source"));
        let status = |time: &str, current: u64| {
            format!(
                r#"{{"time":{time},"event":"status","vertex":"{source}","id":"zlib.tar.gz","unit":"bytes","current":{current},"total":8000000}}"#
            )
        };
        let expected = [
            r#"{"time":0.0,"event":"begin","schema":1}"#.to_owned(),
            r#"{"time":0.0,"event":"planned","vertices":17}"#.to_owned(),
            format!(r#"{{"time":0.0,"event":"cached","vertex":"{rootfs}","name":"rootfs bookworm"}}"#),
            format!(r#"{{"time":0.0,"event":"started","vertex":"{zlib}","name":"zlib","reason":"input 1 changed"}}"#),
            format!(
                r#"{{"time":0.81,"event":"log","vertex":"{zlib}","name":"zlib","line":"checking for gcc... gcc"}}"#
            ),
            r#"{"time":0.81,"event":"note","message":"\u001b[2Jmirror answered late"}"#.to_owned(),
            format!(r#"{{"time":1.0,"event":"started","vertex":"{source}","name":"source","reason":null}}"#),
            status("1.0", 0),
            status("2.0", 1_000_000),
            status("4.5", 2_000_000),
            status("4.9", 8_000_000),
            format!(
                r#"{{"time":5.0,"event":"finished","vertex":"{source}","name":"source","elapsed":4.0,"error":null}}"#
            ),
            format!(
                r#"{{"time":5.0,"event":"log","vertex":"{zlib}","name":"zlib","line":"half {}\u0000 line"}}"#,
                '\u{fffd}'
            ),
            format!(
                r#"{{"time":5.0,"event":"finished","vertex":"{zlib}","name":"zlib","elapsed":5.0,"error":"exit status 2"}}"#
            ),
            r#"{"time":6.0,"event":"end","planned":17,"done":1,"cached":1,"failed":1}"#.to_owned(),
        ];
        assert_eq!(page.text().lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_fast_download_is_told_ten_times_a_second() {
        let page = Page::default();
        let (clock, turn) = fake_clock();
        let view = Json::new(page.output(), clock);
        for current in 0..=1000 {
            turn.store(current, std::sync::atomic::Ordering::Relaxed);
            view.event(&Event::Status { vertex: vertex("s"), id: "a.tar", current, total: Some(1000) });
        }
        assert_eq!(page.text().matches("status").count(), 11);
        assert!(page.text().contains(r#""current":1000"#));
    }
}
