//! Events of a solve and who is told of them.

mod event;
mod tail;

pub use event::{Event, Phase, Progress, Silent};
pub use tail::Tail;
