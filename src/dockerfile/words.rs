//! The words of a statement (`frontend/dockerfile/parser/line_parsers.go`, `split_command.go`).

use super::error::Fault;

/// What separates words; other white space does not.
pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// Splits at blanks, as `FROM` and `COPY` do.
pub(super) fn blank_separated(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let words: Vec<&str> = text.split(is_blank).filter(|word| !word.is_empty()).collect();
    words.into_iter().map(str::to_owned).collect()
}

/// Reads an array of strings; `None` where the text is none, an error where there is something else in it.
pub(super) fn json_array(text: &str) -> Result<Option<Vec<String>>, Fault> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let string = |value| match value {
        serde_json::Value::String(text) => Ok(text),
        other => Err(Fault::new("a JSON array of a Dockerfile holds strings only").about(other.to_string())),
    };
    values.into_iter().map(string).collect::<Result<_, _>>().map(Some)
}

/// Where a scan of words is.
enum Phase {
    Between,
    Word,
    Quote(char),
}

/// Splits at white space outside quotes, which stay in the words.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut phase, mut blank_ok) = (Vec::new(), String::new(), Phase::Between, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match phase {
            Phase::Between if c.is_whitespace() => continue,
            Phase::Word if c.is_whitespace() => {
                phase = Phase::Between;
                if blank_ok || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                blank_ok = false;
                continue;
            }
            Phase::Between | Phase::Word => {
                phase = Phase::Word;
                if c == '\'' || c == '"' {
                    (phase, blank_ok) = (Phase::Quote(c), true);
                }
                if c == escape {
                    // At the end it is skipped.
                    let Some(next) = chars.next() else { break };
                    word.extend([c, next]);
                    continue;
                }
            }
            Phase::Quote(quote) if c == quote => phase = Phase::Word,
            Phase::Quote(quote) => {
                if c == escape && quote != '\'' {
                    let Some(next) = chars.next() else { break };
                    word.extend([c, next]);
                    continue;
                }
            }
        }
        word.push(c);
    }
    if !matches!(phase, Phase::Between) && (blank_ok || !word.is_empty()) {
        words.push(word);
    }
    words
}

/// A name and its value, and whether a `=` stood between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) delimited: bool,
}

/// Reads `name=value …`, or the old `name value`.
pub(super) fn pairs(text: &str, escape: char, keyword: &str) -> Result<Vec<Pair>, Fault> {
    let words = quoted_words(text, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (name, value) = text
            .split_once(is_blank)
            .ok_or_else(|| Fault::new(format!("{keyword} must have two arguments")).help("write NAME=VALUE"))?;
        let value = value.trim_start_matches(is_blank).to_owned();
        return Ok(vec![Pair { name: name.to_owned(), value, delimited: false }]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            Fault::new(format!("there is no `=` in `{word}`"))
                .about(word.clone())
                .help("write NAME=VALUE, and quote a value that has blanks in it")
        })?;
        Ok(Pair { name: name.to_owned(), value: value.to_owned(), delimited: true })
    };
    words.iter().map(pair).collect()
}

/// Takes leading `--…` words away; quotes in them go, and `--` alone ends them.
pub(super) fn split_flags(text: &str, escape: char) -> (Vec<String>, &str) {
    let (mut flags, mut rest) = (Vec::new(), text);
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (flags, rest);
        }
        let (mut word, mut quote, mut blank_ok, mut end) = (String::new(), None, false, rest.len());
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match quote {
                None if c.is_whitespace() => {
                    end = at;
                    break;
                }
                None if c == '\'' || c == '"' => (quote, blank_ok) = (Some(c), true),
                Some(open) if c == open => quote = None,
                _ if c == escape => match chars.next() {
                    Some((_, next)) => word.push(next),
                    None => break,
                },
                _ => word.push(c),
            }
        }
        rest = &rest[end..];
        if word == "--" {
            return (flags, rest);
        }
        if blank_ok || !word.is_empty() {
            flags.push(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_where_the_first_other_word_begins() {
        let split = |text| {
            let (flags, rest) = split_flags(text, '\\');
            (flags.join("|"), rest.trim().to_owned())
        };
        let owned = |flags: &str, rest: &str| (flags.to_owned(), rest.to_owned());
        assert_eq!(split("--a=b --c d --e"), owned("--a=b|--c", "d --e"));
        assert_eq!(split("--a=\"b c\" x"), owned("--a=b c", "x"));
        assert_eq!(split("--a -- --b"), owned("--a", "--b"));
        assert_eq!(split("- x"), owned("", "- x"));
        assert_eq!(split("--a\\ b x"), owned("--a b", "x"));
    }

    #[test]
    fn words_keep_their_quotes() {
        assert_eq!(quoted_words(r#"a="b c" d='e "' f\ g"#, '\\'), [r#"a="b c""#, r#"d='e "'"#, r"f\ g"]);
        assert_eq!(quoted_words(r#"a="" "" x\"#, '\\'), [r#"a="""#, r#""""#, "x"]);
    }

    #[test]
    fn pairs_are_new_or_old() {
        let old = pairs("A b c", '\\', "ENV").expect("valid");
        assert_eq!((old[0].name.as_str(), old[0].value.as_str(), old[0].delimited), ("A", "b c", false));
        assert_eq!(pairs("A=b C=", '\\', "ENV").expect("valid").len(), 2);
        assert!(pairs("A", '\\', "ENV").is_err() && pairs("A=b c", '\\', "ENV").is_err());
    }

    #[test]
    fn an_array_that_is_none_is_for_the_shell() {
        assert_eq!(json_array("[ -f x ] && y"), Ok(None));
        assert_eq!(json_array(r#"["a", "b"]"#), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert!(json_array("[1]").is_err());
    }
}
