//! Whole images: which one a reference means here, and all of its blobs.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::RegistryError;
use super::incoming::Incoming;
use super::manifest::{Descriptor, MOST_CONFIG, Manifest, diff_ids, select};
use super::platform::Platform;
use super::referrers::list;
use super::repository::{Registry, Repository};
use crate::oci::{DiffId, Digest, DigestError, Reference};
use crate::progress::Progress;
use crate::store::{Store, StoreError};

/// Blobs transferred at the same time.
pub const PARALLEL: NonZeroUsize = NonZeroUsize::new(4).expect("four is not zero");

/// An image that is in the store, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its manifest, never an index.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
    /// Digests of the layers' tars, in the same order.
    pub diff_ids: Vec<DiffId>,
}

/// Who is told, and of which vertex.
pub(super) type Told<'a> = (&'a dyn Progress, Digest);

/// Returns the manifest that a reference means on a platform. A tag is asked for each time; the manifest itself and the
/// indexes that lead to it are kept in the store.
///
/// # Errors
/// `Platform`, `Manifest` and those of `Repository::get_manifest`.
pub fn resolve(
    registry: &Registry,
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    told: Told<'_>,
) -> Result<Descriptor, RegistryError> {
    let incoming = Incoming::new(store);
    let manifest = find(&registry.repository(reference)?, reference, platform, &incoming, told)?;
    incoming.publish()?;
    Ok(manifest.descriptor)
}

/// Brings the image that a reference means on a platform into the store, all of it or nothing. One that is there and is
/// named by digest asks no server.
///
/// # Errors
/// As `resolve` and `Repository::get_blob`.
pub fn pull(
    registry: &Registry,
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    told: Told<'_>,
) -> Result<Image, RegistryError> {
    let incoming = Incoming::new(store);
    let image = pull_into(&registry.repository(reference)?, reference, platform, &incoming, told)?;
    incoming.publish()?;
    Ok(image)
}

/// As `pull`, for whoever wants several images or none.
///
/// # Errors
/// As `pull`.
pub fn pull_into(
    repository: &Repository,
    reference: &Reference,
    platform: &Platform,
    incoming: &Incoming<'_>,
    told: Told<'_>,
) -> Result<Image, RegistryError> {
    let what = reference.to_string();
    let manifest = find(repository, reference, platform, incoming, told)?;
    let (config, layers) = manifest.image(&what)?;
    repository.reserve(layers.iter().chain([&config]).map(|blob| &blob.digest), incoming)?;
    complete(&what, &manifest, incoming, &|blob| repository.bring_blob(&blob.digest, Some(blob.size), incoming, told))
}

/// Gives an image or an index of the store, with everything it names, to a registry under the reference's tag.
///
/// # Errors
/// `Manifest` where it is none, `Store` where a blob is missing, and those of `Repository`.
pub fn push(
    registry: &Registry,
    reference: &Reference,
    manifest: &Digest,
    store: &Store,
    told: Told<'_>,
) -> Result<Descriptor, RegistryError> {
    let repository = registry.repository(reference)?;
    let digest = manifest.to_string();
    put(&repository, manifest, reference.tag().unwrap_or(&digest), store, told)
}

fn put(
    repository: &Repository,
    digest: &Digest,
    name: &str,
    store: &Store,
    told: Told<'_>,
) -> Result<Descriptor, RegistryError> {
    let what = format!("manifest {digest}");
    let manifest = Incoming::new(store)
        .manifest(digest, &what)?
        .ok_or_else(|| StoreError::Missing { digest: *digest, root: store.root().to_owned() })?;
    let (is_index, children) = manifest.children(&what)?;
    if is_index {
        for child in &children {
            put(repository, &child.digest, &child.digest.to_string(), store, told)?;
        }
    } else {
        let ours: Vec<Descriptor> = children.into_iter().filter(|blob| !blob.is_foreign()).collect();
        each(&ours, &|blob| repository.put_blob(&blob.digest, store, told.0))?;
    }
    let noted = repository.put_manifest(name, &manifest.descriptor.media_type, &manifest.bytes, told.0)?;
    if let Some(subject) = manifest.subject().filter(|_| !noted) {
        list(repository, &subject, &manifest, told)?;
    }
    Ok(manifest.descriptor)
}

pub(super) fn find(
    repository: &Repository,
    reference: &Reference,
    platform: &Platform,
    incoming: &Incoming<'_>,
    told: Told<'_>,
) -> Result<Manifest, RegistryError> {
    let what = reference.to_string();
    let get = |digest: &Digest| -> Result<Manifest, RegistryError> {
        if let Some(manifest) = incoming.manifest(digest, &what)? {
            return Ok(manifest);
        }
        let manifest = repository.get_manifest(&digest.to_string(), told.0)?;
        incoming.keep_manifest(&manifest)?;
        Ok(manifest)
    };
    let top = if let Some(text) = reference.digest() {
        let wrong = |error: DigestError| RegistryError::Reference { text: what.clone(), reason: error.to_string() };
        get(&text.parse().map_err(wrong)?)?
    } else {
        let manifest = repository.get_manifest(reference.tag().unwrap_or("latest"), told.0)?;
        incoming.keep_manifest(&manifest)?;
        manifest
    };
    select(&what, top, platform, &|descriptor| promised(get(&descriptor.digest)?, descriptor, &what))
}

/// Checks a manifest's size against what an index promised.
pub(super) fn promised(manifest: Manifest, by: &Descriptor, what: &str) -> Result<Manifest, RegistryError> {
    let actual = manifest.descriptor.size;
    if actual == by.size {
        return Ok(manifest);
    }
    Err(RegistryError::Size { what: format!("{what}: manifest {}", by.digest), expected: by.size, actual, more: false })
}

/// Brings config and layers of a manifest, and checks that they belong together.
pub(super) fn complete(
    what: &str,
    manifest: &Manifest,
    incoming: &Incoming<'_>,
    get: &(dyn Fn(&Descriptor) -> Result<(), RegistryError> + Sync),
) -> Result<Image, RegistryError> {
    let (config, layers) = manifest.image(what)?;
    if config.size > MOST_CONFIG {
        return Err(RegistryError::TooLarge { what: format!("the config of {what}"), most: MOST_CONFIG });
    }
    let store = incoming.store();
    if let Some(layer) = layers.iter().find(|layer| layer.is_foreign() && store.contains(&layer.digest).is_none()) {
        let reason = format!(
            "its layer {} is not for registries to hand out (`{}`): use an image without such layers",
            layer.digest, layer.media_type
        );
        return Err(RegistryError::Manifest { what: what.to_owned(), reason });
    }
    // First, so that something that is no image is found out before its layers have come.
    get(&config)?;
    let bytes = incoming.read(&config.digest, MOST_CONFIG, &format!("the config of {what}"))?;
    let diff_ids = diff_ids(what, &bytes, layers.len())?;
    each(&layers, get)?;
    Ok(Image { manifest: manifest.descriptor.clone(), config, layers, diff_ids })
}

/// Does something for all blobs, some at a time; the first failure in their order is returned.
fn each(
    blobs: &[Descriptor],
    work: &(dyn Fn(&Descriptor) -> Result<(), RegistryError> + Sync),
) -> Result<(), RegistryError> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let failures: Mutex<Vec<(usize, RegistryError)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.get().min(blobs.len()) {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(blob) = blobs.get(index) else { break };
                    if let Err(error) = work(blob) {
                        failed.store(true, Ordering::Relaxed);
                        failures.lock().unwrap_or_else(PoisonError::into_inner).push((index, error));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|(index, _)| *index);
    match failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
