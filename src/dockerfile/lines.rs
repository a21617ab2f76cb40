//! The lines of a Dockerfile become statements (`frontend/dockerfile/parser`): comments and directives, continuation,
//! flags, heredocs.

use std::ops::RangeInclusive;

use super::error::Fault;
use super::heredoc::{Heredoc, heredocs_of};
use super::words::{is_blank, json_array, split_flags};

/// The most bytes of a Dockerfile, far above any that people write.
pub const LARGEST: usize = 4 << 20;

/// Line numbers from 1.
pub(super) type Lines = RangeInclusive<u32>;

/// One instruction as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// The first word, as written.
    pub(super) keyword: String,
    /// All of it on one line.
    pub(super) original: String,
    /// `--name=value` words behind the keyword.
    pub(super) flags: Vec<String>,
    /// What stands behind keyword and flags.
    pub(super) rest: String,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) lines: Lines,
}

/// A Dockerfile as statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) statements: Vec<Statement>,
    /// The escape character, of the directive `# escape=`.
    pub(super) escape: char,
    /// The value of the directive `# syntax=`, which is noted: this front end is the one that reads it.
    pub(super) syntax: Option<String>,
    /// Statements with an empty line in their continuation, by their last line.
    pub(super) empty_continuations: Vec<u32>,
}

/// Directives (`parser/directives.go`): comments of the form `# name=value` before anything else.
#[derive(Debug, Default)]
struct Directives {
    done: bool,
    seen: Vec<(String, String)>,
}

const DIRECTIVES: [&str; 3] = ["syntax", "escape", "check"];

impl Directives {
    fn look(&mut self, line: &str) -> Result<Option<(String, String)>, Fault> {
        if self.done {
            return Ok(None);
        }
        let found = line.strip_prefix('#').and_then(|text| {
            let (name, value) = text.trim_start().split_once('=')?;
            let (name, value) = (name.trim_end().to_lowercase(), value.trim());
            (DIRECTIVES.contains(&name.as_str()) && !value.is_empty()).then(|| (name, value.to_owned()))
        });
        let Some((name, value)) = found else {
            self.done = true;
            return Ok(None);
        };
        if self.seen.iter().any(|(seen, _)| *seen == name) {
            return Err(Fault::new(format!("only one `{name}` directive can be used")).about(name));
        }
        self.seen.push((name.clone(), value.clone()));
        Ok(Some((name, value)))
    }
}

/// Parses the text of a Dockerfile, or of one `ONBUILD` trigger.
pub(super) fn parse(text: &str) -> Result<Parsed, (Fault, Lines)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parsed = Parsed { statements: Vec::new(), escape: '\\', syntax: None, empty_continuations: Vec::new() };
    let mut directives = Directives::default();
    let mut lines = text.split_inclusive('\n').zip(1_u32..).peekable();
    while let Some((line, number)) = lines.next() {
        let line = trim_newline(line).trim_start();
        if let Some((name, value)) = directives.look(line).map_err(|fault| (fault, number..=number))? {
            match (name.as_str(), value.as_str()) {
                ("escape", "\\" | "`") => parsed.escape = value.chars().next().unwrap_or('\\'),
                ("escape", _) => {
                    let fault = Fault::new(format!("escape character `{value}` is neither \\ nor `")).about(value);
                    return Err((fault, number..=number));
                }
                ("syntax", _) => parsed.syntax = Some(value),
                _ => {}
            }
        }
        if line.starts_with('#') {
            continue;
        }
        let (first, mut goes_on) = continuation(line, parsed.escape);
        if first.is_empty() && !goes_on {
            continue;
        }
        let (mut joined, mut last, mut has_gap) = (first.to_owned(), number, false);
        while goes_on {
            let Some((line, number)) = lines.next() else { break };
            last = number;
            let line = trim_newline(line);
            directives.done = true;
            if line.trim_start().starts_with('#') {
                continue;
            }
            if line.trim_start().is_empty() {
                has_gap = true;
                continue;
            }
            let (part, more) = continuation(line, parsed.escape);
            joined.push_str(part);
            goes_on = more;
        }
        if has_gap {
            parsed.empty_continuations.push(last);
        }
        let at = |fault: Fault, last: u32| (fault, number..=last);
        let mut statement = statement(&joined, parsed.escape, number..=last);
        if statement.can_have_heredocs() {
            for mut heredoc in heredocs_of(&joined).map_err(|fault| at(fault, last))? {
                let mut ended = false;
                for (line, number) in lines.by_ref() {
                    last = number;
                    let mut bare = trim_newline(line);
                    if heredoc.chomp {
                        bare = bare.trim_start_matches('\t');
                    }
                    if bare == heredoc.name {
                        ended = true;
                        break;
                    }
                    heredoc.content.push_str(line);
                }
                if !ended {
                    let fault = Fault::new(format!("heredoc `{}` is not ended", heredoc.name))
                        .help(format!("end it with a line that is `{}` and nothing else", heredoc.name));
                    return Err(at(fault.about(heredoc.name), number));
                }
                statement.heredocs.push(heredoc);
            }
            statement.lines = number..=last;
        }
        parsed.statements.push(statement);
    }
    Ok(parsed)
}

/// Makes a statement of one joined line.
pub(super) fn statement(line: &str, escape: char, lines: Lines) -> Statement {
    let trimmed = line.trim();
    let (keyword, behind) = trimmed.split_once(is_blank).unwrap_or((trimmed, ""));
    let (flags, rest) = split_flags(behind.trim_start_matches(is_blank), escape);
    Statement {
        keyword: keyword.to_owned(),
        original: line.to_owned(),
        flags,
        rest: rest.trim().to_owned(),
        heredocs: Vec::new(),
        lines,
    }
}

impl Statement {
    fn can_have_heredocs(&self) -> bool {
        let takes = |keyword: &str| ["add", "copy", "run"].iter().any(|word| keyword.eq_ignore_ascii_case(word));
        if !self.original.contains("<<") {
            return false;
        }
        if self.keyword.eq_ignore_ascii_case("onbuild") {
            let inner = statement(&self.rest, '\\', self.lines.clone());
            return takes(&inner.keyword) && !matches!(json_array(&inner.rest), Ok(Some(_)));
        }
        takes(&self.keyword) && !matches!(json_array(&self.rest), Ok(Some(_)))
    }
}

fn trim_newline(line: &str) -> &str {
    line.trim_end_matches(['\r', '\n'])
}

/// Takes the escape character from the end of a line that goes on: one that no other stands before.
fn continuation(line: &str, escape: char) -> (&str, bool) {
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn originals(text: &str) -> Vec<(String, Lines)> {
        let parsed = parse(text).expect("valid");
        parsed.statements.into_iter().map(|statement| (statement.original, statement.lines)).collect()
    }

    #[test]
    fn lines_are_joined_and_comments_between_them_left_out() {
        let text = "# c\nFROM a\n\n RUN x \\\n# c\n\n  y\\  \n  z\nRUN a \\\\\nRUN \\\n";
        let expected = [("FROM a", 2..=2), ("RUN x   y  z", 4..=8), ("RUN a \\\\", 9..=9), ("RUN ", 10..=10)];
        assert_eq!(originals(text), expected.map(|(text, lines)| (text.to_owned(), lines)));
    }

    #[test]
    fn the_escape_character_can_be_a_backtick_for_windows_paths() {
        let parsed = parse("# syntax = docker/dockerfile:1\n# escape=`\nFROM a `\n  AS b\n").expect("valid");
        assert_eq!((parsed.escape, parsed.syntax.as_deref()), ('`', Some("docker/dockerfile:1")));
        assert_eq!(parsed.statements[0].original, "FROM a   AS b");
        assert_eq!(parse("# hello\n# escape=`\nFROM a").expect("valid").escape, '\\', "after another comment");
        assert!(parse("# escape=x\nFROM a").is_err());
        assert!(parse("# escape=`\n# escape=`\nFROM a").is_err());
    }

    #[test]
    fn heredocs_belong_to_their_statement() {
        let parsed =
            parse("RUN <<EOF\na\n#b\nEOF\nCOPY <<-\"X\" <<Y /d/\n\tq\n\tX\ny\nY\nRUN [\"<<EOF\"]\n").expect("valid");
        let [run, copy, json] = &parsed.statements[..] else { panic!("{:?}", parsed.statements) };
        assert_eq!((run.heredocs[0].content.as_str(), run.lines.clone()), ("a\n#b\n", 1..=4));
        assert_eq!(
            copy.heredocs.iter().map(|doc| (doc.expand, doc.chomp)).collect::<Vec<_>>(),
            [(false, true), (true, false)]
        );
        assert!(json.heredocs.is_empty());
        assert!(parse("RUN <<EOF\na\n").is_err());
    }
}
