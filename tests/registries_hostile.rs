//! Registries that lie, break off or never end: nothing wrong is stored, nothing hangs, and it is said what was wrong.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use dockless::http::{Patience, Settings, Stop};
use dockless::oci::{Arch, Digest};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Image, Platform, Reference, Registry, RegistryError, pull};
use dockless::store::Store;

use crate::fetching_server::{Request, Server, cut, ranged, respond, whole};
use crate::registries::{image, store};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn settings() -> Settings {
    let patience = Patience {
        attempts: 3,
        pause: Duration::from_millis(5),
        longest: Duration::from_secs(2),
        connect: Duration::from_secs(20),
        idle: Duration::from_secs(20),
    };
    Settings { patience, ..Settings::default() }
}

fn host(server: &Server) -> String {
    server.url("").trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn reference(server: &Server, rest: &str) -> Reference {
    format!("{}/{rest}", host(server)).parse().expect("a reference")
}

fn get(server: &Server, rest: &str, to: &Store) -> Result<Image, RegistryError> {
    let registry = Registry::new(settings(), Credentials::default());
    pull(&registry, &reference(server, rest), &Platform::linux(Arch::X86_64), to, TOLD)
}

/// What a registry has under a target: the bytes of a blob or manifest of `from`; `x` is a tag of `manifest`.
fn content(from: &Store, manifest: &Digest, target: &str) -> Option<Vec<u8>> {
    let (_, name) = target.rsplit_once('/')?;
    let digest = if name == "x" { *manifest } else { name.parse().ok()? };
    fs::read(from.path(&digest)).ok()
}

fn serve(from: &Store, manifest: &Digest, request: &Request, stream: &mut TcpStream) {
    match content(from, manifest, &request.target) {
        Some(bytes) => ranged(request, stream, &bytes, "\"v\""),
        None => respond(stream, "404 Not Found", &["Content-Length: 0"], b""),
    }
}

/// A server that has an image, and answers otherwise where `odd` says so by returning true.
fn having(
    odd: impl Fn(&Request, &mut TcpStream, &[u8]) -> bool + Send + Sync + 'static,
) -> (tempfile::TempDir, Server, Digest) {
    let (place, from) = store();
    let manifest = image(&from, "hostile");
    let server = Server::start(move |request, stream| {
        let bytes = content(&from, &manifest, &request.target).unwrap_or_default();
        if !odd(request, stream, &bytes) {
            serve(&from, &manifest, request, stream);
        }
    });
    (place, server, manifest)
}

fn is_layer(bytes: &[u8]) -> bool {
    bytes.starts_with(b"hostile")
}

#[test]
fn a_blob_with_other_bytes_is_refused_and_not_kept() {
    let (_place, server, _) = having(|_, stream, bytes| {
        if is_layer(bytes) {
            whole(stream, &vec![b'!'; bytes.len()]);
        }
        is_layer(bytes)
    });
    let (_here, to) = store();
    let error = get(&server, "a:x", &to).expect_err("other bytes");
    let RegistryError::Digest { expected, actual, .. } = &error else { panic!("{error}") };
    assert!(error.to_string().contains(&expected.to_string()) && error.to_string().contains(&actual.to_string()));
    assert_eq!((to.contains(expected), to.contains(actual)), (None, None));
}

#[test]
fn a_blob_of_another_size_is_refused_before_it_comes() {
    let (_place, server, _) = having(|_, stream, bytes| {
        if is_layer(bytes) {
            whole(stream, &bytes[1..]);
        }
        is_layer(bytes)
    });
    let error = get(&server, "a:x", &store().1).expect_err("too short");
    assert!(matches!(error, RegistryError::Size { more: false, .. }), "{error}");
}

#[test]
fn a_blob_without_end_is_cut_off_at_its_size() {
    let (_place, server, _) = having(|_, stream, bytes| {
        if is_layer(bytes) {
            respond(stream, "200 OK", &[], b"");
            while stream.write_all(&[b'!'; 4096]).is_ok() {}
        }
        is_layer(bytes)
    });
    let error = get(&server, "a:x", &store().1).expect_err("too long");
    assert!(matches!(error, RegistryError::Size { more: true, .. }), "{error}");
}

#[test]
fn a_cut_blob_goes_on_where_it_ended() {
    let (_place, server, manifest) = having(|request, stream, bytes| {
        let first = is_layer(bytes) && request.start().is_none();
        if first {
            cut(stream, bytes, 100_000, "\"v\"");
        }
        first
    });
    let (_here, to) = store();
    let image = get(&server, "a:x", &to).expect("pulled");
    assert_eq!(image.manifest.digest, manifest);
    assert_eq!(server.requests().iter().filter(|request| request.start() == Some(100_000)).count(), 2);
}

#[test]
fn a_manifest_without_end_or_of_another_digest_is_refused() {
    let endless = Server::start(|_, stream| {
        respond(stream, "200 OK", &[], b"");
        while stream.write_all(&[b' '; 4096]).is_ok() {}
    });
    let error = get(&endless, "a:x", &store().1).expect_err("without end");
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");
    let other = Server::of(b"{}");
    let wanted = Digest::of(b"something else");
    let error = get(&other, &format!("a@{wanted}"), &store().1).expect_err("another");
    assert!(matches!(error, RegistryError::Digest { expected, .. } if expected == wanted), "{error}");
    let error = get(&other, "a:x", &store().1).expect_err("no manifest").to_string();
    assert!(error.contains("neither an index nor a manifest"), "{error}");
}

#[test]
fn a_busy_registry_is_asked_again_when_it_says() {
    let (_place, server, _) = having(|request, stream, _| {
        match request.number {
            0 => respond(stream, "429 Too Many Requests", &["Retry-After: 1", "Content-Length: 0"], b""),
            1 => respond(stream, "503 Service Unavailable", &["Content-Length: 0"], b""),
            _ => return false,
        }
        true
    });
    let begun = Instant::now();
    get(&server, "a:x", &store().1).expect("pulled");
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    let busy = Server::start(|_, stream| {
        let body = br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow\u0007 down"}]}"#;
        respond(stream, "429 Too Many Requests", &[&format!("Content-Length: {}", body.len())], body);
    });
    let error = get(&busy, "a:x", &store().1).expect_err("always busy").to_string();
    assert!(error.contains("429") && error.contains("slow  down") && error.contains("(3 attempts)"), "{error}");
}

#[test]
fn a_blob_may_be_elsewhere_but_credentials_stay_home() {
    let (_place, from) = store();
    let manifest = image(&from, "elsewhere");
    let other = {
        let from = from.clone();
        Server::start(move |request, stream| serve(&from, &manifest, request, stream))
    };
    let there = other.url("");
    let server = Server::start(move |request, stream| {
        if request.headers.get("authorization").map(String::as_str) != Some("Basic dTpzZWNyZXQ=") {
            respond(stream, "401 Unauthorized", &["WWW-Authenticate: Basic realm=\"x\"", "Content-Length: 0"], b"");
        } else if request.target.contains("/blobs/") {
            let location = format!("Location: {there}{}", request.target.trim_start_matches('/'));
            respond(stream, "307 Temporary Redirect", &[&location, "Content-Length: 0"], b"");
        } else {
            serve(&from, &manifest, request, stream);
        }
    });
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dTpzZWNyZXQ="}}}}}}"#, host(&server));
    let credentials = Credentials::parse(config.as_bytes(), Path::new("config.json")).expect("a configuration");
    let registry = Registry::new(settings(), credentials);
    let (_here, to) = store();
    pull(&registry, &reference(&server, "a:x"), &Platform::linux(Arch::X86_64), &to, TOLD).expect("pulled");
    assert_eq!(other.requests().len(), 3);
    assert!(other.requests().iter().all(|request| !request.headers.contains_key("authorization")));
    let error = get(&server, "a:x", &store().1).expect_err("without credentials");
    assert!(error.to_string().contains("401") && error.help().expect("a way out").contains("login"), "{error}");
}

#[test]
fn a_token_is_asked_for_once_and_shown_with_every_request() {
    let (_place, server, _) = having(|request, stream, _| {
        let challenge = |extra: &str| {
            let own = request.headers.get("host").cloned().unwrap_or_default();
            format!(
                r#"WWW-Authenticate: Bearer realm="http://{own}/token",service="s",scope="repository:a:pull{extra}""#
            )
        };
        if request.target.starts_with("/token") {
            let body: &[u8] = if request.target.contains("service=s") && request.target.contains("pull") {
                br#"{"token":"good"}"#
            } else {
                br#"{"token":"bad\nHost: x"}"#
            };
            whole(stream, body);
        } else if request.headers.get("authorization").map(String::as_str) != Some("Bearer good") {
            respond(stream, "401 Unauthorized", &[&challenge(""), "Content-Length: 0"], b"");
        } else {
            return false;
        }
        true
    });
    let (_here, to) = store();
    get(&server, "a:x", &to).expect("pulled");
    assert_eq!(server.requests().iter().filter(|request| request.target.starts_with("/token")).count(), 1);
}

#[test]
fn a_token_that_is_none_is_an_error_and_no_panic() {
    let server = Server::start(|request, stream| {
        let own = request.headers.get("host").cloned().unwrap_or_default();
        let challenge = format!(r#"WWW-Authenticate: Bearer realm="http://{own}/token""#);
        if request.target.starts_with("/token") {
            whole(stream, br#"{"token":"a\nb"}"#);
        } else {
            respond(stream, "401 Unauthorized", &[&challenge, "Content-Length: 0"], b"");
        }
    });
    let error = get(&server, "a:x", &store().1).expect_err("no token");
    assert!(matches!(error, RegistryError::Token { .. }), "{error}");
}

#[test]
fn a_stop_ends_a_pull_soon() {
    let (_place, server, _) = having(|_, stream, bytes| {
        if is_layer(bytes) {
            respond(stream, "200 OK", &[&format!("Content-Length: {}", bytes.len())], b"x");
            std::thread::sleep(Duration::from_secs(20));
        }
        is_layer(bytes)
    });
    let begun = Instant::now();
    let stop = Stop::new(move || begun.elapsed() > Duration::from_millis(300));
    let registry = Registry::new(Settings { stop, ..settings() }, Credentials::default());
    let error = pull(&registry, &reference(&server, "a:x"), &Platform::linux(Arch::X86_64), &store().1, TOLD);
    assert!(matches!(error, Err(RegistryError::Stopped { .. })), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}
