//! Which manifest of an index serves a machine (`image-spec image-index.md#platform-variants`).

use std::fmt;

use crate::llb::pb;
use crate::oci::Arch;

/// An operating system and a processor, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `amd64`, `386`.
    pub architecture: String,
    /// `v7`; empty where there is none.
    pub variant: String,
}

impl Platform {
    /// Makes one under the names that the field agreed upon: `x86_64` is `amd64`, `arm64` of variant `v8` has none.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let lower = |text: &str| text.to_lowercase();
        let (os, architecture, variant) = (lower(os), lower(architecture), lower(variant));
        let (architecture, variant) = match (architecture.as_str(), variant.as_str()) {
            ("i386", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64", ""),
            ("x86_64" | "x86-64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8" | "") => ("arm64", ""),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            (architecture, variant) => (architecture, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.to_owned() }
    }

    /// Linux on one of our two architectures.
    pub fn linux(arch: Arch) -> Self {
        Self::new("linux", arch.oci(), "")
    }

    /// Returns how well `found` serves on this machine, 0 being best; `None` if it does not.
    ///
    /// As containerd has it: older variants of the same processor, and last its 32-bit predecessor.
    pub(super) fn rank(&self, found: &Self) -> Option<usize> {
        self.served_by().iter().position(|serving| serving == found)
    }

    fn served_by(&self) -> Vec<Self> {
        let mut serving = vec![self.clone()];
        let older = |architecture: &str, from: u32, to: u32| {
            (to..from).rev().map(move |version| Self::new(&self.os, architecture, &format!("v{version}"))).collect()
        };
        let version = self.variant.strip_prefix('v').and_then(|version| version.parse::<u32>().ok());
        let more: Vec<Self> = match (self.architecture.as_str(), version) {
            ("amd64", version) => {
                let mut more: Vec<Self> = older("amd64", version.unwrap_or(1).min(9), 1);
                more.push(Self::new(&self.os, "386", ""));
                more
            }
            ("arm", Some(version)) => older("arm", version.min(9), 5),
            ("arm64", _) => older("arm", 9, 5),
            _ => Vec::new(),
        };
        serving.extend(more);
        serving
    }
}

impl From<&pb::Platform> for Platform {
    fn from(platform: &pb::Platform) -> Self {
        Self::new(&platform.os, &platform.architecture, &platform.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_takes_older_variants_and_its_predecessor_last() {
        let rank = |wanted: (&str, &str), found: (&str, &str)| {
            Platform::new("linux", wanted.0, wanted.1).rank(&Platform::new("linux", found.0, found.1))
        };
        assert_eq!(rank(("amd64", ""), ("x86_64", "v1")), Some(0));
        assert_eq!(rank(("amd64", ""), ("amd64", "v3")), None);
        assert_eq!(rank(("amd64", "v3"), ("amd64", "v2")), Some(1));
        assert_eq!(rank(("amd64", "v3"), ("amd64", "")), Some(2));
        assert_eq!(rank(("amd64", ""), ("386", "")), Some(1));
        assert_eq!(rank(("386", ""), ("amd64", "")), None);
        assert_eq!(rank(("arm64", "v8"), ("arm64", "")), Some(0));
        assert_eq!(rank(("arm64", ""), ("arm", "v7")), Some(2));
        assert_eq!(rank(("arm", "v7"), ("arm", "v6")), Some(1));
        assert_eq!(Platform::linux(Arch::X86_64).rank(&Platform::new("windows", "amd64", "")), None);
        assert_eq!(Platform::linux(Arch::X86_64).rank(&Platform::new("unknown", "unknown", "")), None);
    }
}
