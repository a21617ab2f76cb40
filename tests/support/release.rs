//! A small release directory whose documents are about it: the tree of nothing but names, the documents of the real recipes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use dockless::attest::{self, Document, Format, Input, Kind};
use dockless::oci::Digest;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::forge::seal;

pub(crate) const STEM: &str = "release-3.11-x86_64";
pub(crate) const TARBALL: &str = "release-3.11-x86_64.tar.gz";
/// The commit that its provenance names.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const EPOCH: u64 = 1_767_225_600;

/// Makes it.
pub(crate) fn release() -> TempDir {
    let place = tempfile::tempdir().expect("a place");
    fill(place.path());
    seal(&place);
    place
}

/// Writes the file `name` anew and seals the directory, as somebody would who changes a release and knows of sums.
pub(crate) fn forge(place: &TempDir, name: &str, change: impl FnOnce(&mut Value)) {
    let path = place.path().join(name);
    let mut value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    change(&mut value);
    fs::write(&path, value.to_string()).expect("written");
    seal(place);
}

fn fill(place: &Path) {
    let (lowered, mut materials) = crate::attestations::python();
    materials.inputs.push(Input::checkout(COMMIT, false));
    let tree = tempfile::tempdir().expect("a place");
    let write = |path: &str, text: &str| {
        let path = tree.path().join("opt/python").join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    };
    let mut components = Map::new();
    for component in materials.components.iter().filter(|it| it.evidence.is_none()) {
        let licence = format!("share/licenses/{}/LICENSE", component.name);
        write(&licence, "free");
        components.insert(component.name.clone(), json!({ "version": component.version, "licences": [licence] }));
    }
    let description = json!({
        "version": lowered.versions["cpython"], "architecture": "x86_64", "profile": "quick", "components": components,
    });
    write("PYTHON.json", &description.to_string());
    write("bin/python3", "an interpreter");
    write("lib/pip-1.dist-info/METADATA", "Name: pip\nVersion: 1\nLicense-Expression: MIT\n\nabout it\n");
    write("lib/pip/_vendor/vendor.txt", "six==1.16.0\n");
    let tarball = place.join(TARBALL);
    pack(tree.path(), &tarball);
    let digest = Digest::of(&fs::read(&tarball).expect("a file"));
    let found = attest::of_tree(tree.path()).expect("a tree").components;
    for format in [Format::Spdx, Format::CycloneDx, Format::Provenance] {
        let document = Document::of(format, &materials, &found, (Kind::Archive, TARBALL, &digest), EPOCH);
        fs::write(place.join(format!("{STEM}.{}", document.ending())), document.bytes).expect("written");
    }
    fs::write(place.join(format!("{TARBALL}.sha256")), format!("{}  {TARBALL}\n", digest.hex())).expect("written");
    let description = json!({
        "format": 1, "commit": COMMIT, "variants": [
            { "version": "3.11", "arch": "x86_64", "tarball": TARBALL, "sha256": digest.to_string() },
        ],
    });
    fs::write(place.join("release.json"), description.to_string()).expect("written");
}

pub(crate) fn pack(tree: &Path, tarball: &PathBuf) {
    let file = File::create(tarball).expect("a file");
    let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    builder.append_dir_all("opt", tree.join("opt")).expect("packed");
    builder.into_inner().expect("packed").finish().expect("compressed");
}
