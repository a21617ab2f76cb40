//! The locks of sources: every byte that enters a build, by sha256.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::{RecipeError, Version};
use crate::oci::Digest;

/// One pinned file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedSource {
    /// What recipes call it.
    pub name: String,
    /// Upstream's version.
    pub version: Version,
    /// File name, as seen by the step under `/sources/<name>/`.
    pub file: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size in bytes, where known.
    pub size: Option<u64>,
    /// SPDX expression.
    pub license: String,
    /// Where it may be had, in order: `https://…`, `debian:pool/…`.
    pub origins: Vec<String>,
}

/// One lock file: a source set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLock {
    /// Name of the set: the file's stem.
    pub set: String,
    /// The sources, in the file's order.
    pub sources: Vec<LockedSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    source: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    version: String,
    file: Spanned<String>,
    sha256: Spanned<String>,
    size: Option<u64>,
    license: String,
    origins: Spanned<Vec<Spanned<String>>>,
}

impl SourceLock {
    /// Parses the text of `recipes/locks/<set>.lock`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let file: File = toml::from_str(text).map_err(|error| RecipeError::toml(path, text, &error))?;
        let mut sources: Vec<LockedSource> = Vec::with_capacity(file.source.len());
        for entry in file.source {
            let span = entry.span();
            let source = entry.into_inner().check(text, path)?;
            if sources.iter().any(|other| other.name == source.name && other.version == source.version) {
                let message = format!("{} {} is locked twice", source.name, source.version);
                return Err(RecipeError::at(path, text, span, message, Some("keep one of the two entries".to_owned())));
            }
            sources.push(source);
        }
        let set = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self { set, sources })
    }

    /// Returns the entries called `name`, newest version first.
    pub fn named(&self, name: &str) -> Vec<&LockedSource> {
        let mut found: Vec<&LockedSource> = self.sources.iter().filter(|source| source.name == name).collect();
        found.sort_by(|a, b| b.version.cmp(&a.version));
        found
    }
}

impl Entry {
    fn check(self, text: &str, path: &Path) -> Result<LockedSource, RecipeError> {
        let error =
            |span, message: String, help: &str| RecipeError::at(path, text, span, message, Some(help.to_owned()));
        let digest = Digest::from_hex(self.sha256.get_ref()).map_err(|_| {
            let message = format!("`{}` is not a sha256", self.sha256.get_ref());
            error(self.sha256.span(), message, "64 lower-case hexadecimal digits, as `sha256sum FILE` prints")
        })?;
        for name in [&self.name, &self.file] {
            if !is_plain_name(name.get_ref()) {
                let message = format!("`{}` is not a plain file name", name.get_ref());
                return Err(error(name.span(), message, "no slash, no leading dot, no control characters"));
            }
        }
        if self.origins.get_ref().is_empty() {
            let span = self.origins.span();
            return Err(error(span, "a source needs an origin".to_owned(), "a URL or `debian:pool/…`"));
        }
        for origin in self.origins.get_ref() {
            let known =
                ["https://", "http://", "debian:pool/"].iter().any(|scheme| origin.get_ref().starts_with(scheme));
            if !known {
                let message = format!("origin `{}` has no known scheme", origin.get_ref());
                return Err(error(origin.span(), message, "use https://…, http://… or debian:pool/…"));
            }
        }
        Ok(LockedSource {
            name: self.name.into_inner(),
            version: Version::new(&self.version),
            file: self.file.into_inner(),
            digest,
            size: self.size,
            license: self.license,
            origins: self.origins.into_inner().into_iter().map(Spanned::into_inner).collect(),
        })
    }
}

/// Tells whether `name` is one path component that no tool takes for anything else.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 256
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| !c.is_control() && c != '/' && c != '\\')
}
