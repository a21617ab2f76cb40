//! Images between registries and the store.

use std::collections::BTreeSet;

use super::document::{self, DEPTH, Document, Kind, contents};
use super::error::ImageError;
use super::name::Name;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::{self, Descriptor, Incoming, Manifest, Platform, Reference, Registry, Repository};
use crate::store::{Store, StoreError};

/// Which images of an index are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// The one that serves this platform.
    One(Platform),
    /// Every one, and the index itself.
    All,
}

/// Brings what a name means into the store, whole or not at all. A name by digest that is there asks no server. Naming
/// it is the caller's.
///
/// # Errors
/// `Registry`, `Manifest`, `Store`.
pub fn pull(
    registry: &Registry,
    name: &Name,
    wanted: &Wanted,
    store: &Store,
    told: (&dyn Progress, Digest),
) -> Result<Descriptor, ImageError> {
    let reference = name.reference();
    match wanted {
        Wanted::One(platform) => Ok(registry::pull(registry, reference, platform, store, told)?.manifest),
        Wanted::All => {
            let repository = registry.repository(reference)?;
            let incoming = Incoming::new(store);
            let all = All { repository: &repository, reference, incoming: &incoming, told };
            let name = name.digest().map_or_else(|| name.tag().unwrap_or("latest").to_owned(), Digest::to_string);
            let top = all.bring(&name, DEPTH)?;
            incoming.publish()?;
            Ok(top)
        }
    }
}

/// A download of everything that a manifest or an index leads to.
struct All<'a> {
    repository: &'a Repository,
    reference: &'a Reference,
    incoming: &'a Incoming<'a>,
    told: (&'a dyn Progress, Digest),
}

impl All<'_> {
    fn bring(&self, name: &str, depth: usize) -> Result<Descriptor, ImageError> {
        let manifest = self.manifest(name)?;
        self.incoming.keep_manifest(&manifest)?;
        let what = format!("manifest `{name}` of {}", self.repository.name());
        let document = Document::parse(&what, &manifest.bytes)?;
        match &document.kind {
            Kind::Index(_) if depth == 0 => {
                return Err(ImageError::Manifest { what, reason: format!("indexes in indexes, {DEPTH} deep") });
            }
            Kind::Index(entries) => {
                for entry in entries {
                    let child = self.bring(&entry.digest.to_string(), depth - 1)?;
                    if child.size != entry.size {
                        let reason = format!("manifest {} has {} bytes, not {}", entry.digest, child.size, entry.size);
                        return Err(ImageError::Manifest { what, reason });
                    }
                }
            }
            Kind::Image { .. } if document.is_image() => {
                let reference = self.reference.clone_with_digest(manifest.descriptor.digest.to_string());
                // The platform chooses among the images of an index, and this is none.
                let any = Platform::new("linux", "amd64", "");
                registry::pull_into(self.repository, &reference, &any, self.incoming, self.told)?;
            }
            // An artifact: its blobs are whatever they are.
            Kind::Image { config, layers } => {
                for entry in std::iter::once(config).chain(layers) {
                    self.repository.bring_blob(&entry.digest, Some(entry.size), self.incoming, self.told)?;
                }
            }
        }
        Ok(Descriptor { media_type: document.media_type, ..manifest.descriptor })
    }

    fn manifest(&self, name: &str) -> Result<Manifest, ImageError> {
        let store = self.incoming.store();
        if let Ok(digest) = name.parse::<Digest>()
            && store.contains(&digest).is_some()
        {
            let (document, bytes) = Document::read(store, &digest)?;
            let size = bytes.len() as u64;
            return Ok(Manifest { descriptor: Descriptor { media_type: document.media_type, digest, size }, bytes });
        }
        Ok(self.repository.get_manifest(name, self.told.0)?)
    }
}

/// Gives a manifest or an index of the store, and with `attached` everything attached to it, to a registry.
///
/// # Errors
/// `Incomplete` where the store lacks a part, before anything is sent; `Registry`, `Manifest`, `Store`.
pub fn push(
    registry: &Registry,
    store: &Store,
    digest: &Digest,
    destination: &Name,
    attached: bool,
    told: (&dyn Progress, Digest),
) -> Result<Vec<Digest>, ImageError> {
    whole(store, digest)?;
    let more = if attached { referrers(store, digest)? } else { Vec::new() };
    for other in &more {
        whole(store, other)?;
    }
    let reference = destination.reference();
    if destination.digest().is_some_and(|wanted| wanted != digest) {
        let reason = format!("{digest} cannot be pushed under another digest; name a tag");
        return Err(ImageError::Name { text: destination.to_string(), reason });
    }
    registry::push(registry, reference, digest, store, told)?;
    for other in &more {
        registry::push(registry, &reference.clone_with_digest(other.to_string()), other, store, told)?;
    }
    Ok(more)
}

/// Returns the manifests of the store that are attached to an image, to the images of an index, and to those in turn.
///
/// # Errors
/// `Store`, `Manifest`, `Io`.
pub fn referrers(store: &Store, digest: &Digest) -> Result<Vec<Digest>, ImageError> {
    let content = contents(store, digest)?;
    let subjects: BTreeSet<Digest> = content.images.iter().copied().chain([*digest]).collect();
    document::attached(store, &subjects)
}

/// Tells what is missing of an image before half of it is somewhere.
fn whole(store: &Store, digest: &Digest) -> Result<(), ImageError> {
    if store.contains(digest).is_none() {
        return Err(StoreError::Missing { digest: *digest, root: store.root().to_owned() }.into());
    }
    let content = contents(store, digest)?;
    let missing = match (&content.absent[..], &content.missing[..]) {
        ([], []) => return Ok(()),
        ([], [blob, ..]) => format!("blob {blob}"),
        (absent, _) => format!("{} of the images it names, such as {}", absent.len(), absent[0]),
    };
    Err(ImageError::Incomplete { what: digest.to_string(), missing })
}
