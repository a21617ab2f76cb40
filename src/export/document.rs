//! The documents around layers: manifests, indexes, and how they name one another.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, MediaType, PlatformBuilder};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::options::{Attachment, MediaTypes};
use crate::layer::Compression;
use crate::oci::Digest;

/// Media type of the config of an artifact that has none (`image-spec manifest.md#guidance-for-an-empty-descriptor`).
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// What such a config holds.
pub(super) const NOTHING: &[u8] = b"{}";

/// What layers of all kinds and the documents around them are called.
impl MediaTypes {
    pub(super) const fn manifest(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.manifest.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        }
    }

    pub(super) const fn index(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.index.v1+json",
            Self::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    pub(super) const fn config(self) -> &'static str {
        match self {
            Self::Oci => "application/vnd.oci.image.config.v1+json",
            Self::Docker => "application/vnd.docker.container.image.v1+json",
        }
    }

    pub(super) const fn layer(self, compression: Compression) -> &'static str {
        match (self, compression) {
            (Self::Oci, compression) => compression.media_type(),
            (Self::Docker, Compression::None) => "application/vnd.docker.image.rootfs.diff.tar",
            (Self::Docker, Compression::Gzip { .. }) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            (Self::Docker, Compression::Zstd { .. }) => "application/vnd.docker.image.rootfs.diff.tar.zstd",
        }
    }
}

/// Writes JSON with sorted keys: the maps of `oci-spec` come in another order every time.
pub(super) fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_value(value).expect("documents of the image-spec are representable").to_string().into_bytes()
}

/// Describes a blob.
pub(super) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Digest = digest.to_string().parse().expect("our digests are OCI's");
    Descriptor::new(MediaType::from(media_type), size, digest)
}

/// Adds annotations to those of a descriptor.
pub(super) fn annotate(descriptor: &mut Descriptor, annotations: &BTreeMap<String, String>) {
    if !annotations.is_empty() {
        let mut all = descriptor.annotations().clone().unwrap_or_default();
        all.extend(annotations.iter().map(|(key, value)| (key.clone(), value.clone())));
        descriptor.set_annotations(Some(all));
    }
}

/// Names the platform that a config is for (`image-spec image-index.md`).
pub(super) fn set_platform(descriptor: &mut Descriptor, config: &Map<String, Value>) {
    let text = |key: &str| config.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let mut platform = PlatformBuilder::default()
        .os(text("os").unwrap_or("linux"))
        .architecture(text("architecture").unwrap_or("amd64"));
    if let Some(variant) = text("variant") {
        platform = platform.variant(variant);
    }
    if let Some(version) = text("os.version") {
        platform = platform.os_version(version);
    }
    descriptor.set_platform(Some(platform.build().expect("all required fields are given")));
}

/// Writes the manifest of an image (`image-spec manifest.md`).
pub(super) fn manifest(
    types: MediaTypes,
    config: &Descriptor,
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let mut manifest = json!({ "schemaVersion": 2, "mediaType": types.manifest(), "config": config, "layers": layers });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    bytes(&manifest)
}

/// Writes an index (`image-spec image-index.md`).
pub(super) fn index(types: MediaTypes, manifests: &[Descriptor], annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let mut index = json!({ "schemaVersion": 2, "mediaType": types.index(), "manifests": manifests });
    if !annotations.is_empty() {
        index["annotations"] = json!(annotations);
    }
    bytes(&index)
}

/// Writes the manifest of what is attached to `subject`, and describes it as a list of referrers does
/// (`distribution-spec spec.md#listing-referrers`).
pub(super) fn artifact(attachment: &Attachment, subject: &Descriptor) -> (Vec<u8>, Descriptor) {
    let mut config = descriptor(EMPTY, &Digest::of(NOTHING), NOTHING.len() as u64);
    config.set_data(Some("e30=".to_owned()));
    let layer = descriptor(&attachment.media_type, &Digest::of(&attachment.bytes), attachment.bytes.len() as u64);
    let subject = json!({ "mediaType": subject.media_type(), "digest": subject.digest(), "size": subject.size() });
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaTypes::Oci.manifest(),
        "artifactType": attachment.artifact_type,
        "config": config,
        "layers": [layer],
        "subject": subject,
    });
    if !attachment.annotations.is_empty() {
        manifest["annotations"] = json!(attachment.annotations);
    }
    let manifest = bytes(&manifest);
    let mut described = descriptor(MediaTypes::Oci.manifest(), &Digest::of(&manifest), manifest.len() as u64);
    described.set_artifact_type(Some(MediaType::from(attachment.artifact_type.as_str())));
    annotate(&mut described, &attachment.annotations);
    (manifest, described)
}
