//! `dockless lock`: resolving a root filesystem anew, and proving that a lock still holds.
//!
//! A root filesystem `<name>` is `<name>.toml`; where there is none and the name ends with an architecture, the list without
//! that ending serves it: `roots/bullseye-x86` is `roots/bullseye.toml` for x86.

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::apt::{Resolver, host_sources};
use super::error::SourceError;
use super::origin::Origins;
use super::rootfs::{Assembled, assemble, build, lock};
use crate::oci::{Arch, Digest};
use crate::progress::{Event, Progress};
use crate::rootfs::{List, Lock, Package, Rootfs};
use crate::store::Store;

/// Reads the list of a root filesystem and `<directory>/<name>.lock`, and checks that they belong together.
///
/// # Errors
/// `Io`, `Rootfs`.
pub fn read_rootfs(directory: &Path, name: &str) -> Result<Rootfs, SourceError> {
    let list = read_list(directory, name)?;
    let path = directory.join(format!("{name}.lock"));
    let text = fs::read_to_string(&path).map_err(SourceError::io("read", &path))?;
    let lock = Lock::parse(&text, &path)?;
    lock.check(name, &list)?;
    Ok(Rootfs { name: name.to_owned(), list, lock })
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
    let list = read_list(directory, name)?;
    let packages = resolve(store, (name, &list), origins, progress)?;
    let image = build(store, (name, &list, &packages), origins, jobs, (progress, vertex))?;
    let lock = lock(&list, packages, &image);
    // What the next run will read must read as what was meant.
    let text = lock.to_toml(name);
    let path = directory.join(format!("{name}.lock"));
    Lock::parse(&text, &path)?.check(name, &list)?;
    replace(&path, text.as_bytes())?;
    Ok(lock)
}

/// Asks this machine's apt which packages a list needs today.
fn resolve(
    store: &Store,
    (name, list): (&str, &List),
    origins: &Origins,
    progress: &dyn Progress,
) -> Result<Vec<Package>, SourceError> {
    let mirror = origins.mirrors.first().ok_or(SourceError::NoMirror)?;
    let place = store.temporary_directory()?;
    let resolver = Resolver::new(place.path(), list, mirror, &host_sources(Path::new("/"))?)?;
    let packages = resolver.resolve(list)?;
    let total: u64 = packages.iter().map(|package| package.size).sum();
    let message = format!("{name}: {} packages, {} MB", packages.len(), total / 1_000_000);
    progress.event(&Event::Note { message: &message });
    Ok(packages)
}

/// Reads the list of a root filesystem.
fn read_list(directory: &Path, name: &str) -> Result<List, SourceError> {
    let path = directory.join(format!("{name}.toml"));
    if !path.exists()
        && let Some((stem, arch)) = name.rsplit_once('-')
        && let Ok(arch) = arch.parse::<Arch>()
    {
        let path = directory.join(format!("{stem}.toml"));
        let text = fs::read_to_string(&path).map_err(SourceError::io("read", &path))?;
        return Ok(List::parse_for(&text, &path, arch)?);
    }
    let text = fs::read_to_string(&path).map_err(SourceError::io("read", &path))?;
    Ok(List::parse(&text, &path)?)
}

/// Reads the locked root filesystems `roots/<name>-<arch>` of `directory`, by their names.
///
/// # Errors
/// `Io`, `Rootfs`.
pub fn read_roots(directory: &Path) -> Result<Vec<Rootfs>, SourceError> {
    let roots = directory.join("roots");
    let mut names = Vec::new();
    let entries = match fs::read_dir(&roots) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(SourceError::io("list", &roots))?,
    };
    for entry in entries {
        let path = entry.map_err(SourceError::io("list", &roots))?.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            names.extend(path.file_stem().map(|stem| format!("roots/{}", stem.to_string_lossy())));
        }
    }
    names.sort();
    names.iter().map(|name| read_rootfs(directory, name)).collect()
}

/// Brings a root filesystem of `directory` into the store: as its lock says, or, where it has none because its suite
/// moves, as apt resolves it now. Without a lock nothing vouches for its bytes but the keys of the archive.
///
/// # Errors
/// As `assemble` and `update_rootfs`; `OfflineSource` for one without a lock where the network must not be used.
pub fn assemble_root(
    store: &Store,
    (directory, name): (&Path, &str),
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Assembled, SourceError> {
    if directory.join(format!("{name}.lock")).exists() {
        return assemble(store, &read_rootfs(directory, name)?, origins, jobs, (progress, vertex));
    }
    if origins.offline {
        return Err(SourceError::OfflineSource { what: format!("the package index for rootfs/{name}") });
    }
    let list = read_list(directory, name)?;
    let packages = resolve(store, (name, &list), origins, progress)?;
    build(store, (name, &list, &packages), origins, jobs, (progress, vertex))
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
