//! What standard error can show.

use std::io::{self, IsTerminal};

/// What standard error can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Whether it is a terminal that can move its cursor.
    pub live: bool,
    /// Whether colours are wanted.
    pub colour: bool,
    /// Whether more than ASCII can be shown.
    pub unicode: bool,
}

impl Style {
    /// Neither live nor coloured, ASCII only.
    pub const PLAIN: Self = Self { live: false, colour: false, unicode: false };

    /// Looks at standard error and at the variables `TERM`, `NO_COLOR`, `LC_ALL`, `LC_CTYPE` and `LANG`.
    pub fn of(environment: impl Fn(&str) -> Option<String>) -> Self {
        Self::from_facts(io::stderr().is_terminal(), environment)
    }

    fn from_facts(terminal: bool, environment: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty());
        let live = terminal && set("TERM").is_some_and(|term| term != "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_lowercase();
        Self {
            live,
            colour: live && set("NO_COLOR").is_none(),
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    /// Wraps `text` in a colour, given as the number of a `SGR` sequence.
    pub fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_how_things_are_shown() {
        let style = |terminal, variables: &[(&str, &str)]| {
            Style::from_facts(terminal, |name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            })
        };
        let full = Style { live: true, colour: true, unicode: true };
        assert_eq!(style(true, &[("TERM", "xterm"), ("LANG", "C.UTF-8")]), full);
        assert_eq!(
            style(true, &[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LC_ALL", "C")]),
            Style { unicode: false, ..full }
        );
        assert_eq!(
            style(true, &[("TERM", "xterm"), ("LANG", "C.utf8"), ("NO_COLOR", "1")]),
            Style { colour: false, ..full }
        );
        assert!(style(true, &[("TERM", "xterm"), ("NO_COLOR", "")]).colour, "an empty NO_COLOR says nothing");
        assert_eq!(style(true, &[("TERM", "dumb")]), Style::PLAIN);
        assert_eq!(style(true, &[]), Style::PLAIN);
        assert_eq!(style(false, &[("TERM", "xterm")]), Style::PLAIN);
    }
}
