//! What is wrong with a Dockerfile, and where.

use std::ops::Range;

use crate::llb::GraphError;

/// A place in a Dockerfile, for whoever draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file, as the user calls it.
    pub name: String,
    /// Its whole text.
    pub text: String,
    /// Bytes of `text` that the message is about.
    pub span: Range<usize>,
}

/// Why resolving an image failed; the caller's own error.
pub type ResolveError = Box<dyn std::error::Error + Send + Sync>;

/// Wrong input. Every variant but `Resolve` is the user's to mend.
#[derive(Debug, thiserror::Error)]
pub enum DockerfileError {
    /// The file is not what it should be; the picture shows where.
    #[error("{message}")]
    Text {
        /// One line.
        message: String,
        /// What to do.
        help: Option<String>,
        /// Where.
        picture: Box<Picture>,
    },
    /// An image's manifest or config could not be had.
    #[error("failed to resolve `{reference}`")]
    Resolve {
        /// As the Dockerfile names it.
        reference: String,
        /// What to do.
        help: Option<String>,
        /// Where.
        picture: Box<Picture>,
        /// Why.
        source: ResolveError,
    },
    /// There is no stage of that name.
    #[error("target stage `{target}` could not be found")]
    Target {
        /// As asked for.
        target: String,
        /// Names of the stages.
        known: Vec<String>,
    },
    /// An option beside the Dockerfile means nothing.
    #[error("{what} `{value}` is not understood: {reason}")]
    Option {
        /// Which one.
        what: &'static str,
        /// As given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The graph that was made is none, which is a mistake of this room.
    #[error("the Dockerfile made no valid graph")]
    Graph(#[from] GraphError),
}

impl DockerfileError {
    /// Returns where it is, for drawing.
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Self::Text { picture, .. } | Self::Resolve { picture, .. } => Some(picture),
            _ => None,
        }
    }

    /// Returns what to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Text { help, .. } | Self::Resolve { help, .. } => help.clone(),
            Self::Target { target, known } => near(target, known.iter().map(String::as_str))
                .map(|name| format!("did you mean `{name}`?"))
                .or_else(|| (!known.is_empty()).then(|| format!("stages: {}", known.join(", ")))),
            _ => None,
        }
    }
}

/// What is wrong with one instruction, before it is known which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The word of the instruction it is about.
    pub(super) word: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, word: None }
    }

    pub(super) fn about(self, word: impl Into<String>) -> Self {
        Self { word: Some(word.into()), ..self }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Says which of the known words was probably meant.
    pub(super) fn meant<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match near(word, known.iter().copied()) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }
}

/// The known word that is nearest, if it is near enough to be a slip.
pub(super) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let most = word.chars().count().div_ceil(3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Edits between two words; words of strangers are cut.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(near("RUNN", ["RUN", "COPY", "USER"]), Some("RUN"));
        assert_eq!(near("cpoy", ["RUN", "COPY"]), Some("COPY"));
        assert_eq!(near("install", ["RUN", "COPY", "USER"]), None);
    }
}
