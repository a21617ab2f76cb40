//! Opening a store and finding things in it.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blob::BlobWriter;
use super::error::StoreError;
use super::lock;
use super::record::{Sync, check_name, publish};
use super::run::Run;
use crate::oci::Digest;

/// The newest format of the directory that this code reads and the one it writes.
const FORMAT: u64 = 1;

/// Content of `oci-layout` (`image-spec image-layout.md#oci-layout-file`).
const OCI_LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// An index without manifests (`image-spec image-index.md`).
const EMPTY_INDEX: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

/// An open store. Cheap to clone; the lock on it is freed with the last clone and the last writer.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    pub(super) blobs: PathBuf,
    pub(super) run: Run,
    /// Open file of `<root>/lock`; closing it frees the lock.
    _lock: File,
}

impl Store {
    /// Opens the store in `root`, creating it where there is none, and sweeps what dead runs left in `tmp/`.
    ///
    /// Takes a shared lock for as long as it lives, so that garbage collection cannot run beside it; waits for one
    /// that is running.
    ///
    /// # Errors
    /// `Newer` for a store of a newer format, `Foreign` for a directory with other files in it, `Io` otherwise.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_as(root, Access::Shared)
    }

    /// Opens the store alone: waits until nobody else uses it and keeps everybody out while it lives.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_exclusive(root: &Path) -> Result<Self, StoreError> {
        Self::open_as(root, Access::Exclusive)
    }

    /// As `open_exclusive`, but `None` at once where somebody else uses the store.
    ///
    /// # Errors
    /// As `open`.
    pub fn try_open_exclusive(root: &Path) -> Result<Option<Self>, StoreError> {
        match Self::open_as(root, Access::ExclusiveNow) {
            Err(StoreError::Io { source, .. }) if source.kind() == ErrorKind::WouldBlock => Ok(None),
            other => other.map(Some),
        }
    }

    fn open_as(root: &Path, access: Access) -> Result<Self, StoreError> {
        if let Some(above) = root.parent() {
            fs::create_dir_all(above).map_err(StoreError::io("create", above))?;
        }
        match DirBuilder::new().mode(0o700).create(root) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(StoreError::io("create", root)(error));
            }
            _ => {}
        }
        // Snapshots and steps need a path that means the same from every working directory.
        let root = root.canonicalize().map_err(StoreError::io("find", root))?;
        check_format(&root)?;
        let path = root.join("lock");
        let file = lock::open(&path).map_err(StoreError::io("open", &path))?;
        match access {
            Access::Shared => file.lock_shared(),
            Access::Exclusive => file.lock(),
            Access::ExclusiveNow => file.try_lock().map_err(io::Error::from),
        }
        .map_err(StoreError::io("lock", &path))?;
        for name in ["blobs/sha256", "tmp", "locks"] {
            make_closed(&root.join(name))?;
        }
        let run = Run::begin(&root.join("tmp"), &root.join("locks"))?;
        let blobs = root.join("blobs/sha256");
        let store = Self { inner: Arc::new(Inner { root, blobs, run, _lock: file }) };
        store.furnish()?;
        Ok(store)
    }

    /// Writes the files that every store has, where they are missing; `version` last.
    fn furnish(&self) -> Result<(), StoreError> {
        let version = format!("{FORMAT}\n");
        for (name, content) in
            [("oci-layout", OCI_LAYOUT), ("index.json", EMPTY_INDEX), ("version", version.as_bytes())]
        {
            let path = self.root().join(name);
            if !path.exists() {
                // Two first runs may both come here; they must not replace an index that already has a tag.
                let _lock = lock::lock(self.root().join("locks/.index"))?;
                if !path.exists() {
                    publish(&self.inner.run, &path, content, Sync::Yes)?;
                }
            }
        }
        Ok(())
    }

    /// Returns the store's directory, absolute and without symbolic links.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Returns `<root>/<name>`, creating it: a place for another module's own files.
    ///
    /// # Errors
    /// `Name` where `name` is not `/`-separated plain names, `Io`.
    pub fn room(&self, name: &str) -> Result<PathBuf, StoreError> {
        name.split('/').try_for_each(check_name)?;
        let path = self.root().join(name);
        make_closed(&path)?;
        Ok(path)
    }

    /// Returns the size in bytes of a blob that is in the store.
    pub fn contains(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.len())
    }

    /// Returns where a blob is, or would be.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.inner.blobs.join(digest.hex())
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// `Missing`, `Io`.
    pub fn read(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => StoreError::Missing { digest: *digest, root: self.root().to_owned() },
            _ => StoreError::Io { action: "open", path, source },
        })
    }

    /// Begins a new blob.
    ///
    /// # Errors
    /// `Io`.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        BlobWriter::new(Arc::clone(&self.inner))
    }

    /// Makes an empty directory in `tmp/`, on the same file system as everything else, so that its content can be
    /// published by rename. Removed on drop, or by a later run if this one dies.
    ///
    /// # Errors
    /// `Io`.
    pub fn temporary_directory(&self) -> Result<tempfile::TempDir, StoreError> {
        self.inner.run.directory()
    }
}

#[derive(Debug, Clone, Copy)]
enum Access {
    Shared,
    Exclusive,
    ExclusiveNow,
}

/// Makes a directory, and those above it, closed to others: snapshots hold set-user-ID programs of images that nobody
/// vouches for, and a store may lie in a directory that was there before and is open.
fn make_closed(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(StoreError::io("create", path))
}

/// Refuses a directory that is no store or one of a newer format; an empty one is fine.
fn check_format(root: &Path) -> Result<(), StoreError> {
    let path = root.join("version");
    match fs::read_to_string(&path) {
        Ok(text) => match text.trim_end().parse::<u64>() {
            Ok(found) if found > FORMAT => Err(StoreError::Newer { root: root.to_owned(), found, supported: FORMAT }),
            Ok(_) => Ok(()),
            Err(_) => {
                Err(StoreError::Damaged { path, reason: format!("`{}` is not a format number", text.trim_end()) })
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => refuse_foreign(root),
        Err(source) => Err(StoreError::Io { action: "read", path, source }),
    }
}

/// Without `version` only what a first run may have made so far is accepted.
fn refuse_foreign(root: &Path) -> Result<(), StoreError> {
    const OURS: [&str; 6] = ["lock", "locks", "tmp", "blobs", "oci-layout", "index.json"];
    let names: io::Result<Vec<_>> =
        fs::read_dir(root).and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
    let names = names.map_err(StoreError::io("list", root))?;
    if names.iter().any(|name| !OURS.iter().any(|ours| name == ours)) && !names.iter().any(|name| name == "version") {
        return Err(StoreError::Foreign { root: root.to_owned() });
    }
    Ok(())
}
