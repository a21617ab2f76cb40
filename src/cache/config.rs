//! The config of a cache: everything but the layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::CacheError;
use crate::layer::LayerFacts;
use crate::oci::Digest;

/// Media type of the config, and type of the artifact.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dockless.cache.v1+json";

/// The most bytes of a config: some hundred thousand records.
pub(super) const MOST: u64 = 32 << 20;

/// The version that is written and read.
const VERSION: u32 = 1;

/// One tree that an operation left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Digest by which its snapshot is named.
    pub snapshot: Digest,
    /// Digest of what it holds.
    pub content: Digest,
}

/// A packed layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packed {
    /// Digest of its bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// The number of bytes of the archive.
    pub length: u64,
}

/// A layer that travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Carried {
    /// What it is.
    #[serde(flatten)]
    pub facts: LayerFacts,
    /// Its bytes.
    #[serde(flatten)]
    pub packed: Packed,
}

/// Everything but the layers; unknown fields are ignored, so that fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    version: u32,
    /// What operations left, by key.
    #[serde(default)]
    pub records: BTreeMap<Digest, Vec<Output>>,
    /// Layers by the snapshots that they belong to.
    #[serde(default)]
    pub layers: BTreeMap<Digest, Carried>,
    /// Cache mounts by name.
    #[serde(default)]
    pub mounts: BTreeMap<String, Packed>,
}

impl Default for Config {
    fn default() -> Self {
        Self { version: VERSION, records: BTreeMap::new(), layers: BTreeMap::new(), mounts: BTreeMap::new() }
    }
}

impl Config {
    /// Reads a config.
    ///
    /// # Errors
    /// `Config`.
    pub fn parse(bytes: &[u8]) -> Result<Self, CacheError> {
        let wrong = |reason: String| CacheError::Config { reason };
        let config: Self = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        match config.version {
            VERSION => Ok(config),
            version => Err(wrong(format!("it has version {version} and this dockless reads {VERSION}"))),
        }
    }

    /// Returns its bytes; the same for the same config.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a config is JSON")
    }

    /// Returns every packed layer once.
    pub(super) fn packed(&self) -> BTreeMap<Digest, Packed> {
        let layers = self.layers.values().map(|carried| carried.packed);
        layers.chain(self.mounts.values().copied()).map(|packed| (packed.digest, packed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_comes_back_the_same_and_another_version_is_refused() {
        let digest = Digest::of(b"a");
        let facts = LayerFacts { parent: Some(digest), tree: digest, since: None, nonce: None };
        let mut config = Config::default();
        config.records.insert(digest, vec![Output { snapshot: digest, content: digest }]);
        config.layers.insert(digest, Carried { facts, packed: Packed { digest, size: u64::MAX, length: 1 } });
        assert_eq!(Config::parse(&config.bytes()).expect("a config"), config);
        for text in
            ["", "[]", r#"{"version":2}"#, r#"{"version":1,"records":{"x":[]}}"#, r#"{"version":1,"layers":[]}"#]
        {
            assert!(Config::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
