//! Include and exclude patterns together, for a walk.

use std::path::Path;

use super::error::PatternError;
use super::patterns::{MatchState, Patterns};

/// What a walk takes: what an include pattern matches, or everything if there is none, without what an exclude pattern
/// matches (`ops.proto FileActionCopy.include_patterns`, `exclude_patterns`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

/// What is known of a directory; the default is for the top of the walk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterState {
    include: MatchState,
    exclude: MatchState,
}

/// What a filter says of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// It is taken.
    pub included: bool,
    /// If it is a directory, something below it may be taken; if not, the walk need not look.
    pub descend: bool,
    /// For what is below it.
    pub state: FilterState,
}

impl Filter {
    /// Parses both lists; a list without patterns filters nothing.
    ///
    /// # Errors
    /// [`PatternError`] for the first pattern that means nothing.
    pub fn parse<S: AsRef<str>>(include: &[S], exclude: &[S]) -> Result<Self, PatternError> {
        let list = |list: &[S]| if list.is_empty() { Ok(None) } else { Patterns::parse(list).map(Some) };
        Ok(Self { include: list(include)?, exclude: list(exclude)? })
    }

    /// Tells whether everything is taken.
    pub fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// Tells whether there are include patterns, so that not everything is taken that is not excluded.
    pub fn includes_some_only(&self) -> bool {
        self.include.is_some()
    }

    /// Judges a path, relative to the top of the walk and clean; `above` is the state of its parent directory.
    pub fn look(&self, path: &Path, above: &FilterState) -> Verdict {
        let mut state = FilterState::default();
        let (mut included, mut descend) = (true, true);
        if let Some(include) = &self.include {
            (included, state.include) = include.look(path, &above.include);
            descend = include.may_match_below(path, &state.include);
        }
        if let Some(exclude) = &self.exclude {
            let excluded;
            (excluded, state.exclude) = exclude.look(path, &above.exclude);
            if excluded {
                included = false;
                descend &= exclude.may_except_below(path, &state.exclude);
            }
        }
        Verdict { included, descend, state }
    }
}
