//! Documents as artifacts beside an image, or as files beside a tarball.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{Bom, Component, Kind, Materials, Provenance, Subject, cyclonedx, provenance, purl, spdx};
use crate::oci::Digest;

/// Artifact and media type of SPDX documents.
pub const SPDX: &str = "application/spdx+json";
/// Artifact and media type of CycloneDX documents.
pub const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
/// Artifact and media type of in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";
/// Type of our statements (`in-toto/attestation spec/v1/statement.md`).
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// Type of their predicate.
pub const SLSA_PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// Annotation of a manifest or layer that says which predicate a statement has, as BuildKit writes it.
pub const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";

/// Which document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// SBOM as SPDX 2.3.
    Spdx,
    /// SBOM as CycloneDX 1.6.
    CycloneDx,
    /// SLSA provenance.
    Provenance,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "spdx" => Ok(Self::Spdx),
            "cyclonedx" => Ok(Self::CycloneDx),
            _ => Err(format!("unknown form `{text}`; forms: spdx, cyclonedx")),
        }
    }
}

/// A document of one result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which one.
    pub format: Format,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Makes a document of the result `name` of digest `digest`; `kind` says whether that is an image's manifest or an
    /// archive. `found` is what was found in its tree, beside what the materials know of; `created` is in seconds since
    /// 1970.
    pub fn of(
        format: Format,
        materials: &Materials,
        found: &[Component],
        (kind, name, digest): (Kind, &str, &Digest),
        created: u64,
    ) -> Self {
        let bom = || {
            let root = root(kind, name, digest);
            let components = materials.components.iter().chain(found).cloned().collect();
            Bom { root, components, tools: materials.tools.clone(), created }
        };
        let bytes = match format {
            Format::Spdx => spdx(&bom()),
            Format::CycloneDx => cyclonedx(&bom()),
            Format::Provenance => {
                let subjects = vec![Subject::new(name, digest)];
                provenance(&Provenance { subjects, materials, started: None, finished: None })
            }
        };
        Self { format, bytes }
    }

    /// Returns the artifact type, which is also the media type of the one blob.
    pub const fn media_type(&self) -> &'static str {
        match self.format {
            Format::Spdx => SPDX,
            Format::CycloneDx => CYCLONEDX,
            Format::Provenance => IN_TOTO,
        }
    }

    /// Returns the annotations of its manifest.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        match self.format {
            Format::Provenance => [(PREDICATE_TYPE.to_owned(), SLSA_PROVENANCE.to_owned())].into(),
            _ => BTreeMap::new(),
        }
    }

    /// Returns the ending of its file beside `x.tar.gz`: `x` and this.
    pub const fn ending(&self) -> &'static str {
        match self.format {
            Format::Spdx => "spdx.json",
            Format::CycloneDx => "cdx.json",
            Format::Provenance => "intoto.jsonl",
        }
    }
}

/// The result as a component.
fn root(kind: Kind, name: &str, digest: &Digest) -> Component {
    let purl = if kind == Kind::Image {
        // `oci` names the last part of a repository, in lower case, and the digest as version.
        let name = name.split('@').next().unwrap_or_default();
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (name, ""),
        };
        let repository = repository.to_lowercase();
        let last = repository.rsplit('/').next().unwrap_or_default();
        let qualifiers = [("repository_url", if last == repository { "" } else { &repository }), ("tag", tag)];
        purl("oci", "", last, &digest.to_string(), &qualifiers)
    } else {
        purl("generic", "", name, "", &[("checksum", &digest.to_string())])
    };
    Component { purl: Some(purl), digest: Some(*digest), ..Component::new(kind, name, "") }
}
