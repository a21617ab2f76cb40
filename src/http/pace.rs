//! How often something that moves is told.

use std::time::{Duration, Instant};

/// At most one word in this time.
const TELL: Duration = Duration::from_millis(100);

/// Says when to tell again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace(Option<Instant>);

impl Pace {
    /// Tells whether it is time; the end is always told.
    pub fn is_due(&mut self, current: u64, total: Option<u64>) -> bool {
        let now = Instant::now();
        let due = Some(current) == total || self.0.is_none_or(|last| now.duration_since(last) >= TELL);
        if due {
            self.0 = Some(now);
        }
        due
    }
}
