//! Source policies: rules that allow, deny or replace what a graph fetches (`sourcepolicy/policy.proto`). Pure.
//!
//! A policy is JSON, in the form that `buildctl build --source-policy-file` reads:
//!
//! ```text
//! {"rules": [{"action": "CONVERT",
//!             "selector": {"identifier": "docker-image://docker.io/library/alpine:*", "matchType": "WILDCARD"},
//!             "updates": {"identifier": "docker-image://mirror.example/alpine:${1}", "attrs": {…}}}]}
//! ```
//!
//! What always holds: a parsed policy has no rule that can only fail (patterns are compiled, conversions say into what);
//! a key that is not known is an error, as a misspelt rule would silently allow; and evaluation ends, whatever the rules.
//!
//! How rules work together (`sourcepolicy/engine.go`): policies are asked in order. Within one, rules are tried in order;
//! the last ALLOW or DENY that matches decides, and a CONVERT that changes the source ends the round at once, after which
//! everything is asked again with the new source. Each policy must let a source pass: an ALLOW in one does not undo the
//! DENY in another.
//!
//! Identifiers are compared as the graph writes them. Front ends write image names in full
//! (`docker-image://docker.io/library/alpine:latest`), so that is what selectors must match, as with BuildKit.
//!
//! Where we differ: a conversion without `updates.identifier` keeps the identifier that matched. BuildKit then takes the
//! text of the selector, which for a wildcard is a name with `*` in it and for an expression is no name at all.
//!
//! Expressions are those of the `regex` crate, which take linear time as Go's do, so that a policy cannot hang a build; the
//! two syntaxes agree but for rarities (no `\Q…\E`; `\d` and `\w` know Unicode).

mod error;
mod evaluate;
mod parse;

pub use error::PolicyError;
pub use evaluate::Policies;
pub use parse::Policy;
