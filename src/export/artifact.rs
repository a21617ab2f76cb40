//! What an export leaves behind, and how it gets its name.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::assemble::ImageFacts;
use super::error::ExportError;
use crate::oci::Digest;
use crate::sys;

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    /// A tar, perhaps compressed.
    Tarball,
    /// A directory.
    Directory,
    /// An OCI image layout directory.
    OciLayout,
    /// An OCI image layout in a tar.
    OciArchive,
    /// What `docker load` reads.
    DockerArchive,
}

/// A finished artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    pub kind: ArtifactKind,
    /// Of a tarball its bytes, of a directory its tree, of an image its manifest or the index around it.
    pub digest: Digest,
    /// Size in bytes; of a directory, the content of its files; of an image its blobs.
    pub size: u64,
    /// What an image turned out to be.
    pub image: Option<ImageFacts>,
}

/// A file in the making beside its destination; dropped, it leaves nothing.
#[derive(Debug)]
pub(super) struct Draft {
    file: NamedTempFile,
    destination: PathBuf,
}

impl Draft {
    pub(super) fn new(destination: &Path) -> Result<Self, ExportError> {
        let (parent, prefix) = beside(destination)?;
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .tempfile_in(&parent)
            .map_err(ExportError::io("create a file in", &parent))?;
        Ok(Self { file, destination: destination.to_owned() })
    }

    /// Where its bytes go.
    pub(super) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// As `file`, for many bytes: the disk begins to work before the last of them has come.
    pub(super) fn writer(&self) -> Writeback<'_> {
        Writeback { file: self.file(), written: 0, begun: 0 }
    }

    /// Gives the file its name.
    pub(super) fn publish(self) -> Result<PathBuf, ExportError> {
        let Self { file, destination } = self;
        file.as_file()
            .set_permissions(Permissions::from_mode(0o644))
            .and_then(|()| file.as_file().sync_all())
            .map_err(ExportError::io("write", file.path()))?;
        file.persist(&destination).map_err(|error| ExportError::Io {
            action: "publish",
            path: destination.clone(),
            source: error.error,
        })?;
        sync_parent(&destination)?;
        Ok(destination)
    }
}

/// Writes to a new file, and has the kernel bring to disk what has come so far.
#[derive(Debug)]
pub(super) struct Writeback<'a> {
    file: &'a File,
    written: u64,
    begun: u64,
}

/// Bytes that go to disk at once.
const STRETCH: u64 = 8 << 20;

impl Write for Writeback<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        if self.written - self.begun >= STRETCH {
            sys::begin_writeback(self.file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes a directory in the making beside its destination; refuses a destination with files in it.
pub(super) fn draft_directory(destination: &Path) -> Result<TempDir, ExportError> {
    let (parent, prefix) = beside(destination)?;
    match fs::read_dir(destination) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(ExportError::Occupied { path: destination.to_owned() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(ExportError::io("look into", destination)(error)),
    }
    temporary_in(&parent, &prefix)
}

/// Makes a directory for what goes into an archive, on the disk where the archive will be.
pub(super) fn scratch(destination: &Path) -> Result<TempDir, ExportError> {
    let (parent, prefix) = beside(destination)?;
    temporary_in(&parent, &prefix)
}

fn temporary_in(parent: &Path, prefix: &OsStr) -> Result<TempDir, ExportError> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(parent)
        .map_err(ExportError::io("create a directory in", parent))
}

/// Gives a directory its name.
pub(super) fn publish_directory(directory: TempDir, destination: &Path) -> Result<(), ExportError> {
    fs::rename(directory.path(), destination).map_err(ExportError::io("publish", destination))?;
    // Its old name is gone, so there is nothing for it to remove.
    let _ = directory.keep();
    sync_parent(destination)
}

/// Returns the directory of a destination, made if missing, and the hidden prefix of a draft in it.
fn beside(destination: &Path) -> Result<(PathBuf, OsString), ExportError> {
    let name = destination.file_name().ok_or_else(|| ExportError::Destination { path: destination.to_owned() })?;
    let parent = match destination.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).map_err(ExportError::io("create", &parent))?;
    let mut prefix = OsString::from(".");
    prefix.push(name);
    prefix.push(".");
    Ok((parent, prefix))
}

/// Makes a new name outlive a power failure.
fn sync_parent(destination: &Path) -> Result<(), ExportError> {
    let parent = destination.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    File::open(parent).and_then(|directory| directory.sync_all()).map_err(ExportError::io("sync", parent))
}
