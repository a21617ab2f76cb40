//! A bill of materials as a value.

use std::collections::BTreeMap;

use super::Component;
use crate::oci::Digest;

/// A result and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bom {
    /// The result.
    pub root: Component,
    /// What it contains.
    pub components: Vec<Component>,
    /// What it was made with and does not contain.
    pub tools: Vec<Component>,
    /// When the document was made, seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub created: u64,
}

/// Where the words of our own documents are defined.
pub(super) const PROJECT: &str = "https://github.com/dockless/dockless";

/// The program as documents name it.
pub(super) const TOOL: (&str, &str) = ("dockless", env!("CARGO_PKG_VERSION"));

impl Bom {
    /// The components by their names in the document, each once.
    pub(super) fn contained(&self) -> BTreeMap<String, &Component> {
        let root = self.root.id();
        self.components.iter().map(|component| (component.id(), component)).filter(|(id, _)| *id != root).collect()
    }

    /// The tools by their names in the document, without those that are also contained.
    pub(super) fn used(&self) -> BTreeMap<String, &Component> {
        let contained = self.contained();
        let all = self.tools.iter().map(|component| (component.id(), component));
        all.filter(|(id, _)| !contained.contains_key(id) && *id != self.root.id()).collect()
    }
}

/// Writes seconds since 1970 as RFC 3339 in UTC; what no calendar has becomes its last day.
pub(super) fn timestamp(seconds: u64) -> String {
    let last = jiff::Timestamp::MAX.as_second();
    let seconds = i64::try_from(seconds).map_or(last, |seconds| seconds.min(last));
    jiff::Timestamp::from_second(seconds).expect("within the calendar").to_string()
}

/// Returns a UUID made of a digest (RFC 9562 section 5.8, version 8).
pub(super) fn uuid(digest: &Digest) -> String {
    let mut bytes = *digest.as_bytes();
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = Digest::from_bytes(bytes).hex();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(1_767_225_600), "2026-01-01T00:00:00Z");
        assert!(timestamp(u64::MAX).starts_with("9999-12-30T"));
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        let uuid = uuid(&Digest::from_bytes([0xff; 32]));
        assert_eq!(uuid, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }
}
