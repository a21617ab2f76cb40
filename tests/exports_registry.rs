//! `-o type=registry` with everything attached, in a real registry: other programs see it, and what is attached is found.

use std::collections::BTreeSet;
use std::path::Path;

use dockless::http::Settings;
use dockless::oci::{Arch, Digest};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Platform, Referrer, Registry, pull, referrers};
use dockless::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::exports_command::Bed;
use crate::exports_tools::said;
use crate::support::images::{Place, attachment, named, put, sample};
use crate::support::registry::DockerRegistry;

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

/// Documents of `--sbom=spdx,cyclonedx --provenance`, by artifact type.
const DOCUMENTS: [&str; 3] =
    ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"];

fn registry() -> Registry {
    Registry::new(Settings::default(), Credentials::default())
}

/// A document as skopeo fetches it, byte for byte; `None` where there is no skopeo.
fn raw(server: &DockerRegistry, name: &str, place: &Path) -> Option<(Digest, Value)> {
    let from = format!("docker://{}/{name}", server.host());
    let text = said("skopeo", &["inspect", "--raw", "--tls-verify=false", &from], place)?;
    Some((Digest::of(text.as_bytes()), serde_json::from_str(&text).expect("JSON")))
}

fn tags(server: &DockerRegistry, repository: &str, place: &Path) -> Option<BTreeSet<String>> {
    let from = format!("docker://{}/{repository}", server.host());
    let text = said("skopeo", &["list-tags", "--tls-verify=false", &from], place)?;
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let tags = listed["Tags"].as_array().expect("tags").iter();
    Some(tags.map(|tag| tag.as_str().expect("a tag").to_owned()).collect())
}

/// What our own client finds to refer to a manifest.
fn found(server: &DockerRegistry, repository: &str, digest: &Digest) -> Vec<Referrer> {
    referrers(&registry(), &server.reference(&format!("{repository}@{digest}")), TOLD).expect("asked")
}

/// Checks that the three documents refer to `subject` and say its digest.
fn documented(server: &DockerRegistry, repository: &str, subject: &Digest, place: &Path) {
    let found = found(server, repository, subject);
    let types: BTreeSet<&str> = found.iter().map(|referrer| referrer.artifact_type.as_str()).collect();
    assert_eq!(types, DOCUMENTS.into(), "{repository}");
    for referrer in &found {
        let name = format!("{repository}@{}", referrer.descriptor.digest);
        let Some((digest, manifest)) = raw(server, &name, place) else { return };
        assert_eq!(digest, referrer.descriptor.digest);
        assert_eq!(manifest["subject"]["digest"], subject.to_string());
        assert_eq!(manifest["artifactType"], referrer.artifact_type.as_str());
        assert_eq!(manifest["layers"][0]["mediaType"], referrer.artifact_type.as_str());
        let blob: Digest = manifest["layers"][0]["digest"].as_str().expect("a digest").parse().expect("a digest");
        let (_directory, store) = store();
        let repository = registry().repository(&server.reference(repository)).expect("a repository");
        repository.get_blob(&blob, None, &store, TOLD).expect("fetched");
        let document = std::fs::read_to_string(store.path(&blob)).expect("a document");
        assert!(document.contains(&subject.hex()), "{}: {document:.300}", referrer.artifact_type);
    }
}

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a place");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    (directory, store)
}

const ASKED: [&str; 2] = ["--sbom=spdx,cyclonedx", "--provenance"];

/// The digest that a solve with these outputs prints.
fn exported(bed: &Bed, output: &str) -> Option<Digest> {
    let stdout = bed.solved(&["-o", output, ASKED[0], ASKED[1]])?;
    Some(String::from_utf8(stdout).expect("text").trim().parse().expect("a digest"))
}

#[test]
fn an_image_in_a_registry_has_its_annotations_and_its_documents() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let bed = Bed::new();
    let name = format!("{}/team/x:1", server.host());
    let output = format!("type=registry,name={name},annotation.org.example.a=seen,label.org.example.l=too");
    let Some(digest) = exported(&bed, &output) else { return };
    documented(&server, "team/x", &digest, bed.out());
    let (_directory, store) = store();
    let pulled = pull(&registry(), &server.reference("team/x:1"), &Platform::linux(Arch::X86_64), &store, TOLD);
    assert_eq!(pulled.expect("pulled").manifest.digest, digest);
    if let Some((seen, manifest)) = raw(&server, "team/x:1", bed.out()) {
        assert_eq!(seen, digest);
        assert_eq!(manifest["annotations"]["org.example.a"], "seen");
        // This registry keeps no lists of referrers: a tag of its own holds them, and is the only other one.
        let fallback = format!("sha256-{}", digest.hex());
        assert_eq!(tags(&server, "team/x", bed.out()).expect("seen"), ["1".to_owned(), fallback.clone()].into());
        let (_, list) = raw(&server, &format!("team/x:{fallback}"), bed.out()).expect("seen");
        assert_eq!(list["manifests"].as_array().expect("a list").len(), DOCUMENTS.len());
        let inspected = ["inspect", "--tls-verify=false", &format!("docker://{name}")];
        let inspected = said("skopeo", &inspected, bed.out()).expect("seen");
        assert!(inspected.contains("\"org.example.l\": \"too\""), "{inspected}");
    }
    // The very same once more changes nothing, and finds nothing twice.
    assert_eq!(exported(&bed, &output).expect("as before"), digest);
    documented(&server, "team/x", &digest, bed.out());
    assert_eq!(found(&server, "team/x", &digest).len(), DOCUMENTS.len());
}

#[test]
fn in_an_index_each_manifest_has_its_documents_under_all_names() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let bed = Bed::new();
    let host = server.host();
    let output = format!("type=registry,\"name={host}/a/x:1,{host}/b/x:2\",annotation-index.org.example.i=seen");
    let Some(digest) = exported(&bed, &output) else { return };
    for (repository, tag) in [("a/x", "1"), ("b/x", "2")] {
        let (_directory, store) = store();
        let reference = server.reference(&format!("{repository}:{tag}"));
        let pulled = pull(&registry(), &reference, &Platform::linux(Arch::X86_64), &store, TOLD).expect("pulled");
        assert_ne!(pulled.manifest.digest, digest, "an index is around it");
        documented(&server, repository, &pulled.manifest.digest, bed.out());
        let Some((seen, index)) = raw(&server, &format!("{repository}:{tag}"), bed.out()) else { continue };
        assert_eq!(seen, digest);
        assert_eq!(index["annotations"]["org.example.i"], "seen");
        assert_eq!(index["manifests"][0]["platform"]["architecture"], "amd64");
        assert_eq!(index["manifests"][0]["digest"], pulled.manifest.digest.to_string());
    }
}

#[test]
fn documents_go_along_without_a_tag_and_from_the_store() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let bed = Bed::new();
    let name = format!("{}/late/x:1", server.host());
    let Some(digest) = exported(&bed, &format!("type=image,push-by-digest=true,name={name}")) else { return };
    documented(&server, "late/x", &digest, bed.out());
    if let Some(tags) = tags(&server, "late/x", bed.out()) {
        assert_eq!(tags, [format!("sha256-{}", digest.hex())].into(), "only the list of what refers to it");
    }
    // Kept in the store, and given away afterwards.
    let place = Place { directory: bed.place };
    let to = format!("{}/later/x:1", server.host());
    assert_eq!(place.done(&["push", "--referrers", &name, &to]), digest.to_string());
    documented(&server, "later/x", &digest, place.directory.path());
}

#[test]
fn an_index_of_two_platforms_goes_with_what_is_attached_to_each() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let place = Place::new();
    let store = place.store();
    let images = [("a", "amd64"), ("b", "386")].map(|(salt, arch)| (sample(&store, salt, arch), arch));
    let entries: Vec<Value> = images
        .iter()
        .map(|(digest, arch)| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest.to_string(),
                "size": store.contains(digest).expect("it is there"), "platform": {"os": "linux", "architecture": arch},
            })
        })
        .collect();
    let index = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": entries,
    });
    let index = put(&store, index.to_string().as_bytes()).digest;
    let subjects = [images[0].0, images[1].0, index];
    let attached = subjects.map(|subject| attachment(&store, &subject));
    named(&store, &index, "two:1");
    let to = format!("{}/two:1", server.host());
    assert_eq!(place.done(&["push", "--all-platforms", "--referrers", "two:1", &to]), index.to_string());
    for (subject, attached) in subjects.iter().zip(attached) {
        let found = found(&server, "two", subject);
        assert_eq!(found.iter().map(|it| it.descriptor.digest).collect::<Vec<_>>(), [attached]);
    }
    for (digest, arch) in images {
        let here = place.directory.path();
        let copy = format!("dir:{arch}");
        let from = format!("docker://{to}");
        let copied = ["--override-arch", arch, "copy", "--insecure-policy", "--src-tls-verify=false", &from, &copy];
        if said("skopeo", &copied, here).is_none() {
            return;
        }
        let manifest = std::fs::read(here.join(arch).join("manifest.json")).expect("a manifest");
        assert_eq!(Digest::of(&manifest), digest, "{arch}");
    }
}
