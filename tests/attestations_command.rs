//! `--sbom` and `--provenance` put documents beside a tarball, about the very bytes that are in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dockless::oci::Digest;
use serde_json::Value;

use crate::support::solve::Bench;

const STEP: &str = "mkdir -p /out/var/lib/dpkg /out/p/x.dist-info\n\
    echo 'Package: found-me\nVersion: 1\nArchitecture: all' > /out/var/lib/dpkg/status\n\
    echo 'Name: snake\nVersion: 2' > /out/p/x.dist-info/METADATA";

fn solve(bench: &Bench, dest: &Path, flags: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let output = format!("type=tar,dest={}", dest.display());
    let mut arguments = vec!["-o", output.as_str()];
    arguments.extend(flags);
    let run = bench.solve(&Bench::graph(&[STEP]), &arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let parent = dest.parent().expect("a directory");
    let entries = fs::read_dir(parent).expect("a directory").map(|entry| entry.expect("an entry"));
    entries.map(|e| (e.file_name().to_string_lossy().into_owned(), fs::read(e.path()).expect("a file"))).collect()
}

#[test]
fn documents_lie_beside_a_tarball_and_name_its_digest() {
    let Some(bench) = Bench::new() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let flags = ["--sbom=spdx,cyclonedx", "--provenance"];
    let files = solve(&bench, &place.path().join("x.tar.gz"), &flags);
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["x.cdx.json", "x.intoto.jsonl", "x.spdx.json", "x.tar.gz"]);
    let json = |name: &str| serde_json::from_slice::<Value>(&files[name]).expect("JSON");
    let digest = Digest::of(&files["x.tar.gz"]);
    let statement = json("x.intoto.jsonl");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], digest.hex());
    assert_eq!(statement["subject"][0]["name"], "x.tar.gz");
    let inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().expect("a list");
    assert_eq!(inputs[0]["uri"], "local://root");
    assert!(inputs[0]["digest"]["docklessContent"].as_str().is_some_and(|digest| digest.len() == 64));
    assert_eq!(json("x.spdx.json")["packages"][0]["checksums"][0]["checksumValue"], digest.hex());
    let cdx = json("x.cdx.json");
    assert_eq!(cdx["metadata"]["component"]["hashes"][0]["content"], digest.hex());
    let found: Vec<&str> = cdx["components"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|component| component["name"].as_str())
        .collect();
    assert!(found.contains(&"found-me") && found.contains(&"snake"), "{found:?}");
    let again = tempfile::tempdir().expect("a directory");
    assert_eq!(solve(&bench, &again.path().join("x.tar.gz"), &flags), files, "the same once more");
}

#[test]
fn a_list_is_spdx_unless_another_form_is_named() {
    let Some(bench) = Bench::new() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let files = solve(&bench, &place.path().join("x.tar"), &["--sbom"]);
    assert_eq!(files.keys().map(String::as_str).collect::<Vec<_>>(), ["x.spdx.json", "x.tar"]);
    let place = tempfile::tempdir().expect("a directory");
    let output = format!("type=tar,dest={}", place.path().join("x.tar").display());
    let run = bench.solve(&Bench::graph(&[STEP]), &["-o", &output, "--sbom=paper"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("spdx, cyclonedx"));
    let output = format!("type=dir,dest={}", place.path().join("d").display());
    let run = bench.solve(&Bench::graph(&[STEP]), &["-o", &output, "--provenance"]);
    assert_eq!(run.status.code(), Some(2), "what cannot carry a document is refused before the build");
}

#[test]
fn documents_of_an_image_are_artifacts_whose_subject_is_its_manifest() {
    let Some(bench) = Bench::new() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let layout = place.path().join("layout");
    let output = format!("type=oci,dest={},name=registry.example/team/x:1", layout.display());
    let arguments = ["-o", &output, "--sbom=spdx,cyclonedx", "--provenance"];
    let run = bench.solve(&Bench::graph(&[STEP]), &arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let read =
        |path: &str| serde_json::from_slice::<Value>(&fs::read(layout.join(path)).expect("a file")).expect("JSON");
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().expect("a digest");
        read(&format!("blobs/sha256/{}", digest.strip_prefix("sha256:").expect("a digest")))
    };
    let index = read("index.json");
    let listed = index["manifests"].as_array().expect("a list");
    let is_artifact = |descriptor: &&Value| descriptor.get("artifactType").is_some();
    let image = listed.iter().find(|descriptor| !is_artifact(descriptor)).expect("an image");
    let mut kinds = Vec::new();
    for descriptor in listed.iter().filter(is_artifact) {
        let manifest = blob(descriptor);
        assert_eq!(manifest["subject"]["digest"], image["digest"]);
        let kind = manifest["artifactType"].as_str().expect("a type").to_owned();
        assert_eq!(manifest["layers"][0]["mediaType"], kind.as_str());
        let text = blob(&manifest["layers"][0]).to_string();
        let hex = image["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
        assert!(text.contains(hex) && text.contains("registry.example/team/x:1"), "{kind}: {text:.200}");
        kinds.push(kind);
    }
    kinds.sort();
    assert_eq!(kinds, ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"]);
}
