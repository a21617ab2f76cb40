//! Packing one variant of the matrix.

use std::fmt;
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::layer::{self, LayerError, Owner, PackOptions, PackTimes};
use crate::oci::{Arch, Digest};
use crate::snapshot::Snapshot;
use crate::store::{Store, StoreError};

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Version as asked for, `3.11`.
    pub version: String,
    /// Architecture.
    pub arch: Arch,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.version, self.arch)
    }
}

/// A tarball in the store, not yet published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where the store has it.
    pub blob: PathBuf,
}

/// Why a variant is not in `dist/`.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The tree could not be packed.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file could not be written.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Room of the store with the tarballs made from trees.
const RECORDS: &str = "tarballs";

/// Changed when the same tree would give other bytes: packing order, compression, level.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Record {
    digest: Digest,
    size: u64,
}

/// Packs `tree` as a release tarball in the store; a tree packed before is not packed again.
///
/// `epoch` is the time of every entry in seconds since 1970. The whole archive is in memory while it is compressed.
pub fn package(store: &Store, tree: &Snapshot, epoch: u64) -> Result<Artifact, ReleaseError> {
    let key = format!("{}-{epoch}-{FORMAT}", tree.digest().hex());
    if let Some(bytes) = store.get_record(RECORDS, &key)?
        && let Ok(record) = serde_json::from_slice::<Record>(&bytes)
        && store.contains(&record.digest) == Some(record.size)
    {
        return Ok(Artifact { digest: record.digest, size: record.size, blob: store.path(&record.digest) });
    }
    let failed = |action| move |source| ReleaseError::Io { action, path: store.root().to_owned(), source };
    let mut tar = Vec::new();
    let options = PackOptions {
        times: PackTimes::All(epoch),
        overlay: false,
        root: false,
        owner: Owner::Root,
        prefix: PathBuf::new(),
    };
    layer::pack(&tree.path(), &options, &mut tar)?;
    let mut blob = store.writer()?;
    blob.write_all(&compressed(&tar)).map_err(failed("write to"))?;
    let stored = blob.commit()?;
    let record = Record { digest: stored.digest, size: stored.size };
    store.put_record(RECORDS, &key, &serde_json::to_vec(&record).expect("a record is JSON"))?;
    Ok(Artifact { digest: stored.digest, size: stored.size, blob: store.path(&stored.digest) })
}

/// Compresses with gzip (RFC 1952), one member, without name and time. Downloaded far more often than made: as small as
/// deflate gets in seconds, a twenty-eighth less than zlib's level 9.
fn compressed(tar: &[u8]) -> Vec<u8> {
    let mut encoder = libdeflater::Compressor::new(libdeflater::CompressionLvl::best());
    let mut bytes = vec![0; encoder.gzip_compress_bound(tar.len())];
    let size = encoder.gzip_compress(tar, &mut bytes).expect("the bound is enough");
    bytes.truncate(size);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever makes a release again has to get the same bytes, on any processor and with any release of the library; if this
    /// changes, [`FORMAT`] has to, and the digests of all tarballs do.
    #[test]
    fn the_same_content_is_the_same_gzip() {
        let mut number = 1_u64;
        let content: Vec<u8> = (0..1 << 20)
            .map(|at: u64| {
                number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Text-like: few letters, and long matches now and then.
                if at % 4096 < 1024 {
                    (at % 61).to_le_bytes()[0]
                } else {
                    b"etaoin shrdlu\n./"[(number >> 60) as usize]
                }
            })
            .collect();
        let gzip = compressed(&content);
        assert_eq!(
            (gzip.len(), Digest::of(&gzip).hex().as_str()),
            (401_110, "b883bb9d9e81f729c4acc3f31a3e9ed04a318c45b3a4bf5d6bbde371b851e906")
        );
    }
}
