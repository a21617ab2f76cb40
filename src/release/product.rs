//! What came of one variant: facts and files, before they are in a directory.

use std::path::PathBuf;

use crate::dist::{Kind, VariantFacts};
use crate::oci::Digest;

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bytes {
    /// In a file, and what they must be.
    File {
        /// The file.
        path: PathBuf,
        /// Their digest.
        digest: Digest,
    },
    /// Here.
    Here(Vec<u8>),
}

/// A variant that was worked on.
#[derive(Debug, Clone, Default)]
pub struct Product {
    /// What release.json says of it.
    pub facts: VariantFacts,
    /// Its files by their names in the directory.
    pub files: Vec<(String, Bytes)>,
    /// Files below `logs/`: what it is called, and where it is; what is not there any more is left out.
    pub logs: Vec<(String, PathBuf)>,
}

impl Product {
    /// Returns its tarballs: names, files, digests.
    pub fn tarballs(&self) -> impl Iterator<Item = (&str, &PathBuf, &Digest)> {
        self.files.iter().filter_map(|(name, bytes)| match bytes {
            Bytes::File { path, digest } if Kind::of(name) == Kind::Tarball => Some((name.as_str(), path, digest)),
            _ => None,
        })
    }
}
