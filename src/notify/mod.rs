//! Who is told what became of a release: chats, programs, issues of a forge, a Pushgateway.
//!
//! ```text
//! message ........ what happened, as a value; words for people, a document for programs
//! hook ........... Slack-compatible webhooks, generic ones, a Pushgateway
//! issues ......... one issue a failing variant: opened, commented, closed when it is green again
//! ```
//!
//! What always holds: a channel that fails stops neither the others nor the command; nothing is told twice of one run in an
//! issue; the address of a hook, which is a secret, is shown by its host only. A hook may hear the same twice when its
//! answer gets lost: there is no way to ask it.

mod hook;
mod issues;
mod message;

pub use hook::{push_metrics, to_slack, to_webhook};
pub use issues::{Tracker, keep_issues};
pub use message::{Message, Variant};
