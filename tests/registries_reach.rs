//! Registries behind certificates, mirrors and logins: reached as the user has said, and nothing goes to a stranger.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use dockless::http::Settings;
use dockless::llb::{GraphBuilder, pb};
use dockless::oci::{Arch, Digest, Reference};
use dockless::progress::{Event, Progress, Silent};
use dockless::registry::{Credentials, Hosts, Platform, Registry, RegistryError, pull, push};
use dockless::store::Store;
use tempfile::TempDir;

use crate::fetching_server::{Server, respond, whole};
use crate::registries::{image, store};
use crate::support::registry::{DockerRegistry, PASSWORD, USER, With};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn registry(credentials: Credentials, hosts: Hosts) -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    settings.patience.attempts = 2;
    Registry::new(settings, credentials).with_hosts(hosts)
}

fn amd64() -> Platform {
    Platform::linux(Arch::X86_64)
}

fn login(host: &str, password: &str) -> Credentials {
    let config = format!(r#"{{"auths":{{"{host}":{{"username":"{USER}","password":"{password}"}}}}}}"#);
    Credentials::parse(config.as_bytes(), Path::new("config.json")).expect("a configuration")
}

/// A directory with files about one host.
fn about(host: &str, files: &[(&str, Vec<u8>)]) -> (TempDir, Hosts) {
    let place = TempDir::new().expect("a place");
    let directory = place.path().join(host);
    fs::create_dir(&directory).expect("made");
    for (name, bytes) in files {
        fs::write(directory.join(name), bytes).expect("written");
    }
    let directories = vec![place.path().to_owned()];
    (place, Hosts { directories, ..Hosts::default() })
}

fn file(server: &DockerRegistry, name: &str) -> Vec<u8> {
    fs::read(server.file(name)).expect("a file of the registry")
}

#[test]
fn an_own_authority_is_believed_where_it_is_put() {
    let Some(server) = DockerRegistry::start(&[With::Tls]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "tls");
    let reference = server.reference("tls:1");
    let server_is = |hosts: Hosts| push(&registry(Credentials::default(), hosts), &reference, &manifest, &from, TOLD);

    let strange = format!("server = 'https://{}'\n", server.host());
    let (_unknown, hosts) = about(&server.host(), &[("hosts.toml", strange.into_bytes())]);
    let error = server_is(hosts).expect_err("nobody knows this authority");
    assert!(error.help().expect("a way out").contains("certs.d/HOST/ca.crt"), "{error}");

    let (_known, hosts) = about(&server.host(), &[("ca.crt", file(&server, "ca.crt"))]);
    server_is(hosts.clone()).expect("pushed");
    pull(&registry(Credentials::default(), hosts), &reference, &amd64(), &to, TOLD).expect("pulled");

    let insecure = Hosts { insecure: vec![server.host()], ..Hosts::default() };
    server_is(insecure).expect("anybody is believed");
}

#[test]
fn a_registry_that_wants_a_certificate_of_ours_gets_it() {
    let Some(server) = DockerRegistry::start(&[With::Clients]) else { return };
    let (_there, from) = store();
    let manifest = image(&from, "mtls");
    let reference = server.reference("mtls:1");
    let server_is = |hosts: Hosts| push(&registry(Credentials::default(), hosts), &reference, &manifest, &from, TOLD);
    let ca = ("ca.crt", file(&server, "ca.crt"));
    let pair = [("client.cert", file(&server, "client.crt")), ("client.key", file(&server, "client.key"))];
    let (_nobody, hosts) = about(&server.host(), std::slice::from_ref(&ca));
    server_is(hosts).expect_err("without a certificate");
    let (_docker, hosts) = about(&server.host(), &[&pair[..], std::slice::from_ref(&ca)].concat());
    server_is(hosts).expect("with one, as docker keeps it");
    let toml =
        format!("server = 'https://{}'\nca = 'ca.crt'\nclient = [['client.cert', 'client.key']]\n", server.host());
    let all = [&pair[..], &[ca, ("hosts.toml", toml.into_bytes())]].concat();
    let (_containerd, hosts) = about(&server.host(), &all);
    server_is(hosts).expect("with one, as containerd keeps it");
}

#[test]
fn who_does_not_encrypt_is_told_from_who_is_not_believed() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let (_there, from) = store();
    let manifest = image(&from, "plain");
    let strict = format!("server = 'https://{}'\n", server.host());
    let (_strict, hosts) = about(&server.host(), &[("hosts.toml", strict.into_bytes())]);
    let error = push(&registry(Credentials::default(), hosts), &server.reference("a:1"), &manifest, &from, TOLD);
    let error = error.expect_err("it does not speak TLS");
    assert!(error.help().expect("a way out").contains("--insecure-registry"), "{error}");
}

/// Remembers what was said.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Progress for Notes {
    fn event(&self, event: &Event<'_>) {
        if let Event::Note { message } = event {
            self.0.lock().expect("no panic").push((*message).to_owned());
        }
    }
}

#[test]
fn mirrors_are_asked_first_and_one_that_fails_is_passed_over() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "mirrored");
    push(&registry(Credentials::default(), Hosts::default()), &server.reference("a/b:1"), &manifest, &from, TOLD)
        .expect("pushed");
    let empty = Server::start(|_, stream| respond(stream, "404 Not Found", &["Content-Length: 0"], b""));
    let lying = Server::start(|_, stream| whole(stream, b"something else"));
    let mirror = |url: &str| ("registry.invalid".to_owned(), url.to_owned());
    // One that is not there, one that has nothing, one that lies about blobs; the last has it all.
    let toml = format!(
        "server = 'https://registry.invalid'\n[host.'{}']\ncapabilities = ['pull']\n[host.'http://{}']\n",
        lying.url(""),
        server.host()
    );
    let (_place, hosts) = about("registry.invalid", &[("hosts.toml", toml.into_bytes())]);
    let hosts = Hosts { mirrors: vec![mirror("127.0.0.1:1"), mirror(&empty.url(""))], ..hosts };
    let mirrored = registry(login("registry.invalid", PASSWORD), hosts);
    let reference: Reference = "registry.invalid/a/b:1".parse().expect("a reference");
    let notes = Notes::default();
    let image = pull(&mirrored, &reference, &amd64(), &to, (&notes, TOLD.1)).expect("pulled");
    assert_eq!(image.manifest.digest, manifest);
    let notes = notes.0.into_inner().expect("no panic");
    assert!(notes.iter().any(|note| note.contains("404") && note.contains("stands for registry.invalid")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("were promised; asking elsewhere")), "{notes:?}");
    let asked = empty.requests();
    assert!(asked.iter().all(|request| request.target.contains("ns=registry.invalid")), "{asked:?}");
    assert!(asked.iter().all(|request| !request.headers.contains_key("authorization")), "{asked:?}");
}

#[test]
fn a_registry_with_a_login_lets_in_who_has_one_and_tells_the_others_what_to_do() {
    let Some(server) = DockerRegistry::start(&[With::Login]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "login");
    let reference = server.reference("a:1");
    let with = |credentials| push(&registry(credentials, Hosts::default()), &reference, &manifest, &from, TOLD);
    let error = with(Credentials::default()).expect_err("nobody");
    assert!(matches!(error, RegistryError::Denied { sent: None, .. }) && error.is_input(), "{error}");
    assert!(error.help().expect("a way out").contains("--registry-config"), "{error}");
    let error = with(login(&server.host(), "wrong")).expect_err("a wrong password").to_string();
    assert!(error.contains(USER) && error.contains("401") && !error.contains("wrong"), "{error}");
    with(login(&format!("https://{}/v1/", server.host()), PASSWORD)).expect("pushed");
    let pulled = pull(&registry(login(&server.host(), PASSWORD), Hosts::default()), &reference, &amd64(), &to, TOLD);
    pulled.expect("pulled");
}

#[test]
fn a_registry_that_wants_tokens_gets_them_for_many_blobs_at_once() {
    let Some(server) = DockerRegistry::start(&[With::Token]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let known = || Credentials::parse(server.login().as_bytes(), Path::new("config.json")).expect("a configuration");
    for round in 0..4 {
        let manifest = image(&from, &format!("tokens {round}"));
        let reference = server.reference(&format!("public/a{round}:1"));
        push(&registry(known(), Hosts::default()), &reference, &manifest, &from, TOLD).expect("pushed");
        pull(&registry(Credentials::default(), Hosts::default()), &reference, &amd64(), &to, TOLD)
            .expect("pulled by anybody");
        assert!(server.keeps(&manifest), "{manifest}");
    }
    let manifest = image(&from, "private");
    let reference = server.reference("private/a:1");
    push(&registry(known(), Hosts::default()), &reference, &manifest, &from, TOLD).expect("pushed");
    let error = pull(&registry(Credentials::default(), Hosts::default()), &reference, &amd64(), &to, TOLD);
    let error = error.expect_err("not for anybody");
    assert!(matches!(error, RegistryError::Denied { .. }), "{error}");
}

/// Runs the command over a graph of one image, with programs that keep credentials.
fn solved(place: &Path, home: &Path, reference: &Reference) -> (bool, String) {
    let mut builder = GraphBuilder::new();
    let identifier = format!("docker-image://{reference}");
    let image = pb::op::Op::Source(pb::SourceOp { identifier, ..pb::SourceOp::default() });
    let edge = builder.add("image", image, &[], Arch::X86_64, &[]);
    let definition = place.join("definition");
    fs::write(&definition, builder.finish(edge).to_bytes()).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_dockless"))
        .args(["--progress", "plain", "solve"])
        .env("DOCKLESS_STORE", place.join("store"))
        .env("DOCKER_CONFIG", home)
        .env("PATH", format!("{}:{}", home.display(), "/usr/bin:/bin"))
        .stdin(fs::File::open(&definition).expect("a definition"))
        .output()
        .expect("dockless runs");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn programs_that_keep_credentials_are_asked_and_their_failures_are_named() {
    let Some(server) = DockerRegistry::start(&[With::Login]) else { return };
    let ((_there, from), place) = (store(), TempDir::new().expect("a place"));
    let manifest = image(&from, "helped");
    let reference = server.reference("a:1");
    push(&registry(login(&server.host(), PASSWORD), Hosts::default()), &reference, &manifest, &from, TOLD)
        .expect("pushed");
    let home = TempDir::new().expect("a place");
    let program = |name: &str, script: &str| {
        let path: PathBuf = home.path().join(format!("docker-credential-{name}"));
        fs::write(&path, format!("#!/bin/sh\nread -r server\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    };
    let host = server.host();
    program(
        "good",
        &format!(
            "[ \"$1 $server\" = 'get {host}' ] && echo '{{\"ServerURL\":\"\",\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'"
        ),
    );
    program("empty", "echo credentials not found in native keychain; exit 1");
    program("broken", "echo the keyring is locked; exit 2");
    program("mad", "echo hunter2");
    program("endless", "yes");
    let run = |config: &str| {
        fs::write(home.path().join("config.json"), config).expect("written");
        solved(place.path(), home.path(), &reference)
    };
    for (config, word) in [
        (r#"{"credsStore":"broken"}"#.to_owned(), "the keyring is locked"),
        (r#"{"credsStore":"mad"}"#.to_owned(), "docker-credential-mad"),
        (r#"{"credsStore":"endless"}"#.to_owned(), "docker-credential-endless"),
        (r#"{"credsStore":"absent"}"#.to_owned(), "cannot be run"),
        (r#"{"credsStore":"../x"}"#.to_owned(), "no name of a program"),
        (r#"{"credsStore":"empty"}"#.to_owned(), "no credentials were shown"),
    ] {
        let (fine, said) = run(&config);
        assert!(!fine && said.contains(word) && !said.contains("hunter2"), "{config}: {said}");
    }
    let (fine, said) = run(&format!(r#"{{"credHelpers":{{"{host}":"good"}},"credsStore":"broken"}}"#));
    // What comes is no real layer: but it came.
    assert!(fine || !said.contains("401"), "{said}");
    assert!(Store::open(&place.path().join("store")).expect("the store").contains(&manifest).is_some());
}
