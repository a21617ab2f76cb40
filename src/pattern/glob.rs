//! Wildcards in a copy's source (Go `path/filepath` `Match`).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::PatternError;
use super::ignore::clean;
use super::steps::{Language, Steps, characters};

/// A wildcard pattern over a relative path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    steps: Steps,
}

impl Glob {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError::Malformed`]
    pub fn parse(pattern: &str) -> Result<Self, PatternError> {
        let steps = Steps::parse(pattern, Language::Glob)
            .map_err(|reason| PatternError::Malformed { pattern: pattern.to_owned(), reason })?;
        Ok(Self { steps })
    }

    /// Tells whether the pattern matches the whole of `path`.
    pub fn matches(&self, path: &Path) -> bool {
        self.steps.matches(&characters(path.as_os_str().as_bytes()))
    }

    /// Tells whether the pattern could match something below the directory `path`; the empty path is the top.
    pub fn may_match_below(&self, path: &Path) -> bool {
        self.steps.may_match_below(&characters(path.as_os_str().as_bytes()))
    }
}

/// Tells whether a path holds a wildcard that no `\` makes literal.
pub fn has_wildcards(path: impl AsRef<OsStr>) -> bool {
    let mut bytes = path.as_ref().as_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Splits a path before its first part with a wildcard: where to look, and for what. The second is empty if there is
/// none. Both are cleaned (fsutil `copy.go` `splitWildcards`).
pub fn split_wildcards(path: &str) -> (String, String) {
    let path = clean(path);
    let mut start = 0;
    for part in path.split('/') {
        if has_wildcards(part) {
            let above = &path[..start];
            let above = if above == "/" { above } else { above.trim_end_matches('/') };
            return (above.to_owned(), path[start..].to_owned());
        }
        start += part.len() + 1;
    }
    (path, String::new())
}
