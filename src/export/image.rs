//! The config of an image.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use oci_spec::image::{ConfigBuilder, Descriptor, HistoryBuilder, ImageConfigurationBuilder, MediaType, RootFsBuilder};
use serde::Serialize;
use serde_json::Value;

use super::error::ExportError;
use crate::layer::{Compression, Owner, PackTimes};
use crate::oci::{Arch, DiffId, Digest};

/// What an image says about itself, and how its layers are packed.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// For which machines.
    pub arch: Arch,
    /// Time of the image, seconds since 1970.
    pub epoch: u64,
    /// Times of the files.
    pub times: PackTimes,
    /// Whose the files of the layer are.
    pub owner: Owner,
    /// Name with tag, such as `python:3.11`.
    pub name: Option<String>,
    /// Program and arguments that always run.
    pub entrypoint: Vec<String>,
    /// Arguments that a user may replace.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Directory to start in; empty for the root.
    pub working_directory: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// How the layers came to be, for `docker history`.
    pub created_by: String,
    /// A config that a front end has made (`image-spec config.md`), instead of the fields above; its layers and history
    /// are completed.
    pub config: Option<serde_json::Map<String, Value>>,
    /// How new layers are compressed. A docker archive holds all of them uncompressed.
    pub compression: Compression,
    /// Threads that compress; the bytes do not depend on it.
    pub jobs: NonZeroUsize,
}

impl ImageOptions {
    /// Returns the config (`image-spec config.md`) of an image with these layers.
    pub(super) fn config(&self, layers: &[DiffId]) -> Result<Vec<u8>, ExportError> {
        let created = created(self.epoch)?;
        if let Some(config) = &self.config {
            return Ok(self.complete(config.clone(), layers, &created));
        }
        let mut config = ConfigBuilder::default();
        if !self.entrypoint.is_empty() {
            config = config.entrypoint(self.entrypoint.clone());
        }
        if !self.command.is_empty() {
            config = config.cmd(self.command.clone());
        }
        if !self.env.is_empty() {
            config = config.env(self.env.clone());
        }
        if !self.working_directory.is_empty() {
            config = config.working_dir(self.working_directory.clone());
        }
        let mut config = config.build().expect("every field has a default");
        if !self.labels.is_empty() {
            config.set_labels(Some(self.labels.clone().into_iter().collect()));
        }
        let history = || {
            let history = HistoryBuilder::default().created(created.clone()).created_by(self.created_by.clone());
            history.build().expect("every field has a default")
        };
        let histories: Vec<_> = layers.iter().map(|_| history()).collect();
        let image = ImageConfigurationBuilder::default()
            .created(created.clone())
            .architecture(self.arch.oci())
            .os("linux")
            .config(config)
            .rootfs(
                RootFsBuilder::default()
                    .typ("layers")
                    .diff_ids(layers.iter().map(|layer| layer.0.to_string()).collect::<Vec<_>>())
                    .build()
                    .expect("both fields are given"),
            )
            .history(histories)
            .build()
            .expect("all required fields are given");
        Ok(json(&image))
    }

    /// Completes the config of a front end: which layers there are, and a history that has one entry for each, with the
    /// times that are missing (BuildKit `exporter/containerimage/writer.go`).
    fn complete(&self, mut config: serde_json::Map<String, Value>, layers: &[DiffId], created: &str) -> Vec<u8> {
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.0.to_string()).collect();
        config.insert("rootfs".to_owned(), serde_json::json!({ "type": "layers", "diff_ids": diff_ids }));
        config.insert("created".to_owned(), created.into());
        config.entry("os").or_insert_with(|| "linux".into());
        config.entry("architecture").or_insert_with(|| self.arch.oci().into());
        let mut history = match config.remove("history") {
            Some(Value::Array(history)) => history,
            _ => Vec::new(),
        };
        history.retain(Value::is_object);
        let mut left = layers.len();
        for entry in history.iter_mut().filter_map(Value::as_object_mut) {
            if entry.get("empty_layer") != Some(&Value::Bool(true)) {
                if left == 0 {
                    entry.insert("empty_layer".to_owned(), true.into());
                } else {
                    left -= 1;
                }
            }
            entry.entry("created").or_insert_with(|| created.into());
        }
        let new = || serde_json::json!({ "created": created, "created_by": self.created_by });
        history.extend(std::iter::repeat_with(new).take(left));
        config.insert("history".to_owned(), history.into());
        Value::Object(config).to_string().into_bytes()
    }
}

/// Writes JSON with sorted keys: the maps of `oci-spec` come in another order every time.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_value(value).expect("documents of the image-spec are representable").to_string().into_bytes()
}

/// Describes a blob.
pub(super) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    let digest: oci_spec::image::Digest = digest.to_string().parse().expect("our digests are OCI's");
    Descriptor::new(MediaType::from(media_type), size, digest)
}

/// Returns a time as RFC 3339, in UTC.
fn created(epoch: u64) -> Result<String, ExportError> {
    let error = || ExportError::Epoch { epoch };
    let seconds = i64::try_from(epoch).map_err(|_| error())?;
    jiff::Timestamp::from_second(seconds).map(|time| time.to_string()).map_err(|_| error())
}

/// Returns an image's name with a tag, `latest` where there is none (`distribution-spec spec.md#pull`).
pub(super) fn checked_name(name: &str) -> Result<String, ExportError> {
    let error = || ExportError::ImageName { name: name.to_owned() };
    let after_slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name[after_slash..].find(':') {
        Some(at) => (&name[..after_slash + at], &name[after_slash + at + 1..]),
        None => (name, "latest"),
    };
    let part = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-:".contains(&byte);
        !part.is_empty() && part.bytes().all(plain) && part.as_bytes()[0].is_ascii_alphanumeric()
    };
    let tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let tag_fine = !tag.is_empty() && tag.len() <= 128 && !tag.starts_with(['.', '-']) && tag.bytes().all(tag_byte);
    if !tag_fine || repository.len() > 255 || !repository.split('/').all(part) {
        return Err(error());
    }
    Ok(format!("{repository}:{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_tag_or_are_refused() {
        for (name, full) in [
            ("python", "python:latest"),
            ("python:3.11", "python:3.11"),
            ("localhost:5000/a/python", "localhost:5000/a/python:latest"),
            ("ghcr.io/x/python:v1_A", "ghcr.io/x/python:v1_A"),
        ] {
            assert_eq!(checked_name(name).expect(name), full);
        }
        for name in ["", ":x", "Python", "a b", "a//b", "a:", "a:.x", "a/../b", "../a", "a@sha256:0", "a\n"] {
            assert!(checked_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(created(0).expect("a date"), "1970-01-01T00:00:00Z");
        assert_eq!(created(1_767_225_600).expect("a date"), "2026-01-01T00:00:00Z");
        assert!(created(u64::MAX).is_err());
    }
}
