//! `dockless lock`: resolving a root filesystem anew, and proving that a lock still holds.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::apt::{Resolver, host_sources};
use super::error::SourceError;
use super::origin::Origins;
use super::rootfs::{build, lock};
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::rootfs::{List, Lock, Rootfs};
use crate::store::Store;

/// Reads `<directory>/<name>.toml` and `<directory>/<name>.lock` and checks that they belong together.
///
/// # Errors
/// `Io`, `Rootfs`.
pub fn read_rootfs(directory: &Path, name: &str) -> Result<Rootfs, SourceError> {
    let read = |ending: &str| {
        let path = directory.join(format!("{name}.{ending}"));
        fs::read_to_string(&path).map_err(SourceError::io("read", &path))
    };
    Ok(Rootfs::parse(name, directory, &read("toml")?, &read("lock")?)?)
}

/// Resolves `<directory>/<name>.toml` with this machine's apt, assembles the image and writes `<directory>/<name>.lock`.
///
/// The index is taken from the first of the mirrors, the packages from any. The lock is replaced whole or not at all.
///
/// # Errors
/// `NoMirror`, `Apt`, `AptAnswer`, those of `fetch`, `Rootfs`, `Store`, `Io`.
pub fn update_rootfs(
    store: &Store,
    (directory, name): (&Path, &str),
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Lock, SourceError> {
    let path = directory.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).map_err(SourceError::io("read", &path))?;
    let list = List::parse(&text, &path)?;
    let mirror = origins.mirrors.first().ok_or(SourceError::NoMirror)?;
    let place = store.temporary_directory()?;
    let resolver = Resolver::new(place.path(), &list, mirror, &host_sources(Path::new("/"))?)?;
    let packages = resolver.resolve(&list)?;
    let total: u64 = packages.iter().map(|package| package.size).sum();
    let message = format!("{name}: {} packages, {} MB", packages.len(), total / 1_000_000);
    progress.event(&Event::Note { message: &message });
    let image = build(store, (name, &list, &packages), origins, jobs, (progress, vertex))?;
    let lock = lock(&list, packages, &image);
    // What the next run will read must read as what was meant.
    let text = lock.to_toml(name);
    let path = directory.join(format!("{name}.lock"));
    Lock::parse(&text, &path)?.check(name, &list)?;
    replace(&path, text.as_bytes())?;
    Ok(lock)
}

/// Puts a file in the place of another, whole or not at all.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .map_err(SourceError::io("create a file in", directory))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(SourceError::io("write", path))?;
    file.persist(path).map_err(|error| SourceError::io("replace", path)(error.error))?;
    Ok(())
}
