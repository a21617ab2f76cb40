//! Variables and quotes of words (`frontend/dockerfile/shell/lex.go`): `$a`, `${a}`, `${a:-b}`, `${a:+b}`, `${a:?b}`,
//! `${a#b}`, `${a##b}`, `${a%b}`, `${a%%b}`, `${a/b/c}`, `${a//b/c}`.
//!
//! Not a shell: nothing is executed, and what nests deeper than [`DEPTH`] is refused.

use std::cell::RefCell;
use std::iter::Peekable;
use std::str::Chars;

use super::error::Fault;
use super::shape;

/// Expansions within expansions.
const DEPTH: usize = 32;

/// The most bytes that a word may grow to.
const LARGEST: usize = 1 << 20;

/// Looks a variable up.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How words are read.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, as in BuildKit's lexer")]
pub(super) struct Lexer {
    pub(super) escape: char,
    /// Quotes stay.
    pub(super) raw_quotes: bool,
    /// Escape characters stay.
    pub(super) raw_escapes: bool,
    /// Quotes mean nothing.
    pub(super) skip_quotes: bool,
    /// Variables that are not set stay as they were written.
    pub(super) keep_unset: bool,
}

impl Lexer {
    pub(super) const fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_quotes: false, keep_unset: false }
    }

    /// Expands a word.
    pub(super) fn word(&self, word: &str, lookup: Lookup<'_>) -> Result<String, Fault> {
        Ok(self.run(word, lookup)?.0)
    }

    /// Expands a word, and returns the names that were not set.
    pub(super) fn word_and_unset(&self, word: &str, lookup: Lookup<'_>) -> Result<(String, Vec<String>), Fault> {
        let unset = RefCell::new(Vec::new());
        let watched = |name: &str| {
            let found = lookup(name);
            if found.is_none() {
                unset.borrow_mut().push(name.to_owned());
            }
            found
        };
        let word = self.word(word, &watched)?;
        Ok((word, unset.into_inner()))
    }

    /// Expands and then splits at white space outside quotes.
    pub(super) fn words(&self, text: &str, lookup: Lookup<'_>) -> Result<Vec<String>, Fault> {
        Ok(self.run(text, lookup)?.1.list)
    }

    fn run(&self, text: &str, lookup: Lookup<'_>) -> Result<(String, Words), Fault> {
        let mut scan = Scan { lexer: *self, chars: text.chars().peekable(), lookup, depth: 0 };
        scan.until(None, self.raw_escapes).map_err(|fault| match fault.word {
            None => fault.about(text),
            Some(_) => fault,
        })
    }
}

#[derive(Debug, Default)]
struct Words {
    list: Vec<String>,
    word: String,
}

impl Words {
    fn end(&mut self) {
        if !self.word.is_empty() {
            self.list.push(std::mem::take(&mut self.word));
        }
    }

    fn push(&mut self, c: char) {
        if c.is_whitespace() { self.end() } else { self.word.push(c) }
    }
}

struct Scan<'a> {
    lexer: Lexer,
    chars: Peekable<Chars<'a>>,
    lookup: Lookup<'a>,
    depth: usize,
}

fn missing(what: &str) -> Fault {
    Fault::new(format!("the word ends before its {what}"))
}

impl Scan<'_> {
    /// Reads up to `stop`, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Words), Fault> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Fault::new(format!("variables are nested deeper than {DEPTH} times")));
        }
        let outer = std::mem::replace(&mut self.lexer.raw_escapes, raw_escapes);
        let (mut result, mut words) = (String::new(), Words::default());
        loop {
            if result.len() > LARGEST {
                return Err(Fault::new(format!("the word grows beyond {LARGEST} bytes")));
            }
            let Some(&c) = self.chars.peek() else {
                match stop {
                    Some(stop) => return Err(missing(&format!("`{stop}`"))),
                    None => break,
                }
            };
            if stop == Some(c) {
                self.chars.next();
                break;
            }
            let special = match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    Some(value)
                }
                '<' => Some(self.less()),
                '\'' if !self.lexer.skip_quotes => Some(self.single()?),
                '"' if !self.lexer.skip_quotes => Some(self.double()?),
                _ => None,
            };
            if let Some(text) = special {
                if c != '$' {
                    words.word.push_str(&text);
                }
                result.push_str(&text);
                continue;
            }
            self.chars.next();
            if c != self.lexer.escape {
                words.push(c);
                result.push(c);
                continue;
            }
            if self.lexer.raw_escapes {
                words.word.push(c);
                result.push(c);
            }
            // At the end it means nothing.
            let Some(next) = self.chars.next() else { break };
            words.word.push(next);
            result.push(next);
        }
        words.end();
        self.lexer.raw_escapes = outer;
        self.depth -= 1;
        Ok((result, words))
    }

    /// All is as it stands up to the next quote.
    fn single(&mut self) -> Result<String, Fault> {
        let mut result = String::new();
        self.quote('\'', &mut result);
        loop {
            match self.chars.peek() {
                None => return Err(missing("`'`")),
                Some('\'') => {
                    self.quote('\'', &mut result);
                    return Ok(result);
                }
                Some(_) => result.extend(self.chars.next()),
            }
        }
    }

    fn double(&mut self) -> Result<String, Fault> {
        let mut result = String::new();
        self.quote('"', &mut result);
        loop {
            match self.chars.peek().copied() {
                None => return Err(missing("`\"`")),
                Some('"') => {
                    self.quote('"', &mut result);
                    return Ok(result);
                }
                Some('$') => result.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    self.chars.next();
                    if self.lexer.raw_escapes {
                        result.push(c);
                    }
                    match self.chars.peek().copied() {
                        None => {}
                        Some(next) if next == '"' || next == '$' || next == self.lexer.escape => {
                            self.chars.next();
                            result.push(next);
                        }
                        Some(_) => result.push(c),
                    }
                }
                Some(c) => {
                    self.chars.next();
                    result.push(c);
                }
            }
        }
    }

    fn quote(&mut self, quote: char, result: &mut String) {
        self.chars.next();
        if self.lexer.raw_quotes {
            result.push(quote);
        }
    }

    /// `<<` keeps the blanks behind it, so that they do not part it from its word.
    fn less(&mut self) -> String {
        self.chars.next();
        let mut result = "<".to_owned();
        if self.chars.next_if_eq(&'<').is_some() {
            result.push('<');
            while let Some(blank) = self.chars.next_if(|c| matches!(c, '\t' | '\r' | ' ')) {
                result.push(blank);
            }
        }
        result
    }

    fn dollar(&mut self) -> Result<String, Fault> {
        self.chars.next();
        if self.chars.next_if_eq(&'{').is_none() {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match (self.lookup)(&name) {
                None if self.lexer.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            });
        }
        match self.chars.peek() {
            None => return Err(missing("`}`")),
            Some('{' | '}' | ':') => return Err(Fault::new("bad substitution")),
            Some(_) => {}
        }
        let name = self.name();
        let Some(mut operator) = self.chars.next() else { return Err(missing("`}`")) };
        if operator == '}' {
            return Ok(match (self.lookup)(&name) {
                None if self.lexer.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            });
        }
        if operator == '/' {
            return self.replace(&name);
        }
        let mut written = operator.to_string();
        let null_is_unset = operator == ':';
        if null_is_unset {
            operator = self.chars.next().ok_or_else(|| missing("`}`"))?;
            written.push(operator);
        }
        let trims = matches!(operator, '#' | '%');
        if !(trims || matches!(operator, '-' | '+' | '?')) || trims && null_is_unset {
            return Err(Fault::new(format!("`{written}` in a substitution is not supported")));
        }
        let (word, _) = self.until(Some('}'), trims)?;
        let value = (self.lookup)(&name);
        if self.lexer.keep_unset && value.is_none() {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let usable = value.as_deref().filter(|value| !(null_is_unset && value.is_empty()));
        match operator {
            '-' => Ok(usable.map_or(word, str::to_owned)),
            '+' => Ok(usable.map_or_else(String::new, |_| word)),
            '?' => usable.map(str::to_owned).ok_or_else(|| {
                let state = if value.is_none() { "unset" } else { "empty" };
                let default = format!("is not allowed to be {state}");
                Fault::new(format!("{name}: {}", if word.is_empty() { &default } else { &word }))
            }),
            _ => {
                let (greedy, pattern) = word.strip_prefix(operator).map_or((false, &*word), |word| (true, word));
                shape::trim(&value.unwrap_or_default(), pattern, greedy, operator == '%')
            }
        }
    }

    fn replace(&mut self, name: &str) -> Result<String, Fault> {
        let all = self.chars.next_if_eq(&'/').is_some();
        let (pattern, _) = self.until(Some('/'), true)?;
        let (replacement, _) = self.until(Some('}'), true)?;
        match (self.lookup)(name) {
            None if self.lexer.keep_unset => Ok(format!("${{{name}/{pattern}/{replacement}}}")),
            value => shape::replace(&value.unwrap_or_default(), &pattern, &replacement, all),
        }
    }

    /// Letters, digits and `_`; or digits alone; or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if self.chars.peek().is_some_and(|c| c.is_numeric()) {
            while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                name.push(digit);
            }
            return name;
        }
        if let Some(special) = self.chars.next_if(|c| "@*#?-$!0".contains(*c)) {
            return special.to_string();
        }
        while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(word: &str) -> Result<String, String> {
        let lookup = |name: &str| match name {
            "a" => Some("x y".to_owned()),
            "e" => Some(String::new()),
            "P" => Some("a/b/c.tar.gz".to_owned()),
            _ => None,
        };
        Lexer::new('\\').word(word, &lookup).map_err(|fault| fault.message)
    }

    #[test]
    fn words_expand_as_in_buildkits_own_tests() {
        for (word, expected) in [
            ("$a", "x y"),
            ("${a}b", "x yb"),
            ("'$a'", "$a"),
            (r#""$a""#, "x y"),
            (r"\$a", "$a"),
            (r#""\$a\"\b""#, r#"$a"\b"#),
            ("$u|${u}", "|"),
            ("${u:-d}|${u-d}|${e:-d}|${e-d}", "d|d|d|"),
            ("${a:+d}|${a+d}|${e:+d}|${e+d}|${u+d}", "d|d||d|"),
            ("${u:-${a:-z}}", "x y"),
            ("${a:?m}", "x y"),
            ("${P#*/}|${P##*/}|${P%.*}|${P%%.*}", "b/c.tar.gz|c.tar.gz|a/b/c.tar|a/b/c"),
            ("${P/b/X}|${P//a/Z}|${P/\\//_}", "a/X/c.tar.gz|Z/b/c.tZr.gz|a_b/c.tar.gz"),
            ("$", "$"),
            ("$1x$", "x$"),
            ("a\\", "a"),
        ] {
            assert_eq!(expand(word).as_deref(), Ok(expected), "{word}");
        }
        for word in ["${", "${}", "${a", "${a:}", "${a:#b}", "${u:?gone}", "'a", "\"a", "${a/b}", "${a!}", "${a/\\x/y}"]
        {
            assert!(expand(word).is_err(), "{word}");
        }
        assert_eq!(expand("${u:?gone}"), Err("u: gone".to_owned()));
        assert!(expand(&"${u:-".repeat(100_000)).is_err());
    }

    #[test]
    fn unset_variables_may_stay() {
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..Lexer::new('\\') };
        assert_eq!(lexer.word("'a' $u ${u:-x} ${u#y}", &|_| None).expect("valid"), "'a' $u ${u:-x} ${u#y}");
        assert_eq!(lexer.words("a \"b c\"<< X", &|_| None).expect("valid"), ["a", "\"b c\"<< X"]);
    }
}
