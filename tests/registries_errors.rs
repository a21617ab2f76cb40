//! Everything that can be wrong about a registry is told apart: each message names the registry, the repository, what was
//! asked of it and the status, and says what to do.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use dockless::http::Settings;
use dockless::oci::{Arch, Digest, Reference};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Hosts, Platform, Registry, RegistryError, pull, push};
use tempfile::TempDir;

use crate::fetching_server::{Server, respond};
use crate::registries::{image, index, store};
use crate::support::registry::{DockerRegistry, PASSWORD, USER, With};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

/// Asks twice, without waiting.
fn registry(credentials: Credentials, hosts: Hosts) -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    settings.patience.longest = Duration::from_millis(5);
    settings.patience.attempts = 2;
    Registry::new(settings, credentials).with_hosts(hosts)
}

fn pulled(reference: &str, credentials: Credentials, hosts: Hosts) -> RegistryError {
    let reference: Reference = reference.parse().expect("a reference");
    let (_here, to) = store();
    let before = fs::read_dir(to.root().join("blobs/sha256")).expect("blobs").count();
    let error = pull(&registry(credentials, hosts), &reference, &Platform::linux(Arch::X86_64), &to, TOLD);
    assert_eq!(fs::read_dir(to.root().join("blobs/sha256")).expect("blobs").count(), before);
    error.expect_err("nothing to be had")
}

/// The message holds all of `words`, and the way out `way`.
fn says(error: &RegistryError, words: &[&str], way: &str) {
    let (message, help) = (error.to_string(), error.help().unwrap_or_default());
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
    assert!(help.contains(way), "`{way}` is not in the way out `{help}` of: {message}");
    assert!(!message.contains('\n') && !message.contains(PASSWORD), "{message}");
}

fn host(server: &Server) -> String {
    server.url("").trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn login(host: &str, password: &str) -> Credentials {
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"{USER}","password":"{password}"}}}}}}"#);
    Credentials::parse(config.as_bytes(), Path::new("config.json")).expect("a configuration")
}

/// Status and headers of an answer, its body, whether we have a login, what the message holds, and what to do.
type Case = (&'static str, &'static [&'static str], &'static str, bool, &'static [&'static str], &'static str);

const BASIC: &[&str] = &["WWW-Authenticate: Basic realm=\"x\""];
const UNAUTHORIZED: &str = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
const DENIED: &str = r#"{"errors":[{"code":"DENIED","message":"access is denied"}]}"#;
const NO_NAME: &str = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known"}]}"#;
const NO_TAG: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
const BUSY: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
const FULL: &str = r#"{"errors":[{"code":"UNKNOWN","message":"disk full"}]}"#;
const NOBODY: &str = "no credentials were shown";
const SOMEBODY: &str = "the credentials of `somebody` were shown";

const CASES: &[Case] = &[
    ("401 Unauthorized", BASIC, UNAUTHORIZED, false, &["authentication required", NOBODY], "--registry-config"),
    ("401 Unauthorized", BASIC, UNAUTHORIZED, true, &["authentication required", SOMEBODY], "log in anew"),
    ("401 Unauthorized", &[], "", true, &[NOBODY], "log in"),
    ("403 Forbidden", &[], DENIED, false, &["access is denied", NOBODY], "misspelt"),
    ("404 Not Found", &[], NO_NAME, false, &["repository name not known"], "misspelt repository"),
    ("404 Not Found", &[], NO_TAG, false, &["manifest unknown"], "misspelt tag or digest"),
    ("404 Not Found", &[], "<html>a page</html>", false, &["404 Not Found"], "misspelt name or tag"),
    (
        "429 Too Many Requests",
        &["Retry-After: 7"],
        BUSY,
        false,
        &["slow down", "asks to wait 7 s", TWICE],
        "wait, log in",
    ),
    ("500 Internal Server Error", &[], FULL, false, &["disk full", TWICE], "run the same command again"),
    ("503 Service Unavailable", &[], "upstream\nis down", false, &["upstream is down", TWICE], "--registry-mirror"),
];

const TWICE: &str = "(2 attempts)";

#[test]
fn every_status_says_who_answered_what_to_which_question_and_what_to_do() {
    for (status, headers, body, known, words, way) in CASES {
        let server = Server::start(move |_, stream| {
            let length = format!("Content-Length: {}", body.len());
            respond(stream, status, &[headers, &[length.as_str()][..]].concat(), body.as_bytes());
        });
        let host = host(&server);
        let credentials = if *known { login(&host, PASSWORD) } else { Credentials::default() };
        let error = pulled(&format!("{host}/some/name:1.0"), credentials, Hosts::default());
        let always = [&*format!("{host}/some/name"), "manifest `1.0`", status];
        says(&error, &[&always, *words].concat(), way);
    }
}

#[test]
fn who_does_not_answer_is_told_from_who_is_not_there() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback");
    let error = pulled(&format!("{free}/a:1"), Credentials::default(), Hosts::default());
    says(&error, &[&format!("{free}/a"), "manifest `1`", "refused", "(2 attempts)"], "misspelt registry or port");

    let error = pulled("registry.invalid/a:1", Credentials::default(), Hosts::default());
    says(&error, &["registry.invalid/a", "manifest `1`", "(2 attempts)"], "nothing has this name here");

    let silent = Server::start(|_, _| {});
    let host = host(&silent);
    let error = pulled(&format!("{host}/a:1"), Credentials::default(), Hosts::default());
    says(&error, &[&format!("{host}/a"), "manifest `1`", "(2 attempts)"], "mend the connection");
}

#[test]
fn a_platform_that_an_image_lacks_is_named_beside_those_it_has() {
    let (_there, from) = store();
    let list = index(&from, &[("arm64", image(&from, "arm")), ("s390x", image(&from, "s390x"))]);
    let bytes = fs::read(from.path(&list)).expect("an index");
    let server = Server::start(move |_, stream| crate::fetching_server::whole(stream, &bytes));
    let reference = format!("{}some/name:1.0", server.url("").replace("http://", ""));
    let error = pulled(&reference, Credentials::default(), Hosts::default());
    says(&error, &[&reference, "linux/amd64", "linux/arm64, linux/s390x"], "platform that it has");
}

#[test]
fn what_encrypts_and_what_does_not_are_told_apart() {
    let about = |host: &str, text: String| {
        let place = TempDir::new().expect("a place");
        fs::create_dir(place.path().join(host)).expect("made");
        fs::write(place.path().join(host).join("hosts.toml"), text).expect("written");
        let hosts = Hosts { directories: vec![place.path().to_owned()], ..Hosts::default() };
        (place, hosts)
    };
    let Some(plain) = DockerRegistry::start(&[]) else { return };
    let host = plain.host();
    let (_place, hosts) = about(&host, format!("server = 'https://{host}'\n"));
    let error = pulled(&format!("{host}/a:1"), Credentials::default(), hosts);
    says(&error, &[&format!("{host}/a"), "manifest `1`"], "the server does not encrypt");

    let Some(tls) = DockerRegistry::start(&[With::Tls]) else { return };
    let host = tls.host();
    let (_place, hosts) = about(&host, format!("server = 'https://{host}'\n"));
    let error = pulled(&format!("{host}/a:1"), Credentials::default(), hosts);
    says(&error, &[&format!("{host}/a"), "manifest `1`", "UnknownIssuer"], "certs.d/HOST/ca.crt");

    let error = pulled(&format!("{host}/a:1"), Credentials::default(), Hosts::default());
    says(&error, &[&format!("{host}/a"), "400", "HTTPS server"], "the server encrypts");
}

#[test]
fn a_registry_that_takes_nothing_says_so() {
    let Some(server) = DockerRegistry::start(&[With::ReadOnly]) else { return };
    let (_there, from) = store();
    let manifest = image(&from, "refused");
    let reference = server.reference("some/name:1.0");
    let error = push(&registry(Credentials::default(), Hosts::default()), &reference, &manifest, &from, TOLD);
    let error = error.expect_err("read only");
    says(&error, &[&format!("{}/some/name", server.host()), "405"], "read-only");
}
