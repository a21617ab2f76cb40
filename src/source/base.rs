//! Root filesystems that are images of registries: what a tag names, whether a lock still holds, and the bytes.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::error::SourceError;
use super::lock::replace;
use super::rootfs::{tag, tag_image};
use crate::oci::{Arch, Digest};
use crate::progress::Progress;
use crate::registry::{self, Image, Platform, Reference, Registry, RegistryError};
use crate::rootfs::{BaseImage, BaseLock, Blob};
use crate::store::Store;

/// The most bytes of an image's config.
const MOST: u64 = 8 << 20;

/// Reads `<directory>/<name>.toml` and the lock beside it, if there is one; `None` where it is a list of packages.
///
/// # Errors
/// `Io`, `Rootfs`.
pub fn read_base(directory: &Path, name: &str) -> Result<Option<BaseImage>, SourceError> {
    let path = directory.join(format!("{name}.toml"));
    let toml = fs::read_to_string(&path).map_err(SourceError::io("read", &path))?;
    let path = directory.join(format!("{name}.lock"));
    // The lock of a list of packages does not read as one of an image, so the file itself is asked first.
    if BaseImage::parse(name, directory, &toml, None)?.is_none() {
        return Ok(None);
    }
    let lock = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(SourceError::io("read", &path))?),
    };
    Ok(BaseImage::parse(name, directory, &toml, lock.as_deref())?)
}

/// Asks the registry what the image of `<directory>/<name>.toml` is on each platform that we build on, and writes
/// `<directory>/<name>.lock`; `None`, with nothing done, where it is a list of packages.
///
/// # Errors
/// `Registry`, also where the image is there for none of the platforms; `Rootfs`, `Io`.
pub fn update_base(
    store: &Store,
    (directory, name): (&Path, &str),
    registry: &Registry,
    told: (&dyn Progress, Digest),
) -> Result<Option<BaseLock>, SourceError> {
    let toml = directory.join(format!("{name}.toml"));
    let text = match fs::read_to_string(&toml) {
        // A list that serves both architectures has another name.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(SourceError::io("read", &toml))?,
    };
    let Some(BaseImage { base, .. }) = BaseImage::parse(name, directory, &text, None)? else { return Ok(None) };
    let asked =
        base.digest.map_or_else(|| base.image.tag().unwrap_or("latest").to_owned(), |digest| digest.to_string());
    let top = registry.repository(&base.image)?.get_manifest(&asked, told.0)?.descriptor.digest;
    let lock =
        BaseLock { platforms: platforms(store, &base.image, &top, registry, told)?, image: base.image, digest: top };
    // What the next run will read must read as what was meant.
    let path = directory.join(format!("{name}.lock"));
    let written = lock.to_toml(name);
    BaseImage::parse(name, directory, &text, Some(&written))?;
    replace(&path, written.as_bytes())?;
    Ok(Some(lock))
}

/// Returns the manifests of an image by architecture.
fn platforms(
    store: &Store,
    image: &Reference,
    top: &Digest,
    registry: &Registry,
    told: (&dyn Progress, Digest),
) -> Result<BTreeMap<Arch, Digest>, SourceError> {
    // By digest from here on: a tag may move between two requests.
    let pinned = image.clone_with_digest(top.to_string());
    let repository = registry.repository(&pinned)?;
    let (mut platforms, mut lacking) = (BTreeMap::new(), None);
    for arch in Arch::ALL {
        let wanted = Platform::linux(arch);
        let manifest = match registry::resolve(registry, &pinned, &wanted, store, told) {
            Ok(manifest) => manifest,
            Err(error @ RegistryError::Platform { .. }) => {
                lacking.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // An index may offer a predecessor instead, and a manifest without an index says nothing: the config knows.
        let what = format!("{image}@{}", manifest.digest);
        let (config, _) = repository.get_manifest(&manifest.digest.to_string(), told.0)?.image(&what)?;
        if config.size > MOST {
            return Err(RegistryError::TooLarge { what: format!("the config of {what}"), most: MOST }.into());
        }
        repository.get_blob(&config.digest, Some(config.size), store, told)?;
        let path = store.path(&config.digest);
        let found = platform(&what, &fs::read(&path).map_err(SourceError::io("read", &path))?)?;
        if found == wanted {
            platforms.insert(arch, manifest.digest);
        } else {
            let (wanted, found) = (wanted.to_string(), vec![found.to_string()]);
            lacking.get_or_insert(RegistryError::Platform { what: image.to_string(), wanted, found });
        }
    }
    match lacking {
        Some(error) if platforms.is_empty() => Err(error.into()),
        _ => Ok(platforms),
    }
}

/// Reads what an image's config says that it runs on (`image-spec config.md#properties`).
fn platform(what: &str, config: &[u8]) -> Result<Platform, RegistryError> {
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
    }
    let config: Config = serde_json::from_slice(config).map_err(|error| RegistryError::Manifest {
        what: what.to_owned(),
        reason: format!("its config is not one of an image: {error}"),
    })?;
    Ok(Platform::new(&config.os, &config.architecture, ""))
}

/// Checks that an image is there and is on each platform what its lock names; returns its manifests.
///
/// What the store has of it is believed, since it was verified on its way there.
///
/// # Errors
/// `Registry`, `BaseImage`.
pub fn check_base(
    store: &Store,
    image: &BaseImage,
    registry: &Registry,
    told: (&dyn Progress, Digest),
) -> Result<BTreeMap<Arch, Digest>, SourceError> {
    let Some(lock) = &image.lock else {
        return match &image.base.digest {
            Some(digest) => platforms(store, &image.base.image, digest, registry, told),
            None => Err(SourceError::Unlocked { name: image.name.clone(), image: image.base.image.to_string() }),
        };
    };
    let pinned = lock.image.clone_with_digest(lock.digest.to_string());
    for (arch, expected) in &lock.platforms {
        let actual = registry::resolve(registry, &pinned, &Platform::linux(*arch), store, told)?.digest;
        if actual != *expected {
            return Err(SourceError::Image { name: image.name.clone(), expected: *expected, actual });
        }
    }
    Ok(lock.platforms.clone())
}

/// Brings the image that is the root filesystem on `arch` into the store, tagged `rootfs/<name>-<arch>`.
///
/// # Errors
/// `Registry`, `Unlocked`, `Store`.
pub fn fetch_base(
    store: &Store,
    image: &BaseImage,
    arch: Arch,
    registry: &Registry,
    told: (&dyn Progress, Digest),
) -> Result<Image, SourceError> {
    let pins = image.pins();
    let pinned = pins
        .get(&arch)
        .ok_or_else(|| SourceError::Unlocked { name: image.name.clone(), image: image.base.image.to_string() })?;
    let pulled = registry::pull(registry, pinned, &Platform::linux(arch), store, told)?;
    let manifest = Blob { digest: pulled.manifest.digest, size: pulled.manifest.size };
    tag_image(store, &tag(&format!("{}-{arch}", image.name)), &pulled.manifest.media_type, &manifest)?;
    Ok(pulled)
}
