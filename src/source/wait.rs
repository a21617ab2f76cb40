//! Waiting for another run that fetches or assembles the same.

use std::time::{Duration, Instant};

use super::error::SourceError;
use super::origin::Origins;
use crate::progress::{Event, Progress};
use crate::store::{Lock, Store};

/// How often somebody who waits for another run looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// Waiting for another run is told after this time.
const QUIET: Duration = Duration::from_secs(2);

/// Waits for a lock of the store, aloud, as long as the run goes on; `what` it is about is for people.
pub(super) fn wait_for(
    store: &Store,
    name: &str,
    what: &str,
    origins: &Origins,
    progress: &dyn Progress,
) -> Result<Lock, SourceError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        if let Some(lock) = store.try_lock(name)? {
            return Ok(lock);
        }
        if origins.stopped() {
            return Err(SourceError::Stopped { file: what.to_owned() });
        }
        if !told && begun.elapsed() >= QUIET {
            told = true;
            progress.event(&Event::Note { message: &format!("{what}: waiting for another run that is at it") });
        }
        std::thread::sleep(GLANCE);
    }
}
