//! A file of any address: named and dated as its server says, asked for again only when it changed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::thread;
use std::time::Duration;

use dockless::oci::Digest;
use dockless::progress::{Progress, Silent};
use dockless::source::{Downloaded, FileAttributes, HttpSource, Origins, SourceError, Stop, download};
use dockless::store::Store;
use tempfile::TempDir;

use crate::fetching::{body, origins, wrong};
use crate::fetching_server::{Server, cut, respond, whole};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));
const DATE: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const SECONDS: i64 = 1_445_412_480;

struct Place {
    root: TempDir,
    store: Store,
    secrets: BTreeMap<String, String>,
}

impl Place {
    fn new() -> Self {
        let root = TempDir::new().expect("a place");
        let store = Store::open(&root.path().join("store")).expect("a store");
        Self { root, store, secrets: BTreeMap::new() }
    }

    fn get(&self, source: &HttpSource) -> Result<Downloaded, SourceError> {
        self.get_with(source, &origins())
    }

    fn get_with(&self, source: &HttpSource, origins: &Origins) -> Result<Downloaded, SourceError> {
        let secrets = |name: &str| self.secrets.get(name).map(|value| value.clone().into_bytes());
        download(source, &self.store, origins, &secrets, TOLD)
    }
}

fn source(url: String) -> HttpSource {
    HttpSource { url, checksum: None, file: FileAttributes::default(), headers: Vec::new(), auth_header_secret: None }
}

/// Serves the body with a tag and a date, and says so when it is unchanged.
fn revalidating() -> Server {
    Server::start(|request, stream| {
        if request.headers.get("if-none-match").map(String::as_str) == Some("\"v1\"") {
            return respond(stream, "304 Not Modified", &["ETag: \"v1\""], b"");
        }
        let length = format!("Content-Length: {}", body().len());
        let headers = ["ETag: \"v1\"", "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", &length];
        respond(stream, "200 OK", &headers, body());
    })
}

#[test]
fn an_unchanged_address_is_one_conditional_request_and_a_pinned_one_none() {
    let (place, server) = (Place::new(), revalidating());
    let mut source = source(server.url("dir/a.txt?x=1"));
    let first = place.get(&source).expect("fetched");
    assert_eq!((first.blob.digest, first.filename.as_str(), first.mode), (Digest::of(body()), "a.txt", 0o600));
    assert_eq!(first.mtime, SECONDS, "{DATE}");
    assert_eq!(place.get(&source).expect("unchanged"), first);
    assert_eq!(server.requests().len(), 2);
    assert!(server.requests()[1].headers.contains_key("if-none-match"));

    source.checksum = Some(Digest::of(body()));
    assert_eq!(place.get(&source).expect("pinned"), first);
    let offline = Origins { offline: true, ..origins() };
    assert_eq!(place.get_with(&source, &offline).expect("pinned"), first);
    source.checksum = None;
    assert_eq!(place.get_with(&source, &offline).expect("as last seen"), first);
    assert_eq!(server.requests().len(), 2);

    fs::remove_file(place.store.path(&first.blob.digest)).expect("lost");
    assert_eq!(place.get(&source).expect("fetched anew"), first);
    assert!(!server.requests()[2].headers.contains_key("if-none-match"), "what is lost cannot be unchanged");
}

#[test]
fn a_wrong_checksum_names_both_and_keeps_nothing() {
    let (place, server) = (Place::new(), Server::of(wrong()));
    let source = HttpSource { checksum: Some(Digest::of(body())), ..source(server.url("a")) };
    let error = place.get(&source).expect_err("wrong bytes").to_string();
    let (expected, actual) = (Digest::of(body()), Digest::of(wrong()));
    assert!(error.contains(&expected.to_string()) && error.contains(&actual.to_string()), "{error}");
    assert_eq!((place.store.contains(&expected), place.store.contains(&actual)), (None, None));
}

#[test]
fn names_of_servers_are_plain_ones_and_those_of_graphs_go_first() {
    let server = Server::start(|_, stream| {
        let headers = ["Content-Disposition: attachment; filename=\"../../etc/passwd\"", "Content-Length: 1"];
        respond(stream, "200 OK", &headers, b"x");
    });
    let place = Place::new();
    let mut source = source(server.url("path/"));
    let got = place.get(&source).expect("fetched");
    assert_eq!((got.filename.as_str(), got.mtime), ("passwd", 0));
    source.file = FileAttributes { filename: Some("../x/..".to_owned()), mode: Some(0o755), uid: 0, gid: 0 };
    let got = place.get(&source).expect("fetched");
    assert_eq!((got.filename.as_str(), got.mode), ("download", 0o755));
    let into = place.root.path().join("into");
    fs::create_dir(&into).expect("made");
    got.place(&place.store, &into).expect("placed");
    let metadata = fs::metadata(into.join("download")).expect("a file");
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime(), metadata.len()), (0o755, 0, 1));
}

#[test]
fn a_named_secret_must_be_there_and_others_may() {
    let server = Server::start(|request, stream| {
        let seen = request.headers.get("authorization").cloned().unwrap_or_default();
        whole(stream, seen.as_bytes());
    });
    let mut place = Place::new();
    let mut source = source(server.url("a"));
    let read = |place: &Place, source: &HttpSource| {
        let got = place.get(source).expect("fetched");
        fs::read_to_string(place.store.path(&got.blob.digest)).expect("text")
    };
    assert_eq!(read(&place, &source), "");
    place.secrets.insert("HTTP_AUTH_TOKEN_127.0.0.1".to_owned(), "token\n".to_owned());
    assert_eq!(read(&place, &source), "Bearer token");
    source.auth_header_secret = Some("mine".to_owned());
    let error = place.get(&source).expect_err("no such secret");
    assert!(matches!(&error, SourceError::Secret { name, .. } if name == "mine"), "{error}");
    place.secrets.insert("mine".to_owned(), "Basic abc".to_owned());
    assert_eq!(read(&place, &source), "Basic abc");
    place.secrets.insert("mine".to_owned(), "a\r\nHost: b".to_owned());
    assert!(matches!(place.get(&source), Err(SourceError::Secret { .. })));
}

#[test]
fn busy_and_broken_servers_are_asked_again_and_missing_files_are_not() {
    let server = Server::start(|request, stream| match request.number {
        0 => respond(stream, "503 Service Unavailable", &["Content-Length: 0"], b""),
        1 => cut(stream, body(), 1000, "\"v1\""),
        _ => whole(stream, body()),
    });
    let got = Place::new().get(&source(server.url("a"))).expect("fetched");
    assert_eq!(got.blob.digest, Digest::of(body()));
    let missing = Server::start(|_, stream| respond(stream, "404 Not Found", &["Content-Length: 0"], b""));
    let error = Place::new().get(&source(missing.url("a"))).expect_err("not there").to_string();
    assert!(error.contains("404") && missing.requests().len() == 1, "{error}");
    let offline = Origins { offline: true, ..origins() };
    let error = Place::new().get_with(&source(missing.url("a")), &offline).expect_err("offline");
    assert!(error.help().expect("a way out").contains("--offline"), "{error}");
}

#[test]
fn a_stop_ends_a_download_soon() {
    let server = Server::start(|_, _| thread::sleep(Duration::from_secs(10)));
    let begun = std::time::Instant::now();
    let stop = Stop::new(move || begun.elapsed() > Duration::from_millis(200));
    let error = Place::new().get_with(&source(server.url("a")), &Origins { stop, ..origins() }).expect_err("stopped");
    assert!(matches!(error, SourceError::Stopped { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}
