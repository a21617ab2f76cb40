//! Registries behind a daemon: it gets tokens, and never the password.

use std::fs;

use base64::Engine as _;
use dockless::llb::{Graph, GraphBuilder, op};
use dockless::oci::Arch;
use dockless::registry::{Credentials, Registry};

use crate::buildkit::{daemon, said};
use crate::support::images::{Place, sample};
use crate::support::registry::{DockerRegistry, PASSWORD, With};

fn graph(reference: &str) -> Graph {
    let mut builder = GraphBuilder::new();
    let edge = builder.add("image", op::image(reference), &[], Arch::X86_64, &["source.image"]);
    builder.finish(edge)
}

#[test]
fn a_daemon_pulls_with_a_token_that_is_got_here() {
    let Some(address) = daemon() else { return };
    let Some(registry) = DockerRegistry::start(&[With::Token]) else { return };
    let place = Place::new();
    let manifest = sample(&place.store(), "behind a token", "amd64");
    fs::write(place.path("login.json"), registry.login()).expect("written");
    let (config, login) = (place.path("login.json").display().to_string(), registry.login());
    let client = Registry::new(
        dockless::http::Settings::default(),
        Credentials::parse(login.as_bytes(), "config.json".as_ref()).expect("a login"),
    );
    let reference = registry.reference("private/image:1");
    let told: (&dyn dockless::progress::Progress, _) = (&dockless::progress::Silent, manifest);
    dockless::registry::push(&client, &reference, &manifest, &place.store(), told).expect("pushed");
    let solve = |more: &[&str]| {
        let mut command = place.dockless();
        command.args(["solve", "--buildkit-addr", &address]).args(more).env("DOCKLESS_LOG", "dockless=debug");
        let mut child = command
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let bytes = graph(&reference.to_string()).to_bytes();
        std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &bytes).expect("read");
        child.wait_with_output().expect("it ends")
    };
    let run = solve(&[]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    let run = solve(&["--registry-config", &config]);
    let told = said(&run);
    assert!(run.status.success(), "{told}");
    assert!(told.contains("Auth/GetTokenAuthority") && told.contains("Auth/FetchToken"), "{told}");
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("somebody:{PASSWORD}"));
    assert!(!told.contains("Auth/Credentials") && !told.contains(&basic), "{told}");
}

#[test]
fn nobody_gets_the_password_by_naming_a_realm_of_his_own() {
    let Some(registry) = DockerRegistry::start(&[With::Token]) else { return };
    let login = registry.login();
    let credentials = Credentials::parse(login.as_bytes(), "config.json".as_ref()).expect("a login");
    let client = Registry::new(dockless::http::Settings::default(), credentials);
    let scopes = ["repository:private/image:pull".to_owned()];
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let realm = format!("http://{}/token", listener.local_addr().expect("an address"));
    let error = client.token(&registry.host(), &realm, "registry", &scopes).expect_err("another realm");
    assert!(error.to_string().contains(&realm), "{error}");
    assert!(listener.accept().is_err(), "it was asked");
}
