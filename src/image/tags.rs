//! Which image of the store a person means, and how images get and lose their names.

use std::collections::BTreeSet;

use super::document::{Document, Kind, MOST_CONFIG, blob};
use super::error::ImageError;
use super::name::Name;
use crate::http::Stop;
use crate::oci::{DiffId, Digest};
use crate::registry::{Descriptor, Image, Layout, Platform, RegistryError};
use crate::store::Store;

/// Room of the store with a record for each manifest that lost its last name: what it is called by, for people. When no
/// tag leads to one, collection frees what only it leads to.
pub const UNTAGGED: &str = "untagged";

/// Names that are told to somebody who misspelt one.
const NEAR: usize = 3;

/// Fewest digits that a digest may be shortened to.
const SHORTEST: usize = 6;

/// Gives a manifest or an index of the store a name; what had it becomes free for collection.
///
/// # Errors
/// `Store`.
pub fn tag(store: &Store, name: &Name, manifest: &Descriptor) -> Result<(), ImageError> {
    let before = digest_of(store.resolve(&name.to_string())?.as_ref());
    let digest: oci_spec::image::Digest = manifest.digest.to_string().parse().expect("our digests are OCI's");
    let media_type = oci_spec::image::MediaType::from(manifest.media_type.as_str());
    store.tag(&name.to_string(), &oci_spec::image::Descriptor::new(media_type, manifest.size, digest))?;
    store.remove_record(UNTAGGED, &manifest.digest.hex())?;
    if let Some(before) = before.filter(|before| *before != manifest.digest) {
        loose(store, &before, &name.to_string())?;
    }
    Ok(())
}

/// Notes that a manifest has no name (any more), so that collection may take it.
///
/// # Errors
/// `Store`.
pub fn loose(store: &Store, digest: &Digest, called: &str) -> Result<(), ImageError> {
    let named = store.tags()?.iter().any(|(_, other)| digest_of(Some(other)) == Some(*digest));
    if !named {
        store.put_record(UNTAGGED, &digest.hex(), called.as_bytes())?;
    }
    Ok(())
}

/// Takes names away; their blobs stay until collection. A digest stands for all names of that image. Returns the names.
///
/// # Errors
/// `Unknown`, `Ambiguous`, `Store`.
pub fn forget(store: &Store, text: &str) -> Result<Vec<String>, ImageError> {
    let (digest, name) = locate(store, text)?;
    let tags = store.tags()?;
    let gone: Vec<String> = match name {
        Some(name) => vec![name],
        None => tags
            .into_iter()
            .filter(|(_, descriptor)| digest_of(Some(descriptor)) == Some(digest))
            .map(|(tag, _)| tag)
            .collect(),
    };
    for name in &gone {
        store.untag(name)?;
    }
    loose(store, &digest, gone.first().map_or(text, String::as_str))?;
    Ok(gone)
}

/// Returns the manifest or index that a name, a digest or the beginning of one means.
///
/// # Errors
/// `Unknown` with names that look like it, `Ambiguous`, `Store`, `Manifest`.
pub fn find(store: &Store, text: &str) -> Result<Descriptor, ImageError> {
    let (digest, _) = locate(store, text)?;
    let (document, bytes) = Document::read(store, &digest)?;
    Ok(Descriptor { media_type: document.media_type, digest, size: bytes.len() as u64 })
}

/// Finds a digest, and the tag where it was one that led there.
fn locate(store: &Store, text: &str) -> Result<(Digest, Option<String>), ImageError> {
    let tags = store.tags()?;
    let tagged = |name: &str| {
        let (tag, descriptor) = tags.iter().find(|(tag, _)| tag == name)?;
        Some((digest_of(Some(descriptor))?, Some(tag.clone())))
    };
    // What somebody else named in a way of their own is found as it is.
    if let Some(found) = tagged(text) {
        return Ok(found);
    }
    let name = text.parse::<Name>();
    if let Some(found) = name.as_ref().ok().and_then(|name| tagged(&name.to_string())) {
        return Ok(found);
    }
    let digest = text.parse::<Digest>().ok().or(name.as_ref().ok().and_then(Name::digest).copied());
    if let Some(digest) = digest.filter(|digest| store.contains(digest).is_some()) {
        return Ok((digest, None));
    }
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() >= SHORTEST && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        let known = tags.iter().filter_map(|(_, descriptor)| digest_of(Some(descriptor)));
        let loose = store.records(UNTAGGED)?.into_iter().filter_map(|hex| Digest::from_hex(&hex).ok());
        let found: BTreeSet<Digest> = known.chain(loose).filter(|digest| digest.hex().starts_with(hex)).collect();
        match found.len() {
            0 => {}
            1 => return Ok((found.into_iter().next().expect("there is one"), None)),
            _ => return Err(ImageError::Ambiguous { name: text.to_owned(), found: found.into_iter().collect() }),
        }
    }
    if digest.is_none() && !text.starts_with("sha256:") {
        name?;
    }
    Err(ImageError::Unknown { name: text.to_owned(), near: near(text, tags.iter().map(|(tag, _)| tag.as_str())) })
}

/// Returns the names most like `text`: of the same repository, or of one that is spelt almost so.
fn near<'a>(text: &str, tags: impl Iterator<Item = &'a str>) -> Vec<String> {
    let short = |name: &str| name.trim_start_matches("docker.io/library/").trim_start_matches("docker.io/").to_owned();
    let full = text.parse::<Name>().map_or_else(|_| text.to_owned(), |name| name.to_string());
    let wanted = short(&full);
    let repository = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or(name).to_owned();
        last.split([':', '@']).next().unwrap_or_default().to_owned()
    };
    let mut found: Vec<(usize, String)> = tags
        .map(|tag| {
            let same = usize::from(repository(tag) != repository(&wanted));
            let apart = distance(&repository(tag), &repository(&wanted));
            (apart * 100 + same * 10 + distance(&short(tag), &wanted).min(9), apart, tag)
        })
        .filter(|(_, apart, tag)| *apart <= 1 + repository(tag).len() / 4)
        .map(|(rank, _, tag)| (rank, tag.to_owned()))
        .collect();
    found.sort();
    found.into_iter().take(NEAR).map(|(_, name)| name).collect()
}

/// Letters to change, insert or leave out to make one word of the other (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, expected) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *expected);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// Returns the image of `platform` that a manifest or an index of the store leads to, with its config. A lone manifest
/// serves as it is, unless `strict`.
///
/// # Errors
/// `Registry` with `Platform` where there is none for it, `Platform`, `Incomplete`, `Manifest`, `Store`.
pub fn image(
    store: &Store,
    digest: &Digest,
    (platform, strict): (&Platform, bool),
    what: &str,
) -> Result<(Image, serde_json::Value), ImageError> {
    // The store is a layout, and choosing among platforms is done there.
    let layout = Layout::open(store.root(), Stop::default())?;
    let manifest = layout.resolve(None, Some(digest), platform).map_err(|error| match error {
        RegistryError::Platform { wanted, found, .. } => {
            ImageError::Registry(RegistryError::Platform { what: what.to_owned(), wanted, found })
        }
        RegistryError::Layout { .. } => ImageError::Incomplete {
            what: what.to_owned(),
            missing: format!("the image for {platform}, which was never pulled"),
        },
        other => other.into(),
    })?;
    let wrong = |reason: String| ImageError::Manifest { what: what.to_owned(), reason };
    let Kind::Image { config, layers } = Document::parse(what, &manifest.bytes)?.kind else {
        return Err(wrong("an index, not an image".to_owned()));
    };
    let missing = std::iter::once(&config).chain(&layers).find(|entry| store.contains(&entry.digest).is_none());
    if let Some(missing) = missing {
        return Err(ImageError::Incomplete { what: what.to_owned(), missing: format!("blob {}", missing.digest) });
    }
    let document: serde_json::Value = serde_json::from_slice(&blob(store, &config.digest, MOST_CONFIG)?)
        .map_err(|error| wrong(format!("its config is not one of an image: {error}")))?;
    let ids = document.pointer("/rootfs/diff_ids").and_then(serde_json::Value::as_array);
    let ids = ids.map(Vec::as_slice).unwrap_or_default().iter();
    let diff_ids: Option<Vec<DiffId>> = ids.map(|id| Some(DiffId(id.as_str()?.parse().ok()?))).collect();
    let diff_ids = diff_ids.filter(|ids| ids.len() == layers.len());
    let diff_ids = diff_ids.ok_or_else(|| wrong(format!("its config does not name the {} layers", layers.len())))?;
    let found = platform_of(&document);
    if strict && found.as_ref().is_some_and(|found| found != platform) {
        let found = found.map(|found| found.to_string()).unwrap_or_default();
        return Err(ImageError::Platform { what: what.to_owned(), wanted: platform.to_string(), found });
    }
    let layers = layers.iter().map(super::document::Entry::descriptor).collect();
    let image = Image { manifest: manifest.descriptor, config: config.descriptor(), layers, diff_ids };
    Ok((image, document))
}

/// Returns for which machines a config says it is.
pub(super) fn platform_of(config: &serde_json::Value) -> Option<Platform> {
    let field = |name: &str| config.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let known = !field("os").is_empty() && !field("architecture").is_empty();
    known.then(|| Platform::new(field("os"), field("architecture"), field("variant")))
}

pub(super) fn digest_of(descriptor: Option<&oci_spec::image::Descriptor>) -> Option<Digest> {
    descriptor?.digest().to_string().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names_find_those_meant() {
        let tags = [
            "docker.io/library/debian:12",
            "docker.io/library/python:3.11",
            "ghcr.io/a/b:1",
            "localhost:5000/debian:13",
        ];
        let near = |text: &str| near(text, tags.iter().copied());
        assert_eq!(near("debain:12"), ["docker.io/library/debian:12", "localhost:5000/debian:13"]);
        assert_eq!(near("debian"), ["docker.io/library/debian:12", "localhost:5000/debian:13"]);
        assert_eq!(near("pyton"), ["docker.io/library/python:3.11"]);
        assert!(near("nothing/of/the/kind").is_empty());
    }
}
