//! The place in a text, drawn by miette.

use std::fmt;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode, SourceSpan,
    ThemeCharacters, ThemeStyles,
};

use crate::cli::progress::{Style, clean};

use super::SourcePicture;

/// What miette is asked to draw: a label at a place, and nothing else.
#[derive(Debug)]
struct Place {
    text: NamedSource<String>,
    span: SourceSpan,
    label: String,
}

impl fmt::Display for Place {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Place {}

impl Diagnostic for Place {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(self.label.clone()), self.span))))
    }
}

/// Draws the lines around a place with the place underlined, each line ended.
pub(super) fn draw(source: &SourcePicture, style: Style, columns: usize) -> String {
    let theme = GraphicalTheme {
        characters: if style.unicode { ThemeCharacters::unicode() } else { ThemeCharacters::ascii() },
        styles: if style.colour { ThemeStyles::ansi() } else { ThemeStyles::none() },
    };
    let (text, start, end) = shown(source);
    let place = Place {
        text: NamedSource::new(clean(source.name.as_bytes()), text),
        span: (start, end - start).into(),
        label: clean(source.label.as_bytes()),
    };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(columns.max(20)).with_links(false);
    let mut drawn = String::new();
    if handler.render_report(&mut drawn, &place).is_err() {
        return format!("  at {}\n", clean(source.name.as_bytes()));
    }
    // The head is ours: miette's, which is empty, ends with the first line.
    drawn.split_once('\n').map(|(_, picture)| picture.to_owned()).unwrap_or_default()
}

/// Returns the text as it may be shown, and the place in it.
///
/// Control characters become U+FFFD. Both ends are moved to the next character boundary within the text, and an empty
/// place gets the character that follows it, so that something is underlined.
fn shown(source: &SourcePicture) -> (String, usize, usize) {
    let end_of_text = source.text.len();
    let ceil = |at: usize| (at.min(end_of_text)..=end_of_text).find(|at| source.text.is_char_boundary(*at));
    let start = ceil(source.span.start).unwrap_or(end_of_text);
    let end = ceil(source.span.end.max(start)).unwrap_or(end_of_text);
    let is_shown = |c: char| c == '\n' || c == '\t' || clean(c.encode_utf8(&mut [0; 4]).as_bytes()) == c.to_string();
    let (mut text, mut places) = (String::with_capacity(end_of_text), (0, 0));
    for (at, character) in source.text.char_indices() {
        if at == start {
            places.0 = text.len();
        }
        if at == end {
            places.1 = text.len();
        }
        // A carriage return before a line end is part of it.
        if character == '\r' && source.text[at + 1..].starts_with('\n') {
            continue;
        }
        text.push(if is_shown(character) { character } else { '\u{fffd}' });
    }
    if start == end_of_text {
        places.0 = text.len();
    }
    if end == end_of_text {
        places.1 = text.len();
    }
    (text, places.0, places.1.max(places.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { live: false, colour: false, unicode: true };

    fn picture(text: &str, span: std::ops::Range<usize>) -> SourcePicture {
        SourcePicture { name: "recipes/zlib.toml".to_owned(), text: text.to_owned(), span, label: "unknown".to_owned() }
    }

    #[test]
    fn the_place_is_underlined_and_the_head_is_left_to_the_report() {
        let text = "name = \"zlib\"\nscrpt = \"zlib.sh\"\n";
        assert_eq!(
            draw(&picture(text, 14..19), STYLE, 80),
            "   ╭─[recipes/zlib.toml:2:1]
 1 │ name = \"zlib\"
 2 │ scrpt = \"zlib.sh\"
   · ──┬──
   ·   ╰── unknown
   ╰────
"
        );
    }

    #[test]
    fn no_place_is_too_odd_to_be_drawn() {
        for text in ["", "x", "é\r\nü\x1b", "\n\n\n", "last"] {
            for start in 0..8 {
                for end in 0..8 {
                    let drawn = draw(&picture(text, start..end), STYLE, 0);
                    assert!(drawn.chars().all(|c| c == '\n' || !c.is_control()), "{drawn:?}");
                }
            }
        }
    }
}
