//! What entered a build (`in-toto/attestation spec/v1/resource_descriptor.md`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::CHECKOUT;
use crate::oci::Digest;

/// Digests of one thing by algorithm, in lower-case hexadecimal digits (`spec/v1/digest_set.md`).
pub type DigestSet = BTreeMap<String, String>;

/// One input of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input {
    /// What it is.
    pub uri: String,
    /// Its digests; none where nobody knows them, which the document then says.
    pub digest: DigestSet,
    /// Its name among the others.
    pub name: Option<String>,
    /// Where it may be had.
    pub location: Option<String>,
    /// More of it.
    pub annotations: BTreeMap<String, String>,
}

impl Input {
    /// A file or image of a known SHA-256.
    pub fn sha256(name: &str, uri: &str, digest: Digest) -> Self {
        let name = Some(name.to_owned());
        Self { uri: uri.to_owned(), digest: sha256(digest), name, ..Self::default() }
    }

    /// A repository at a commit: `uri` is its address with `git+` before it.
    pub fn commit(uri: &str, commit: &str) -> Self {
        let digest = [("gitCommit".to_owned(), commit.to_ascii_lowercase())].into();
        Self { uri: uri.to_owned(), digest, ..Self::default() }
    }

    /// The files of the project as a commit has them; `modified` where they are not quite.
    pub fn checkout(commit: &str, modified: bool) -> Self {
        let annotations = modified.then(|| ("dockless.modified".to_owned(), "true".to_owned())).into_iter().collect();
        Self { annotations, name: Some("project".to_owned()), ..Self::commit(CHECKOUT, commit) }
    }

    /// A directory of the client, by the digest of its files (`digest_set.md dirHash`), as this prints it:
    /// `find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum`.
    pub fn directory(name: &str, digest: Digest) -> Self {
        let digest = [("dirHash".to_owned(), digest.hex())].into();
        Self { uri: format!("local://{name}"), digest, name: Some(name.to_owned()), ..Self::default() }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut json = Map::new();
        let mut put = |key: &str, value: Value| _ = json.insert(key.to_owned(), value);
        put("uri", self.uri.as_str().into());
        let mut annotations = self.annotations.clone();
        if self.digest.is_empty() {
            annotations.insert("dockless.digest".to_owned(), "unknown".to_owned());
        } else {
            put("digest", map(&self.digest));
        }
        if let Some(name) = &self.name {
            put("name", name.as_str().into());
        }
        if let Some(location) = &self.location {
            put("downloadLocation", location.as_str().into());
        }
        if !annotations.is_empty() {
            put("annotations", map(&annotations));
        }
        json.into()
    }
}

pub(super) fn sha256(digest: Digest) -> DigestSet {
    [("sha256".to_owned(), digest.hex())].into()
}

pub(super) fn map(map: &BTreeMap<String, String>) -> Value {
    map.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>().into()
}
