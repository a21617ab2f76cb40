//! Lists of patterns as people write them.

use super::error::PatternError;

/// Returns the shortest path that means the same, without looking at any file (Go `path/filepath` `Clean`): `.` for
/// nothing, `..` only in front of a relative path.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => _ = parts.pop(),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// Reads a `.dockerignore` file into patterns (moby/patternmatcher `ignorefile`): a byte order mark, comment lines and
/// blanks around a pattern mean nothing, and a leading `/` neither.
///
/// # Errors
/// [`PatternError::Exception`] for a lone `!`; what is malformed otherwise is found by [`super::Patterns::parse`].
pub fn ignore_file(text: &[u8]) -> Result<Vec<String>, PatternError> {
    let text = String::from_utf8_lossy(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text));
    let mut patterns = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (mark, name) = line.strip_prefix('!').map_or(("", line), |name| ("!", name.trim()));
        if name.is_empty() {
            return Err(PatternError::Exception { pattern: line.to_owned() });
        }
        let name = clean(name);
        let name = name.strip_prefix('/').filter(|rest| !rest.is_empty()).unwrap_or(&name);
        patterns.push(format!("{mark}{name}"));
    }
    Ok(patterns)
}
