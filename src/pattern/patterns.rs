//! A list of patterns, the last word of which counts (moby/patternmatcher `PatternMatcher`).

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::PatternError;
use super::ignore::clean;
use super::steps::{Language, Steps, characters};

/// A list of patterns. A path matches if the last pattern that matches it or a directory above it has no `!`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patterns {
    list: Vec<Pattern>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    steps: Steps,
    /// It had a `!`: what it matches does not match after all.
    exception: bool,
}

/// Which patterns matched a directory, so that a walk need not ask about it again for all below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MatchState {
    /// One for each pattern; empty where nothing is known about the directories above.
    matched: Vec<bool>,
}

impl Patterns {
    /// Parses a list; blanks around a pattern, empty ones and trailing slashes mean nothing.
    ///
    /// # Errors
    /// [`PatternError`] for the first pattern that means nothing.
    pub fn parse<S: AsRef<str>>(list: &[S]) -> Result<Self, PatternError> {
        let mut patterns = Vec::new();
        for given in list.iter().map(S::as_ref) {
            let trimmed = given.trim();
            if trimmed.is_empty() {
                continue;
            }
            // Cleaned with its mark, as moby does: `!./a` stays what it is.
            let cleaned = clean(trimmed);
            let (exception, name) = cleaned.strip_prefix('!').map_or((false, &*cleaned), |name| (true, name));
            if name.is_empty() {
                return Err(PatternError::Exception { pattern: given.to_owned() });
            }
            let steps = Steps::parse(name, Language::Ignore)
                .map_err(|reason| PatternError::Malformed { pattern: given.to_owned(), reason })?;
            patterns.push(Pattern { steps, exception });
        }
        Ok(Self { list: patterns })
    }

    /// Tells whether there are no patterns; then nothing matches.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Tells whether a pattern has a `!`.
    pub fn has_exceptions(&self) -> bool {
        self.list.iter().any(|pattern| pattern.exception)
    }

    /// Tells whether a path matches, itself or through a directory above it. The path is relative and clean.
    pub fn matches(&self, path: &Path) -> bool {
        self.look(path, &MatchState::default()).0
    }

    /// As `matches` for a path whose parent directory `above` is known, and what to know of it for those below.
    ///
    /// At the top of a walk `above` is the default.
    pub fn look(&self, path: &Path, above: &MatchState) -> (bool, MatchState) {
        let name = characters(path.as_os_str().as_bytes());
        let is_known = above.matched.len() == self.list.len() && !self.list.is_empty();
        let mut matched = false;
        let mut state = vec![false; self.list.len()];
        for (index, pattern) in self.list.iter().enumerate() {
            let inherited = is_known && above.matched[index];
            // Whatever it says would change nothing.
            if !inherited && pattern.exception != matched {
                continue;
            }
            let hit = inherited
                || pattern.steps.matches(&name)
                || (!is_known && parents(&name).any(|parent| pattern.steps.matches(parent)));
            state[index] = hit;
            if hit {
                matched = !pattern.exception;
            }
        }
        (matched, MatchState { matched: state })
    }

    /// Tells whether something below the directory `path` could match; `state` is what `look` said of it.
    pub fn may_match_below(&self, path: &Path, state: &MatchState) -> bool {
        self.below(path, state, false)
    }

    /// Tells whether an exception could apply to something below the directory `path`, of which `look` said `state`.
    pub fn may_except_below(&self, path: &Path, state: &MatchState) -> bool {
        self.has_exceptions() && self.below(path, state, true)
    }

    fn below(&self, path: &Path, state: &MatchState, exception: bool) -> bool {
        let name = characters(path.as_os_str().as_bytes());
        self.list
            .iter()
            .enumerate()
            .filter(|(_, pattern)| pattern.exception == exception)
            .any(|(index, pattern)| state.matched.get(index) == Some(&true) || pattern.steps.may_match_below(&name))
    }
}

/// The directories above a path, outermost first.
fn parents(name: &[char]) -> impl Iterator<Item = &[char]> {
    name.iter().enumerate().filter(|(_, char)| **char == '/').map(|(at, _)| &name[..at])
}
