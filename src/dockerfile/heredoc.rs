//! Files that are written down within a Dockerfile (`parser.go ParseHeredoc`).

use super::error::Fault;
use super::expand::Lexer;

/// A document behind `<<NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Heredoc {
    pub(super) name: String,
    /// Whether variables in it are expanded; not where its name is quoted.
    pub(super) expand: bool,
    /// Whether leading tabs go (`<<-`).
    pub(super) chomp: bool,
    pub(super) content: String,
}

impl Heredoc {
    /// Reads one word; `None` where it announces no document.
    pub(super) fn parse(word: &str) -> Result<Option<Self>, Fault> {
        let Some(rest) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else {
            return Ok(None);
        };
        let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start();
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let lexer = Lexer { keep_unset: true, ..Lexer::new('\\') };
        let plain = lexer.words(rest, &|_| None)?;
        let raw = Lexer { raw_quotes: true, ..lexer }.words(rest, &|_| None)?;
        let ([name], [raw]) = (plain.as_slice(), raw.as_slice()) else { return Ok(None) };
        let quotes = |word: &str| word.matches(['\'', '"']).count();
        Ok(Some(Self { name: name.clone(), expand: quotes(name) == quotes(raw), chomp, content: String::new() }))
    }
}

/// Returns the documents that a line announces.
pub(super) fn heredocs_of(line: &str) -> Result<Vec<Heredoc>, Fault> {
    let lexer = Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\') };
    // What cannot be split is a matter of the shell's.
    let words = lexer.words(line, &|_| None).unwrap_or_default();
    words.iter().filter_map(|word| Heredoc::parse(word).transpose()).collect()
}

/// Takes the leading tabs of every line away.
pub(super) fn chomp(text: &str) -> String {
    text.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
