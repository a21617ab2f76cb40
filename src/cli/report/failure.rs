//! A failure as a value, and how it is written.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::cli::progress::{Style, clean};

use super::picture;

/// Lines of a step's output that a report repeats.
const TAIL: usize = 20;

/// Whose turn it is, as an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The build failed: a step, a test or a download did.
    Failed = 1,
    /// What the user gave is wrong: arguments, recipes, locks.
    Input = 2,
    /// The machine cannot: no user namespaces, no room.
    Machine = 3,
    /// We are wrong (`sysexits.h EX_SOFTWARE`).
    Bug = 70,
    /// Interrupted by Ctrl-C, as shells report it (128 + SIGINT).
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A place in a text that a person wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePicture {
    /// Name of the text, e.g. its path.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Bytes of the text that are meant; anything beyond its end is taken for its end.
    pub span: Range<usize>,
    /// What is the matter with them.
    pub label: String,
}

/// Everything that is said about one failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose turn it is.
    pub exit: Exit,
    /// What went wrong, in one line without a full stop.
    pub message: String,
    /// Why, from the outside in.
    pub causes: Vec<String>,
    /// The way out, where we know it; more lines are set under the first.
    pub help: Option<String>,
    /// Where in a recipe or another file.
    pub source: Option<SourcePicture>,
    /// The end of a failed step's output, as it was written; the last 20 lines are shown.
    pub log_tail: Option<Vec<u8>>,
    /// Where the whole output of that step is kept.
    pub log_path: Option<PathBuf>,
}

impl Report {
    /// Makes a report of one line.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
            help: None,
            source: None,
            log_tail: None,
            log_path: None,
        }
    }

    /// Makes a report of an error and all of its sources; a source that its predecessor quotes is not repeated.
    #[must_use]
    pub fn of(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut report = Self::new(exit, error.to_string());
        let mut said = report.message.clone();
        let mut source = error.source();
        while let Some(cause) = source {
            let words = cause.to_string();
            if !said.ends_with(&words) {
                report.causes.push(words.clone());
            }
            said = words;
            source = cause.source();
        }
        report
    }

    /// Returns what went wrong and why, in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let message = self.message.lines().next().unwrap_or_default();
        std::iter::once(message).chain(self.causes.iter().map(String::as_str)).collect::<Vec<_>>().join(": ")
    }

    /// Adds the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the place in a text.
    #[must_use]
    pub fn source(mut self, source: SourcePicture) -> Self {
        self.source = Some(source);
        self
    }

    /// Adds the end of a failed step's output and where all of it is.
    #[must_use]
    pub fn log(mut self, tail: Option<Vec<u8>>, path: Option<PathBuf>) -> Self {
        (self.log_tail, self.log_path) = (tail, path);
        self
    }

    /// Writes the report to standard error and returns the exit code.
    pub fn show(&self, style: Style, columns: usize) -> ExitCode {
        // Where standard error is closed nobody listens; the exit code still tells.
        let _ = io::stderr().write_all(self.render(style, columns).as_bytes());
        self.exit.into()
    }

    /// Returns the report as text, made for a terminal of `columns` columns.
    pub fn render(&self, style: Style, columns: usize) -> String {
        let mut text = String::new();
        let mut message = self.message.lines().map(|line| clean(line.as_bytes()));
        let first = message.next().unwrap_or_default();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(text, "{} {}", style.paint("1;31", "error:"), style.paint("1", &first));
        for line in message {
            let _ = writeln!(text, "       {line}");
        }
        if let Some(source) = &self.source {
            text += &picture::draw(source, style, columns);
        }
        for cause in &self.causes {
            labelled(&mut text, &style.paint("2", "  cause:"), cause, "         ");
        }
        self.render_log(&mut text, style);
        if let Some(help) = &self.help {
            labelled(&mut text, &style.paint("1;36", "help:"), help, "      ");
        }
        text
    }

    fn render_log(&self, text: &mut String, style: Style) {
        let tail = self.log_tail.as_deref().map(<[u8]>::trim_ascii_end).filter(|tail| !tail.is_empty());
        if let Some(tail) = tail {
            let lines: Vec<&[u8]> = tail.split(|&b| b == b'\n').collect();
            let shown = &lines[lines.len().saturating_sub(TAIL)..];
            let title = match shown.len() {
                1 => "the last line of its output:".to_owned(),
                lines => format!("the last {lines} lines of its output:"),
            };
            let _ = writeln!(text, "  {}", style.paint("2", &title));
            let bar = style.paint("2", if style.unicode { "│" } else { "|" });
            for line in shown {
                let _ = writeln!(text, "  {bar} {}", clean(line));
            }
        }
        if let Some(path) = &self.log_path {
            let _ =
                writeln!(text, "  {} {}", style.paint("2", "whole log:"), clean(path.as_os_str().as_encoded_bytes()));
        }
    }
}

/// Writes `words` behind a label, further lines under the first.
fn labelled(text: &mut String, label: &str, words: &str, indent: &str) {
    let mut lines = words.lines().map(|line| clean(line.as_bytes()));
    let _ = writeln!(text, "{label} {}", lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "{indent}{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to {action} `store`")]
    struct Outer {
        action: &'static str,
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("no space left on device")]
    struct Inner;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot fetch: {source}")]
    struct Quoting {
        source: Inner,
    }

    #[test]
    fn causes_are_told_once_and_from_the_outside_in() {
        let report = Report::of(Exit::Machine, &Outer { action: "write", source: Inner });
        assert_eq!(report.message, "failed to write `store`");
        assert_eq!(report.causes, ["no space left on device"]);
        assert!(Report::of(Exit::Machine, &Quoting { source: Inner }).causes.is_empty());
    }

    #[test]
    fn exit_codes_are_promises() {
        let codes = [Exit::Failed, Exit::Input, Exit::Machine, Exit::Bug, Exit::Interrupted].map(|exit| exit as u8);
        assert_eq!(codes, [1, 2, 3, 70, 130]);
    }

    #[test]
    fn nothing_that_others_wrote_drives_the_terminal() {
        let report = Report::new(Exit::Failed, "step `\x1b[2J` failed\nsecond \x07")
            .help("try \x1b]0;x\x07")
            .log(Some(b"a\x1b[1A\r\n".to_vec()), Some(PathBuf::from("/logs/\x1b[5m")))
            .source(SourcePicture {
                name: "\x1b[3m.toml".to_owned(),
                text: "key\x1b[2J = \"\x07\"\n".to_owned(),
                span: 0..3,
                label: "\x1b[4m".to_owned(),
            });
        let text = report.render(Style { unicode: true, ..Style::PLAIN }, 80);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
