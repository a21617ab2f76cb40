//! Ends of sentences about answers that did not come, or were a no: the same for all servers.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// How often something was tried, where that was more than once.
#[derive(Debug)]
pub struct Attempts(pub usize);

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > 1 { write!(f, " ({} attempts)", self.0) } else { Ok(()) }
    }
}

/// How long a server asks to wait.
#[derive(Debug)]
pub struct Wait(pub Option<Duration>);

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(wait) => write!(f, ", and asks to wait {} s", wait.as_secs_f32()),
            None => Ok(()),
        }
    }
}

/// A server's own words, where it has some.
#[derive(Debug)]
pub struct Said<'a>(pub &'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

/// The innermost cause, which is the one that says something: the others are "error sending request" and the like.
#[derive(Debug)]
pub struct Last<'a>(pub &'a reqwest::Error);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: &dyn Error = self.0;
        while let Some(cause) = last.source() {
            last = cause;
        }
        write!(f, "{last}")
    }
}

/// Makes what a server wrote, and anybody may have made it write, one harmless line of at most 300 characters.
pub fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(300).collect()
}

/// As `one_line` for a body that is no document: pages and broken JSON are for nobody.
pub fn plain(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).unwrap_or_default().trim();
    if text.starts_with(['<', '{', '[']) { String::new() } else { one_line(text) }
}
