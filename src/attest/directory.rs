//! The digest of a directory's files (`in-toto/attestation spec/v1/digest_set.md dirHash`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use walkdir::WalkDir;

use super::AttestError;
use crate::oci::{Digest, Hasher};

/// Returns the digest of the regular files below `root` that `names` name, or that lie below what they name. It is what
/// `find NAMES -type f | LC_ALL=C sort | xargs -r sha256sum | sha256sum` prints in `root`.
///
/// # Errors
/// `Io`.
pub fn directory(root: &Path, names: &BTreeSet<String>) -> Result<Digest, AttestError> {
    let mut files: BTreeSet<String> = BTreeSet::new();
    for name in names {
        for entry in WalkDir::new(root.join(name)) {
            let entry = entry.map_err(|error| {
                let path = error.path().unwrap_or(root).to_owned();
                AttestError::Io { action: "walk", path, source: error.into() }
            })?;
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(root).expect("a walk stays below where it began");
                files.insert(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut lines = String::new();
    for name in files {
        let path = root.join(&name);
        let mut hasher = Hasher::default();
        let read = File::open(&path).and_then(|mut file| io::copy(&mut file, &mut hasher));
        read.map_err(|source| AttestError::Io { action: "read", path, source })?;
        writeln!(lines, "{}  {name}", hasher.finish().hex()).expect("a string takes everything");
    }
    Ok(Digest::of(lines.as_bytes()))
}
