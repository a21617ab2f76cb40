//! Manifests and indexes, OCI's and docker's, read strictly (`image-spec manifest.md`, `image-index.md`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::RegistryError;
use super::platform::Platform;
use crate::oci::{DiffId, Digest};

/// The most bytes of a manifest or an index (`distribution-spec spec.md#pushing-manifests`: at least 4 MiB).
pub(super) const MOST: u64 = 4 << 20;

/// The most bytes of an image config.
pub(super) const MOST_CONFIG: u64 = 8 << 20;

/// Indexes in indexes are followed this deep.
const DEPTH: usize = 4;

/// Layers that an image may have; kernels and every other builder allow fewer.
const LAYERS: usize = 1024;

/// Everything that may be asked for under a tag, in the order of liking.
pub(super) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, \
     */*;q=0.1";

/// What a blob is and how to know it (`image-spec descriptor.md`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// Its media type; not to be trusted.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Descriptor {
    /// Tells whether the blob is a layer that only its publisher hands out (`image-spec layer.md#non-distributable-layers`).
    pub(super) fn is_foreign(&self) -> bool {
        self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.")
    }
}

/// A manifest or an index as it came, verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: Option<u64>,
    manifests: Option<Vec<Entry>>,
    config: Option<Entry>,
    layers: Option<Vec<Entry>>,
    fs_layers: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    media_type: String,
    pub(super) digest: Digest,
    size: u64,
    platform: Option<EntryPlatform>,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct EntryPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl Entry {
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: self.media_type.clone(), digest: self.digest, size: self.size }
    }

    fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        Some(Platform::new(&platform.os, &platform.architecture, &platform.variant))
    }
}

/// What a document is.
enum Kind {
    Index(Vec<Entry>),
    Image { config: Descriptor, layers: Vec<Descriptor> },
}

fn parse(what: &str, bytes: &[u8]) -> Result<Kind, RegistryError> {
    let wrong = |reason: String| RegistryError::Manifest { what: what.to_owned(), reason };
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| wrong(format!("not a manifest: {error}")))?;
    if document.fs_layers.is_some() || document.schema_version == Some(1) {
        return Err(wrong("a manifest of schema 1, which nobody should use any more: push the image anew".to_owned()));
    }
    match (document.manifests, document.config, document.layers) {
        // A document that can be read both ways means something else to everybody (CVE-2021-41190).
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
            Err(wrong("an index and a manifest at the same time".to_owned()))
        }
        (Some(entries), None, None) => Ok(Kind::Index(entries)),
        (None, Some(config), Some(layers)) if layers.len() <= LAYERS => {
            Ok(Kind::Image { config: config.descriptor(), layers: layers.iter().map(Entry::descriptor).collect() })
        }
        (None, Some(_), Some(layers)) => Err(wrong(format!("{} layers are more than {LAYERS}", layers.len()))),
        _ => Err(wrong("neither an index nor a manifest of an image".to_owned())),
    }
}

impl Manifest {
    /// Wraps bytes that were verified; the document's own word for its media type goes before the server's.
    pub(super) fn new(bytes: Vec<u8>, served_as: Option<&str>) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Typed {
            media_type: Option<String>,
        }
        let own = serde_json::from_slice::<Typed>(&bytes).ok().and_then(|typed| typed.media_type);
        let served_as = served_as.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
        let media_type = own.or(served_as).unwrap_or_else(|| "application/vnd.oci.image.manifest.v1+json".to_owned());
        let size = bytes.len() as u64;
        Self { descriptor: Descriptor { media_type, digest: Digest::of(&bytes), size }, bytes }
    }

    /// Returns the config and the layers of an image's manifest.
    ///
    /// # Errors
    /// `Manifest`, also for an index.
    pub fn image(&self, what: &str) -> Result<(Descriptor, Vec<Descriptor>), RegistryError> {
        match parse(what, &self.bytes)? {
            Kind::Image { config, layers } => Ok((config, layers)),
            Kind::Index(_) => {
                Err(RegistryError::Manifest { what: what.to_owned(), reason: "an index, not a manifest".to_owned() })
            }
        }
    }

    /// Returns the manifest that this one refers to (`image-spec manifest.md#image-manifest-property-descriptions`).
    pub(super) fn subject(&self) -> Option<Digest> {
        #[derive(Deserialize)]
        struct Referring {
            subject: Option<Entry>,
        }
        serde_json::from_slice::<Referring>(&self.bytes).ok()?.subject.map(|subject| subject.digest)
    }

    /// Returns everything that the document names, be it manifests or config and layers.
    pub(super) fn children(&self, what: &str) -> Result<(bool, Vec<Descriptor>), RegistryError> {
        Ok(match parse(what, &self.bytes)? {
            Kind::Index(entries) => (true, entries.iter().map(Entry::descriptor).collect()),
            Kind::Image { config, mut layers } => {
                layers.push(config);
                (false, layers)
            }
        })
    }
}

/// Reads the entries of an `index.json`.
pub(super) fn entries(what: &str, bytes: &[u8]) -> Result<Vec<Entry>, RegistryError> {
    match parse(what, bytes)? {
        Kind::Index(entries) => Ok(entries),
        Kind::Image { .. } => {
            Err(RegistryError::Manifest { what: what.to_owned(), reason: "a manifest, not an index".to_owned() })
        }
    }
}

/// Finds the manifest for `platform` from `top` on; `get` brings what an index names, verified.
pub(super) fn select(
    what: &str,
    top: Manifest,
    platform: &Platform,
    get: &dyn Fn(&Descriptor) -> Result<Manifest, RegistryError>,
) -> Result<Manifest, RegistryError> {
    let mut at = top;
    for _ in 0..DEPTH {
        let Kind::Index(entries) = parse(what, &at.bytes)? else { return Ok(at) };
        // An entry without a platform serves when nothing says that it fits.
        let best = entries
            .iter()
            .filter_map(|entry| match entry.platform() {
                Some(found) => platform.rank(&found).map(|rank| (rank, entry)),
                None => Some((usize::MAX, entry)),
            })
            .min_by_key(|(rank, _)| *rank);
        let Some((_, entry)) = best else {
            let mut found: Vec<String> =
                entries.iter().filter_map(Entry::platform).map(|platform| platform.to_string()).collect();
            found.retain(|platform| platform != "unknown/unknown");
            return Err(RegistryError::Platform { what: what.to_owned(), wanted: platform.to_string(), found });
        };
        at = get(&entry.descriptor())?;
    }
    Err(RegistryError::Manifest { what: what.to_owned(), reason: format!("indexes in indexes, {DEPTH} deep") })
}

/// Reads the diff IDs of an image config, one for each of `layers`.
pub(super) fn diff_ids(what: &str, config: &[u8], layers: usize) -> Result<Vec<DiffId>, RegistryError> {
    let wrong = |reason: String| RegistryError::Manifest { what: what.to_owned(), reason };
    let ids =
        crate::oci::diff_ids(config).map_err(|error| wrong(format!("its config is not one of an image: {error}")))?;
    if ids.len() == layers {
        Ok(ids)
    } else {
        Err(wrong(format!("its config names {} layers, its manifest {layers}", ids.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_an_index_and_a_manifest_is_refused() {
        let entry = r#"{"mediaType":"x","size":1,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#;
        let both = format!(r#"{{"schemaVersion":2,"manifests":[{entry}],"config":{entry},"layers":[]}}"#);
        for text in
            [both.as_str(), "{}", "[]", "", r#"{"schemaVersion":1,"fsLayers":[]}"#, r#"{"manifests":[{"size":-1}]}"#]
        {
            assert!(parse("x", text.as_bytes()).is_err(), "{text}");
        }
        let image = format!(r#"{{"config":{entry},"layers":[{entry}]}}"#);
        assert!(matches!(parse("x", image.as_bytes()), Ok(Kind::Image { .. })));
    }
}
