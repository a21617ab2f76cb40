//! What is wrong with a pattern.

/// A pattern that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It breaks the grammar of Go's `filepath.Match`.
    #[error("pattern `{pattern}` is malformed: {reason}")]
    Malformed {
        /// The pattern as given.
        pattern: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A lone `!` takes nothing back.
    #[error("pattern `{pattern}` names nothing after the `!`")]
    Exception {
        /// The pattern as given.
        pattern: String,
    },
}

impl PatternError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Malformed { .. } => "put a `\\` before a character that stands for itself",
            Self::Exception { .. } => "write what is to be kept after all right behind the `!`",
        }
        .to_owned()
    }
}
