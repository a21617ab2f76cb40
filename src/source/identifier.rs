//! What a source operation names (`ops.proto SourceOp`): identifier and attributes, read strictly.
//!
//! Attributes that nobody knows are passed over, as BuildKit does; those that ask for a check which we do not make are
//! refused, since to pass over them would be to say that it succeeded.

use std::collections::BTreeMap;

use super::download::{FileAttributes, HttpSource};
use super::git::{GitSource, GitUrlError};
use crate::llb::{pb, source as word};
use crate::oci::Digest;
use crate::registry::Reference;

/// A source, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identifier {
    /// An image of a registry.
    Image {
        /// Which one.
        reference: Reference,
        /// Whether to ask the registry.
        mode: ResolveMode,
        /// The digest that it must have.
        checksum: Option<Digest>,
        /// Only this many layers, from the lowest on.
        layer_limit: Option<usize>,
    },
    /// An image of a layout of the client.
    Layout {
        /// The layout's name.
        store: String,
        /// The image's tag.
        tag: Option<String>,
        /// The digest of its manifest or index.
        digest: Option<Digest>,
        /// Only this many layers, from the lowest on.
        layer_limit: Option<usize>,
    },
    /// One blob of a registry as a file.
    ImageBlob {
        /// The repository that it is in, with the blob's digest.
        reference: Reference,
        /// The blob.
        digest: Digest,
        /// The file.
        file: FileAttributes,
    },
    /// One blob of a layout of the client as a file.
    LayoutBlob {
        /// The layout's name.
        store: String,
        /// The blob.
        digest: Digest,
        /// The file.
        file: FileAttributes,
    },
    /// A directory of the client.
    Local(LocalSource),
    /// A repository at a commit.
    Git(GitSource),
    /// A file.
    Http(HttpSource),
}

/// Whether to ask the registry what a tag means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResolveMode {
    /// As the builder likes.
    #[default]
    Default,
    /// Always.
    Pull,
    /// Only if nothing is here.
    Local,
}

/// A directory of the client and what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalSource {
    /// The client's name for it.
    pub name: String,
    /// Patterns that it is limited to.
    pub include: Vec<String>,
    /// Patterns that are left out.
    pub exclude: Vec<String>,
    /// Paths that are included together with what symbolic links among them lead to.
    pub follow: Vec<String>,
    /// Whether files come without their bytes.
    pub metadata_only: bool,
}

/// Why a source operation names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentifierError {
    /// No scheme, or one that nobody knows.
    #[error(
        "source `{identifier}` is of no known kind: docker-image, oci-layout, local, git, http, https, \
         docker-image+blob, oci-layout+blob"
    )]
    Scheme {
        /// As given, without credentials.
        identifier: String,
    },
    /// What follows the scheme makes no sense.
    #[error("source `{identifier}`: {reason}")]
    Malformed {
        /// As given, without credentials.
        identifier: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An attribute's value makes no sense.
    #[error("source `{identifier}`: attribute `{attribute}` is `{value}`: {reason}")]
    Attribute {
        /// As given, without credentials.
        identifier: String,
        /// The attribute.
        attribute: String,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An attribute asks for something that we cannot do and must not leave out.
    #[error("source `{identifier}`: attribute `{attribute}` asks for something that this version cannot do")]
    Unsupported {
        /// As given, without credentials.
        identifier: String,
        /// The attribute.
        attribute: String,
    },
}

struct Reader<'a> {
    identifier: String,
    rest: &'a str,
    attrs: &'a BTreeMap<String, String>,
}

impl Identifier {
    /// Parses a source operation.
    ///
    /// # Errors
    /// `Scheme`, `Malformed`, `Attribute`, `Unsupported`.
    pub fn parse(op: &pb::SourceOp) -> Result<Self, IdentifierError> {
        let identifier = crate::http::without_credentials(&op.identifier);
        let Some((scheme, rest)) = op.identifier.split_once("://") else {
            return Err(IdentifierError::Scheme { identifier });
        };
        let reader = Reader { identifier, rest, attrs: &op.attrs };
        match scheme {
            word::IMAGE => reader.image(),
            word::LAYOUT => {
                let (store, tag, digest) = reader.layout()?;
                let layer_limit = reader.limit(word::OCI_LAYER_LIMIT)?;
                Ok(Self::Layout { store, tag, digest, layer_limit })
            }
            word::IMAGE_BLOB => {
                let reference = reader.reference()?;
                let digest = reader.digest(reference.digest())?;
                Ok(Self::ImageBlob { reference, digest, file: reader.file()? })
            }
            word::LAYOUT_BLOB => {
                let (store, _, digest) = reader.layout()?;
                let digest = digest.ok_or_else(|| reader.malformed("a blob is named by `name@sha256:…`"))?;
                Ok(Self::LayoutBlob { store, digest, file: reader.file()? })
            }
            word::LOCAL => reader.local(),
            word::GIT => reader.git(),
            word::HTTP | word::HTTPS => reader.http(&op.identifier),
            _ => Err(IdentifierError::Scheme { identifier: reader.identifier }),
        }
    }
}

impl Reader<'_> {
    fn malformed(&self, reason: &str) -> IdentifierError {
        IdentifierError::Malformed { identifier: self.identifier.clone(), reason: reason.to_owned() }
    }

    fn attribute(&self, attribute: &str, value: &str, reason: &dyn std::fmt::Display) -> IdentifierError {
        IdentifierError::Attribute {
            identifier: self.identifier.clone(),
            attribute: attribute.to_owned(),
            value: value.to_owned(),
            reason: reason.to_string(),
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// Refuses what is there although we do not do it.
    fn refuse(&self, names: &[&str]) -> Result<(), IdentifierError> {
        let found = self.attrs.iter().find(|(key, value)| {
            !value.is_empty() && *value != "false" && names.iter().any(|name| key.starts_with(name))
        });
        match found {
            Some((attribute, _)) => {
                Err(IdentifierError::Unsupported { identifier: self.identifier.clone(), attribute: attribute.clone() })
            }
            None => Ok(()),
        }
    }

    fn list(&self, name: &str) -> Result<Vec<String>, IdentifierError> {
        let Some(json) = self.get(name) else { return Ok(Vec::new()) };
        let list: Option<Vec<String>> = serde_json::from_str(json)
            .map_err(|error| self.attribute(name, json, &format_args!("no JSON list: {error}")))?;
        Ok(list.unwrap_or_default())
    }

    fn limit(&self, name: &str) -> Result<Option<usize>, IdentifierError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(0) | Err(_) => Err(self.attribute(name, text, &"not a number above zero")),
            Ok(limit) => Ok(Some(limit)),
        }
    }

    /// Reads a number as Go does: `0644`, `0o644`, `0x1a4` and `420` are the same.
    fn number(&self, name: &str, most: u32) -> Result<Option<u32>, IdentifierError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let (digits, radix) = match text.as_bytes() {
            [b'0', b'x' | b'X', ..] => (&text[2..], 16),
            [b'0', b'o' | b'O', ..] => (&text[2..], 8),
            [b'0', b'b' | b'B', ..] => (&text[2..], 2),
            [b'0', _, ..] => (&text[1..], 8),
            _ => (text, 10),
        };
        let number = u32::from_str_radix(digits, radix).ok().filter(|number| *number <= most);
        number.map(Some).ok_or_else(|| self.attribute(name, text, &format_args!("not a number from 0 to {most}")))
    }

    fn checksum(&self, name: &str) -> Result<Option<Digest>, IdentifierError> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|error: crate::oci::DigestError| self.attribute(name, text, &error))
    }

    fn digest(&self, text: Option<&str>) -> Result<Digest, IdentifierError> {
        let text = text.ok_or_else(|| self.malformed("a blob is named by `name@sha256:…`"))?;
        text.parse().map_err(|error: crate::oci::DigestError| self.malformed(&error.to_string()))
    }

    fn reference(&self) -> Result<Reference, IdentifierError> {
        let reference: Reference = self
            .rest
            .parse()
            .map_err(|error: crate::oci::ReferenceError| self.malformed(&format!("not an image reference: {error}")))?;
        Ok(reference)
    }

    fn file(&self) -> Result<FileAttributes, IdentifierError> {
        Ok(FileAttributes {
            filename: self.text(word::HTTP_FILENAME),
            mode: self.number(word::HTTP_PERM, u32::MAX)?.map(|mode| mode & 0o777).filter(|mode| *mode != 0),
            uid: self.number(word::HTTP_UID, u32::MAX - 1)?.unwrap_or(0),
            gid: self.number(word::HTTP_GID, u32::MAX - 1)?.unwrap_or(0),
        })
    }

    fn image(&self) -> Result<Identifier, IdentifierError> {
        let mode = match self.get(word::IMAGE_RESOLVE_MODE) {
            None | Some("default") => ResolveMode::Default,
            Some("pull") => ResolveMode::Pull,
            Some("local") => ResolveMode::Local,
            Some(other) => {
                return Err(self.attribute(word::IMAGE_RESOLVE_MODE, other, &"use default, pull or local"));
            }
        };
        Ok(Identifier::Image {
            reference: self.reference()?,
            mode,
            checksum: self.checksum(word::IMAGE_CHECKSUM)?,
            layer_limit: self.limit(word::IMAGE_LAYER_LIMIT)?,
        })
    }

    /// `name[:tag][@digest]`; the store is called as an attribute says, or as the name.
    fn layout(&self) -> Result<(String, Option<String>, Option<Digest>), IdentifierError> {
        let (name, digest) = match self.rest.split_once('@') {
            Some((name, digest)) => (name, Some(self.digest(Some(digest))?)),
            None => (self.rest, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (name, None),
        };
        if name.is_empty() {
            return Err(self.malformed("it has no name"));
        }
        Ok((self.text(word::OCI_STORE).unwrap_or_else(|| name.to_owned()), tag, digest))
    }

    fn local(&self) -> Result<Identifier, IdentifierError> {
        if self.rest.is_empty() {
            return Err(self.malformed("it has no name"));
        }
        let metadata_only = match self.get(word::LOCAL_METADATA_ONLY) {
            None | Some("false" | "0" | "f" | "F" | "FALSE" | "False") => false,
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => true,
            Some(other) => return Err(self.attribute(word::LOCAL_METADATA_ONLY, other, &"neither true nor false")),
        };
        Ok(Identifier::Local(LocalSource {
            name: self.rest.to_owned(),
            include: self.list(word::LOCAL_INCLUDE)?,
            exclude: self.list(word::LOCAL_EXCLUDE)?,
            follow: self.list(word::LOCAL_FOLLOW)?,
            metadata_only,
        }))
    }

    fn git(&self) -> Result<Identifier, IdentifierError> {
        self.refuse(&[word::GIT_SIGNATURE, word::GIT_BUNDLE, word::GIT_CHECKOUT_BUNDLE])?;
        let mut source =
            GitSource::parse(self.rest).map_err(|error: GitUrlError| self.malformed(&error.to_string()))?;
        if let Some(url) = self.get(word::GIT_FULL_URL) {
            source = source
                .at(url)
                .map_err(|error| self.attribute(word::GIT_FULL_URL, &crate::http::without_credentials(url), &error))?;
        }
        source.mtime_of_commit = match self.get(word::GIT_MTIME) {
            None | Some("checkout") => false,
            Some("commit") => true,
            Some(other) => return Err(self.attribute(word::GIT_MTIME, other, &"use checkout or commit")),
        };
        if let Some(text) = self.get(word::GIT_CHECKSUM) {
            if text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.attribute(word::GIT_CHECKSUM, text, &"not the beginning of a commit's name"));
            }
            source.checksum = Some(text.to_ascii_lowercase());
        }
        source.keep_git_dir = self.is_true(word::GIT_KEEP_DIR);
        source.skip_submodules = self.is_true(word::GIT_SKIP_SUBMODULES);
        source.fetch_by_commit = self.is_true(word::GIT_FETCH_BY_COMMIT);
        source.auth_header_secret = self.text(word::GIT_AUTH_HEADER);
        source.auth_token_secret = self.text(word::GIT_AUTH_TOKEN);
        source.known_hosts = self.text(word::GIT_KNOWN_HOSTS);
        source.ssh_socket = self.text(word::GIT_SSH_SOCKET);
        Ok(Identifier::Git(source))
    }

    fn http(&self, url: &str) -> Result<Identifier, IdentifierError> {
        self.refuse(&[word::HTTP_SIGNATURE])?;
        let url = reqwest::Url::parse(url).map_err(|error| self.malformed(&error.to_string()))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(self.malformed("it names no host"));
        }
        // What BuildKit lets through; others are dropped there without a word.
        let mut headers: Vec<(String, String)> = Vec::new();
        for (key, value) in self.attrs {
            let name = key.strip_prefix(word::HTTP_HEADER).map(str::to_ascii_lowercase);
            if let Some(name) = name.filter(|name| matches!(name.as_str(), "accept" | "user-agent")) {
                if reqwest::header::HeaderValue::from_str(value).is_err() {
                    return Err(self.attribute(key, value, &"it cannot stand in a header"));
                }
                headers.push((name, value.clone()));
            }
        }
        headers.sort();
        Ok(Identifier::Http(HttpSource {
            url: url.into(),
            checksum: self.checksum(word::HTTP_CHECKSUM)?,
            file: self.file()?,
            headers,
            auth_header_secret: self.text(word::HTTP_AUTH_SECRET),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(identifier: &str, attrs: &[(&str, &str)]) -> Result<Identifier, IdentifierError> {
        let attrs = attrs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Identifier::parse(&pb::SourceOp { identifier: identifier.to_owned(), attrs })
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn every_kind_of_source_is_read() {
        let image =
            parse(&format!("docker-image://docker.io/library/alpine:3@{DIGEST}"), &[("image.resolvemode", "pull")]);
        assert!(matches!(image, Ok(Identifier::Image { mode: ResolveMode::Pull, .. })), "{image:?}");
        let layout = parse(&format!("oci-layout://a/b:tag@{DIGEST}"), &[("oci.store", "s"), ("unknown", "x")]);
        let Ok(Identifier::Layout { store, tag, digest, .. }) = layout else { panic!("{layout:?}") };
        assert_eq!((store.as_str(), tag.as_deref(), digest.is_some()), ("s", Some("tag"), true));
        let blob =
            parse(&format!("oci-layout+blob://sources@{DIGEST}"), &[("http.filename", "f"), ("http.perm", "0644")]);
        let Ok(Identifier::LayoutBlob { store, file, .. }) = blob else { panic!("{blob:?}") };
        assert_eq!((store.as_str(), file.mode), ("sources", Some(0o644)));
        let local =
            parse("local://context", &[("local.includepattern", r#"["a","!b"]"#), ("local.followpaths", "null")]);
        let Ok(Identifier::Local(local)) = local else { panic!("{local:?}") };
        assert_eq!((local.include.len(), local.follow.len()), (2, 0));
        let http = parse(
            "https://h.test/f",
            &[("http.uid", "0x10"), ("http.header.ACCEPT", "a"), ("http.header.cookie", "c")],
        );
        let Ok(Identifier::Http(http)) = http else { panic!("{http:?}") };
        assert_eq!((http.file.uid, http.headers.len()), (16, 1));
    }

    #[test]
    fn malformed_sources_are_refused_with_the_reason() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);
        let cases: &[Case<'_>] = &[
            ("alpine", &[], "no known kind"),
            ("ftp://h/x", &[], "no known kind"),
            ("docker-image://UPPER", &[], "not an image reference"),
            ("docker-image://a", &[("image.resolvemode", "x")], "use default"),
            ("docker-image+blob://a:1", &[], "named by"),
            ("oci-layout+blob://a", &[], "named by"),
            ("oci-layout://a@md5:0", &[], "sha256"),
            ("local://", &[], "no name"),
            ("local://c", &[("local.includepattern", "a")], "JSON"),
            ("http://", &[], "host"),
            ("http://h/f", &[("http.perm", "rw")], "not a number"),
            ("http://h/f", &[("http.uid", "-1")], "not a number"),
            ("http://h/f", &[("http.checksum", "md5:1")], "sha256"),
            ("http://h/f", &[("http.sig.pubkey", "k")], "cannot do"),
            ("http://h/f", &[("http.header.accept", "a\r\nb: c")], "header"),
            ("git://h/r#-x", &[], "reference"),
            ("git://h/r", &[("git.checksum", "xyz")], "commit"),
            ("git://h/r", &[("git.bundle", "x")], "cannot do"),
        ];
        for (identifier, attrs, word) in cases {
            let error = parse(identifier, attrs).expect_err(identifier).to_string();
            assert!(error.contains(word), "`{word}` in: {error}");
        }
        let error = parse("ftp://user:secret@h/x", &[]).expect_err("ftp").to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
