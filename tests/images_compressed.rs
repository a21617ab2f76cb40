//! Layers that came plain are compressed on their way to a registry, where nobody relies on the digest that they change.

use std::fs;

use dockless::oci::Digest;
use serde_json::Value;

use crate::support::images::{Place, named, sample};
use crate::support::registry::DockerRegistry;

/// Media types of the layers of a manifest in the store.
fn layers(place: &Place, name: &str) -> Vec<String> {
    let manifest: Value = serde_json::from_str(&place.done(&["inspect", "--manifest", name])).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers
        .map(|layer| layer["mediaType"].as_str().expect("a type").rsplit('.').next().expect("one").to_owned())
        .collect()
}

/// A place with `mine:1` out of a docker archive in its store; the first one has it as it was, one layer compressed.
fn loaded() -> (Place, Place) {
    let (place, other) = (Place::new(), Place::new());
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "mine:1");
    let archive = place.path("mine.tar").display().to_string();
    place.done(&["save", "--format", "docker-archive", "mine:1", "-o", &archive]);
    other.done(&["load", &archive]);
    assert_eq!(layers(&other, "mine:1"), ["tar", "tar"]);
    (place, other)
}

#[test]
fn an_image_of_a_docker_archive_is_pushed_compressed() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let (before, place) = loaded();
    let (plain, config) = (place.done(&["inspect", "--raw", "mine:1"]), place.done(&["inspect", "--config", "mine:1"]));
    let to = format!("{}/mine:1", server.host());
    let digest = place.done(&["push", "mine:1", &to]);
    assert_ne!(digest, Digest::of(plain.as_bytes()).to_string());
    assert_eq!(place.done(&["push", "-j", "1", "mine:1", &to]), digest, "the same bytes each time");
    let far = Place::new();
    assert_eq!(far.done(&["pull", &to]), digest);
    assert_eq!(layers(&far, &to), ["tar+gzip", "tar+gzip"]);
    assert_eq!(far.done(&["inspect", "--config", &to]), config, "what docker calls the image ID stays");
    assert_eq!(far.tree(&to), place.tree("mine:1"));
    // What the store has by that name stays as it was; what was pushed has no name.
    assert_eq!(place.done(&["inspect", "--raw", "mine:1"]), plain);
    assert!(!place.done(&["ls"]).contains(&digest[7..19]) && place.done(&["ls", "-a"]).contains(&digest[7..19]));
    // Straight from the archive, and as it is.
    let from = format!("docker-archive:{}", before.path("mine.tar").display());
    assert_eq!(far.done(&["push", &from, &to]), digest);
    assert_eq!(place.done(&["push", "--compression", "uncompressed", "mine:1", &to]), plain_digest(&plain));
}

fn plain_digest(bytes: &str) -> String {
    Digest::of(bytes.as_bytes()).to_string()
}

#[test]
fn an_image_that_others_know_by_its_digest_keeps_it_unless_asked() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let (place, _) = loaded();
    assert_eq!(layers(&place, "mine:1"), ["tar+gzip", "tar"]);
    let digest = plain_digest(&place.done(&["inspect", "--raw", "mine:1"]));
    let to = format!("{}/kept:1", server.host());
    assert_eq!(place.done(&["push", "mine:1", &to]), digest);
    let changed = place.done(&["push", "--compression", "zstd", "mine:1", &to]);
    assert_ne!(changed, digest);
    let far = Place::new();
    assert_eq!(far.done(&["pull", &to]), changed);
    // What is compressed stays what it is.
    assert_eq!(layers(&far, &to), ["tar+gzip", "tar+zstd"]);
    assert_eq!(far.tree(&to), place.tree("mine:1"));
    let (code, said) = place.failed(&["push", "--compression", "gzip", "--referrers", "mine:1", &to]);
    assert!(code == Some(2) && said.contains("--referrers"), "{said}");
}

#[test]
fn a_layer_that_is_not_what_its_config_says_is_in_no_docker_archive() {
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    let manifest: Value =
        serde_json::from_str(&place.done(&["inspect", "--manifest", &digest.to_string()])).expect("JSON");
    let layer: Digest = manifest["layers"][0]["digest"].as_str().expect("a digest").parse().expect("a digest");
    let path = store.path(&layer);
    let size = fs::metadata(&path).expect("a blob").len();
    // Other bytes of the same size, that decompress well.
    let mut other = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut other, flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, b"something else").expect("compressed");
    encoder.finish().expect("compressed");
    other.resize(usize::try_from(size).expect("small"), 0);
    fs::remove_file(&path).and_then(|()| fs::write(&path, &other)).expect("written");
    drop(store);
    let (code, said) = place.failed(&["save", "--format", "docker-archive", &digest.to_string(), "-o", "x.tar"]);
    assert!(code == Some(2) && said.contains(&layer.to_string()), "{code:?} {said}");
    assert!(!place.path("x.tar").exists());
    assert!(fs::read_dir(place.path("store/tmp")).map_or(true, |rest| rest.count() == 0), "nothing is left");
}
