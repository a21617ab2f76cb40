//! A pull brings all of an image or nothing: whatever a registry does on the way, the store is as it was, and runs that want
//! the same wait for one another.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use dockless::http::Settings;
use dockless::image::{Name, Wanted};
use dockless::oci::{Arch, Digest, Reference};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Layout, Platform, Registry, RegistryError, pull, push, resolve};
use dockless::store::Store;

use crate::fetching_server::{Request, Server, cut, ranged, respond, whole};
use crate::registries::{image, index, put, store};
use crate::support::images::Place;

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn registry() -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    settings.patience.longest = Duration::from_millis(5);
    settings.patience.attempts = 3;
    Registry::new(settings, Credentials::default())
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}{rest}", server.url("").trim_start_matches("http://")).parse().expect("a reference")
}

fn get(server: &Server, rest: &str, to: &Store) -> Result<Digest, RegistryError> {
    let image = pull(&registry(), &reference(server, rest), &Platform::linux(Arch::X86_64), to, TOLD)?;
    Ok(image.manifest.digest)
}

fn linux(architecture: &str) -> Platform {
    Platform::new("linux", architecture, "")
}

/// Everything below a store with its kind, size and time, but no directory's time: what was there for a moment changes it.
fn listing(store: &Store) -> Vec<String> {
    let entries =
        walkdir::WalkDir::new(store.root()).sort_by_file_name().into_iter().map(|entry| entry.expect("listed"));
    entries
        .map(|entry| {
            let it = entry.metadata().expect("examined");
            let time = if it.is_dir() { (0, 0, 0) } else { (it.len(), it.mtime(), it.mtime_nsec()) };
            format!("{} {:o} {time:?}", entry.path().display(), it.mode())
        })
        .collect()
}

/// Serves all of `from`, with `top` under every tag, but for what `odd` answers itself.
fn serving(
    from: Store,
    top: Digest,
    odd: impl Fn(&Request, &mut TcpStream, &[u8]) -> bool + Send + Sync + 'static,
) -> Server {
    Server::start(move |request, stream| {
        let path = request.target.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let bytes = fs::read(from.path(&name.parse().unwrap_or(top))).unwrap_or_default();
        if odd(request, stream, &bytes) {
        } else if bytes.is_empty() {
            respond(stream, "404 Not Found", &["Content-Length: 0"], b"");
        } else {
            ranged(request, stream, &bytes, "\"v\"");
        }
    })
}

fn none(stream: &mut TcpStream) {
    respond(stream, "404 Not Found", &["Content-Length: 0"], b"");
}

#[test]
fn a_server_that_breaks_off_and_lies_about_the_rest_is_found_out_and_not_asked_for_ever() {
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "liar");
    let server = serving(from, manifest, |request, stream, bytes| {
        if !bytes.starts_with(b"liar 1") {
            return false;
        }
        match request.start() {
            None => cut(stream, bytes, 100_000, "\"v\""),
            Some(start) => {
                let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                let length = format!("Content-Length: {}", bytes.len() - start);
                respond(stream, "206 Partial Content", &[&range, &length], &vec![b'!'; bytes.len() - start]);
            }
        }
        true
    });
    let before = listing(&to);
    let error = get(&server, "a:1", &to).expect_err("other bytes");
    let RegistryError::Digest { expected, .. } = &error else { panic!("{error}") };
    assert!(error.help().expect("a way out").contains("--registry-mirror"), "{error}");
    assert_eq!(listing(&to), before);
    let asked = server.requests().iter().filter(|it| it.target.contains(&expected.to_string())).count();
    assert_eq!(asked, 4, "twice from the beginning, and each time on from there");
}

#[test]
fn a_manifest_that_is_not_what_the_head_says_is_refused() {
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "head");
    let server = serving(from, manifest, |request, stream, bytes| {
        let is_manifest = request.target.contains("/manifests/");
        if is_manifest {
            let other = format!("Docker-Content-Digest: {}", Digest::of(b"another"));
            respond(stream, "200 OK", &[&other, &format!("Content-Length: {}", bytes.len())], bytes);
        }
        is_manifest
    });
    let before = listing(&to);
    let error = get(&server, "a:1", &to).expect_err("two digests");
    let said = error.to_string();
    assert!(matches!(error, RegistryError::Digest { .. }) && said.contains("manifest `1`"), "{said}");
    assert_eq!(listing(&to), before);
    // Whoever asks by digest needs nobody's word.
    get(&server, &format!("a@{manifest}"), &to).expect("pulled");
}

#[test]
fn a_pull_that_fails_anywhere_leaves_the_store_as_it_was() {
    let (_there, from) = store();
    let (good, bad) = (image(&from, "good"), image(&from, "bad"));
    let list = index(&from, &[("amd64", good), ("arm64", bad)]);
    let bytes = fs::read(from.path(&bad)).expect("a manifest");
    let bad_manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let blob = |at: &str| bad_manifest.pointer(at).and_then(|it| it.as_str()).expect("a digest").to_owned();
    let arm = linux("arm64");
    for missing in [blob("/config/digest"), blob("/layers/0/digest"), blob("/layers/1/digest"), bad.to_string()] {
        let absent = missing.clone();
        let server = serving(from.clone(), list, move |request, stream, _| {
            let is_lost = request.target.contains(&absent);
            if is_lost {
                none(stream);
            }
            is_lost
        });
        let (_here, to) = store();
        image(&to, "bystander");
        let before = listing(&to);
        let error = pull(&registry(), &reference(&server, "a:1"), &arm, &to, TOLD).expect_err("something is missing");
        assert!(error.is_missing() && error.to_string().contains(&missing), "{error}");
        assert_eq!(listing(&to), before, "one platform without {missing}");

        let name: Name = reference(&server, "a:1").to_string().parse().expect("a name");
        let error =
            dockless::image::pull(&registry(), &name, &Wanted::All, &to, TOLD).expect_err("something is missing");
        assert!(error.to_string().contains(&missing), "{error}");
        assert_eq!(listing(&to), before, "all platforms without {missing}");

        let found = resolve(&registry(), &reference(&server, "a:1"), &linux("riscv64"), &to, TOLD);
        assert!(matches!(found, Err(RegistryError::Platform { .. })), "{found:?}");
        assert_eq!(listing(&to), before, "no such platform");

        let layout = Layout::open(from.root(), dockless::http::Stop::default()).expect("a layout");
        let path = from.path(&missing.parse().expect("a digest"));
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).expect("moved");
        layout.import(None, Some(&list), &arm, &to).expect_err("something is missing");
        fs::rename(&aside, &path).expect("moved back");
        assert_eq!(listing(&to), before, "a layout without {missing}");
    }
}

#[test]
fn the_command_that_fails_to_pull_or_push_leaves_the_store_as_it_was() {
    let place = Place::new();
    let here = place.store();
    let (_there, from) = store();
    let manifest = image(&from, "command");
    let server = serving(from, manifest, |request, stream, bytes| {
        let is_lost = request.method != "GET" || bytes.starts_with(b"command 1");
        if is_lost {
            none(stream);
        }
        is_lost
    });
    let ours = image(&here, "ours");
    crate::support::images::named(&here, &ours, "ours:1");
    let before = listing(&here);
    let remote = reference(&server, "a:1").to_string();
    let (code, said) = place.failed(&["pull", &remote]);
    assert!(code == Some(2) && said.contains("404"), "{said}");
    assert_eq!(listing(&here), before, "pull");
    let (_, said) = place.failed(&["push", "ours:1", &remote]);
    assert!(said.contains("404"), "{said}");
    assert_eq!(listing(&here), before, "push");
}

#[test]
fn a_push_that_breaks_off_leaves_the_store_as_it_was() {
    let server = Server::start(|request, stream| match request.method.as_str() {
        "HEAD" => none(stream),
        "POST" => respond(stream, "202 Accepted", &["Location: /v2/a/blobs/uploads/1", "Content-Length: 0"], b""),
        // No answer at all.
        _ => {}
    });
    let (_there, from) = store();
    let manifest = image(&from, "broken");
    let before = listing(&from);
    let error = push(&registry(), &reference(&server, "a:1"), &manifest, &from, TOLD).expect_err("broken off");
    assert!(error.to_string().contains("(3 attempts)"), "{error}");
    assert_eq!(listing(&from), before);
}

#[test]
fn manifests_of_old_are_refused_and_indexes_in_indexes_are_followed_so_far() {
    let (_there, from) = store();
    let old =
        put(&from, br#"{"schemaVersion":1,"name":"a","tag":"1","fsLayers":[{"blobSum":"sha256:0"}],"history":[]}"#);
    let server = serving(from.clone(), old.digest, |_, _, _| false);
    let error = get(&server, "a:1", &store().1).expect_err("schema 1");
    assert!(error.is_input() && error.to_string().contains("schema 1"), "{error}");
    assert!(error.to_string().contains(&reference(&server, "a:1").to_string()), "{error}");

    let manifest = image(&from, "nested");
    let mut top = manifest;
    for depth in 1..=5 {
        top = index(&from, &[("amd64", top)]);
        let server = serving(from.clone(), top, |_, _, _| false);
        let (_here, to) = store();
        match get(&server, "a:1", &to) {
            Ok(found) => assert!(depth < 4 && found == manifest, "{depth}"),
            Err(error) => assert!(depth >= 4 && error.to_string().contains("indexes in indexes, 4 deep"), "{error}"),
        }
    }
}

#[test]
fn a_server_that_sends_much_and_breaks_off_often_is_gone_on_with() {
    let ((_there, from), (_here, to)) = (store(), store());
    let bytes: Vec<u8> = (0_u32..2_500_000).flat_map(u32::to_le_bytes).collect();
    let blob = put(&from, &bytes);
    let server = serving(from, blob.digest, |request, stream, bytes| {
        let start = request.start().unwrap_or(0);
        let end = bytes.len().min(start + 1_100_000);
        let range = format!("Content-Range: bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
        let length = format!("Content-Length: {}", bytes.len() - start);
        let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
        respond(stream, status, &[&range, &length], &bytes[start..end]);
        true
    });
    let repository = registry().repository(&reference(&server, "a:1")).expect("a repository");
    let got = repository.get_blob(&blob.digest, Some(blob.size), &to, TOLD).expect("in ten pieces by three attempts");
    assert_eq!((got.size, server.requests().len()), (blob.size, 10));
}

#[test]
fn a_blob_of_unknown_size_is_whole_where_nothing_is_left_and_begun_anew_where_it_is_another() {
    for wrong in [false, true] {
        let ((_there, from), (_here, to)) = (store(), store());
        let blob = put(&from, &b"of unknown size ".repeat(5000));
        let server = serving(from, blob.digest, move |request, stream, bytes| {
            match (request.start(), request.number) {
                // All of it, but not its end; the first time perhaps another thing.
                (None, number) => {
                    let other = vec![b'!'; bytes.len()];
                    let bytes = if wrong && number == 0 { &other } else { bytes };
                    respond(stream, "200 OK", &["Transfer-Encoding: chunked"], b"");
                    let _ = write!(stream, "{:x}\r\n", bytes.len()).and_then(|()| stream.write_all(bytes));
                }
                (Some(start), _) => {
                    assert_eq!(start, bytes.len());
                    let range = format!("Content-Range: bytes */{}", bytes.len());
                    respond(stream, "416 Range Not Satisfiable", &[&range, "Content-Length: 0"], b"");
                }
            }
            true
        });
        let repository = registry().repository(&reference(&server, "a:1")).expect("a repository");
        let got = repository.get_blob(&blob.digest, None, &to, TOLD);
        if wrong {
            // Three attempts: another thing, its missing rest, and all of it, of which nobody knows that.
            let error = got.expect_err("three attempts").to_string();
            assert!(error.contains("(3 attempts)"), "{error}");
        } else {
            assert_eq!(got.expect("whole"), blob);
            assert_eq!(server.requests().len(), 2);
        }
    }
}

#[test]
fn runs_that_want_the_same_fetch_it_once() {
    let ((_there, from), (here, _)) = (store(), store());
    let manifest = image(&from, "shared");
    let server = serving(from, manifest, |_, stream, bytes| {
        let is_layer = bytes.starts_with(b"shared");
        if is_layer {
            std::thread::sleep(Duration::from_millis(200));
            whole(stream, bytes);
        }
        is_layer
    });
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let to = Store::open(&here.path().join("store")).expect("a store");
                assert_eq!(get(&server, "a:1", &to).expect("pulled"), manifest);
            });
        }
    });
    let blobs: Vec<String> =
        server.requests().into_iter().map(|it| it.target).filter(|target| target.contains("/blobs/")).collect();
    assert_eq!(blobs.len(), 3, "config and two layers: {blobs:?}");
}
