//! Patterns of `${name#pattern}` and its like (`lex.go convertShellPatternToRegex`): `*`, `?`, and `\` before those.

use regex::{NoExpand, Regex};

use super::error::Fault;

/// Takes the shortest or longest match from one end.
pub(super) fn trim(value: &str, pattern: &str, greedy: bool, from_end: bool) -> Result<String, Fault> {
    if !from_end {
        let found = regex(pattern, greedy, true)?.find(value).map_or(0, |found| found.end());
        return Ok(value[found..].to_owned());
    }
    // The shortest match at the end is the leftmost one of everything turned around.
    let turned: String = value.chars().rev().collect();
    let found = regex(&reversed(pattern), greedy, true)?.find(&turned).map_or(0, |found| found.end());
    Ok(turned[found..].chars().rev().collect())
}

/// Replaces the first match, or all.
pub(super) fn replace(value: &str, pattern: &str, with: &str, all: bool) -> Result<String, Fault> {
    let regex = regex(pattern, true, false)?;
    Ok(regex.replacen(value, usize::from(!all), NoExpand(with)).into_owned())
}

fn regex(pattern: &str, greedy: bool, anchored: bool) -> Result<Regex, Fault> {
    let mut text = if anchored { "^".to_owned() } else { String::new() };
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        let literal = match c {
            '*' => {
                text.push_str(if greedy { ".*" } else { ".*?" });
                continue;
            }
            '?' => {
                text.push('.');
                continue;
            }
            // Those end the substitution unless escaped, and mean themselves.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
            '\\' => chars
                .next_if(|c| matches!(c, '*' | '?' | '\\'))
                .ok_or_else(|| Fault::new(format!("`\\` in the pattern `{pattern}` is not before `*`, `?` or `\\`")))?,
            c => c,
        };
        text.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
    }
    Regex::new(&text).map_err(|_| Fault::new(format!("pattern `{pattern}` in a substitution is too long")))
}

/// Turns a pattern around, its escapes with it.
fn reversed(pattern: &str) -> String {
    let mut turned: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let mut piece = c.to_string();
        if c == '\\' {
            piece.extend(chars.next());
        }
        turned.push(piece);
    }
    turned.into_iter().rev().collect()
}
