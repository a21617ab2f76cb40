//! Blobs on their way in.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tempfile::{NamedTempFile, TempPath};

use super::error::StoreError;
use super::layout::Inner;
use crate::oci::{Digest, Hasher};

/// A blob that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// A blob in the making: hashed while it is written, published by `commit`; dropped, it leaves nothing.
///
/// It does not buffer: write in large pieces.
#[derive(Debug)]
pub struct BlobWriter {
    file: NamedTempFile,
    hasher: Hasher,
    store: Arc<Inner>,
}

impl BlobWriter {
    pub(super) fn new(store: Arc<Inner>) -> Result<Self, StoreError> {
        let file = store.run.file()?;
        Ok(Self { file, hasher: Hasher::default(), store })
    }

    /// Returns the number of bytes written so far.
    pub fn size(&self) -> u64 {
        self.hasher.size()
    }

    /// Returns the digest of the bytes written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Publishes the bytes under whatever digest they have.
    ///
    /// # Errors
    /// `Io`.
    pub fn commit(self) -> Result<Stored, StoreError> {
        let Self { file, hasher, store } = self;
        let size = hasher.size();
        let stored = Stored { digest: hasher.finish(), size };
        let target = store.blobs.join(stored.digest.hex());
        // The same size under the same name is the same blob: names are only ever given to verified bytes. Another
        // size is damage from outside and is replaced.
        if fs::symlink_metadata(&target).is_ok_and(|there| there.is_file() && there.len() == size) {
            return Ok(stored);
        }
        let temporary = file.path().to_owned();
        file.as_file()
            .set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| file.as_file().sync_all())
            .map_err(StoreError::io("write", &temporary))?;
        file.persist(&target).map_err(|error| StoreError::Io {
            action: "publish",
            path: target.clone(),
            source: error.error,
        })?;
        sync_directory(&store.blobs)?;
        Ok(stored)
    }

    /// Publishes the bytes if their digest is `expected`.
    ///
    /// # Errors
    /// `Mismatch`, and then nothing is stored; `Io`.
    pub fn commit_as(self, expected: &Digest) -> Result<Stored, StoreError> {
        let actual = self.digest();
        if actual != *expected {
            return Err(StoreError::Mismatch { expected: *expected, actual, size: self.size() });
        }
        self.commit()
    }
}

/// A blob whose bytes are there and whose name is not: readable, published by `commit`; dropped, it leaves nothing.
///
/// It holds no file open, so that any number of them may wait for one another.
#[derive(Debug)]
pub struct SealedBlob {
    path: TempPath,
    stored: Stored,
    store: Arc<Inner>,
    /// It is on the disk already.
    synced: bool,
}

impl BlobWriter {
    /// Ends writing without publishing: for whoever publishes many blobs or none.
    pub fn seal(self) -> SealedBlob {
        let Self { file, hasher, store } = self;
        let size = hasher.size();
        let stored = Stored { digest: hasher.finish(), size };
        SealedBlob { path: file.into_temp_path(), stored, store, synced: false }
    }
}

impl SealedBlob {
    /// Returns what it will be.
    pub fn stored(&self) -> Stored {
        self.stored
    }

    /// Has the kernel write it to the disk now, so that `commit` need not wait for that.
    ///
    /// # Errors
    /// `Io`.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        let file = self.open()?;
        file.set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| file.sync_all())
            .map_err(StoreError::io("write", &self.path))?;
        self.synced = true;
        Ok(())
    }

    /// Opens it for reading.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(&self) -> Result<File, StoreError> {
        File::open(&self.path).map_err(StoreError::io("open", &self.path))
    }

    /// Publishes it.
    ///
    /// # Errors
    /// `Io`.
    pub fn commit(mut self) -> Result<Stored, StoreError> {
        let target = self.store.blobs.join(self.stored.digest.hex());
        if fs::symlink_metadata(&target).is_ok_and(|there| there.is_file() && there.len() == self.stored.size) {
            return Ok(self.stored);
        }
        if !self.synced {
            self.sync()?;
        }
        let Self { path, stored, store, .. } = self;
        path.persist(&target).map_err(|error| StoreError::Io {
            action: "publish",
            path: target.clone(),
            source: error.error,
        })?;
        sync_directory(&store.blobs)?;
        Ok(stored)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.as_file_mut().write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes the names in a directory outlive a power failure.
pub(super) fn sync_directory(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(StoreError::io("sync", path))
}
