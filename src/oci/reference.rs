//! Names of images (`distribution-spec spec.md#pulling-manifests`), as docker's clients write and complete them.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

/// Where a name without a host is looked for.
const DOCKER_HUB: &str = "docker.io";

/// Its repositories that nobody in particular owns.
const LIBRARY: &str = "library/";

/// The most bytes of a repository's name.
const MOST_NAME: usize = 255;

/// The most bytes of a tag.
const MOST_TAG: usize = 128;

/// A registry, a repository in it, and which of its manifests.
///
/// The grammar is that of the module `distribution/reference`, which docker, containerd and BuildKit read names with;
/// digests are SHA-256. Why not the type of `oci-spec`: its one regular expression takes a tenth of a second to compile,
/// in every process that reads a single name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

/// Why a text names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing, or nothing before the tag.
    #[error("the name is empty")]
    Empty,
    /// Upper case is for hosts and tags.
    #[error("the repository has capital letters in it: write it in lower case")]
    Capitals,
    /// A part of the name is not as it must be.
    #[error("the repository may have a-z, 0-9, and single `.`, `_`, `__` or dashes between them")]
    Repository,
    /// The host, or its port.
    #[error("the registry is no host, or its port is no number")]
    Registry,
    /// More than 255 bytes.
    #[error("the repository is longer than 255 bytes")]
    Long,
    /// The tag is not as it must be.
    #[error("a tag has up to 128 of a-z, A-Z, 0-9, `_`, `.`, `-`, and begins with neither `.` nor `-`")]
    Tag,
    /// The digest is none of ours.
    #[error("a digest is `sha256:` and 64 hexadecimal digits")]
    Digest,
}

impl Reference {
    /// Names a manifest by tag; the parts are taken as they are.
    pub const fn with_tag(registry: String, repository: String, tag: String) -> Self {
        Self { registry, repository, tag: Some(tag), digest: None }
    }

    /// Names a manifest by digest; the parts are taken as they are.
    pub const fn with_digest(registry: String, repository: String, digest: String) -> Self {
        Self { registry, repository, tag: None, digest: Some(digest) }
    }

    /// Returns the name of another manifest in the same repository.
    #[must_use]
    pub fn clone_with_digest(&self, digest: String) -> Self {
        Self::with_digest(self.registry.clone(), self.repository.clone(), digest)
    }

    /// Returns the registry's name: a host, perhaps with a port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the host that answers for the registry: Docker Hub's has another name.
    pub fn resolve_registry(&self) -> &str {
        if self.registry == DOCKER_HUB { "index.docker.io" } else { &self.registry }
    }

    /// Returns the repository's name, such as `library/debian`.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; `latest` where a name had neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest, `sha256:<hex>`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => {
                let digest: Digest = digest.parse().map_err(|_| ReferenceError::Digest)?;
                (text, Some(digest.to_string()))
            }
            None => (text, None),
        };
        let path = text.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match text[path..].find(':') {
            Some(at) => (&text[..path + at], Some(&text[path + at + 1..])),
            None => (text, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag);
        }
        let (registry, repository) = split(name)?;
        let tag = tag.or((digest.is_none()).then_some("latest")).map(str::to_owned);
        Ok(Self { registry, repository, tag, digest })
    }
}

/// Splits a name into registry and repository: the first part is a host if it could be no repository, or is `localhost`.
fn split(name: &str) -> Result<(String, String), ReferenceError> {
    if name.is_empty() {
        return Err(ReferenceError::Empty);
    }
    let host = name.split_once('/').filter(|(first, _)| {
        first.contains(['.', ':']) || *first == "localhost" || first.bytes().any(|byte| byte.is_ascii_uppercase())
    });
    let (registry, rest) = host.unwrap_or((DOCKER_HUB, name));
    let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
    if !is_host(registry) {
        return Err(ReferenceError::Registry);
    }
    let library = registry == DOCKER_HUB && !rest.contains('/');
    let repository = format!("{}{rest}", if library { LIBRARY } else { "" });
    if repository.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(ReferenceError::Capitals);
    }
    if !repository.split('/').all(is_part) {
        return Err(ReferenceError::Repository);
    }
    if repository.len() > MOST_NAME {
        return Err(ReferenceError::Long);
    }
    Ok((registry.to_owned(), repository))
}

/// `name[:port]`, or an IPv6 address in brackets.
fn is_host(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let is_address = address.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b':');
        return is_address && !address.is_empty() && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
    };
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

/// `a-z0-9` with one `.`, one or two `_`, or any number of dashes between.
fn is_part(part: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut rest = part.as_bytes();
    loop {
        let word = rest.iter().take_while(|byte| is_word(byte)).count();
        if word == 0 {
            return false;
        }
        rest = &rest[word..];
        let separator = rest.iter().take_while(|byte| !is_word(byte)).count();
        match &rest[..separator] {
            [] => return rest.is_empty(),
            b"." | b"_" | b"__" => {}
            dashes if dashes.iter().all(|byte| *byte == b'-') => {}
            _ => return false,
        }
        rest = &rest[separator..];
    }
}

fn is_tag(tag: &str) -> bool {
    let plain = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    plain && !tag.is_empty() && tag.len() <= MOST_TAG && !tag.starts_with(['.', '-'])
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        for (text, whole) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
            ("test.com:5000", "docker.io/library/test.com:5000"),
            ("test.com/repo:tag", "test.com/repo:tag"),
            ("test:5000/repo", "test:5000/repo:latest"),
            ("localhost/a", "localhost/a:latest"),
            ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
            ("Host/repo", "Host/repo:latest"),
            ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
            ("a-b.example/foo--bar/baz__quux/x.y_z", "a-b.example/foo--bar/baz__quux/x.y_z:latest"),
            ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ] {
            let parsed: Reference = text.parse().expect(text);
            assert_eq!(parsed.to_string(), whole, "{text}");
            assert_eq!(whole.parse(), Ok(parsed), "{text}: the whole name is the same name");
        }
        let both: Reference = format!("test:5000/repo:tag@{DIGEST}").parse().expect("a name");
        assert_eq!((both.tag(), both.digest()), (Some("tag"), Some(DIGEST)));
        let pinned: Reference = format!("busybox@{DIGEST}").parse().expect("a name");
        assert_eq!((pinned.tag(), pinned.digest()), (None, Some(DIGEST)));
        assert_eq!((pinned.registry(), pinned.resolve_registry()), ("docker.io", "index.docker.io"));
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_reason() {
        let long = "a".repeat(256);
        let tag = format!("a:{}", "t".repeat(129));
        let unknown = "repo@sha512:ff".to_owned();
        for (text, error) in [
            ("", ReferenceError::Empty),
            (":tag", ReferenceError::Empty),
            ("aa/asdf$$^/aa", ReferenceError::Repository),
            ("Uppercase:tag", ReferenceError::Capitals),
            ("test:5000/Uppercase/lowercase:tag", ReferenceError::Capitals),
            ("a//b", ReferenceError::Repository),
            ("a/../b", ReferenceError::Repository),
            ("a___b", ReferenceError::Repository),
            ("a.", ReferenceError::Repository),
            ("a b", ReferenceError::Repository),
            ("a\n", ReferenceError::Repository),
            ("-a.b/c", ReferenceError::Registry),
            ("a.b:x/c", ReferenceError::Registry),
            ("[::1/c", ReferenceError::Registry),
            ("repo:", ReferenceError::Tag),
            ("repo:.x", ReferenceError::Tag),
            (&tag, ReferenceError::Tag),
            (&long, ReferenceError::Long),
            (&unknown, ReferenceError::Digest),
            ("repo@sha256:ffff", ReferenceError::Digest),
        ] {
            assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
        }
    }
}
