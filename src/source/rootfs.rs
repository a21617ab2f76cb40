//! A root filesystem's packages become an image in the store.
//!
//! Packages are fetched in parallel, their data archives decompressed in parallel into files without a name, and
//! merged as a value (`rootfs::Tree`); then one layer is written. Peak memory is that of the decompressors, not of the
//! tree: 350 MB of files pass through the page cache only.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use oci_spec::image::{Descriptor, DescriptorBuilder, MediaType};

use super::error::SourceError;
use super::fetch::{PARALLEL, fetch_all};
use super::origin::{Origins, Pinned};
use super::wait::wait_for;
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::rootfs::{self, Blob, List, Lock, Member, Package, Rootfs, RootfsError, Tree};
use crate::store::{Store, StoreError};

/// An image that is in the store, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// Its manifest.
    pub manifest: Blob,
    /// Its layers, lowest first; uncompressed tars, so each digest is the diff ID too.
    pub layers: Vec<Blob>,
}

/// Media type of the manifests that are made here.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The name of a root filesystem's image in the store.
pub fn tag(name: &str) -> String {
    format!("rootfs/{name}")
}

/// Brings the image of a root filesystem into the store, tagged `rootfs/<name>`: at once if it is there, else from its
/// packages.
///
/// # Errors
/// Those of `fetch`; `Image` when another image comes out than the lock names; `Rootfs`, `Store`, `Io`.
pub fn assemble(
    store: &Store,
    rootfs: &Rootfs,
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Assembled, SourceError> {
    let Rootfs { name, list, lock } = rootfs;
    if let Some(there) = already(store, &lock.manifest)? {
        tag_image(store, &tag(name), MANIFEST, &there.manifest)?;
        return Ok(there);
    }
    let _lock = wait_for(store, &format!("rootfs-{}", lock.manifest.hex()), &tag(name), origins, progress)?;
    if let Some(there) = already(store, &lock.manifest)? {
        tag_image(store, &tag(name), MANIFEST, &there.manifest)?;
        return Ok(there);
    }
    let built = build(store, (name, list, &lock.packages), origins, jobs, (progress, vertex))?;
    if built.manifest.digest != lock.manifest {
        let (expected, actual) = (lock.manifest, built.manifest.digest);
        return Err(SourceError::Image { name: name.clone(), expected, actual });
    }
    tag_image(store, &tag(name), MANIFEST, &built.manifest)?;
    Ok(built)
}

/// Assembles a root filesystem anew, whatever the store has, and checks that the image its lock names comes out.
///
/// # Errors
/// As `assemble`.
pub fn reproduce(
    store: &Store,
    rootfs: &Rootfs,
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Assembled, SourceError> {
    let Rootfs { name, list, lock } = rootfs;
    let built = build(store, (name, list, &lock.packages), origins, jobs, (progress, vertex))?;
    if built.manifest.digest == lock.manifest {
        return Ok(built);
    }
    Err(SourceError::Image { name: name.clone(), expected: lock.manifest, actual: built.manifest.digest })
}

/// Fetches and assembles `packages`, and returns the image that comes out, untagged.
pub(super) fn build(
    store: &Store,
    (name, list, packages): (&str, &List, &[Package]),
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Assembled, SourceError> {
    let pins: Vec<Pinned> = packages.iter().map(pin).collect();
    fetch_all(store, &pins, origins, PARALLEL, (progress, vertex))?;
    let mut unpacked = unpack(store, packages, origins, jobs, (progress, vertex))?;
    let data: Vec<File> = unpacked.iter_mut().map(|(file, _)| file.take().expect("unpacked once")).collect();
    let members: Vec<(&str, Vec<Member>)> =
        packages.iter().zip(unpacked).map(|(package, (_, members))| (package.file(), members)).collect();
    let tree = Tree::merge(list, &members)?;
    let mut writer = BufWriter::with_capacity(1 << 20, store.writer()?);
    tree.write(&data, &mut writer)?;
    let writer = writer.into_inner().map_err(|error| RootfsError::Layer { source: error.into_error() })?;
    let stored = writer.commit()?;
    let layer = Blob { digest: stored.digest, size: stored.size };
    let config = put(store, &rootfs::config(name, list.arch, &layer)?)?;
    let manifest = put(store, &rootfs::manifest(name, &config, &layer)?)?;
    Ok(Assembled { manifest, layers: vec![layer] })
}

/// Returns what `fetch` needs to know about a package.
pub(super) fn pin(package: &Package) -> Pinned {
    Pinned {
        file: package.file().to_owned(),
        digest: package.digest,
        size: Some(package.size),
        origins: vec![format!("debian:{}", package.path)],
    }
}

/// The data archive of one package, as a file without a name, and what is in it.
type Unpacked = (Option<File>, Vec<Member>);

/// Decompresses all packages, `jobs` at a time, the largest first; the result has the order of `packages`.
fn unpack(
    store: &Store,
    packages: &[Package],
    origins: &Origins,
    jobs: NonZeroUsize,
    (progress, vertex): (&dyn Progress, Digest),
) -> Result<Vec<Unpacked>, SourceError> {
    let place = store.temporary_directory()?;
    let mut order: Vec<usize> = (0..packages.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(packages[*index].size));
    let next = AtomicUsize::new(0);
    let total = packages.len() as u64;
    let results: Mutex<Vec<Option<Result<Unpacked, SourceError>>>> =
        Mutex::new(packages.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..jobs.get().min(packages.len()) {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::Relaxed);
                    let Some(index) = order.get(turn) else { break };
                    let package = &packages[*index];
                    let result = if origins.stopped() {
                        Err(SourceError::Stopped { file: package.file().to_owned() })
                    } else {
                        unpack_one(store, package, place.path())
                    };
                    results.lock().unwrap_or_else(PoisonError::into_inner)[*index] = Some(result);
                    let current = (turn as u64 + 1).min(total);
                    progress.event(&Event::Status { vertex, id: "unpacking packages", current, total: Some(total) });
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.into_iter().map(|result| result.expect("every package had its turn")).collect()
}

fn unpack_one(store: &Store, package: &Package, place: &Path) -> Result<Unpacked, SourceError> {
    let deb = store.read(&package.digest)?;
    let data = tempfile::tempfile_in(place).map_err(SourceError::io("create a file in", place))?;
    let mut writer = BufWriter::with_capacity(1 << 18, &data);
    rootfs::extract(package.file(), deb, &mut writer)?;
    writer.flush().map_err(SourceError::io("write a file in", place))?;
    drop(writer);
    let mut reader = &data;
    std::io::Seek::rewind(&mut reader).map_err(SourceError::io("read a file in", place))?;
    let members = rootfs::members(package.file(), std::io::BufReader::new(reader))?;
    Ok((Some(data), members))
}

/// Returns the image with this manifest if all its blobs are in the store.
fn already(store: &Store, manifest: &Digest) -> Result<Option<Assembled>, SourceError> {
    let Some(size) = store.contains(manifest) else { return Ok(None) };
    let mut bytes = Vec::new();
    store.read(manifest)?.read_to_end(&mut bytes).map_err(|source| StoreError::Io {
        action: "read",
        path: store.path(manifest),
        source,
    })?;
    let (config, layers) = rootfs::blobs(*manifest, &bytes)?;
    let whole = layers.iter().chain([&config]).all(|blob| store.contains(&blob.digest) == Some(blob.size));
    Ok(whole.then_some(Assembled { manifest: Blob { digest: *manifest, size }, layers }))
}

fn put(store: &Store, bytes: &[u8]) -> Result<Blob, SourceError> {
    let mut writer = store.writer()?;
    writer.write_all(bytes).map_err(|source| RootfsError::Layer { source })?;
    let stored = writer.commit()?;
    Ok(Blob { digest: stored.digest, size: stored.size })
}

/// Gives a manifest of the store a name, unless it has it.
pub(super) fn tag_image(store: &Store, name: &str, media_type: &str, manifest: &Blob) -> Result<(), SourceError> {
    let descriptor: Descriptor = DescriptorBuilder::default()
        .media_type(MediaType::from(media_type))
        .digest(manifest.digest.to_string().parse::<oci_spec::image::Digest>().expect("our digests are OCI's"))
        .size(manifest.size)
        .build()
        .expect("media type, digest and size are all that a descriptor needs");
    let there = store.resolve(name)?;
    if there.is_none_or(|there| there.digest() != descriptor.digest()) {
        store.tag(name, &descriptor)?;
    }
    Ok(())
}

/// Returns the lock of what `packages` make.
pub(super) fn lock(list: &List, packages: Vec<Package>, image: &Assembled) -> Lock {
    let manifest = image.manifest.digest;
    Lock { suite: list.suite.clone(), arch: list.arch, list: list.digest(), manifest, packages }
}
