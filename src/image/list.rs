//! What there is, for people and programs.

use serde_json::Value;

use super::document::{Document, Entry, Kind, MOST_CONFIG, blob, contents};
use super::error::ImageError;
use super::tags::{UNTAGGED, digest_of, platform_of};
use crate::oci::Digest;
use crate::registry::{Descriptor, Platform};
use crate::store::Store;

/// One name of the store and its image.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The name; none for an image that lost it, or never had one.
    pub name: Option<String>,
    /// What it leads to.
    pub details: Details,
}

/// A manifest or an index of the store.
#[derive(Debug, Clone)]
pub struct Details {
    /// What it is.
    pub descriptor: Descriptor,
    /// Bytes of all its blobs, as they are packed.
    pub size: u64,
    /// For which machines, those that are there.
    pub platforms: Vec<Platform>,
    /// Time of the image as its config has it (RFC 3339); of an index that of its first one.
    pub created: Option<String>,
    /// Whether it is an index, and how many of its images were never asked for.
    pub index: Option<usize>,
    /// Blobs that should be there and are not.
    pub missing: Vec<Digest>,
}

/// Returns what a manifest or an index of the store is.
///
/// # Errors
/// `Store`, `Manifest`, `Io`.
pub fn details(store: &Store, digest: &Digest) -> Result<Details, ImageError> {
    let (document, bytes) = Document::read(store, digest)?;
    let content = contents(store, digest)?;
    let descriptor = Descriptor { media_type: document.media_type.clone(), digest: *digest, size: bytes.len() as u64 };
    let (mut platforms, mut created) = (Vec::new(), None);
    for image in &content.images {
        let (document, _) = Document::read(store, image)?;
        let Kind::Image { config, .. } = &document.kind else { continue };
        if !document.is_image() {
            continue;
        }
        let Some(config) = config_of(store, config) else { continue };
        // BuildKit's attestations are images for nobody.
        let platform = platform_of(&config).filter(|platform| platform.os != "unknown");
        if let Some(platform) = platform.filter(|platform| !platforms.contains(platform)) {
            platforms.push(platform);
            created = created.or(config.get("created").and_then(Value::as_str).map(str::to_owned));
        }
    }
    Ok(Details {
        descriptor,
        size: content.blobs.values().sum(),
        platforms,
        created,
        index: matches!(document.kind, Kind::Index(_)).then_some(content.absent.len()),
        missing: content.missing,
    })
}

fn config_of(store: &Store, config: &Entry) -> Option<Value> {
    serde_json::from_slice(&blob(store, &config.digest, MOST_CONFIG).ok()?).ok()
}

/// Lists all names, sorted, and then with `untagged` what has none. What is damaged is listed by its descriptor.
///
/// # Errors
/// `Store`.
pub fn list(store: &Store, untagged: bool) -> Result<Vec<Listed>, ImageError> {
    let mut listed = Vec::new();
    let tags = store.tags()?;
    for (name, described) in &tags {
        let Some(digest) = digest_of(Some(described)) else { continue };
        let descriptor = Descriptor { media_type: described.media_type().to_string(), digest, size: described.size() };
        let damaged = || Details {
            descriptor,
            size: 0,
            platforms: Vec::new(),
            created: None,
            index: None,
            missing: vec![digest],
        };
        let details = details(store, &digest).unwrap_or_else(|_| damaged());
        listed.push(Listed { name: Some(name.clone()), details });
    }
    if untagged {
        for hex in store.records(UNTAGGED)? {
            let Ok(digest) = Digest::from_hex(&hex) else { continue };
            if listed.iter().any(|listed| listed.details.descriptor.digest == digest) {
                continue;
            }
            if let Ok(details) = details(store, &digest) {
                listed.push(Listed { name: None, details });
            }
        }
    }
    Ok(listed)
}
