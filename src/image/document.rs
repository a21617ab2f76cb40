//! Manifests and indexes of the store, and everything that they lead to (`image-spec manifest.md`, `image-index.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use serde::Deserialize;
use serde_json::Value;

use super::error::ImageError;
use crate::oci::Digest;
use crate::registry::Descriptor;
use crate::store::Store;

/// The most bytes of a manifest or an index.
pub(super) const MOST: u64 = 4 << 20;

/// The most bytes of an image config.
pub(super) const MOST_CONFIG: u64 = 8 << 20;

/// Indexes in indexes are followed this deep.
pub(super) const DEPTH: usize = 4;

/// Layers that an image may have.
pub(super) const LAYERS: usize = 1024;

pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// One that another document names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) digest: Digest,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

impl Entry {
    pub(super) fn descriptor(&self) -> Descriptor {
        Descriptor { media_type: self.media_type.clone(), digest: self.digest, size: self.size }
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(key).map(String::as_str)
    }
}

/// What a document is.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Index(Vec<Entry>),
    Image { config: Entry, layers: Vec<Entry> },
}

/// A manifest or an index.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) kind: Kind,
    pub(super) media_type: String,
    pub(super) subject: Option<Digest>,
}

impl Document {
    /// Reads one strictly.
    pub(super) fn parse(what: &str, bytes: &[u8]) -> Result<Self, ImageError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw {
            schema_version: Option<u64>,
            media_type: Option<String>,
            manifests: Option<Vec<Entry>>,
            config: Option<Entry>,
            layers: Option<Vec<Entry>>,
            subject: Option<Entry>,
            fs_layers: Option<Value>,
        }
        let wrong = |reason: String| ImageError::Manifest { what: what.to_owned(), reason };
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| wrong(format!("not a manifest: {error}")))?;
        if raw.fs_layers.is_some() || raw.schema_version == Some(1) {
            return Err(wrong("a manifest of schema 1, which nobody should use any more".to_owned()));
        }
        let (kind, usual) = match (raw.manifests, raw.config, raw.layers) {
            // A document that can be read both ways means something else to everybody (CVE-2021-41190).
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err(wrong("an index and a manifest at the same time".to_owned()));
            }
            (Some(entries), None, None) => (Kind::Index(entries), OCI_INDEX),
            (None, Some(config), Some(layers)) if layers.len() <= LAYERS => {
                (Kind::Image { config, layers }, OCI_MANIFEST)
            }
            (None, Some(_), Some(layers)) => {
                return Err(wrong(format!("{} layers are more than {LAYERS}", layers.len())));
            }
            _ => return Err(wrong("neither an index nor a manifest of an image".to_owned())),
        };
        let media_type = raw.media_type.unwrap_or_else(|| usual.to_owned());
        Ok(Self { kind, media_type, subject: raw.subject.map(|subject| subject.digest) })
    }

    /// Reads one of the store.
    pub(super) fn read(store: &Store, digest: &Digest) -> Result<(Self, Vec<u8>), ImageError> {
        let bytes = blob(store, digest, MOST)?;
        Ok((Self::parse(&format!("manifest {digest}"), &bytes)?, bytes))
    }

    /// Tells whether it is an image that something can run, not an artifact dressed as one.
    pub(super) fn is_image(&self) -> bool {
        matches!(&self.kind, Kind::Image { config, .. } if is_config(&config.media_type))
    }
}

/// Tells whether a media type is that of an image's config.
pub(super) fn is_config(media_type: &str) -> bool {
    matches!(media_type, "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json")
}

/// Reads a small blob of the store.
pub(super) fn blob(store: &Store, digest: &Digest, most: u64) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    let path = store.path(digest);
    store.read(digest)?.take(most + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", &path))?;
    if bytes.len() as u64 > most {
        let reason = format!("it has more than {most} bytes");
        return Err(ImageError::Manifest { what: format!("blob {digest}"), reason });
    }
    Ok(bytes)
}

/// Everything that a manifest or an index leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// All blobs that are there with their sizes, the document itself among them.
    pub blobs: BTreeMap<Digest, u64>,
    /// Manifests that an index names and that are not there: other platforms were never asked for.
    pub absent: Vec<Digest>,
    /// Configs and layers that are not there although their manifest is.
    pub missing: Vec<Digest>,
    /// Manifests in the order of their being read, all but the indexes.
    pub images: Vec<Digest>,
}

/// Walks from a manifest or an index to all blobs.
///
/// # Errors
/// `Store` where there is no such blob, `Manifest` where it is something else, `Io`.
pub fn contents(store: &Store, digest: &Digest) -> Result<Content, ImageError> {
    let mut content = Content::default();
    walk(store, digest, DEPTH, &mut content)?;
    Ok(content)
}

fn walk(store: &Store, digest: &Digest, depth: usize, content: &mut Content) -> Result<(), ImageError> {
    let (document, bytes) = Document::read(store, digest)?;
    if content.blobs.insert(*digest, bytes.len() as u64).is_some() {
        return Ok(());
    }
    match document.kind {
        Kind::Index(_) if depth == 0 => {
            let reason = format!("indexes in indexes, {DEPTH} deep");
            return Err(ImageError::Manifest { what: format!("manifest {digest}"), reason });
        }
        Kind::Index(entries) => {
            for entry in entries {
                if store.contains(&entry.digest).is_none() {
                    content.absent.push(entry.digest);
                } else {
                    walk(store, &entry.digest, depth - 1, content)?;
                }
            }
        }
        Kind::Image { config, layers } => {
            content.images.push(*digest);
            for entry in std::iter::once(&config).chain(&layers) {
                match store.contains(&entry.digest) {
                    Some(size) => drop(content.blobs.insert(entry.digest, size)),
                    None => content.missing.push(entry.digest),
                }
            }
        }
    }
    Ok(())
}

/// Returns the manifests of the store that are attached to one of `subjects` (`image-spec manifest.md`, `subject`), and
/// to those in turn.
///
/// # Errors
/// `Io`.
pub fn attached(store: &Store, subjects: &BTreeSet<Digest>) -> Result<Vec<Digest>, ImageError> {
    let mut by_subject = BTreeMap::<Digest, Vec<Digest>>::new();
    let directory = store.root().join("blobs/sha256");
    for entry in std::fs::read_dir(&directory).map_err(ImageError::io("list", &directory))? {
        let entry = entry.map_err(ImageError::io("list", &directory))?;
        let name = entry.file_name();
        let Some(digest) = name.to_str().and_then(|hex| Digest::from_hex(hex).ok()) else { continue };
        if let Some(subject) = subject(store, &digest) {
            by_subject.entry(subject).or_default().push(digest);
        }
    }
    let (mut found, mut seen) = (Vec::new(), subjects.clone());
    let mut open: Vec<Digest> = subjects.iter().copied().collect();
    while let Some(subject) = open.pop() {
        let mut attached = by_subject.remove(&subject).unwrap_or_default();
        attached.sort();
        for digest in attached.into_iter().filter(|digest| seen.insert(*digest)) {
            found.push(digest);
            open.push(digest);
        }
    }
    Ok(found)
}

/// Returns what a blob is attached to, if it is a manifest that is.
fn subject(store: &Store, digest: &Digest) -> Option<Digest> {
    let size = store.contains(digest)?;
    if size > MOST {
        return None;
    }
    let mut file = store.read(digest).ok()?;
    let mut first = [0];
    // Most blobs are layers: their first byte tells.
    if file.read(&mut first).ok()? != 1 || first != *b"{" {
        return None;
    }
    let bytes = blob(store, digest, MOST).ok()?;
    Document::parse("", &bytes).ok()?.subject
}
