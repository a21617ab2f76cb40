//! SHA-256 digests as OCI writes them (`image-spec descriptor.md#digests`).

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, written `sha256:<64 lower-case hex digits>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a string is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is missing or not `sha256`.
    #[error("digest `{text}` does not start with `sha256:`, the only algorithm supported")]
    Algorithm {
        /// The string as given.
        text: String,
    },
    /// The part after `sha256:` is not 64 lower-case hexadecimal digits.
    #[error("digest `{text}` must have 64 lower-case hexadecimal digits")]
    Hex {
        /// The string as given.
        text: String,
    },
}

impl Digest {
    /// Returns the digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 raw bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 lower-case hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    /// Returns the first 12 hexadecimal digits, for people.
    pub fn short(&self) -> String {
        self.hex()[..12].to_owned()
    }

    /// Parses 64 lower-case hexadecimal digits without an algorithm, as lock files and `sha256sum` write them.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let error = || DigestError::Hex { text: hex.to_owned() };
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let hex = text.strip_prefix("sha256:").ok_or_else(|| DigestError::Algorithm { text: text.to_owned() })?;
        Self::from_hex(hex).map_err(|_| DigestError::Hex { text: text.to_owned() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The digest of a layer's *uncompressed* tar (`image-spec config.md#layer-diffid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiffId(pub Digest);

/// The digest of a stack of layers (`image-spec config.md#layer-chainid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(pub Digest);

impl ChainId {
    /// Returns the chain ID of `layers`, lowest first; `None` for no layers.
    pub fn of(layers: &[DiffId]) -> Option<Self> {
        let (first, rest) = layers.split_first()?;
        Some(Self(rest.iter().fold(first.0, |chain, layer| Digest::of(format!("{chain} {}", layer.0).as_bytes()))))
    }
}

/// Counts and hashes the bytes written to it.
#[derive(Debug, Clone, Default)]
pub struct Hasher {
    state: Sha256,
    size: u64,
}

impl Hasher {
    /// Feeds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Feeds a length and then `bytes`, so that neighbouring fields cannot run into each other.
    pub fn field(&mut self, bytes: &[u8]) {
        self.update(&(bytes.len() as u64).to_le_bytes());
        self.update(bytes);
    }

    /// Returns the number of bytes fed so far.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the digest of everything fed.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_round_trip_and_refuse_everything_else() {
        let digest = Digest::of(b"");
        assert_eq!(digest.to_string(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for text in ["", "sha256:", "md5:00", "sha256:E3B0", &digest.to_string().to_uppercase(), &format!("{digest}0")]
        {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
        assert!(Digest::from_hex("é".repeat(32).as_str()).is_err());
    }

    #[test]
    fn a_chain_of_one_layer_is_that_layer() {
        let layer = DiffId(Digest::of(b"a"));
        assert_eq!(ChainId::of(&[layer]), Some(ChainId(layer.0)));
        assert_eq!(ChainId::of(&[]), None);
    }
}
