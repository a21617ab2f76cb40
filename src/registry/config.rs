//! The config of an image alone, for those who lower what is built on it.

use super::error::RegistryError;
use super::image::{Told, find};
use super::incoming::Incoming;
use super::layout::Layout;
use super::manifest::MOST_CONFIG;
use super::platform::Platform;
use super::repository::Registry;
use crate::oci::Reference;
use crate::oci::{Digest, DigestError};
use crate::store::Store;

/// Returns the digest that a reference means (of the index where there is one), and the config of its image for a
/// platform. Layers are not asked for.
///
/// # Errors
/// As `resolve`, and `TooLarge` for a config that is none.
pub fn config(
    registry: &Registry,
    reference: &Reference,
    platform: &Platform,
    store: &Store,
    told: Told<'_>,
) -> Result<(Digest, Vec<u8>), RegistryError> {
    let incoming = Incoming::new(store);
    let repository = registry.repository(reference)?;
    let what = reference.to_string();
    let top = if let Some(text) = reference.digest() {
        let wrong = |error: DigestError| RegistryError::Reference { text: what.clone(), reason: error.to_string() };
        text.parse().map_err(wrong)?
    } else {
        let manifest = repository.get_manifest(reference.tag().unwrap_or("latest"), told.0)?;
        incoming.keep_manifest(&manifest)?;
        manifest.descriptor.digest
    };
    let pinned = reference.clone_with_digest(top.to_string());
    let manifest = find(&repository, &pinned, platform, &incoming, told)?;
    let (config, _) = manifest.image(&what)?;
    if config.size > MOST_CONFIG {
        return Err(RegistryError::TooLarge { what: format!("the config of {what}"), most: MOST_CONFIG });
    }
    repository.bring_blob(&config.digest, Some(config.size), &incoming, told)?;
    let bytes = incoming.read(&config.digest, MOST_CONFIG, &what)?;
    incoming.publish()?;
    Ok((top, bytes))
}

/// As `config`, of a layout.
///
/// # Errors
/// As `Layout::resolve` and `Layout::blob`.
pub fn layout_config(
    layout: &Layout,
    digest: &Digest,
    platform: &Platform,
    store: &Store,
) -> Result<(Digest, Vec<u8>), RegistryError> {
    let manifest = layout.resolve(None, Some(digest), platform)?;
    let what = format!("manifest {digest}");
    let (config, _) = manifest.image(&what)?;
    if config.size > MOST_CONFIG {
        return Err(RegistryError::TooLarge { what: format!("the config of {what}"), most: MOST_CONFIG });
    }
    layout.blob(&config.digest, Some(config.size), store)?;
    Ok((*digest, Incoming::new(store).read(&config.digest, MOST_CONFIG, &what)?))
}
