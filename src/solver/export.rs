//! What was solved becomes a cache for builds elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use super::carried::is_named;
use super::key;
use super::run::{Kept, Solved};
use crate::cache::{CacheError, Carried, Config, Exporter, causes};
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::snapshot::{SnapshotError, Snapshots};
use crate::store::Store;

/// Room of the store that remembers how layers were packed.
pub const PACKED: &str = "packed";

/// How much of a build travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// All records, and the layers that the result lies in.
    Min,
    /// All records and all layers.
    Max,
    /// Nothing but these cache mounts; all if none is named.
    Mounts(Vec<String>),
}

/// Why a cache was not written.
#[derive(Debug, thiserror::Error)]
pub enum ExportCacheError {
    /// It could not be put where it should go.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// A tree could not be looked at.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// Writes what `solved` came from; returns the digest of the cache's manifest.
///
/// # Errors
/// `Cache`, `Snapshot`; what was there before stays then.
pub fn export_cache(
    solved: &[&Solved],
    extent: &Extent,
    (store, snapshots): (&Store, &Snapshots),
    exporter: Exporter,
    progress: &dyn Progress,
) -> Result<Digest, ExportCacheError> {
    let mut config = Config::default();
    if let Extent::Mounts(ids) = extent {
        for (name, directory) in snapshots.cache_mounts(ids)? {
            match exporter.add(&directory, false, progress)? {
                Ok(packed) => {
                    config.mounts.insert(name, packed);
                }
                Err(error) => {
                    let message = format!("the cache mount `{name}` is not exported: {}", causes(&error));
                    progress.event(&Event::Note { message: &message });
                }
            }
        }
        return Ok(exporter.finish(&config, progress)?);
    }
    let mut made = BTreeMap::new();
    let mut wanted: Vec<Digest> = solved.iter().flat_map(|solved| solved.ends.iter().copied()).collect();
    for Kept { keys, outputs } in solved.iter().flat_map(|solved| &solved.kept) {
        for key in keys {
            config.records.insert(*key, outputs.clone());
            for (index, output) in outputs.iter().enumerate() {
                if key::output(key, index) == output.content {
                    made.insert(output.snapshot, output.content);
                }
            }
        }
        if *extent == Extent::Max {
            wanted.extend(outputs.iter().map(|output| output.snapshot));
        }
    }
    let mut seen = BTreeSet::new();
    while let Some(id) = wanted.pop() {
        if seen.insert(id)
            && let Some(carried) = layer(&id, &made, (store, snapshots), &exporter, progress)?
        {
            wanted.extend(carried.facts.parent);
            config.layers.insert(id, carried);
        }
    }
    for output in config.records.values_mut().flatten() {
        // A tree under a name of its own that does not travel: the other name is as good for whoever makes it anew.
        if made.get(&output.snapshot).is_some_and(|_| !config.layers.contains_key(&output.snapshot)) {
            output.snapshot = output.content;
        }
    }
    Ok(exporter.finish(&config, progress)?)
}

/// Adds the layer of a snapshot; `None` where others make it of the graph, or could not verify it.
fn layer(
    id: &Digest,
    made: &BTreeMap<Digest, Digest>,
    (store, snapshots): (&Store, &Snapshots),
    exporter: &Exporter,
    progress: &dyn Progress,
) -> Result<Option<Carried>, ExportCacheError> {
    let name = format!("{}.{}", id.hex(), exporter.compression());
    let known = store.get_record(PACKED, &name).map_err(CacheError::from)?;
    let known: Option<Carried> = known.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(known) = known
        && exporter.has(&known.packed, progress)?
    {
        return Ok(Some(known));
    }
    let Some(facts) = snapshots.facts(id)? else { return Ok(None) };
    if facts.content() != *id && !made.get(id).is_some_and(|content| is_named(id, content, &facts)) {
        return Ok(None);
    }
    match exporter.add(&snapshots.directory(&id.hex()), facts.parent.is_some(), progress)? {
        Ok(packed) => {
            let carried = Carried { facts, packed };
            let bytes = serde_json::to_vec(&carried).expect("plain data");
            // Only to pack it once.
            let _ = store.put_hint(PACKED, &name, &bytes);
            Ok(Some(carried))
        }
        Err(error) => {
            let message = format!("a layer does not travel: {}", causes(&error));
            progress.event(&Event::Note { message: &message });
            Ok(None)
        }
    }
}
