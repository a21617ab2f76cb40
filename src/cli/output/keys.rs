//! The keys of an output: their values, and which output knows which.

use std::collections::BTreeMap;

use crate::export::{self, Annotations, ImageOptions, MediaTypes};
use crate::layer::Compression;

/// What the keys of an output ask for beside its type and place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keys {
    pub(super) names: Vec<String>,
    pub(super) push: bool,
    pub(super) push_by_digest: bool,
    pub(super) tar: Option<bool>,
    method: Option<Method>,
    level: Option<i32>,
    force_compression: bool,
    docker_types: bool,
    rewrite_timestamp: bool,
    annotations: Vec<Annotation>,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    None,
    Gzip,
    Zstd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    place: Place,
    platform: Option<String>,
    key: String,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Manifest,
    ManifestDescriptor,
    Index,
    IndexDescriptor,
}

/// Keys of a tarball.
pub(super) const TAR: &[&str] = &["compression", "compression-level"];

/// Keys of all images but docker's archives, whose layers are not compressed.
pub(super) const IMAGE: &[&str] = &[
    "name",
    "compression",
    "compression-level",
    "force-compression",
    "oci-mediatypes",
    "rewrite-timestamp",
    "label.KEY",
    "annotation.KEY",
    "annotation-manifest.KEY",
    "annotation-manifest-descriptor.KEY",
    "annotation-index.KEY",
    "annotation-index-descriptor.KEY",
    "buildinfo",
];

/// More keys of images in one file or directory.
pub(super) const FILE: &[&str] = &["tar"];

/// More keys of images that may be pushed.
pub(super) const PUSHED: &[&str] = &["push", "push-by-digest"];

/// Keys of docker's archives.
pub(super) const DOCKER: &[&str] = &["name", "rewrite-timestamp", "label.KEY", "buildinfo", "tar"];

impl Keys {
    /// Takes a key of those `known`.
    pub(super) fn take(&mut self, key: &str, value: &str, known: &[&[&str]]) -> Result<(), String> {
        let is_known = |key: &str| known.iter().any(|keys| keys.contains(&key));
        let unknown = || {
            let mut names: Vec<&str> =
                ["type", "dest"].into_iter().chain(known.iter().copied().flatten().copied()).collect();
            if is_known("push") {
                names.retain(|name| *name != "dest");
            }
            format!("unknown key `{key}`; keys here: {}", names.join(", "))
        };
        if let Some(annotation) = key.strip_prefix("annotation") {
            let annotation = Annotation::parse(annotation, value).filter(|_| is_known("annotation.KEY"));
            self.annotations.push(annotation.ok_or_else(unknown)?);
            return Ok(());
        }
        if let Some(label) = key.strip_prefix("label.").filter(|label| !label.is_empty() && is_known("label.KEY")) {
            self.labels.insert(label.to_owned(), value.to_owned());
            return Ok(());
        }
        if !is_known(key) {
            return Err(unknown());
        }
        match key {
            "name" => {
                for name in value.split(',').filter(|name| !name.is_empty()) {
                    export::reference(name).map_err(|error| error.to_string())?;
                    self.names.push(name.to_owned());
                }
            }
            "push" => self.push = boolean(key, value)?,
            "push-by-digest" => self.push_by_digest = boolean(key, value)?,
            "tar" => self.tar = Some(boolean(key, value)?),
            "force-compression" => self.force_compression = boolean(key, value)?,
            "oci-mediatypes" => self.docker_types = !boolean(key, value)?,
            "rewrite-timestamp" => self.rewrite_timestamp = boolean(key, value)?,
            // BuildKit's old build information is no more; what took its place is provenance.
            "buildinfo" => drop(boolean(key, value)?),
            "compression" => {
                self.method = Some(match value {
                    "uncompressed" => Method::None,
                    "gzip" => Method::Gzip,
                    "zstd" => Method::Zstd,
                    _ => return Err(format!("unknown compression `{value}`; known: uncompressed, gzip, zstd")),
                });
            }
            "compression-level" => {
                self.level = Some(value.parse().map_err(|_| format!("`{value}` is no compression level"))?);
            }
            _ => unreachable!("every known key is taken above"),
        }
        Ok(())
    }

    /// Checks what depends on several keys.
    pub(super) fn check(&self) -> Result<(), String> {
        let (method, most) = match self.method.unwrap_or(Method::Gzip) {
            Method::None if self.level.is_some() => return Err("compression=uncompressed has no level".to_owned()),
            Method::None => return Ok(()),
            Method::Gzip => ("gzip", 9),
            Method::Zstd => ("zstd", 19),
        };
        match self.level {
            Some(level) if !(1..=most).contains(&level) => {
                Err(format!("compression-level={level} is not one of {method}: 1 to {most}"))
            }
            _ if self.docker_types && method == "zstd" => {
                Err("compression=zstd needs oci-mediatypes=true: docker's media types know no zstd".to_owned())
            }
            _ if self.docker_types && !self.annotations.is_empty() => {
                Err("annotations need oci-mediatypes=true: docker's manifests have none".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// How to compress; `None` where the keys say nothing.
    pub(super) fn compression(&self) -> Option<Compression> {
        let level = self.level;
        match self.method {
            None => level.map(|level| Compression::Gzip { level: level.unsigned_abs() }),
            Some(Method::None) => Some(Compression::None),
            Some(Method::Gzip) => Some(Compression::Gzip { level: level.unwrap_or(6).unsigned_abs() }),
            Some(Method::Zstd) => Some(Compression::Zstd { level: level.unwrap_or(3) }),
        }
    }

    /// Tells whether times in layers that are packed already shall be bounded, too.
    pub(super) const fn rewrites_timestamps(&self) -> bool {
        self.rewrite_timestamp
    }

    /// Puts what the keys say over what the result says of itself.
    pub(super) fn apply(&self, image: &mut ImageOptions) {
        if !self.names.is_empty() {
            image.names.clone_from(&self.names);
        }
        image.compression = self.compression().unwrap_or(image.compression);
        image.force_compression |= self.force_compression;
        image.media_types = if self.docker_types { MediaTypes::Docker } else { MediaTypes::Oci };
        image.labels.extend(self.labels.clone());
        let own = image.platform();
        let all = &mut image.annotations;
        for Annotation { place, platform, key, value } in &self.annotations {
            if platform.as_ref().is_none_or(|platform| *platform == own) {
                place.of(all).insert(key.clone(), value.clone());
            }
        }
    }
}

impl Annotation {
    /// Parses what is behind `annotation`: `[-PLACE][\[PLATFORM\]].KEY` (BuildKit `docs/annotations.md`).
    fn parse(text: &str, value: &str) -> Option<Self> {
        let (place, rest) = match text.strip_prefix('-') {
            None => (Place::Manifest, text),
            Some(named) => {
                let end = named.find(['.', '['])?;
                let place = match &named[..end] {
                    "manifest" => Place::Manifest,
                    "manifest-descriptor" => Place::ManifestDescriptor,
                    "index" => Place::Index,
                    "index-descriptor" => Place::IndexDescriptor,
                    _ => return None,
                };
                (place, &named[end..])
            }
        };
        let (platform, rest) = match rest.strip_prefix('[') {
            None => (None, rest),
            Some(bracketed) => {
                let (platform, rest) = bracketed.split_once(']')?;
                (Some(platform.to_owned()), rest)
            }
        };
        // An index is of all platforms.
        if platform.is_some() && matches!(place, Place::Index | Place::IndexDescriptor) {
            return None;
        }
        let key = rest.strip_prefix('.').filter(|key| !key.is_empty())?.to_owned();
        Some(Self { place, platform, key, value: value.to_owned() })
    }
}

impl Place {
    const fn of(self, all: &mut Annotations) -> &mut BTreeMap<String, String> {
        match self {
            Self::Manifest => &mut all.manifest,
            Self::ManifestDescriptor => &mut all.manifest_descriptor,
            Self::Index => &mut all.index,
            Self::IndexDescriptor => &mut all.index_descriptor,
        }
    }
}

/// Reads what Go's `strconv.ParseBool` reads; a key without a value is true.
fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" | "" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("{key}={value} is neither true nor false")),
    }
}
