//! Names of images, as every registry client writes them out (`distribution-spec spec.md#pull`).

use std::fmt;
use std::str::FromStr;

use super::error::ImageError;
use crate::oci::Digest;
use crate::registry::Reference;

/// A reference in full: `docker.io/library/debian:latest`, or `docker.io/library/debian@sha256:…`.
///
/// Where both a tag and a digest are given, the digest counts: the tag may have moved since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    reference: Reference,
    digest: Option<Digest>,
}

impl Name {
    /// Returns what to ask a registry for.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Returns the digest, where the name is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the tag, where there is one.
    pub fn tag(&self) -> Option<&str> {
        self.reference.tag()
    }

    /// Returns `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.reference.registry(), self.reference.repository())
    }

    /// Returns the same repository with a tag.
    ///
    /// # Errors
    /// `Name` where it cannot be one.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ImageError> {
        format!("{}:{tag}", self.repository()).parse()
    }
}

impl FromStr for Name {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let wrong = |reason: String| ImageError::Name { text: text.to_owned(), reason };
        let reference: Reference = text.parse().map_err(|error| {
            let case = if text.to_lowercase() == text { "" } else { "; repositories are written in lower case" };
            wrong(format!("{error}{case}"))
        })?;
        let Some(digest) = reference.digest() else { return Ok(Self { reference, digest: None }) };
        let digest: Digest = digest.parse().map_err(|error| wrong(format!("{error}")))?;
        Ok(Self { reference: reference.clone_with_digest(digest.to_string()), digest: Some(digest) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_out_as_docker_means_them() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (text, full) in [
            ("debian", "docker.io/library/debian:latest".to_owned()),
            ("debian:12", "docker.io/library/debian:12".to_owned()),
            ("docker.io/debian", "docker.io/library/debian:latest".to_owned()),
            ("owner/x", "docker.io/owner/x:latest".to_owned()),
            ("localhost:5000/x", "localhost:5000/x:latest".to_owned()),
            ("localhost/x:1", "localhost/x:1".to_owned()),
            ("ghcr.io/a/b/c:v1", "ghcr.io/a/b/c:v1".to_owned()),
            (&format!("debian@sha256:{hex}"), format!("docker.io/library/debian@sha256:{hex}")),
            (&format!("debian:12@sha256:{hex}"), format!("docker.io/library/debian@sha256:{hex}")),
        ] {
            assert_eq!(text.parse::<Name>().expect(text).to_string(), full);
        }
        for text in ["", "Debian", "a b", "a//b", "a:", "x@sha256:0", "../x", "-x", "a\n"] {
            assert!(matches!(text.parse::<Name>(), Err(ImageError::Name { .. })), "{text}");
        }
    }
}
