//! Where the live region is drawn and taken away again.
//!
//! The cursor rests below the region. A redraw goes up as many rows as the region takes *now*: a terminal that was
//! made narrower has broken its lines, so the rows are counted anew from the width of each line. A whole redraw is
//! one write; the synchronized-output marks keep terminals that know them from showing half of it.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::frame::Size;
use super::text::width;
use super::view::Output;

const BEGIN: &str = "\x1b[?2026h";
const END: &str = "\x1b[?2026l";
/// Erases from the cursor to the end of the line.
const REST_OF_LINE: &str = "\x1b[K";
/// Erases from the cursor to the end of the screen.
const REST_OF_SCREEN: &str = "\x1b[J";

#[derive(Debug)]
pub(super) struct Screen {
    out: Output,
    /// Widths of the lines of the region that stands, and the terminal's columns when it was drawn.
    widths: Vec<usize>,
    columns: usize,
}

impl Screen {
    pub(super) const fn new(out: Output) -> Self {
        Self { out, widths: Vec::new(), columns: 0 }
    }

    /// Writes `above` for good and draws `region` below it in place of the former one.
    pub(super) fn draw(&mut self, above: &[String], region: &[String], size: Size) -> io::Result<()> {
        if above.is_empty() && region.is_empty() && self.widths.is_empty() {
            return Ok(());
        }
        let mut text = String::from(BEGIN);
        let rows = self.rows(size.columns);
        if rows > 0 {
            // More rows than the screen has cannot be reached; writing to a String cannot fail.
            let _ = write!(text, "\r\x1b[{}A", rows.min(size.rows.saturating_sub(1)).max(1));
        }
        if size.columns != self.columns {
            text += REST_OF_SCREEN;
        }
        for line in above.iter().chain(region) {
            // Cleared before it is written: a line cleared behind its text stays as long as it was for a terminal that
            // breaks lines anew.
            text += REST_OF_LINE;
            text += line;
            text.push('\n');
        }
        text += REST_OF_SCREEN;
        text += END;
        self.widths = region.iter().map(|line| width(line)).collect();
        self.columns = size.columns;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Rows that the region takes on a terminal of `columns`.
    fn rows(&self, columns: usize) -> usize {
        self.widths.iter().map(|width| width.div_ceil(columns.max(1)).max(1)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::Page;
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn a_redraw_takes_the_former_region_away_whole() {
        let page = Page::default();
        let mut screen = Screen::new(page.output());
        let size = Size { columns: 20, rows: 10 };
        screen.draw(&[], &lines(&["one", "a line of 18 column"]), size).expect("pages take everything");
        let before = page.text().len();
        screen.draw(&lines(&["done"]), &lines(&["two"]), size).expect("pages take everything");
        assert_eq!(&page.text()[before..], "\x1b[?2026h\r\x1b[2A\x1b[Kdone\n\x1b[Ktwo\n\x1b[J\x1b[?2026l");
    }

    #[test]
    fn a_narrower_terminal_has_broken_the_lines_of_the_region() {
        let page = Page::default();
        let mut screen = Screen::new(page.output());
        screen.draw(&[], &lines(&["one", "a line of 18 column"]), Size { columns: 20, rows: 10 }).expect("taken");
        let before = page.text().len();
        screen.draw(&[], &[], Size { columns: 8, rows: 10 }).expect("taken");
        assert_eq!(&page.text()[before..], "\x1b[?2026h\r\x1b[4A\x1b[J\x1b[J\x1b[?2026l");
    }

    #[test]
    fn nothing_to_draw_writes_nothing() {
        let page = Page::default();
        Screen::new(page.output()).draw(&[], &[], Size { columns: 8, rows: 10 }).expect("taken");
        assert_eq!(page.text(), "");
    }
}
