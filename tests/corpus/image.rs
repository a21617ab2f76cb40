//! Exported images: the config and the layers, compared with what was recorded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use super::compare::{Difference, compare};
use super::listing::{Fields, Listing, list};

/// An OCI layout with one image.
pub(crate) struct Image {
    pub(crate) config: Value,
    /// Digests and listings of its layers, lowest first.
    layers: Vec<Value>,
    layout: std::path::PathBuf,
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).expect("JSON")
}

impl Image {
    pub(crate) fn open(layout: &Path) -> Self {
        let index = json(&layout.join("index.json"));
        let blob = |descriptor: &Value| json(&path(layout, descriptor));
        let manifest = blob(&index["manifests"][0]);
        let layers = manifest["layers"].as_array().cloned().unwrap_or_default();
        Self { config: blob(&manifest["config"]), layers, layout: layout.to_owned() }
    }

    pub(crate) fn count(&self) -> usize {
        self.layers.len()
    }

    /// Lists one layer.
    pub(crate) fn layer(&self, number: usize) -> Listing {
        let descriptor = &self.layers[number];
        let file = BufReader::new(File::open(path(&self.layout, descriptor)).expect("a layer"));
        let kind = descriptor["mediaType"].as_str().unwrap_or_default();
        let reader: Box<dyn Read> = if kind.ends_with("gzip") {
            Box::new(flate2::read::MultiGzDecoder::new(file))
        } else if kind.ends_with("zstd") {
            Box::new(zstd::Decoder::new(file).expect("zstd"))
        } else {
            Box::new(file)
        };
        list(reader).expect("a layer is a tar")
    }
}

fn path(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().expect("a digest");
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Compares configs field by field, paths being those of JSON. Left out are times, because they are those of the
/// build, digests of layers, and what the base says of itself.
pub(crate) fn compare_config(expected: &Value, actual: &Value) -> Vec<Difference> {
    let (mut wanted, mut found) = (BTreeMap::new(), BTreeMap::new());
    for (config, flat) in [(expected, &mut wanted), (actual, &mut found)] {
        for name in ["architecture", "os", "variant"] {
            insert(flat, format!("/{name}"), config.get(name));
        }
        for (name, value) in config["config"].as_object().into_iter().flatten() {
            // Empty and absent are the same to whoever runs the image.
            let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty) || value == "";
            insert(flat, format!("/config/{name}"), Some(value).filter(|_| !empty));
        }
        insert(flat, "/rootfs/type".to_owned(), config["rootfs"].get("type"));
        let history = config["history"].as_array().cloned().unwrap_or_default();
        for (number, entry) in history.iter().filter(|entry| !is_base(entry)).enumerate() {
            for name in ["created_by", "comment", "empty_layer", "author"] {
                insert(flat, format!("/history/{number}/{name}"), entry.get(name).filter(|value| **value != false));
            }
        }
    }
    compare(&wanted, &found, &(0..=0))
}

fn insert(flat: &mut BTreeMap<String, Fields>, path: String, value: Option<&Value>) {
    if let Some(value) = value {
        flat.insert(path, Map::from_iter([("value".to_owned(), value.clone())]));
    }
}

/// What the recorded base says, and what ours does.
fn is_base(entry: &Value) -> bool {
    entry["comment"] == "base" || entry["comment"].is_null() && entry["created_by"].is_null()
}

/// Compares the entries of a layer. Directories may be in it or not where only their time changed: layers may repeat
/// what is below them (`image-spec layer.md#change-types`).
pub(crate) fn compare_layer(expected: &Listing, actual: &Listing, now: &RangeInclusive<i64>) -> Vec<Difference> {
    let is_directory = |listing: &Listing, path: &str| listing.get(path).is_some_and(|fields| fields["type"] == "d");
    let mut differences = compare(expected, actual, now);
    differences.retain(|one| one.field != "record" || !is_directory(actual, &one.path));
    differences
}

#[test]
fn configs_differ_in_what_a_user_sees_only() {
    let one = serde_json::json!({
        "architecture": "amd64", "os": "linux", "created": "2024-01-01T00:00:00Z",
        "config": {"Env": ["A=1"], "Cmd": null},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:a"]},
        "history": [{"comment": "base", "created_by": "x"}, {"created_by": "RUN a", "created": "2026-01-01T00:00:00Z"}],
    });
    let mut two = one.clone();
    two["created"] = "2025-01-01T00:00:00Z".into();
    two["rootfs"]["diff_ids"][0] = "sha256:b".into();
    two["history"][0]["created_by"] = "y".into();
    two["config"].as_object_mut().expect("an object").remove("Cmd");
    assert_eq!(compare_config(&one, &two), []);
    for (pointer, value) in
        [("/config/Env/0", "A=2"), ("/history/1/created_by", "RUN b"), ("/architecture", "386"), ("/rootfs/type", "x")]
    {
        let mut other = two.clone();
        *other.pointer_mut(pointer).expect("there") = value.into();
        assert_eq!(compare_config(&one, &other).len(), 1, "{pointer}");
    }
}
