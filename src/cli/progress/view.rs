//! Which view, and the door to all of them.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::oci::Digest;
use crate::progress::{Event, Progress};

use super::json::Json;
use super::plain::Plain;
use super::style::Style;
use super::tty::Tty;
use super::units::elapsed;

/// How progress is shown (`--progress`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// `tty` where standard error is a terminal that can move its cursor, `plain` otherwise.
    #[default]
    Auto,
    /// A live view.
    Tty,
    /// One line an event.
    Plain,
    /// One JSON object a line.
    Json,
    /// Nothing; errors are told by the command's report.
    Quiet,
}

/// A word that names no view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no view of progress; there are auto, tty, plain, json and quiet")]
pub struct ModeError {
    word: String,
}

impl FromStr for Mode {
    type Err = ModeError;

    fn from_str(word: &str) -> Result<Self, ModeError> {
        match word {
            "auto" => Ok(Self::Auto),
            "tty" => Ok(Self::Tty),
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            "quiet" => Ok(Self::Quiet),
            _ => Err(ModeError { word: word.to_owned() }),
        }
    }
}

/// Time since the command began; a test turns its own.
#[derive(Clone)]
pub(super) struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    pub(super) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(super) fn started() -> Self {
        let start = Instant::now();
        Self::new(move || start.elapsed())
    }

    pub(super) fn now(&self) -> Duration {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// Where a view writes.
pub(super) struct Output(Box<dyn Write + Send>);

impl Output {
    pub(super) fn new(out: impl Write + Send + 'static) -> Self {
        Self(Box::new(out))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Output")
    }
}

/// How many vertices went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Counts {
    pub(super) planned: usize,
    pub(super) done: usize,
    pub(super) cached: usize,
    pub(super) failed: usize,
}

impl Counts {
    pub(super) fn event(&mut self, event: &Event<'_>) {
        match event {
            // A run may solve several graphs.
            Event::Planned { vertices } => self.planned += vertices,
            Event::Cached { .. } => self.cached += 1,
            Event::Finished { error: None, .. } => self.done += 1,
            Event::Finished { error: Some(_), .. } => self.failed += 1,
            _ => {}
        }
    }

    /// Vertices that nothing more will be heard of.
    pub(super) const fn over(&self) -> usize {
        self.done + self.cached + self.failed
    }

    /// Sums up at the end; `None` where nothing happened.
    pub(super) fn words(&self, time: Duration) -> Option<String> {
        let all = self.planned.max(self.over());
        let parts = [(self.done, "done"), (self.cached, "cached"), (self.failed, "failed")];
        let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        let noun = if all == 1 { "step" } else { "steps" };
        (!parts.is_empty()).then(|| format!("{all} {noun}: {}, {}", parts.join(", "), elapsed(time)))
    }
}

/// One of the views, writing to standard error.
///
/// Open it after the command's last re-execution: the live view starts a thread. Dropping it finishes it.
#[derive(Debug)]
pub struct View {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tty(Tty),
    Plain(Plain),
    Json(Json),
    Quiet,
}

impl View {
    /// Opens the view that `mode` names, or the one that suits standard error; plain lines with `verbose` say why steps
    /// were not taken from the cache.
    pub fn open(mode: Mode, style: Style, verbose: bool) -> Self {
        let output = || Output::new(io::stderr());
        let kind = match mode {
            Mode::Auto if style.live => Kind::Tty(Tty::start(output(), Clock::started(), style)),
            Mode::Tty => Kind::Tty(Tty::start(output(), Clock::started(), style)),
            Mode::Auto | Mode::Plain => Kind::Plain(Plain::new(output(), Clock::started(), verbose)),
            Mode::Json => Kind::Json(Json::new(output(), Clock::started())),
            Mode::Quiet => Kind::Quiet,
        };
        Self { kind }
    }

    /// Takes the live region away, writes what is left and the sum of everything; later events are not shown.
    pub fn finish(&self) {
        match &self.kind {
            Kind::Tty(view) => view.finish(),
            Kind::Plain(view) => view.finish(),
            Kind::Json(view) => view.finish(),
            Kind::Quiet => {}
        }
    }

    /// Takes the live region away while `act` writes to the terminal, as a result on standard output does.
    ///
    /// Without it, the region is drawn over what `act` wrote.
    pub fn suspend<R>(&self, act: impl FnOnce() -> R) -> R {
        match &self.kind {
            Kind::Tty(view) => view.suspend(act),
            Kind::Plain(_) | Kind::Json(_) | Kind::Quiet => act(),
        }
    }

    /// Whether the last lines of the output of `vertex` stand on the screen already, because it failed.
    pub fn has_shown_tail(&self, vertex: &Digest) -> bool {
        matches!(&self.kind, Kind::Tty(view) if view.has_shown_tail(vertex))
    }
}

impl Progress for View {
    fn event(&self, event: &Event<'_>) {
        match &self.kind {
            Kind::Tty(view) => view.event(event),
            Kind::Plain(view) => view.event(event),
            Kind::Json(view) => view.event(event),
            Kind::Quiet => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Keeps what a view wrote.
    #[derive(Clone, Default)]
    pub(in super::super) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(in super::super) fn output(&self) -> Output {
            Output::new(self.clone())
        }

        pub(in super::super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("no panic").clone()).expect("views write UTF-8")
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A clock and the milliseconds that it shows.
    pub(in super::super) fn fake_clock() -> (Clock, Arc<AtomicU64>) {
        let time = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&time);
        (Clock::new(move || Duration::from_millis(shown.load(Ordering::Relaxed))), time)
    }

    pub(in super::super) fn vertex(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    /// One solve: a cached root file system, a source fetched within four seconds, a step that fails.
    pub(in super::super) fn events(time: &AtomicU64, send: &dyn Fn(Event<'_>)) {
        let at = |milliseconds| time.store(milliseconds, Ordering::Relaxed);
        let (zlib, source) = (vertex("zlib"), vertex("source"));
        send(Event::Planned { vertices: 17 });
        send(Event::Cached { vertex: vertex("rootfs"), name: "rootfs bookworm" });
        send(Event::Started { vertex: zlib, name: "zlib", reason: Some("input 1 changed") });
        at(400);
        send(Event::Log { vertex: zlib, name: "zlib", data: b"checking for gcc..." });
        at(810);
        send(Event::Log { vertex: zlib, name: "zlib", data: b" gcc\nhalf \xff" });
        send(Event::Note { message: "\x1b[2Jmirror answered late" });
        at(1000);
        send(Event::Started { vertex: source, name: "source", reason: None });
        send(Event::Status { vertex: source, id: "zlib.tar.gz", current: 0, total: Some(8_000_000) });
        at(2000);
        send(Event::Status { vertex: source, id: "zlib.tar.gz", current: 1_000_000, total: Some(8_000_000) });
        at(4500);
        send(Event::Status { vertex: source, id: "zlib.tar.gz", current: 2_000_000, total: Some(8_000_000) });
        at(4900);
        send(Event::Status { vertex: source, id: "zlib.tar.gz", current: 8_000_000, total: Some(8_000_000) });
        at(5000);
        send(Event::Finished { vertex: source, name: "source", elapsed: Duration::from_secs(4), error: None });
        send(Event::Log { vertex: zlib, name: "zlib", data: b"\0 line" });
        let error = Some("exit status 2");
        send(Event::Finished { vertex: zlib, name: "zlib", elapsed: Duration::from_secs(5), error });
        at(6000);
    }

    #[test]
    fn views_are_shared_by_threads() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<View>();
    }

    #[test]
    fn a_view_is_named_by_its_word() {
        for (word, mode) in [
            ("auto", Mode::Auto),
            ("tty", Mode::Tty),
            ("plain", Mode::Plain),
            ("json", Mode::Json),
            ("quiet", Mode::Quiet),
        ] {
            assert_eq!(word.parse(), Ok(mode));
        }
        assert!("fancy".parse::<Mode>().is_err());
    }
}
