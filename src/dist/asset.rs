//! One file of a release, and what its name says.

use crate::oci::{Arch, Digest};

/// A file that can be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Its name in the directory.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What it is.
    pub kind: Kind,
}

/// What a file of a release is, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A tree: `.tar.gz`.
    Tarball,
    /// The checksum of one tarball: `.sha256`.
    Checksum,
    /// A detached signature (`OpenPGP`): `.asc`.
    Signature,
    /// A sigstore bundle: `.sigstore.json`.
    Bundle,
    /// An SBOM in SPDX: `.spdx.json`.
    Spdx,
    /// An SBOM in CycloneDX: `.cdx.json`.
    CycloneDx,
    /// Provenance: `.intoto.jsonl`.
    Provenance,
    /// The log of a build: `.log`.
    Log,
    /// `SHA256SUMS`.
    Sums,
    /// `release.json`.
    Description,
    /// `RELEASE_NOTES.md`.
    Notes,
    /// `metrics.prom`.
    Metrics,
    /// `report.html`.
    Report,
    /// A file that SHA256SUMS vouches for and that we do not know.
    Other,
}

/// Endings, the longer ones first.
const ENDINGS: [(&str, Kind); 8] = [
    (".tar.gz", Kind::Tarball),
    (".sha256", Kind::Checksum),
    (".asc", Kind::Signature),
    (".sigstore.json", Kind::Bundle),
    (".spdx.json", Kind::Spdx),
    (".cdx.json", Kind::CycloneDx),
    (".intoto.jsonl", Kind::Provenance),
    (".log", Kind::Log),
];

impl Kind {
    /// Tells what a file is by its name.
    pub fn of(name: &str) -> Self {
        match name {
            "SHA256SUMS" => Self::Sums,
            "release.json" => Self::Description,
            "RELEASE_NOTES.md" => Self::Notes,
            "metrics.prom" => Self::Metrics,
            "report.html" => Self::Report,
            _ => ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map_or(Self::Other, |(_, kind)| *kind),
        }
    }

    /// Returns the media type that servers are told (RFC 6838), and which says in a registry what an artifact is.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Tarball => "application/gzip",
            Self::Signature => "application/pgp-signature",
            Self::Bundle => "application/vnd.dev.sigstore.bundle.v0.3+json",
            Self::Spdx => "application/spdx+json",
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Provenance => "application/vnd.in-toto+json",
            Self::Description => "application/json",
            Self::Notes => "text/markdown",
            Self::Report => "text/html",
            Self::Checksum | Self::Log | Self::Sums | Self::Metrics => "text/plain",
            Self::Other => "application/octet-stream",
        }
    }

    /// Tells whether SHA256SUMS need not name such a file: it says itself what it vouches for.
    pub const fn vouches(self) -> bool {
        matches!(self, Self::Sums | Self::Signature | Self::Bundle | Self::Checksum)
    }
}

impl Asset {
    /// Returns the name of the tarball that this file is about, without its ending; `None` for files of the whole
    /// release.
    pub fn stem(&self) -> Option<&str> {
        let name = self.name.as_str();
        let about = match self.kind {
            Kind::Tarball => name.strip_suffix(".tar.gz"),
            Kind::Checksum => name.strip_suffix(".tar.gz.sha256"),
            Kind::Signature => name.strip_suffix(".tar.gz.asc"),
            Kind::Bundle => name.strip_suffix(".tar.gz.sigstore.json"),
            Kind::Spdx => name.strip_suffix(".spdx.json"),
            Kind::CycloneDx => name.strip_suffix(".cdx.json"),
            Kind::Provenance => name.strip_suffix(".intoto.jsonl"),
            Kind::Log => name.strip_suffix(".log"),
            _ => None,
        };
        about.filter(|stem| !stem.is_empty())
    }
}

/// Reads version and architecture out of the name of a tarball, wherever they stand between hyphens:
/// `release-3.12-x86_64`, `standalone-python-3.12.6-x86-2026-11-26`.
pub fn variant_of(stem: &str) -> Option<(String, Arch)> {
    let arch = stem.split('-').find_map(|part| Arch::ALL.into_iter().find(|arch| arch.name() == part))?;
    let is_version = |part: &&str| {
        let mut numbers = part.split('.');
        let first = numbers.next().is_some_and(|major| !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit()));
        let rest: Vec<&str> = numbers.collect();
        let begins = |number: &&str| number.as_bytes().first().is_some_and(u8::is_ascii_digit);
        first && !rest.is_empty() && rest.iter().all(begins)
    };
    let version = stem.split('-').find(is_version)?;
    Some((version.to_owned(), arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_version_and_architecture_in_every_pattern() {
        for (stem, version, arch) in [
            ("release-3.12-x86_64", "3.12", Arch::X86_64),
            ("release-3.10-x86", "3.10", Arch::X86),
            ("standalone-python-3.12.6-x86-2026-11-26", "3.12.6", Arch::X86),
            ("x86_64-3.14.0rc1", "3.14.0rc1", Arch::X86_64),
        ] {
            assert_eq!(variant_of(stem), Some((version.to_owned(), arch)), "{stem}");
        }
        for stem in ["release-3.12", "release-x86", "release-2026-11-26-x86", "", "x86_64", "release-.1-x86"] {
            assert_eq!(variant_of(stem), None, "{stem}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_name() {
        let asset =
            |name: &str| Asset { name: name.to_owned(), size: 0, digest: Digest::of(b""), kind: Kind::of(name) };
        for (name, kind, stem) in [
            ("a.tar.gz", Kind::Tarball, Some("a")),
            ("a.tar.gz.asc", Kind::Signature, Some("a")),
            ("SHA256SUMS.asc", Kind::Signature, None),
            ("a.spdx.json", Kind::Spdx, Some("a")),
            ("a.cdx.json", Kind::CycloneDx, Some("a")),
            ("release.json", Kind::Description, None),
            (".tar.gz", Kind::Tarball, None),
            ("other", Kind::Other, None),
        ] {
            assert_eq!((asset(name).kind, asset(name).stem()), (kind, stem), "{name}");
        }
    }
}
