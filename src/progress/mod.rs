//! Events of a solve and who is told of them.

mod event;

pub use event::{Event, Phase, Progress, Silent};
