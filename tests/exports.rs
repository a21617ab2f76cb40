//! Artifacts: whole or absent, the same bytes for the same tree, and readable by others.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use dockless::export::{
    ArtifactKind, ExportError, ImageLayer, ImageOptions, TarballOptions, directory, docker_archive, oci_archive,
    oci_layout, tarball,
};
use dockless::http::Stop;
use dockless::layer::{Compression, Limits, Owner, PackTimes, UnpackOptions, decompress, tree_digest, unpack};
use dockless::oci::{Arch, Digest};
use serde_json::Value;
use tempfile::TempDir;

fn temporary() -> TempDir {
    TempDir::new().expect("temporary directory")
}

pub(crate) fn tree() -> TempDir {
    let tree = temporary();
    fs::create_dir_all(tree.path().join("opt/python/bin")).expect("directory");
    let program = tree.path().join("opt/python/bin/python3.11");
    fs::write(&program, vec![42; 3 << 20]).expect("file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("mode");
    fs::hard_link(&program, tree.path().join("opt/python/bin/same")).expect("hard link");
    symlink("python3.11", tree.path().join("opt/python/bin/python3")).expect("link");
    tree
}

fn jobs(jobs: usize) -> NonZeroUsize {
    NonZeroUsize::new(jobs).expect("not zero")
}

fn image(arch: Arch, count: usize) -> ImageOptions {
    ImageOptions {
        epoch: 1_767_225_600,
        times: PackTimes::All(1_767_225_600),
        owner: Owner::Root,
        names: vec!["python:3.11".to_owned()],
        entrypoint: vec!["/opt/python/bin/python3".to_owned()],
        command: vec!["-q".to_owned()],
        env: vec!["PATH=/opt/python/bin:/usr/bin:/bin".to_owned()],
        working_directory: "/".to_owned(),
        labels: (0..9).map(|n| (format!("label{n}"), n.to_string())).collect::<BTreeMap<_, _>>(),
        created_by: "dockless build python@3.11".to_owned(),
        jobs: jobs(count),
        ..ImageOptions::new(arch)
    }
}

/// The layers of an image that has only this tree.
pub(crate) fn one(tree: &TempDir) -> [ImageLayer; 1] {
    [ImageLayer::Tree { path: tree.path().to_owned(), overlay: false }]
}

pub(crate) fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .expect("directory")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

pub(crate) fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("file")).expect("JSON")
}

/// Recomputes every digest from the index down and returns the config and the layer, uncompressed.
fn validate(layout: &Path) -> (Value, Vec<u8>) {
    let blob = |descriptor: &Value| -> Vec<u8> {
        let digest: Digest = descriptor["digest"].as_str().expect("digest").parse().expect("digest");
        let bytes = fs::read(layout.join("blobs/sha256").join(digest.hex())).expect("blob");
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    };
    assert_eq!(json(&layout.join("oci-layout"))["imageLayoutVersion"], "1.0.0");
    let index = json(&layout.join("index.json"));
    let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).expect("manifest");
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).expect("config");
    let layer = blob(&manifest["layers"][0]);
    let mut plain = Vec::new();
    decompress(layer.as_slice(), &Limits::default()).expect("decoder").read_to_end(&mut plain).expect("layer");
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&plain).to_string());
    assert_eq!(names(&layout.join("blobs/sha256")).len(), 3);
    (config, plain)
}

fn unpacked(archive: &[u8]) -> TempDir {
    let root = temporary();
    unpack(archive, root.path(), &UnpackOptions { single_id: true, ..UnpackOptions::default() }).expect("unpacked");
    root
}

#[test]
fn a_tarball_has_the_same_bytes_for_any_number_of_jobs_and_belongs_to_root() {
    let (tree, place) = (tree(), temporary());
    let make = |name: &str, count: usize| {
        let options = TarballOptions {
            times: PackTimes::All(1_767_225_600),
            owner: Owner::Root,
            prefix: PathBuf::new(),
            compression: Compression::Gzip { level: 9 },
            jobs: jobs(count),
            stop: Stop::default(),
        };
        tarball(tree.path(), &options, &place.path().join("dist").join(name)).expect("exported")
    };
    let (one, two) = (make("one.tar.gz", 1), make("two.tar.gz", 5));
    assert_eq!((one.digest, one.size, one.kind), (two.digest, two.size, ArtifactKind::Tarball));
    let bytes = fs::read(&one.path).expect("tarball");
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (one.digest, one.size));
    assert_eq!(fs::metadata(&one.path).expect("tarball").permissions().mode() & 0o777, 0o644);
    assert_eq!(names(&place.path().join("dist")), ["one.tar.gz", "two.tar.gz"]);
    let list = Command::new("tar").args(["-tvzf"]).arg(&one.path).env("TZ", "UTC").output().expect("GNU tar");
    let list = String::from_utf8(list.stdout).expect("UTF-8");
    assert_eq!(list.lines().count(), 6, "{list}");
    for line in list.lines() {
        assert!(line.contains(" 0/0 ") && line.contains("2026-01-01 00:00"), "{line}");
    }
}

#[test]
fn a_failing_export_leaves_what_was_there() {
    let (tree, place) = (tree(), temporary());
    // Sorted last, so that a part is written before it fails.
    fs::write(tree.path().join("opt/python/bin/.wh.x"), "").expect("file");
    fs::write(place.path().join("a"), "old").expect("file");
    let options = TarballOptions {
        times: PackTimes::All(0),
        owner: Owner::Root,
        prefix: PathBuf::new(),
        compression: Compression::None,
        jobs: jobs(1),
        stop: Stop::default(),
    };
    let error = tarball(tree.path(), &options, &place.path().join("a")).expect_err("refused");
    assert!(matches!(error, ExportError::Pack { .. }), "{error}");
    for export in [oci_archive, docker_archive, oci_layout] {
        export(&one(&tree), &image(Arch::X86_64, 1), &place.path().join("b")).expect_err("refused");
    }
    directory(tree.path(), PackTimes::All(0), &place.path().join("c")).expect_err("refused");
    assert_eq!(names(place.path()), ["a"]);
    assert_eq!(fs::read_to_string(place.path().join("a")).expect("file"), "old");
}

#[test]
fn a_directory_is_a_copy_with_its_links() {
    let (tree, place) = (tree(), temporary());
    let copy = place.path().join("copy");
    fs::create_dir(&copy).expect("an empty directory may be there");
    let artifact = directory(tree.path(), PackTimes::All(77), &copy).expect("exported");
    assert_eq!(artifact.digest, tree_digest(tree.path()).expect("digest"));
    assert_eq!(artifact.size, 3 << 20);
    let program = fs::metadata(copy.join("opt/python/bin/python3.11")).expect("file");
    let same = fs::metadata(copy.join("opt/python/bin/same")).expect("file");
    assert_eq!((program.ino(), program.mode() & 0o777, program.mtime()), (same.ino(), 0o755, 77));
    let error = directory(tree.path(), PackTimes::All(77), &copy).expect_err("not empty");
    assert!(matches!(error, ExportError::Occupied { .. }));
    assert_eq!(names(place.path()), ["copy"]);
}

#[test]
fn an_oci_layout_says_what_it_is_and_its_digests_hold() {
    let (tree, place) = (tree(), temporary());
    for (arch, name) in [(Arch::X86_64, "amd64"), (Arch::X86, "386")] {
        let layout = place.path().join(name);
        let artifact = oci_layout(&one(&tree), &image(arch, 2), &layout).expect("exported");
        let (config, layer) = validate(&layout);
        assert_eq!((&config["architecture"], &config["os"]), (&name.into(), &"linux".into()));
        assert_eq!(config["created"], "2026-01-01T00:00:00Z");
        assert_eq!(config["config"]["Entrypoint"][0], "/opt/python/bin/python3");
        assert_eq!(config["config"]["Cmd"][0], "-q");
        assert_eq!(config["config"]["Env"][0], "PATH=/opt/python/bin:/usr/bin:/bin");
        assert_eq!(config["config"]["Labels"]["label3"], "3");
        assert_eq!(config["history"].as_array().expect("history").len(), 1);
        let index = json(&layout.join("index.json"));
        let manifest = &index["manifests"][0];
        assert_eq!(manifest["digest"], artifact.digest.to_string());
        assert_eq!(manifest["platform"]["architecture"], name);
        assert_eq!(manifest["annotations"]["org.opencontainers.image.ref.name"], "python:3.11");
        let root = unpacked(&layer);
        assert_eq!(fs::read_dir(root.path().join("opt/python/bin")).expect("directory").count(), 3);
    }
}

#[test]
fn images_have_the_same_bytes_every_time() {
    let (tree, place) = (tree(), temporary());
    for export in [oci_archive, docker_archive, oci_layout] {
        let digests: Vec<Digest> = (1..6)
            .map(|count| {
                let path = place.path().join(count.to_string());
                export(&one(&tree), &image(Arch::X86_64, count), &path).expect("exported");
                let bytes = if path.is_dir() { fs::read(path.join("index.json")) } else { fs::read(&path) };
                let digest = Digest::of(&bytes.expect("an archive or an index"));
                dockless::store::remove_tree(&path).expect("removed");
                digest
            })
            .collect();
        assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    }
}

#[test]
fn an_oci_archive_is_a_layout_in_a_tar() {
    let (tree, place) = (tree(), temporary());
    let mut options = image(Arch::X86_64, 2);
    options.compression = Compression::Zstd { level: 3 };
    let artifact = oci_archive(&one(&tree), &options, &place.path().join("python.oci.tar")).expect("exported");
    let layout = unpacked(&fs::read(&artifact.path).expect("archive"));
    assert_eq!(json(&layout.path().join("index.json"))["manifests"][0]["digest"], artifact.digest.to_string());
    assert_eq!(names(layout.path()), ["blobs", "index.json", "oci-layout"]);
    validate(layout.path());
    assert_eq!(names(place.path()), ["python.oci.tar"]);
}

#[test]
fn a_docker_archive_names_its_config_layers_and_tags() {
    let (tree, place) = (tree(), temporary());
    let artifact =
        docker_archive(&one(&tree), &image(Arch::X86, 2), &place.path().join("python.tar")).expect("exported");
    let root = unpacked(&fs::read(artifact.path).expect("archive"));
    let manifest = json(&root.path().join("manifest.json"));
    assert_eq!(manifest[0]["RepoTags"][0], "python:3.11");
    let config_name = manifest[0]["Config"].as_str().expect("config");
    let config = fs::read(root.path().join(config_name)).expect("config");
    assert_eq!(config_name, format!("{}.json", Digest::of(&config).hex()));
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    let layer = fs::read(root.path().join(manifest[0]["Layers"][0].as_str().expect("layer"))).expect("layer");
    assert_eq!(config["rootfs"]["diff_ids"][0], Digest::of(&layer).to_string());
    assert_eq!(config["architecture"], "386");
    assert_eq!(names(place.path()), ["python.tar"]);
}

#[test]
fn what_cannot_be_a_name_is_refused() {
    let (tree, place) = (tree(), temporary());
    let mut options = image(Arch::X86_64, 1);
    options.names = vec!["Python:3.11".to_owned()];
    for export in [oci_archive, docker_archive, oci_layout] {
        let error = export(&one(&tree), &options, &place.path().join("x")).expect_err("refused");
        assert!(matches!(error, ExportError::ImageName { .. }), "{error}");
    }
    let error = oci_layout(&one(&tree), &image(Arch::X86_64, 1), Path::new("/")).expect_err("refused");
    assert!(matches!(error, ExportError::Destination { .. }), "{error}");
    assert!(names(place.path()).is_empty());
}

#[test]
#[ignore = "writes images to the directory in its input, for trying them with other tools"]
fn images_for_other_tools() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("path");
    let place = Path::new(line.trim_end());
    let tree = tree();
    oci_layout(&one(&tree), &image(Arch::X86_64, 2), &place.join("layout")).expect("exported");
    oci_archive(&one(&tree), &image(Arch::X86, 2), &place.join("oci.tar")).expect("exported");
    docker_archive(&one(&tree), &image(Arch::X86_64, 2), &place.join("docker.tar")).expect("exported");
}
