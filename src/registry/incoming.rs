//! What a pull brings, out of sight until it is whole: one that fails leaves the store as it was.
//!
//! Blobs wait in the run's corner of `tmp/`, verified; [`Incoming::publish`] gives them their names, manifests last, so
//! that whoever finds a manifest finds what it names. Dropped, nothing of it was ever there.
//!
//! Why not name each blob when it has come, and take the names away after a failure: another run may have found it by
//! then and rely on it.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::RegistryError;
use super::manifest::{MOST, Manifest};
use super::repository::{ORIGINS, already};
use crate::http::Stop;
use crate::oci::Digest;
use crate::store::{Lock, SealedBlob, Store};

/// How often somebody who waits for another run looks up.
const GLANCE: Duration = Duration::from_millis(20);

/// Locks held at once: each is an open file.
const LOCKS: usize = 64;

/// Blobs and manifests on their way into a store.
#[derive(Debug)]
pub struct Incoming<'a> {
    store: &'a Store,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// By digest: a blob, and the repository that it came from.
    blobs: BTreeMap<Digest, (SealedBlob, Option<String>)>,
    /// Those of them that are manifests, in the order of coming: what names another comes before it.
    manifests: Vec<Digest>,
    locks: Vec<Lock>,
}

impl<'a> Incoming<'a> {
    /// Makes one with nothing in it.
    pub fn new(store: &'a Store) -> Self {
        Self { store, held: Mutex::default() }
    }

    /// Returns the store that it all goes to.
    pub fn store(&self) -> &'a Store {
        self.store
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a blob is there, in the store or on its way.
    ///
    /// # Errors
    /// `Size` where it has another size than promised.
    pub(super) fn has(&self, digest: &Digest, size: Option<u64>, what: &str) -> Result<bool, RegistryError> {
        let coming = self.held().blobs.get(digest).map(|(blob, _)| blob.stored().size);
        match (coming, size) {
            (None, _) => Ok(already(self.store, digest, size, what)?.is_some()),
            (Some(actual), Some(expected)) if actual != expected => {
                Err(RegistryError::Size { what: what.to_owned(), expected, actual, more: false })
            }
            (Some(_), _) => Ok(true),
        }
    }

    /// Takes a blob that was verified; `origin` is the repository that it came from.
    pub(super) fn keep(&self, blob: SealedBlob, origin: Option<&str>) {
        self.held().blobs.insert(blob.stored().digest, (blob, origin.map(str::to_owned)));
    }

    /// Takes a manifest or an index.
    ///
    /// # Errors
    /// `Store`, `Io`.
    pub fn keep_manifest(&self, manifest: &Manifest) -> Result<(), RegistryError> {
        let digest = manifest.descriptor.digest;
        if self.has(&digest, None, "")? {
            return Ok(());
        }
        let mut writer = self.store.writer()?;
        writer.write_all(&manifest.bytes).map_err(RegistryError::io("write", &self.store.path(&digest)))?;
        self.keep(writer.seal(), None);
        self.held().manifests.push(digest);
        Ok(())
    }

    /// Reads a manifest that is there.
    pub(super) fn manifest(&self, digest: &Digest, what: &str) -> Result<Option<Manifest>, RegistryError> {
        if !self.has(digest, None, what)? {
            return Ok(None);
        }
        let bytes = self.read(digest, MOST, &format!("{what}: {digest}"))?;
        Ok(Some(Manifest::new(bytes, None)))
    }

    /// Reads a small blob that is there.
    pub(super) fn read(&self, digest: &Digest, most: u64, what: &str) -> Result<Vec<u8>, RegistryError> {
        let path = self.store.path(digest);
        let coming = self.held().blobs.get(digest).map(|(blob, _)| blob.open()).transpose()?;
        let file = match coming {
            Some(file) => file,
            None => self.store.read(digest)?,
        };
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(RegistryError::io("read", &path))?;
        if bytes.len() as u64 > most {
            return Err(RegistryError::TooLarge { what: what.to_owned(), most });
        }
        Ok(bytes)
    }

    /// Keeps other runs from fetching the same until this is published, and waits for one that is at it already.
    ///
    /// Whoever holds a lock waits for nobody, or two could wait for each other: the rest of what another run fetches is
    /// fetched twice.
    ///
    /// # Errors
    /// `Store`, `Stopped`.
    pub(super) fn reserve<'d>(
        &self,
        digests: impl Iterator<Item = &'d Digest>,
        stop: &Stop,
        what: &str,
    ) -> Result<(), RegistryError> {
        for digest in digests {
            let count = self.held().locks.len();
            if count >= LOCKS {
                break;
            }
            if self.has(digest, None, what)? {
                continue;
            }
            if count == 0 {
                let lock = wait_for(self.store, digest, stop, what)?;
                // The other run may have brought it.
                if !self.has(digest, None, what)? {
                    self.held().locks.push(lock);
                }
            } else {
                let lock = self.store.try_lock(&name(digest))?;
                self.held().locks.extend(lock);
            }
        }
        Ok(())
    }

    /// Makes everything visible.
    ///
    /// # Errors
    /// `Store`.
    pub fn publish(self) -> Result<(), RegistryError> {
        let Held { mut blobs, mut manifests, locks } = self.held.into_inner().unwrap_or_else(PoisonError::into_inner);
        let documents: Vec<SealedBlob> =
            manifests.drain(..).rev().filter_map(|digest| blobs.remove(&digest)).map(|(blob, _)| blob).collect();
        for (digest, (blob, origin)) in blobs {
            blob.commit()?;
            if let Some(origin) = origin {
                // Only to push it elsewhere without sending it.
                let _ = self.store.put_hint(ORIGINS, &digest.hex(), origin.as_bytes());
            }
        }
        for document in documents {
            document.commit()?;
        }
        drop(locks);
        Ok(())
    }
}

fn name(digest: &Digest) -> String {
    format!("fetch-{}", digest.hex())
}

/// Waits for another run that fetches the same.
pub(super) fn wait_for(store: &Store, digest: &Digest, stop: &Stop, what: &str) -> Result<Lock, RegistryError> {
    loop {
        if let Some(lock) = store.try_lock(&name(digest))? {
            return Ok(lock);
        }
        if stop.asked() {
            return Err(RegistryError::Stopped { what: what.to_owned() });
        }
        std::thread::sleep(GLANCE);
    }
}
