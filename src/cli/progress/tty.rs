//! The live view: events change a model, one thread draws it.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::oci::Digest;
use crate::progress::Event;

use super::frame::{Size, frame};
use super::model::Model;
use super::screen::Screen;
use super::style::Style;
use super::view::{Clock, Output};

/// Time between two pictures.
const EVERY: Duration = Duration::from_millis(100);
/// What is assumed of a terminal that does not tell its size.
const UNKNOWN: Size = Size { columns: 80, rows: 24 };

#[derive(Debug)]
pub(super) struct Tty {
    shared: Arc<Shared>,
    painter: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    style: Style,
    state: Mutex<State>,
    wake: Condvar,
    /// Held while the terminal is written to; never taken by an event.
    screen: Mutex<Screen>,
}

#[derive(Debug)]
struct State {
    model: Model,
    finished: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tty {
    pub(super) fn start(out: Output, clock: Clock, style: Style) -> Self {
        let state = Mutex::new(State { model: Model::new(style), finished: false });
        let screen = Mutex::new(Screen::new(out));
        let shared = Arc::new(Shared { clock, style, state, wake: Condvar::new(), screen });
        let painter = {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name("progress".to_owned()).spawn(move || paint(&shared))
        };
        // Without a thread nothing is drawn, and the build goes on.
        Self { shared, painter: Mutex::new(painter.ok()) }
    }

    pub(super) fn event(&self, event: &Event<'_>) {
        let now = self.shared.clock.now();
        let mut state = self.shared.state();
        if !state.finished {
            state.model.event(event, now);
        }
    }

    pub(super) fn has_shown_tail(&self, vertex: &Digest) -> bool {
        self.shared.state().model.has_shown_tail(vertex)
    }

    /// Takes the region away while `act` writes to the terminal in its own way.
    pub(super) fn suspend<R>(&self, act: impl FnOnce() -> R) -> R {
        let mut screen = self.shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let above = std::mem::take(&mut self.shared.state().model.above);
        // A terminal that went away takes no results either; `act` finds out.
        let _ = screen.draw(&above, &[], size());
        act()
    }

    /// Takes the region away and waits until everything is written.
    pub(super) fn finish(&self) {
        {
            let mut state = self.shared.state();
            if !state.finished {
                state.finished = true;
                let words = state.model.counts.words(self.shared.clock.now());
                state.model.above.extend(words);
            }
        }
        self.shared.wake.notify_all();
        let painter = self.painter.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A painter that panicked has told so; the build's result stands.
        let _ = painter.map(JoinHandle::join);
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.finish();
    }
}

fn paint(shared: &Shared) {
    loop {
        let mut screen = shared.screen.lock().unwrap_or_else(PoisonError::into_inner);
        let size = size();
        let (above, region, finished) = {
            let mut state = shared.state();
            let above = std::mem::take(&mut state.model.above);
            let finished = state.finished;
            let now = shared.clock.now();
            let region = if finished { Vec::new() } else { frame(&state.model, now, size, shared.style) };
            (above, region, finished)
        };
        // The lock is free while the terminal takes its time. A terminal that went away needs no picture.
        if screen.draw(&above, &region, size).is_err() || finished {
            return;
        }
        drop(screen);
        let pause = shared.wake.wait_timeout_while(shared.state(), EVERY, |state| !state.finished);
        drop(pause.unwrap_or_else(PoisonError::into_inner));
    }
}

fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).ok();
    told.filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(UNKNOWN, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::view::tests::{Page, events, fake_clock};
    use super::*;

    const STYLE: Style = Style { live: true, colour: false, unicode: false };

    #[test]
    fn what_ended_stands_after_the_region_is_gone() {
        let page = Page::default();
        let (clock, turn) = fake_clock();
        let view = Tty::start(page.output(), clock, STYLE);
        events(&turn, &|event| view.event(&event));
        view.finish();
        view.event(&Event::Note { message: "too late" });
        drop(view);
        let text = page.text();
        let stands = text.rsplit("\x1b[?2026h").next().expect("at least one picture").replace("\x1b[K", "");
        assert!(stands.contains("17 steps: 1 done, 1 cached, 1 failed, 6.00s\n\x1b[J"), "{text}");
        assert!(text.contains("  | half \u{fffd}^@ line"), "{text}");
        assert!(!text.contains("too late"));
    }

    #[test]
    fn a_result_is_written_below_what_ended_and_is_not_drawn_over() {
        let page = Page::default();
        let (clock, _) = fake_clock();
        let view = Tty::start(page.output(), clock, STYLE);
        let vertex = Digest::of(b"zlib");
        view.event(&Event::Started { vertex, name: "zlib", reason: None });
        while !page.text().contains("zlib") {
            thread::sleep(Duration::from_millis(1));
        }
        view.event(&Event::Finished { vertex, name: "zlib", elapsed: Duration::ZERO, error: None });
        view.suspend(|| page.clone().write_all(b"<result>\n")).expect("pages take everything");
        view.finish();
        let text = page.text();
        let (before, after) = text.split_once("<result>\n").expect("it was written");
        assert!(before.ends_with("ok zlib  0.00s\n\x1b[J\x1b[?2026l"), "{before:?}");
        assert!(!after.contains('A'), "the cursor goes up over the result: {after:?}");
    }

    #[test]
    fn a_hundred_thousand_lines_of_output_are_some_pictures_only() {
        let page = Page::default();
        let (clock, _) = fake_clock();
        let view = Tty::start(page.output(), clock, STYLE);
        let vertex = Digest::of(b"noisy");
        let start = std::time::Instant::now();
        view.event(&Event::Started { vertex, name: "noisy", reason: None });
        for _ in 0..100_000 {
            view.event(&Event::Log { vertex, name: "noisy", data: b"a line of output\n" });
        }
        view.finish();
        let pictures = page.text().matches("\x1b[?2026h").count();
        let most = start.elapsed().as_millis() / EVERY.as_millis() + 2;
        assert!(pictures as u128 <= most, "{pictures} pictures, at most {most} are due");
    }
}
