//! What a tarball consists of, as its `PYTHON.json` says (`scripts/python/sizes.py`), and how large it may be.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The most bytes of a tarball: what the smallest `install_only` of python-build-standalone that we have a figure of had,
/// 3.10.14 for musl on `x86_64` in July 2024 (python-build-standalone, pull request 279; for glibc 27 404 483 there). Theirs
/// have grown since: in May 2026 that of 3.13 had 124 MB, 35 MB stripped (esphome-desktop, pull request 90).
pub(crate) const LARGEST: u64 = 25_688_602;

/// Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Sizes {
    /// All files but `PYTHON.json`.
    pub tree: u64,
    /// Parts that together are the tree.
    pub parts: BTreeMap<String, Part>,
    /// Components that together are the part `interpreter`; `link` is what the linker added.
    pub inside: BTreeMap<String, u64>,
    /// The tree has what interpreters can be linked of: it is a `-full` one.
    #[serde(skip)]
    pub full: bool,
}

/// Some of the files of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Part {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their bytes when compressed without the rest.
    pub compressed: u64,
}

/// The part that the interpreter is.
const INTERPRETER: &str = "interpreter";

impl Sizes {
    /// Reads them from a `PYTHON.json`; an error says what is wrong with it.
    pub(crate) fn of(description: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Description {
            sizes: Sizes,
            r#static: Option<serde::de::IgnoredAny>,
        }
        let told: Description = serde_json::from_slice(description).map_err(|error| error.to_string())?;
        Ok(Self { full: told.r#static.is_some(), ..told.sizes })
    }

    /// Tells what is not accounted for in a tree of `bytes` bytes.
    pub(crate) fn faults(&self, bytes: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let parts: u64 = self.parts.values().map(|part| part.bytes).sum();
        if self.tree != bytes || parts != bytes {
            faults.push(format!("says {} bytes in parts of {parts}, the tree has {bytes}", self.tree));
        }
        let interpreter = self.parts.get(INTERPRETER).map_or(0, |part| part.bytes);
        let inside: u64 = self.inside.values().sum();
        if inside != interpreter {
            faults.push(format!("says that {inside} bytes are in an interpreter of {interpreter}"));
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"format": 1, "sizes": {"files": 3, "tree": 30, "interpreter": 20,
        "parts": {"interpreter": {"files": 1, "bytes": 20, "compressed": 9}, "pip": {"files": 2, "bytes": 10, "compressed": 4}},
        "inside": {"cpython": 12, "openssl": 7, "link": 1}}}"#;

    #[test]
    fn every_byte_of_a_tree_belongs_to_a_part() {
        let sizes = Sizes::of(TOLD.as_bytes()).expect("sizes");
        assert_eq!(sizes.faults(30), Vec::<String>::new());
        assert_eq!(sizes.faults(31), ["says 30 bytes in parts of 30, the tree has 31"]);
    }

    #[test]
    fn every_byte_of_an_interpreter_belongs_to_a_component() {
        let sizes = Sizes::of(TOLD.replace("\"openssl\": 7", "\"openssl\": 6").as_bytes()).expect("sizes");
        assert_eq!(sizes.faults(30), ["says that 19 bytes are in an interpreter of 20"]);
    }

    #[test]
    fn a_full_tree_is_told_by_its_static_pieces() {
        assert!(!Sizes::of(TOLD.as_bytes()).expect("sizes").full);
        let full = TOLD.replace("\"format\": 1", "\"static\": {\"link\": []}");
        assert!(Sizes::of(full.as_bytes()).expect("sizes").full);
    }

    #[test]
    fn a_description_without_sizes_is_refused() {
        assert!(Sizes::of(b"{}").expect_err("no sizes").contains("sizes"));
    }
}
