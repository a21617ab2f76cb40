//! What refers to a manifest, such as its SBOM: artifacts with a subject (`distribution-spec spec.md#referrers-tag-schema`).

use serde_json::{Value, json};

use super::error::RegistryError;
use super::image::Told;
use super::manifest::{Descriptor, Manifest};
use super::repository::{Registry, Repository};
use crate::oci::{Digest, Reference};

/// Times that a list is written until our entry stays in it: others may write it too.
const ATTEMPTS: usize = 5;

/// The media type of a list.
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A manifest that refers to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest.
    pub descriptor: Descriptor,
    /// What it is (`image-spec descriptor.md#properties`); empty where nobody says.
    pub artifact_type: String,
}

/// Returns what a registry knows to refer to a manifest.
///
/// # Errors
/// `Reference` without a digest, `Manifest`, and those of a request.
pub fn referrers(registry: &Registry, reference: &Reference, told: Told<'_>) -> Result<Vec<Referrer>, RegistryError> {
    let no_digest =
        || RegistryError::Reference { text: reference.to_string(), reason: "it names no digest".to_owned() };
    let digest: Digest = reference.digest().and_then(|digest| digest.parse().ok()).ok_or_else(no_digest)?;
    let repository = registry.repository(reference)?;
    let list = match repository.get_referrers(&digest, told.0)? {
        Some(list) => Some(list),
        None => listed(&repository, &digest, told)?,
    };
    let Some(list) = list else { return Ok(Vec::new()) };
    let what = format!("the list of what refers to {digest}");
    let artifact_type = |entry: &Value| entry["artifactType"].as_str().unwrap_or_default().to_owned();
    let types: Vec<String> = entries(&what, &list)?.iter().map(artifact_type).collect();
    let (_, children) = list.children(&what)?;
    Ok(children
        .into_iter()
        .zip(types)
        .map(|(descriptor, artifact_type)| Referrer { descriptor, artifact_type })
        .collect())
}

/// Adds a pushed manifest to the list of its subject, where the registry keeps none itself.
pub(super) fn list(
    repository: &Repository,
    subject: &Digest,
    manifest: &Manifest,
    told: Told<'_>,
) -> Result<(), RegistryError> {
    let document: Value = serde_json::from_slice(&manifest.bytes).unwrap_or_default();
    let descriptor = &manifest.descriptor;
    let mut entry = json!({
        "mediaType": descriptor.media_type, "digest": descriptor.digest.to_string(), "size": descriptor.size,
    });
    let artifact_type = document["artifactType"].as_str().or_else(|| document["config"]["mediaType"].as_str());
    if let Some(artifact_type) = artifact_type {
        entry["artifactType"] = artifact_type.into();
    }
    if document["annotations"].is_object() {
        entry["annotations"] = document["annotations"].clone();
    }
    let what = format!("the list of what refers to {subject}");
    for _ in 0..ATTEMPTS {
        let mut all = match listed(repository, subject, told)? {
            Some(list) => entries(&what, &list)?,
            None => Vec::new(),
        };
        if all.iter().any(|other| other["digest"] == entry["digest"]) {
            return Ok(());
        }
        all.push(entry.clone());
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": all });
        repository.put_manifest(&tag(subject), INDEX, index.to_string().as_bytes(), told.0)?;
    }
    let reason = format!("others write it as well, and after {ATTEMPTS} attempts ours is not in it: push again");
    Err(RegistryError::Manifest { what, reason })
}

fn tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}

fn listed(repository: &Repository, subject: &Digest, told: Told<'_>) -> Result<Option<Manifest>, RegistryError> {
    match repository.get_manifest(&tag(subject), told.0) {
        Ok(list) => Ok(Some(list)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

fn entries(what: &str, list: &Manifest) -> Result<Vec<Value>, RegistryError> {
    // Strictly first; then as it is, for entries have more to say than we read.
    super::manifest::entries(what, &list.bytes)?;
    let mut document: Value = serde_json::from_slice(&list.bytes).unwrap_or_default();
    Ok(match document["manifests"].take() {
        Value::Array(entries) => entries,
        _ => Vec::new(),
    })
}
