//! The caches that a run may ask, read when it begins.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::config::{Carried, Config, Output, Packed};
use super::error::{CacheError, causes};
use super::place::Place;
use crate::http::Stop;
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::store::Store;

/// The caches that a run may ask, in the order given. By default there are none.
#[derive(Debug, Default)]
pub struct Caches {
    all: Vec<(Place, Config)>,
    /// What has come, in a corner of the run's own.
    corner: Option<(Store, tempfile::TempDir)>,
    stop: Stop,
    dropped: Mutex<Dropped>,
}

/// What is not asked for any more.
#[derive(Debug, Default)]
struct Dropped {
    /// Records by key.
    records: BTreeSet<Digest>,
    /// Layers by cache and snapshot.
    layers: BTreeSet<(usize, Digest)>,
}

impl Caches {
    /// Reads what the caches have, without their layers. One that cannot be read is said aloud and left out.
    ///
    /// # Errors
    /// `Store` where there is no place for what comes.
    pub fn open(places: Vec<Place>, store: &Store, stop: Stop, progress: &dyn Progress) -> Result<Self, CacheError> {
        if places.is_empty() {
            return Ok(Self::default());
        }
        let corner = store.temporary_directory()?;
        let own = Store::open(&corner.path().join("store"))?;
        let mut all = Vec::new();
        for place in places {
            match place.config(&own, &stop, progress).and_then(|bytes| Config::parse(&bytes)) {
                Ok(config) => all.push((place, config)),
                Err(error) => {
                    let message = format!("the cache {place} is not used: {}", causes(&error));
                    progress.event(&Event::Note { message: &message });
                }
            }
        }
        Ok(Self { all, corner: Some((own, corner)), stop, dropped: Mutex::default() })
    }

    /// Tells whether there is nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Returns what an operation left, by its key.
    pub fn record(&self, key: &Digest) -> Option<&[Output]> {
        if self.lock().records.contains(key) {
            return None;
        }
        self.all.iter().find_map(|(_, config)| config.records.get(key)).map(Vec::as_slice)
    }

    /// Tells whether the record of `key` is not asked any more.
    pub fn is_dropped(&self, key: &Digest) -> bool {
        self.lock().records.contains(key)
    }

    /// Returns all keys whose records are these outputs.
    pub fn keys_of<'a>(&'a self, outputs: &'a [Output]) -> impl Iterator<Item = &'a Digest> {
        let all = self.all.iter().flat_map(|(_, config)| &config.records);
        all.filter(move |(_, known)| known.as_slice() == outputs).map(|(key, _)| key)
    }

    /// Does not answer from the record of `key` any more.
    pub fn drop_record(&self, key: &Digest) {
        self.lock().records.insert(*key);
    }

    /// Returns the layers that belong to a snapshot, with the number of the cache that has it.
    pub fn layers(&self, snapshot: &Digest) -> Vec<(usize, &Carried)> {
        let dropped = self.lock();
        let all = self.all.iter().enumerate();
        all.filter(|(cache, _)| !dropped.layers.contains(&(*cache, *snapshot)))
            .filter_map(|(cache, (_, config))| Some((cache, config.layers.get(snapshot)?)))
            .collect()
    }

    /// Does not give a layer any more, saying aloud why.
    pub fn drop_layer(&self, cache: usize, snapshot: &Digest, why: &str, progress: &dyn Progress) {
        if !self.lock().layers.insert((cache, *snapshot)) {
            return;
        }
        let message = format!("a layer of the cache {} is not used: {why}", self.all[cache].0);
        progress.event(&Event::Note { message: &message });
    }

    /// Returns the cache mount `name`, with the number of the cache that has it.
    pub fn mount(&self, name: &str) -> Option<(usize, &Packed)> {
        self.all.iter().enumerate().find_map(|(cache, (_, config))| Some((cache, config.mounts.get(name)?)))
    }

    /// Brings a layer and opens it.
    ///
    /// # Errors
    /// `Registry`, `Store`, `Directory`.
    pub fn fetch(&self, cache: usize, packed: &Packed, told: (&dyn Progress, Digest)) -> Result<File, CacheError> {
        let (store, _) = self.corner.as_ref().expect("where there are caches there is a corner");
        self.all[cache].0.blob(&packed.digest, packed.size, store, &self.stop, told)?;
        Ok(store.read(&packed.digest)?)
    }

    fn lock(&self) -> MutexGuard<'_, Dropped> {
        self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
