//! What an image is to be.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use serde_json::Value;

use crate::http::Stop;
use crate::layer::{Compression, Owner, PackTimes};
use crate::oci::{Arch, Digest};

/// What an image says about itself, and how its layers are packed.
#[derive(Debug, Clone)]
pub struct ImageOptions {
    /// For which machines, where no config of a front end says it.
    pub arch: Arch,
    /// Time of the image, seconds since 1970, where no config of a front end has one.
    pub epoch: u64,
    /// Times of the files. A newest one bounds the times in a front end's config, too.
    pub times: PackTimes,
    /// Whose the files of the layer are.
    pub owner: Owner,
    /// Names with tag, such as `python:3.11`.
    pub names: Vec<String>,
    /// Program and arguments that always run.
    pub entrypoint: Vec<String>,
    /// Arguments that a user may replace.
    pub command: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Directory to start in; empty for the root.
    pub working_directory: String,
    /// Labels; they go over those of a front end's config.
    pub labels: BTreeMap<String, String>,
    /// How the layers came to be, for `docker history`.
    pub created_by: String,
    /// A config that a front end has made (`image-spec config.md`), instead of the fields above; its layers and history
    /// are completed.
    pub config: Option<serde_json::Map<String, Value>>,
    /// How new layers are compressed. A docker archive holds all of them uncompressed.
    pub compression: Compression,
    /// Layers that are packed already are compressed so, too.
    pub force_compression: bool,
    /// Layers that are packed already get no times later than this, either (BuildKit's `rewrite-timestamp`).
    pub rewrite_timestamps: Option<u64>,
    /// Whose media types the documents name.
    pub media_types: MediaTypes,
    /// Annotations.
    pub annotations: Annotations,
    /// What is said about the image in manifests beside it.
    pub attachments: Vec<Attachment>,
    /// Asked for more of that once the digest of the manifest is known.
    pub attach: Attach,
    /// Threads that compress; the bytes do not depend on it.
    pub jobs: NonZeroUsize,
    /// Ends the export soon when it says so.
    pub stop: Stop,
}

impl ImageOptions {
    /// Returns those of an image that says nothing.
    pub fn new(arch: Arch) -> Self {
        Self {
            arch,
            epoch: 0,
            times: PackTimes::Kept(None),
            owner: Owner::Keep,
            names: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: Vec::new(),
            working_directory: String::new(),
            labels: BTreeMap::new(),
            created_by: "dockless".to_owned(),
            config: None,
            compression: Compression::Gzip { level: 6 },
            force_compression: false,
            rewrite_timestamps: None,
            media_types: MediaTypes::Oci,
            annotations: Annotations::default(),
            attachments: Vec::new(),
            attach: Attach::default(),
            jobs: NonZeroUsize::MIN,
            stop: Stop::default(),
        }
    }

    /// Returns the platform as annotations name it: `linux/amd64`.
    pub fn platform(&self) -> String {
        let config = self.config.as_ref();
        let text =
            |key| config.and_then(|config| config.get(key)).and_then(Value::as_str).filter(|text| !text.is_empty());
        let mut platform =
            format!("{}/{}", text("os").unwrap_or("linux"), text("architecture").unwrap_or(self.arch.oci()));
        if let Some(variant) = text("variant") {
            platform = format!("{platform}/{variant}");
        }
        platform
    }

    /// Returns the newest time that files may have.
    pub const fn newest(&self) -> Option<u64> {
        match self.times {
            PackTimes::All(epoch) => Some(epoch),
            PackTimes::Kept(newest) => newest,
        }
    }
}

/// Whose media types the documents of an image name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaTypes {
    /// `image-spec media-types.md`.
    Oci,
    /// Docker's image manifest version 2, schema 2, which has neither zstd nor annotations nor subjects.
    Docker,
}

/// Annotations (`image-spec annotations.md`), by where they go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Into the manifest.
    pub manifest: BTreeMap<String, String>,
    /// To where the index names the manifest.
    pub manifest_descriptor: BTreeMap<String, String>,
    /// Into an index around the manifest, which is made where there is one here or in `index_descriptor`.
    pub index: BTreeMap<String, String>,
    /// To where the layout names that index.
    pub index_descriptor: BTreeMap<String, String>,
}

impl Annotations {
    /// Tells whether there must be an index.
    pub(super) fn need_index(&self) -> bool {
        !self.index.is_empty() || !self.index_descriptor.is_empty()
    }

    /// Tells whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A document about an image, such as a bill of materials; it becomes a manifest whose `subject` is the image
/// (`image-spec manifest.md#guidelines-for-artifact-usage`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What the manifest is, such as `application/spdx+json`.
    pub artifact_type: String,
    /// What the document is.
    pub media_type: String,
    /// The document.
    pub bytes: Vec<u8>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Says more about an image, given the digest of its manifest; by default nothing.
#[derive(Clone, Default)]
pub struct Attach(Option<Arc<dyn Fn(&Digest) -> Vec<Attachment> + Send + Sync>>);

impl Attach {
    /// Makes one that `describe` answers for.
    pub fn new(describe: impl Fn(&Digest) -> Vec<Attachment> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(describe)))
    }

    /// What there is to say.
    pub(super) fn describe(&self, manifest: &Digest) -> Vec<Attachment> {
        self.0.as_ref().map(|describe| describe(manifest)).unwrap_or_default()
    }
}

impl fmt::Debug for Attach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Attach(..)" } else { "Attach(nothing)" })
    }
}
