//! What an image says: annotations, attachments, media types, times, and layers that come from elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dockless::export::{
    Attach, Attachment, ExportError, ImageLayer, ImageOptions, LayerBlob, MediaTypes, docker_archive, into_store,
    oci_archive, oci_layout, tag,
};
use dockless::http::Stop;
use dockless::layer::{Compression, Compressor, Owner, PackOptions, PackTimes, pack};
use dockless::oci::{Arch, DiffId, Digest};
use dockless::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::exports::{json, names, one, tree};

fn place() -> TempDir {
    TempDir::new().expect("temporary directory")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Reads what a descriptor names, and checks that it is that.
fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest: Digest = descriptor["digest"].as_str().expect("digest").parse().expect("digest");
    let bytes = fs::read(layout.join("blobs/sha256").join(digest.hex())).expect("blob");
    assert_eq!((Digest::of(&bytes), &descriptor["size"]), (digest, &bytes.len().into()));
    bytes
}

fn document(layout: &Path, descriptor: &Value) -> Value {
    serde_json::from_slice(&blob(layout, descriptor)).expect("JSON")
}

/// A layer that is packed already, as another program would have: its times are in 2020 and 2030.
fn base(place: &Path, compression: Compression, media_type: &str) -> ImageLayer {
    let tree = tree();
    let old = fs::File::open(tree.path().join("opt/python/bin/python3.11")).expect("file");
    old.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_577_836_800)).expect("time");
    let how = PackOptions {
        times: PackTimes::Kept(Some(1_900_000_000)),
        overlay: false,
        root: false,
        owner: Owner::Root,
        prefix: "base".into(),
    };
    let mut plain = Vec::new();
    pack(tree.path(), &how, &mut plain).expect("packed");
    let mut compressor = Compressor::new(Vec::new(), compression, std::num::NonZeroUsize::MIN).expect("a compressor");
    compressor.write_all(&plain).expect("in memory");
    let bytes = compressor.finish().expect("in memory");
    let (digest, size, diff_id) = (Digest::of(&bytes), bytes.len() as u64, DiffId(Digest::of(&plain)));
    let path = place.join(digest.hex());
    fs::write(&path, bytes).expect("written");
    ImageLayer::Blob { path, blob: LayerBlob { digest, size, diff_id, media_type: media_type.to_owned() } }
}

/// Manifest and config of a layout's only image.
fn image_of(layout: &Path) -> (Value, Value) {
    let manifest = document(layout, &json(&layout.join("index.json"))["manifests"][0]);
    let config = document(layout, &manifest["config"]);
    for (layer, diff_id) in
        manifest["layers"].as_array().expect("layers").iter().zip(config["rootfs"]["diff_ids"].as_array().expect("ids"))
    {
        let bytes = blob(layout, layer);
        let mut plain = Vec::new();
        let mut decoder =
            dockless::layer::decompress(bytes.as_slice(), &dockless::layer::Limits::default()).expect("ok");
        std::io::Read::read_to_end(&mut decoder, &mut plain).expect("a layer");
        assert_eq!(*diff_id, Digest::of(&plain).to_string());
    }
    (manifest, config)
}

const GZIP: Compression = Compression::Gzip { level: 6 };
const ZSTD: Compression = Compression::Zstd { level: 3 };

#[test]
fn annotations_stand_where_they_were_asked_for() {
    let (tree, place) = (tree(), place());
    let mut image = ImageOptions::new(Arch::X86);
    image.names = vec!["a:1".to_owned(), "r.test/b".to_owned()];
    image.annotations.manifest = map(&[("in", "manifest")]);
    image.annotations.manifest_descriptor = map(&[("at", "manifest")]);
    let plain = place.path().join("plain");
    oci_layout(&one(&tree), &image, &plain).expect("exported");
    let index = json(&plain.join("index.json"));
    for (entry, name, full) in [(0, "a:1", "docker.io/library/a:1"), (1, "r.test/b:latest", "r.test/b:latest")] {
        let entry = &index["manifests"][entry];
        assert_eq!(entry["annotations"]["at"], "manifest");
        assert_eq!(entry["annotations"]["org.opencontainers.image.ref.name"], name);
        assert_eq!(entry["annotations"]["io.containerd.image.name"], full);
        assert_eq!(entry["platform"]["architecture"], "386");
        assert_eq!(document(&plain, entry)["annotations"]["in"], "manifest");
    }
    image.names.truncate(1);
    image.annotations.index = map(&[("in", "index")]);
    image.annotations.index_descriptor = map(&[("at", "index")]);
    let nested = place.path().join("nested");
    let artifact = oci_layout(&one(&tree), &image, &nested).expect("exported");
    let entry = &json(&nested.join("index.json"))["manifests"][0];
    assert_eq!((&entry["annotations"]["at"], &entry["digest"]), (&"index".into(), &artifact.digest.to_string().into()));
    let index = document(&nested, entry);
    assert_eq!((&index["annotations"]["in"], &index["mediaType"]), (&"index".into(), &entry["mediaType"]));
    assert_eq!(index["manifests"][0]["annotations"]["at"], "manifest");
    assert_eq!(document(&nested, &index["manifests"][0])["annotations"]["in"], "manifest");
}

#[test]
fn attachments_have_the_image_as_their_subject_wherever_it_goes() {
    let (tree, place) = (tree(), place());
    let mut image = ImageOptions::new(Arch::X86_64);
    image.names = vec!["a:1".to_owned()];
    image.attachments = vec![Attachment {
        artifact_type: "application/spdx+json".to_owned(),
        media_type: "application/spdx+json".to_owned(),
        bytes: b"{\"spdxVersion\":\"SPDX-2.3\"}".to_vec(),
        annotations: map(&[("org.example", "x")]),
    }];
    image.attach = Attach::new(|manifest| {
        vec![Attachment {
            artifact_type: "application/vnd.in-toto+json".to_owned(),
            media_type: "application/vnd.in-toto+json".to_owned(),
            bytes: manifest.to_string().into_bytes(),
            annotations: BTreeMap::new(),
        }]
    });
    let layout = place.path().join("layout");
    let artifact = oci_layout(&one(&tree), &image, &layout).expect("exported");
    let index = json(&layout.join("index.json"));
    assert_eq!(index["manifests"].as_array().expect("a list").len(), 3);
    for (entry, kind) in [(1, "application/spdx+json"), (2, "application/vnd.in-toto+json")] {
        let entry = &index["manifests"][entry];
        let manifest = document(&layout, entry);
        assert_eq!((&entry["artifactType"], &manifest["artifactType"]), (&kind.into(), &kind.into()));
        assert_eq!(manifest["subject"]["digest"], artifact.digest.to_string());
        assert_eq!(blob(&layout, &manifest["config"]), b"{}");
        let said = blob(&layout, &manifest["layers"][0]);
        let expected =
            if kind.contains("spdx") { image.attachments[0].bytes.clone() } else { artifact.digest.to_string().into() };
        assert_eq!(said, expected);
    }
    assert_eq!(index["manifests"][1]["annotations"]["org.example"], "x");
    // The same in an archive and in the store, where tags lead to all of it.
    let archive = oci_archive(&one(&tree), &image, &place.path().join("a.tar")).expect("exported");
    let store = Store::open(&place.path().join("store")).expect("a store");
    let facts = into_store(&one(&tree), &image, &store).expect("stored");
    assert_eq!((archive.digest, facts.digest()), (artifact.digest, artifact.digest));
    assert!(store.tags().expect("tags").is_empty());
    assert_eq!(tag(&image.names, &facts, &store).expect("tagged"), ["docker.io/library/a:1"]);
    let tags: Vec<String> = store.tags().expect("tags").into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        tags,
        ["docker.io/library/a:1".to_owned(), format!("docker.io/library/a:sha256-{}", facts.manifest.hex())]
    );
    for descriptor in &facts.attachments {
        assert!(store.contains(&dockless::export::digest_of(descriptor)).is_some());
    }
    // Docker's documents cannot have any.
    image.media_types = MediaTypes::Docker;
    let error = oci_layout(&one(&tree), &image, &place.path().join("no")).expect_err("refused");
    assert!(matches!(error, ExportError::MediaTypes { .. }), "{error}");
    assert!(!place.path().join("no").exists());
}

#[test]
fn a_base_keeps_its_bytes_and_gets_the_media_types_of_the_image() {
    let (tree, place) = (tree(), place());
    for (compression, from, oci, docker) in [
        (Compression::None, "application/vnd.docker.image.rootfs.diff.tar", "v1.tar", "diff.tar"),
        (GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip", "v1.tar+gzip", "diff.tar.gzip"),
        (GZIP, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "v1.tar+gzip", "diff.tar.gzip"),
        // Who gave it this name was wrong.
        (GZIP, "application/vnd.oci.image.layer.v1.tar", "v1.tar+gzip", "diff.tar.gzip"),
        (ZSTD, "application/vnd.oci.image.layer.v1.tar+zstd", "v1.tar+zstd", "diff.tar.gzip"),
    ] {
        let base = base(place.path(), compression, from);
        let ImageLayer::Blob { blob: LayerBlob { digest, diff_id, .. }, .. } = base.clone() else { unreachable!() };
        let layers = [base, one(&tree)[0].clone()];
        for (types, ending) in [(MediaTypes::Oci, oci), (MediaTypes::Docker, docker)] {
            let layout = place.path().join("layout");
            let image = ImageOptions { media_types: types, ..ImageOptions::new(Arch::X86_64) };
            oci_layout(&layers, &image, &layout).expect("exported");
            let (manifest, config) = image_of(&layout);
            let layer = &manifest["layers"][0];
            let media_type = layer["mediaType"].as_str().expect("text");
            let family = if types == MediaTypes::Oci { "application/vnd.oci.image" } else { "application/vnd.docker" };
            assert!(
                media_type.ends_with(ending) && media_type.starts_with(family),
                "{from} as {types:?}: {media_type}"
            );
            assert!(manifest["mediaType"].as_str().expect("text").starts_with(family));
            assert_eq!(config["rootfs"]["diff_ids"][0], diff_id.0.to_string());
            // Docker's readers know no zstd; all else stays as it came.
            let stays = types == MediaTypes::Oci || compression != ZSTD;
            assert_eq!(layer["digest"] == digest.to_string(), stays, "{from} as {types:?}");
            dockless::store::remove_tree(&layout).expect("removed");
        }
    }
}

#[test]
fn compression_is_forced_on_a_base_only_where_asked() {
    let (tree, place) = (tree(), place());
    let layers = [base(place.path(), GZIP, "application/vnd.oci.image.layer.v1.tar+gzip"), one(&tree)[0].clone()];
    for (force, expected) in [(false, ["gzip", "zstd"]), (true, ["zstd", "zstd"])] {
        let layout = place.path().join(force.to_string());
        let image = ImageOptions { compression: ZSTD, force_compression: force, ..ImageOptions::new(Arch::X86_64) };
        oci_layout(&layers, &image, &layout).expect("exported");
        let (manifest, _) = image_of(&layout);
        for (layer, ending) in expected.iter().enumerate() {
            assert!(manifest["layers"][layer]["mediaType"].as_str().expect("text").ends_with(ending));
        }
    }
}

#[test]
fn times_in_a_base_are_rewritten_and_one_without_later_times_stays() {
    let (tree, place) = (tree(), place());
    let layers = [base(place.path(), GZIP, "application/vnd.oci.image.layer.v1.tar+gzip"), one(&tree)[0].clone()];
    let ImageLayer::Blob { blob: LayerBlob { digest, .. }, .. } = layers[0].clone() else { unreachable!() };
    for (newest, stays) in [(1_800_000_000, false), (2_000_000_000, true)] {
        let layout = place.path().join(newest.to_string());
        let times = PackTimes::Kept(Some(newest));
        let image = ImageOptions { times, rewrite_timestamps: Some(newest), ..ImageOptions::new(Arch::X86_64) };
        oci_layout(&layers, &image, &layout).expect("exported");
        let (manifest, _) = image_of(&layout);
        assert_eq!(manifest["layers"][0]["digest"] == digest.to_string(), stays);
        let bytes = blob(&layout, &manifest["layers"][0]);
        let plain = dockless::layer::decompress(bytes.as_slice(), &dockless::layer::Limits::default()).expect("ok");
        let mut times = Vec::new();
        for entry in tar::Archive::new(plain).entries().expect("a tar") {
            let entry = entry.expect("an entry");
            times.push((entry.path().expect("a path").into_owned(), entry.header().mtime().expect("a time")));
        }
        assert!(times.iter().all(|(_, time)| *time <= newest), "{times:?}");
        let kept = |(path, time): &(std::path::PathBuf, u64)| path.ends_with("python3.11") && *time == 1_577_836_800;
        assert!(times.iter().any(kept), "{times:?}");
    }
}

#[test]
fn a_base_that_is_not_what_it_was_is_refused() {
    let (tree, place) = (tree(), place());
    let base = base(place.path(), GZIP, "application/vnd.oci.image.layer.v1.tar+gzip");
    let ImageLayer::Blob { path, blob } = base else { unreachable!() };
    let longer = ImageLayer::Blob { path: path.clone(), blob: LayerBlob { size: blob.size + 1, ..blob.clone() } };
    let other = ImageLayer::Blob { path, blob: LayerBlob { diff_id: DiffId(Digest::of(b"other")), ..blob } };
    for (layer, force) in [(longer, false), (other, true)] {
        let image = ImageOptions { compression: ZSTD, force_compression: force, ..ImageOptions::new(Arch::X86_64) };
        let layers = [layer, one(&tree)[0].clone()];
        for export in [oci_layout, oci_archive] {
            let error = export(&layers, &image, &place.path().join("x")).expect_err("refused");
            assert!(matches!(error, ExportError::Damaged { .. }), "{error}");
        }
    }
    assert_eq!(names(place.path()).len(), 1);
}

#[test]
fn an_export_that_is_stopped_leaves_nothing_and_replaces_nothing() {
    let (tree, place, to) = (tree(), place(), TempDir::new().expect("temporary directory"));
    let layers = [base(place.path(), GZIP, "application/vnd.oci.image.layer.v1.tar+gzip"), one(&tree)[0].clone()];
    fs::write(to.path().join("old"), "old").expect("written");
    let store = Store::open(&place.path().join("store")).expect("a store");
    // Stopped at each of the moments at which somebody looks, until it comes through.
    let mut stopped = 0;
    for patience in 0.. {
        let looks = Arc::new(AtomicUsize::new(0));
        let stop = Stop::new(move || looks.fetch_add(1, Ordering::Relaxed) >= patience);
        let image = ImageOptions { stop, ..ImageOptions::new(Arch::X86_64) };
        let failures = [
            oci_layout(&layers, &image, &to.path().join("layout")).is_err(),
            oci_archive(&layers, &image, &to.path().join("old")).is_err(),
            docker_archive(&layers, &image, &to.path().join("old")).is_err(),
            into_store(&layers, &image, &store).is_err(),
        ];
        if failures.contains(&false) {
            break;
        }
        stopped += 1;
        assert_eq!(names(to.path()), ["old"]);
        assert_eq!(fs::read_to_string(to.path().join("old")).expect("file"), "old");
    }
    assert!(stopped > 3, "{stopped}");
}
