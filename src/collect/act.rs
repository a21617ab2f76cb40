//! Carrying a plan out.

use super::error::CollectError;
use super::facts::Place;
use super::plan::Plan;
use crate::snapshot::Snapshots;
use crate::store::Store;

/// Removes what `plan` says, in its order, until `stop` tells otherwise; returns whether all of it is gone.
///
/// `store` must have been opened alone, or a build may lose what it uses.
///
/// # Errors
/// `Store`, `Snapshot`; what was removed before stays removed, and nothing is half gone.
pub fn collect(
    store: &Store,
    snapshots: &Snapshots,
    plan: &Plan,
    mut stop: impl FnMut() -> bool,
) -> Result<bool, CollectError> {
    for place in &plan.places {
        if stop() {
            return Ok(false);
        }
        match place {
            Place::Snapshot(id) => snapshots.remove(id)?,
            // One unlink is as good as a rename, and there may be thousands of them.
            Place::Entry(room @ ("cache" | "parts" | "logs"), name) => store.remove_record(room, name)?,
            Place::Entry(room, name) => store.discard(room, name)?,
        }
    }
    Ok(true)
}
