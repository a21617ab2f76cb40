//! Patterns over the names in a tree: what a copy or a walk takes and what it leaves.
//!
//! Two languages share one engine, because BuildKit uses two:
//!
//! - [`Glob`]: the wildcards of a copy's source (`ops.proto FileActionCopy.allowWildcard`), Go's `filepath.Match`:
//!   `*` and `?` stop at `/`, `[a-z]` and `[^a-z]` are classes, `\` takes the next character literally.
//! - [`Patterns`]: include, exclude and `.dockerignore` lists, moby/patternmatcher: the same, and `**` goes through
//!   directories, `!` takes back what earlier patterns matched, and what matches a directory matches all below it.
//!
//! What always holds: a malformed pattern is an error that names it and never a pattern that quietly matches nothing;
//! no pattern panics; matching takes at most (length of the pattern) × (length of the name) steps. Patterns come from
//! strangers, so they are not handed to a matcher that backtracks, nor turned into regular expressions as moby does,
//! where `\d` suddenly means a digit, `[?]` a class of other characters, and `**` stops at a newline.
//!
//! ```text
//! pattern --parse--> steps --run over a name--> set of places reached    one of them the end: it matches
//! ```

mod error;
mod filter;
mod glob;
mod ignore;
mod patterns;
mod steps;

pub use error::PatternError;
pub use filter::{Filter, FilterState, Verdict};
pub use glob::{Glob, has_wildcards, split_wildcards};
pub use ignore::{clean, ignore_file};
pub use patterns::{MatchState, Patterns};
