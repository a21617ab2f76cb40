//! The picture of the live region: lines made of a model, a time and a size. Pure.
//!
//! ```text
//! ━━━━━━━╸──────────── 5/17  3 cached  1m03s
//!   3.12-x86_64  building   1m03s                    variants of a release that are worked on
//!   3.12-x86     testing    12.1s
//!   2 passed, 2 waiting
//! ⠹ openssl          52.3s  gcc -Iinclude -c crypto/aes/aes_core.c
//! ⠹ source cpython    4.1s  12.3 of 19.9 MB, 3.10 MB/s
//!   Python-3.11.2.tar.xz  ━━━━━━━━━╸──────  12.3 of 19.9 MB
//! ```

use std::fmt::Write as _;
use std::time::Duration;

use crate::progress::Phase;

use super::model::{Model, Running};
use super::moving::{Item, measure};
use super::style::Style;
use super::text::{fit, width};
use super::units::elapsed;

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Most lines of the live region; more would push what is above it out of sight.
const LINES: usize = 16;
/// Most files shown of one vertex, each with a bar.
const FILES: usize = 3;
/// Columns of a name at most.
const NAME: usize = 32;
/// Columns of a bar: fewer say nothing, more say no more.
const BAR: std::ops::RangeInclusive<usize> = 6..=24;
/// Time that one picture of the spinner stands.
const SPIN: u128 = 100;

/// Draws the live region, each line narrower than the terminal; empty while nothing is planned or running.
pub(super) fn frame(model: &Model, now: Duration, size: Size, style: Style) -> Vec<String> {
    if model.counts.planned == 0 && model.running.is_empty() && model.variants.is_empty() {
        return Vec::new();
    }
    // The last column stays free: a terminal may wrap when it is filled.
    let columns = size.columns.saturating_sub(1);
    let most = LINES.min(size.rows.saturating_sub(1)).max(1);
    let name = model.running.iter().map(|running| width(&running.name)).max().unwrap_or(0).min(NAME).min(columns / 2);
    let mut lines = vec![header(model, now, columns, style)];
    lines.extend(variants(model, now, style));
    for running in &model.running {
        step(&mut lines, running, now, (name, columns), style);
    }
    if lines.len() > most {
        let hidden = lines.len() - most + 1;
        lines.truncate(most.saturating_sub(1).max(1));
        if most > 1 {
            lines.push(format!("  {hidden} more lines"));
        }
    }
    lines.into_iter().map(|line| fit(&line, columns)).collect()
}

fn header(model: &Model, now: Duration, columns: usize, style: Style) -> String {
    let counts = model.counts;
    let planned = counts.planned.max(counts.over() + model.running.len());
    let mut words = format!("{}/{planned}", counts.over());
    // Writing to a String cannot fail.
    for (number, word) in [(counts.cached, "cached"), (counts.failed, "failed")] {
        if number > 0 {
            let _ = write!(words, "  {number} {word}");
        }
    }
    let _ = write!(words, "  {}", elapsed(now));
    let whole = Item { current: counts.over() as u64, total: Some(planned as u64) };
    match bar(whole, columns.saturating_sub(width(&words) + 1), style) {
        Some(bar) => format!("{bar} {words}"),
        None => words,
    }
}

/// A line for each variant that is worked on, and one that counts the others; nothing where there is only one.
fn variants(model: &Model, now: Duration, style: Style) -> Vec<String> {
    if model.variants.len() < 2 {
        return Vec::new();
    }
    let name = model.variants.iter().map(|(name, _, _)| width(name)).max().unwrap_or(0);
    let active = model.variants.iter().filter(|(_, phase, _)| phase.is_active());
    let mut lines: Vec<String> = active
        .map(|(title, phase, since)| {
            let time = elapsed(now.saturating_sub(*since));
            let blanks = " ".repeat(name.saturating_sub(width(title)));
            format!("  {title}{blanks}  {}  {time:>6}", style.paint("36", &format!("{:<8}", phase.name())))
        })
        .collect();
    let counted = [Phase::Passed, Phase::Failed, Phase::Skipped, Phase::Waiting].map(|phase| {
        let count = model.variants.iter().filter(|(_, found, _)| *found == phase).count();
        (count > 0).then(|| format!("{count} {}", phase.name()))
    });
    let counted: Vec<String> = counted.into_iter().flatten().collect();
    if !counted.is_empty() {
        lines.push(format!("  {}", counted.join(", ")));
    }
    lines
}

fn step(lines: &mut Vec<String>, running: &Running, now: Duration, (name, columns): (usize, usize), style: Style) {
    let time = elapsed(now.saturating_sub(running.since));
    let mark = style.paint("36", spinner(now, style));
    let title = fit(&running.name, name);
    let blanks = " ".repeat(name.saturating_sub(width(&title)));
    let said = if running.moving.is_empty() { running.last_line() } else { running.moving.words(now) };
    let said = if said.is_empty() { said } else { format!("  {}", style.paint("2", &said)) };
    lines.push(format!("{mark} {title}{blanks} {time:>6}{said}"));
    for (id, item) in running.moving.active().take(FILES) {
        let words = measure(id, item);
        let id = fit(id, NAME.min(columns / 2));
        let free = columns.saturating_sub(width(&id) + width(&words) + 6);
        lines.push(match bar(item, free, style) {
            Some(bar) => format!("  {id}  {bar}  {words}"),
            None => format!("  {id}  {words}"),
        });
    }
}

fn spinner(now: Duration, style: Style) -> &'static str {
    let pictures: &[&str] = if style.unicode {
        &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
    } else {
        &["-", "\\", "|", "/"]
    };
    let turn = usize::try_from(now.as_millis() / SPIN).unwrap_or(0);
    pictures[turn % pictures.len()]
}

/// Draws how much is done in at most `free` columns; `None` where that is too narrow or the whole is not known.
fn bar(item: Item, free: usize, style: Style) -> Option<String> {
    let columns = free.min(*BAR.end());
    let total = item.total.filter(|total| *total > 0 && columns >= *BAR.start())?;
    // Half columns: a thin head marks the odd one.
    let halves = u128::from(item.current.min(total)) * (2 * columns as u128) / u128::from(total);
    let halves = usize::try_from(halves).unwrap_or(0);
    let (full, half, empty) = if style.unicode { ("━", "╸", "─") } else { ("#", "-", "-") };
    let odd = halves % 2;
    let done = full.repeat(halves / 2) + if odd == 1 { half } else { "" };
    let left = empty.repeat(columns - halves / 2 - odd);
    Some(format!("{}{}", style.paint("36", &done), style.paint("2", &left)))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::view::tests::{events, fake_clock, vertex};
    use super::*;
    use crate::progress::Event;

    const UNICODE: Style = Style { live: true, colour: false, unicode: true };

    fn running() -> Model {
        let mut model = Model::new(UNICODE);
        let at = Duration::from_secs;
        model.event(&Event::Planned { vertices: 17 }, at(0));
        model.event(&Event::Cached { vertex: vertex("rootfs"), name: "rootfs" }, at(0));
        model.event(&Event::Started { vertex: vertex("a"), name: "openssl 3.0", reason: None }, at(1));
        model.event(&Event::Log { vertex: vertex("a"), name: "openssl 3.0", data: b"gcc -c aes.c\n\n" }, at(2));
        model.event(&Event::Started { vertex: vertex("b"), name: "source", reason: None }, at(60));
        for (id, current) in [("python.tar.xz", 10_000_000), ("done.tar.xz", 20_000_000)] {
            let status = Event::Status { vertex: vertex("b"), id, current, total: Some(20_000_000) };
            model.event(&status, at(61));
        }
        model
    }

    #[test]
    fn the_region_shows_what_runs_and_what_is_fetched() {
        let lines = frame(&running(), Duration::from_secs(64), Size { columns: 80, rows: 24 }, UNICODE);
        assert_eq!(
            lines,
            [
                "━───────────────────────  1/17  1 cached  1m04s".replacen("  1/17", " 1/17", 1).as_str(),
                "⠋ openssl 3.0  1m03s  gcc -c aes.c",
                "⠋ source       4.00s  1 of 2 files, 30.0 of 40.0 MB, 6.67 MB/s",
                "  python.tar.xz  ━━━━━━━━━━━━────────────  10.0 of 20.0 MB",
            ]
        );
    }

    #[test]
    fn the_region_shows_the_variants_of_a_release_and_counts_those_that_nobody_works_on() {
        let mut model = Model::new(UNICODE);
        let names = ["3.12-x86_64", "3.12-x86", "3.11-x86_64", "3.11-x86", "3.10-x86"];
        let phases = [Phase::Testing, Phase::Building, Phase::Passed, Phase::Waiting, Phase::Waiting];
        for (name, phase) in names.into_iter().zip(phases) {
            model.event(&Event::Variant { name, phase: Phase::Waiting }, Duration::ZERO);
            model.event(&Event::Variant { name, phase }, Duration::from_secs(2));
        }
        let lines = frame(&model, Duration::from_secs(64), Size { columns: 80, rows: 24 }, UNICODE);
        assert_eq!(
            lines[1..],
            ["  3.12-x86_64  testing    1m02s", "  3.12-x86     building   1m02s", "  1 passed, 2 waiting"]
        );
        assert_eq!(model.above, ["✔ 3.11-x86_64 passed"]);
    }

    #[test]
    fn the_region_fits_every_terminal() {
        let model = running();
        for columns in 0..130 {
            for rows in 0..20 {
                for style in [UNICODE, Style { colour: true, ..UNICODE }, Style::PLAIN] {
                    let lines = frame(&model, Duration::from_secs(64), Size { columns, rows }, style);
                    assert!(lines.len() < rows.max(2), "{columns}x{rows}: {lines:?}");
                    assert!(lines.iter().all(|line| width(line) < columns.max(1)), "{columns}x{rows}: {lines:?}");
                }
            }
        }
    }

    #[test]
    fn a_finished_step_leaves_the_region_and_a_failed_one_leaves_its_last_lines() {
        let (clock, turn) = fake_clock();
        let model = RefCell::new(Model::new(UNICODE));
        events(&turn, &|event| model.borrow_mut().event(&event, clock.now()));
        let model = model.into_inner();
        assert_eq!(
            model.above,
            [
                "note: ^[[2Jmirror answered late",
                "✔ source  4.00s  8.00 MB",
                "✘ zlib  5.00s  exit status 2",
                "  │ checking for gcc... gcc",
                "  │ half \u{fffd}^@ line",
            ]
        );
        assert!(model.has_shown_tail(&vertex("zlib")) && !model.has_shown_tail(&vertex("source")));
        assert!(model.running.is_empty());
    }
}
