//! What is pushed is not sent twice, goes in pieces where it must, and what refers to an image is found again.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dockless::http::Settings;
use dockless::oci::{Arch, Digest, Reference};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Platform, Registry, pull, push, referrers};
use dockless::store::Store;

use crate::fetching_server::{Request, Server, respond, whole};
use crate::registries::{image, put, store};
use crate::support::registry::DockerRegistry;

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn registry() -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    Registry::new(settings, Credentials::default())
}

/// Layers of a manifest of `image`.
fn layers(store: &Store, manifest: &Digest) -> Vec<Digest> {
    let bytes = fs::read(store.path(manifest)).expect("a manifest");
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let layers = manifest["layers"].as_array().expect("layers").iter();
    layers.map(|layer| layer["digest"].as_str().expect("a digest").parse().expect("a digest")).collect()
}

#[test]
fn what_came_from_a_registry_is_not_sent_back_to_it() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "mounted");
    push(&registry(), &server.reference("base/image:1"), &manifest, &from, TOLD).expect("pushed");
    pull(&registry(), &server.reference("base/image:1"), &Platform::linux(Arch::X86_64), &to, TOLD).expect("pulled");
    let layers = layers(&to, &manifest);
    for layer in &layers {
        // Whoever wanted to send it could not.
        fs::remove_file(to.path(layer)).expect("removed");
    }
    push(&registry(), &server.reference("mine/image:1"), &manifest, &to, TOLD).expect("pushed without its layers");
    let (_third, third) = store();
    let mine = server.reference("mine/image:1");
    pull(&registry(), &mine, &Platform::linux(Arch::X86_64), &third, TOLD).expect("pulled");
    assert!(layers.iter().all(|layer| third.contains(layer).is_some()));
}

/// A registry that takes at most eight megabytes at once, breaks the first piece off, and notes subjects if asked.
#[derive(Default)]
struct Narrow {
    uploads: Mutex<BTreeMap<String, Vec<u8>>>,
    blobs: Mutex<BTreeMap<String, Vec<u8>>>,
    broken: Mutex<bool>,
}

const MIB: usize = 1 << 20;

impl Narrow {
    fn answer(&self, request: &Request, stream: &mut TcpStream) {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let last = path.rsplit('/').next().unwrap_or_default().to_owned();
        let none = |stream: &mut TcpStream, status: &str, more: &[&str]| {
            respond(stream, status, &[more, &["Content-Length: 0"]].concat(), b"");
        };
        let mut uploads = self.uploads.lock().expect("no panic");
        let mut blobs = self.blobs.lock().expect("no panic");
        match request.method.as_str() {
            "POST" => {
                let id = request.number.to_string();
                none(stream, "202 Accepted", &[&format!("Location: /v2/a/blobs/uploads/{id}")]);
                uploads.insert(id, Vec::new());
            }
            _ if request.body.len() > 8 * MIB => none(stream, "413 Payload Too Large", &[]),
            "PATCH" => {
                let first = !std::mem::replace(&mut *self.broken.lock().expect("no panic"), true);
                let upload = uploads.entry(last.clone()).or_default();
                let expected = format!("{}-{}", upload.len(), upload.len() + request.body.len() - 1);
                if first {
                } else if request.headers.get("content-range") != Some(&expected) {
                    none(stream, "416 Range Not Satisfiable", &[]);
                } else {
                    upload.extend_from_slice(&request.body);
                    none(stream, "202 Accepted", &[&format!("Location: /v2/a/blobs/uploads/{last}")]);
                }
            }
            "PUT" => {
                let mut bytes = uploads.remove(&last).unwrap_or_default();
                bytes.extend_from_slice(&request.body);
                let digest = Digest::of(&bytes).to_string();
                let right = path.contains("/manifests/") || query.replace("%3A", ":").contains(&digest);
                blobs.insert(if path.contains("/manifests/") { last } else { digest }, bytes);
                none(stream, if right { "201 Created" } else { "400 Bad Request" }, &["OCI-Subject: sha256:x"]);
            }
            method => match blobs.get(&last) {
                Some(_) if method == "HEAD" => none(stream, "200 OK", &[]),
                Some(bytes) => whole(stream, bytes),
                None => none(stream, "404 Not Found", &[]),
            },
        }
    }
}

fn narrow() -> (Server, Arc<Narrow>, Reference) {
    let state = Arc::new(Narrow::default());
    let server = Server::start({
        let state = Arc::clone(&state);
        move |request, stream| state.answer(request, stream)
    });
    let reference = format!("{}a:1", server.url("").replace("http://", "")).parse().expect("a reference");
    (server, state, reference)
}

#[test]
fn what_is_too_large_at_once_goes_in_pieces_and_a_cut_one_begins_anew() {
    let (server, state, reference) = narrow();
    let (_there, from) = store();
    let bytes: Vec<u8> = (0..17 * MIB).map(|i| u8::try_from(i / 7 % 251).expect("small")).collect();
    let large = put(&from, &bytes);
    let manifest = artifact(&from, "large", &large.digest, large.size, None);
    push(&registry(), &reference, &manifest, &from, TOLD).expect("pushed");
    let blobs = state.blobs.lock().expect("no panic");
    assert!(blobs[&large.digest.to_string()] == bytes);
    let patches = server.requests().iter().filter(|request| request.method == "PATCH").count();
    assert_eq!(patches, 1 + 3, "8, 8 and 1 MiB, after one that was broken off");
}

/// A manifest of something that is no image.
fn artifact(store: &Store, kind: &str, blob: &Digest, size: u64, subject: Option<&Digest>) -> Digest {
    let empty = put(store, b"{}");
    let describe = |media_type: &str, digest: &Digest, size: u64| serde_json::json!({ "mediaType": media_type, "digest": digest.to_string(), "size": size });
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": format!("application/{kind}"),
        "config": describe("application/vnd.oci.empty.v1+json", &empty.digest, empty.size),
        "layers": [describe("application/octet-stream", blob, size)],
        "annotations": { "kind": kind },
    });
    if let Some(subject) = subject {
        let size = store.contains(subject).expect("a manifest");
        manifest["subject"] = describe("application/vnd.oci.image.manifest.v1+json", subject, size);
    }
    put(store, manifest.to_string().as_bytes()).digest
}

fn attach(reference: &Reference, from: &Store) -> Reference {
    let subject = image(from, "subject");
    push(&registry(), reference, &subject, from, TOLD).expect("pushed");
    for kind in ["first", "second", "second"] {
        let blob = put(from, kind.as_bytes());
        let manifest = artifact(from, kind, &blob.digest, blob.size, Some(&subject));
        let named = reference.clone_with_digest(manifest.to_string());
        push(&registry(), &named, &manifest, from, TOLD).expect("pushed");
    }
    reference.clone_with_digest(subject.to_string())
}

#[test]
fn what_refers_to_an_image_is_found_in_a_registry_that_keeps_no_lists() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let (_there, from) = store();
    let reference = server.reference("attested:1");
    let subject = attach(&reference, &from);
    let found = referrers(&registry(), &subject, TOLD).expect("a list");
    let types: Vec<&str> = found.iter().map(|referrer| referrer.artifact_type.as_str()).collect();
    assert_eq!(types, ["application/first", "application/second"]);
    let other = reference.clone_with_digest(Digest::of(b"nothing").to_string());
    assert_eq!(referrers(&registry(), &other, TOLD).expect("no list"), []);
}

#[test]
fn a_registry_that_keeps_lists_of_referrers_is_left_to_it() {
    let (_server, state, reference) = narrow();
    let (_there, from) = store();
    attach(&reference, &from);
    let blobs = state.blobs.lock().expect("no panic");
    assert!(blobs.keys().all(|name| !name.starts_with("sha256-")), "{:?}", blobs.keys());
}

#[test]
fn a_push_that_fails_leaves_the_store_as_it_was() {
    let server = Server::start(|request, stream| {
        let status = if request.method == "HEAD" { "404 Not Found" } else { "403 Forbidden" };
        respond(stream, status, &["Content-Length: 0"], b"");
    });
    let (_there, from) = store();
    let manifest = image(&from, "refused");
    let reference: Reference = format!("{}a:1", server.url("").replace("http://", "")).parse().expect("a reference");
    let before = files(&from);
    let error = push(&registry(), &reference, &manifest, &from, TOLD).expect_err("refused");
    assert!(error.to_string().contains("403") && error.to_string().contains(reference.registry()), "{error}");
    assert_eq!(files(&from), before);
}

/// The rooms of a store and its blobs.
fn files(store: &Store) -> Vec<String> {
    let root = store.root();
    let mut found = Vec::new();
    for directory in [root.to_owned(), root.join("blobs/sha256")] {
        for entry in fs::read_dir(directory).expect("a directory") {
            found.push(entry.expect("an entry").path().display().to_string());
        }
    }
    found.sort();
    found
}
