//! What every reader of images asks of a config.

use serde::Deserialize;

use super::{DiffId, Digest};

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    // Images without layers say null, or nothing.
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Reads the diff IDs of an image config, lowest layer first (`image-spec config.md#properties`, `rootfs`).
///
/// # Errors
/// What serde says of a document that is no config of an image, or names no digests.
pub fn diff_ids(config: &[u8]) -> Result<Vec<DiffId>, serde_json::Error> {
    let config: Config = serde_json::from_slice(config)?;
    Ok(config.rootfs.diff_ids.unwrap_or_default().into_iter().map(DiffId).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_without_layers_has_no_diff_ids_and_a_wrong_one_is_refused() {
        for none in [r#"{"rootfs":{}}"#, r#"{"rootfs":{"diff_ids":null}}"#, r#"{"rootfs":{"diff_ids":[]}}"#] {
            assert_eq!(diff_ids(none.as_bytes()).expect("a config"), []);
        }
        let id = Digest::of(b"a layer");
        let one = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{id}"]}}}}"#);
        assert_eq!(diff_ids(one.as_bytes()).expect("a config"), [DiffId(id)]);
        for wrong in ["{}", "[]", r#"{"rootfs":{"diff_ids":["sha256:12"]}}"#, r#"{"rootfs":{"diff_ids":[1]}}"#] {
            assert!(diff_ids(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
