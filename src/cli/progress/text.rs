//! Text that others wrote, made fit for a terminal.
//!
//! Output of a step is shown and never obeyed: escape sequences, other control characters and the characters that
//! turn the direction of writing are written out, so that a step can neither move the cursor nor make a line read
//! other than it is.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// Columns between two tab stops.
const TAB: usize = 8;

/// Returns one line of output as it may be shown: at most what a terminal would have left of it.
///
/// Bytes that are no UTF-8 become U+FFFD, tabs become blanks, and other control and format characters are written out
/// (`^[`, `\u{9b}`). Of a line that was overwritten with carriage returns the last writing is kept. Whole colour
/// sequences (`ESC [ … m`) are dropped, because compilers are fond of them.
pub fn clean(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let end = line.iter().rposition(|&b| b != b'\r').map_or(0, |last| last + 1);
    let start = line[..end].iter().rposition(|&b| b == b'\r').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&line[start..end]);
    let mut shown = String::with_capacity(text.len());
    let mut columns = 0;
    let mut rest = text.as_ref();
    while let Some(character) = rest.chars().next() {
        if let Some(after) = after_colour(rest) {
            rest = after;
            continue;
        }
        rest = &rest[character.len_utf8()..];
        let from = shown.len();
        show(&mut shown, character, columns);
        columns += width(&shown[from..]);
    }
    shown
}

/// Appends `character`, written out where a terminal would act on it.
fn show(shown: &mut String, character: char, column: usize) {
    match character {
        '\t' => (0..TAB - column % TAB).for_each(|_| shown.push(' ')),
        '\0'..='\x1f' => {
            shown.push('^');
            shown.push(char::from(character as u8 + b'@'));
        }
        '\x7f' => shown.push_str("^?"),
        _ if character.is_control() || is_invisible(character) => {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", character as u32);
        }
        _ => shown.push(character),
    }
}

/// Whether `character` changes how its neighbours are shown without being seen itself.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns what follows a colour sequence at the start of `text`.
fn after_colour(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\x1b[")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':')?;
    // `K` (erase to the end of the line) is what GCC sends beside its colours.
    matches!(rest.as_bytes()[end], b'm' | b'K').then(|| &rest[end + 1..])
}

/// Returns the columns that `text` takes; colour sequences of our own take none.
pub fn width(text: &str) -> usize {
    let mut columns = 0;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = after_colour(rest) {
            rest = after;
        } else {
            columns += character.width().unwrap_or(0);
            rest = &rest[character.len_utf8()..];
        }
    }
    columns
}

/// Cuts `text` to at most `columns` columns; what was cut shows as `…` in the last one.
pub fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 0;
    let mut coloured = false;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(after) = after_colour(rest) {
            fitted.push_str(&rest[..rest.len() - after.len()]);
            coloured = true;
            rest = after;
            continue;
        }
        used += character.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        fitted.push(character);
        rest = &rest[character.len_utf8()..];
    }
    if columns > 0 {
        fitted.push('…');
    }
    if coloured {
        fitted.push_str("\x1b[0m");
    }
    fitted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_cannot_drive_the_terminal() {
        for (given, shown) in [
            (&b"plain\n"[..], "plain"),
            (b"crlf\r\n", "crlf"),
            (b" 10%\r 20%\r100%", "100%"),
            (b"gone\r\r\r", "gone"),
            (b"\x1b[31m\x1b[Kerror:\x1b[m here", "error: here"),
            (b"\x1b[2J\x1b]0;title\x07", "^[[2J^[]0;title^G"),
            (b"a\tb", "a       b"),
            (b"\xff\x00bin\x7f", "\u{fffd}^@bin^?"),
            ("c1 \u{9b}2J".as_bytes(), "c1 \\u{9b}2J"),
            ("\u{202e}txet\u{2066}".as_bytes(), "\\u{202e}txet\\u{2066}"),
            (b"", ""),
            (b"\r", ""),
            (b"\x1b[", "^[["),
        ] {
            assert_eq!(clean(given), shown, "{given:?}");
        }
    }

    #[test]
    fn cleaning_what_is_clean_changes_nothing() {
        let once = clean(b"\x1b]8;;x\x07 \xc3\x28 \xe2\x80\xae tab\there");
        assert_eq!(clean(once.as_bytes()), once);
        assert!(!once.chars().any(char::is_control));
    }

    #[test]
    fn columns_are_counted_and_not_bytes() {
        assert_eq!(width("naïve"), 5);
        assert_eq!(width("日本"), 4);
        assert_eq!(width("\x1b[1mbold\x1b[0m"), 4);
    }

    #[test]
    fn a_cut_line_fits_and_says_that_it_was_cut() {
        assert_eq!(fit("short", 5), "short");
        assert_eq!(fit("longer", 5), "long…");
        assert_eq!(fit("日本語", 4), "日…");
        assert_eq!(fit("\x1b[1mbolder\x1b[0m", 4), "\x1b[1mbol…\x1b[0m");
        assert_eq!(fit("x", 0), "");
        for columns in 0..12 {
            assert!(width(&fit("a日本語 \x1b[32mgreen\x1b[0m", columns)) <= columns);
        }
    }
}
