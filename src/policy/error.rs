//! Why a policy cannot be used, or does not let a source pass.

use std::path::PathBuf;

/// Why a policy cannot be used, or does not let a source pass.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The text is not a policy: no JSON, an unknown key, an unknown word.
    #[error("`{}` is not a source policy", origin.display())]
    Syntax {
        /// Where the text is from.
        origin: PathBuf,
        /// The parser's words, with line and column.
        source: serde_json::Error,
    },
    /// A version of the format that does not exist yet.
    #[error("`{}` is a source policy of version {version}: only version 1 is known", origin.display())]
    Version {
        /// Where the text is from.
        origin: PathBuf,
        /// Its version.
        version: i64,
    },
    /// More rules than any real policy has.
    #[error("`{}` is too large for a source policy: it has more than {limit} {what}", origin.display())]
    TooLarge {
        /// Where the text is from.
        origin: PathBuf,
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A conversion does not say into what.
    #[error("`{}`: rule {rule} is a CONVERT without `updates`: say what the source becomes", origin.display())]
    NoUpdates {
        /// Where the text is from.
        origin: PathBuf,
        /// The rule, from 1.
        rule: usize,
    },
    /// `**` means nothing in a wildcard.
    #[error("`{}`: rule {rule}: `**` in `{pattern}` means nothing: write `*`, or use matchType REGEX", origin.display())]
    Wildcard {
        /// Where the text is from.
        origin: PathBuf,
        /// The rule, from 1.
        rule: usize,
        /// The wildcard.
        pattern: String,
    },
    /// An expression is not one.
    #[error("`{}`: rule {rule}: `{pattern}` is not a regular expression", origin.display())]
    Expression {
        /// Where the text is from.
        origin: PathBuf,
        /// The rule, from 1.
        rule: usize,
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        source: regex::Error,
    },
    /// An identifier that no policy is asked about.
    #[error("source `{start}…` is longer than {limit} bytes: no source policy is applied to that")]
    TooLong {
        /// How it begins.
        start: String,
        /// How long it may be.
        limit: usize,
    },
    /// The policy forbids a source.
    #[error("source `{identifier}` is denied by rule {rule} of `{}`", origin.display())]
    Denied {
        /// The source, after conversions.
        identifier: String,
        /// The policy that denies it.
        origin: PathBuf,
        /// Its rule that decided, from 1.
        rule: usize,
    },
    /// Conversions do not come to an end.
    #[error("source `{identifier}` is converted more than {limit} times and became `{last}`: the rules go in circles")]
    Circle {
        /// The source as the graph names it.
        identifier: String,
        /// What it was last.
        last: String,
        /// How many conversions there may be.
        limit: usize,
    },
}
