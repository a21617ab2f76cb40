//! Proxies are those of the environment, headers stay with the host they are for, and nobody waits longer for a mirror than
//! the user says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

use dockless::http::Settings;
use dockless::oci::{Arch, Digest, Reference};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Hosts, Platform, Registry, pull, push};
use dockless::store::Store;
use tempfile::TempDir;

use crate::fetching_server::{Request, Server, respond, whole};
use crate::registries::{image, store};
use crate::support::images::Place;
use crate::support::registry::{DockerRegistry, With};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn registry(hosts: Hosts) -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    settings.patience.attempts = 2;
    Registry::new(settings, Credentials::default()).with_hosts(hosts)
}

fn host(server: &Server) -> String {
    server.url("").trim_start_matches("http://").trim_end_matches('/').to_owned()
}

fn about(name: &str, toml: &str) -> (TempDir, Hosts) {
    let place = TempDir::new().expect("a place");
    fs::create_dir(place.path().join(name)).expect("made");
    fs::write(place.path().join(name).join("hosts.toml"), toml).expect("written");
    let hosts = Hosts { directories: vec![place.path().to_owned()], ..Hosts::default() };
    (place, hosts)
}

/// Answers with what `from` has, under a target as a proxy gets it too.
fn serve(from: &Store, top: &Digest, request: &Request, stream: &mut TcpStream) {
    let path = request.target.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    match fs::read(from.path(&name.parse().unwrap_or(*top))) {
        Ok(bytes) => whole(stream, &bytes),
        Err(_) => respond(stream, "404 Not Found", &["Content-Length: 0"], b""),
    }
}

/// `dockless image pull` with these variables and no other of the kind.
fn pulling(place: &Place, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = place.image(&[&["pull"], arguments].concat());
    for name in ["http_proxy", "https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command.envs(variables.iter().copied());
    command
}

#[test]
fn proxies_of_the_environment_are_asked_for_everything_but_loopback_and_what_is_excepted() {
    let (_there, from) = store();
    let manifest = image(&from, "proxied");
    let copy = from.clone();
    // Whoever asks it to connect gets nothing: then the registry has no encryption.
    let proxy = Server::start(move |request, stream| match request.method.as_str() {
        "CONNECT" => respond(stream, "502 Bad Gateway", &["Content-Length: 0"], b""),
        _ => serve(&copy, &manifest, request, stream),
    });
    let name = format!("http://{}", host(&proxy));
    let proxies = [("HTTP_PROXY", name.as_str()), ("HTTPS_PROXY", name.as_str())];
    let plain = ["--insecure-registry", "registry.invalid", "registry.invalid/some/name:1"];
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let place = Place::new();
        // Those of docker's configuration are for what runs in containers (docker docs engine/cli/proxy).
        let config = r#"{"proxies":{"default":{"httpProxy":"http://127.0.0.1:1","httpsProxy":"http://127.0.0.1:1"}}}"#;
        fs::write(place.path("config.json"), config).expect("written");
        let output = pulling(&place, arguments, variables).output().expect("the binary ends");
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (fine, said) = run(&plain, &proxies);
    assert!(fine && said.contains(&manifest.to_string()), "{said}");
    let asked = proxy.requests();
    assert!(asked.iter().any(|it| it.method == "CONNECT" && it.target == "registry.invalid:443"), "{asked:?}");
    assert!(asked.iter().any(|it| it.target == "http://registry.invalid/v2/some/name/manifests/1"), "{asked:?}");

    let excepted = [&proxies[..], &[("NO_PROXY", "other.test,.invalid")]].concat();
    let (fine, said) = run(&plain, &excepted);
    assert!(!fine && said.contains("nothing has this name here"), "{said}");
    let direct = Server::start(move |request, stream| serve(&from, &manifest, request, stream));
    let (fine, said) = run(&[&format!("{}/a:1", host(&direct))], &proxies);
    assert!(fine, "{said}");
    assert_eq!(proxy.requests().len(), asked.len(), "loopback and what is excepted need no proxy");
    let (fine, said) = run(&plain, &[]);
    assert!(!fine && said.contains("nothing has this name here"), "proxies of docker's configuration: {said}");
}

/// Leads connections to `to`, whatever they ask for, and says so.
fn tunnel(to: String) -> Server {
    Server::start(move |request, stream| {
        if request.method != "CONNECT" {
            return respond(stream, "400 Bad Request", &["Content-Length: 0"], b"");
        }
        let Ok(mut there) = TcpStream::connect(&to) else { return };
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        let (Ok(mut from_us), Ok(mut to_there)) = (stream.try_clone(), there.try_clone()) else { return };
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_us, &mut to_there);
            let _ = to_there.shutdown(std::net::Shutdown::Write);
        });
        let mut piece = [0; 16 << 10];
        while let Ok(count) = there.read(&mut piece) {
            if count == 0 || stream.write_all(&piece[..count]).is_err() {
                break;
            }
        }
    })
}

#[test]
fn an_encrypted_registry_is_reached_through_a_proxy_that_only_connects() {
    let Some(server) = DockerRegistry::start(&[With::Tls]) else { return };
    let (_there, from) = store();
    let manifest = image(&from, "tunnelled");
    let own = fs::read(server.file("ca.crt")).expect("a certificate");
    let (place, hosts) = about(&server.host(), &format!("server = 'https://{}'\nca = 'ca.crt'\n", server.host()));
    fs::write(place.path().join(server.host()).join("ca.crt"), &own).expect("written");
    push(&registry(hosts), &server.reference("a:1"), &manifest, &from, TOLD).expect("pushed");

    // A name that only the proxy knows; the certificate is for another one.
    let proxy = tunnel(server.host());
    let home = TempDir::new().expect("a place");
    let directory = home.path().join("registry.invalid");
    fs::create_dir(&directory).expect("made");
    fs::write(directory.join("hosts.toml"), "server = 'https://registry.invalid'\nskip_verify = true\n")
        .expect("written");
    let place = Place::new();
    let hosts = home.path().display().to_string();
    let address = format!("http://{}", host(&proxy));
    let output = pulling(&place, &["--registry-hosts", &hosts, "registry.invalid/a:1"], &[("HTTPS_PROXY", &address)])
        .output()
        .expect("the binary ends");
    assert!(output.status.success(), "{output:?}");
    let asked = proxy.requests();
    assert!(!asked.is_empty() && asked.iter().all(|it| it.target == "registry.invalid:443"), "{asked:?}");
}

#[test]
fn headers_of_a_host_do_not_follow_a_redirect_to_another() {
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "headers");
    let elsewhere = {
        let from = from.clone();
        Server::start(move |request, stream| serve(&from, &manifest, request, stream))
    };
    let there = elsewhere.url("");
    let server = Server::start(move |request, stream| {
        let target = request.target.trim_start_matches('/');
        let to = if target.starts_with("v2/a/blobs/") {
            format!("{there}{target}")
        } else if target.starts_with("v2/a/manifests/") {
            // At home they are sent again.
            format!("/moved/{target}")
        } else {
            return serve(&from, &manifest, request, stream);
        };
        respond(stream, "307 Temporary Redirect", &[&format!("Location: {to}"), "Content-Length: 0"], b"");
    });
    let toml = format!(
        "server = 'http://{0}'\n[host.'http://{0}'.header]\nx-key = 'secret'\nauthorization = 'Basic c2VjcmV0'\n",
        host(&server)
    );
    let (_place, hosts) = about("registry.invalid", &toml);
    let reference: Reference = "registry.invalid/a:1".parse().expect("a reference");
    pull(&registry(hosts), &reference, &Platform::linux(Arch::X86_64), &to, TOLD).expect("pulled");
    let secrets = |request: &Request| {
        let has = |name: &str| request.headers.contains_key(name);
        (has("x-key"), has("authorization"))
    };
    assert_eq!(elsewhere.requests().len(), 3);
    assert!(elsewhere.requests().iter().all(|request| secrets(request) == (false, false)));
    assert!(server.requests().iter().all(|request| secrets(request) == (true, true)));
    assert!(server.requests().iter().any(|request| request.target.starts_with("/moved/")));
}

#[test]
fn who_redirects_without_end_is_not_followed_without_end() {
    let server = Server::start(|request, stream| {
        let to = format!("Location: {}x", request.target);
        respond(stream, "302 Found", &[&to, "Content-Length: 0"], b"");
    });
    for toml in ["", "[host.'http://{}'.header]\nx-key = 'secret'\n"] {
        let begun = server.requests().len();
        let toml = format!("server = 'http://{0}'\n{1}", host(&server), toml.replace("{}", &host(&server)));
        let (_place, hosts) = about("registry.invalid", &toml);
        let reference: Reference = "registry.invalid/a:1".parse().expect("a reference");
        let pulled = pull(&registry(hosts), &reference, &Platform::linux(Arch::X86_64), &store().1, TOLD);
        pulled.expect_err("nothing at the end");
        let asked = server.requests().len() - begun;
        assert!((10..=40).contains(&asked), "{asked}");
    }
}

#[test]
fn a_mirror_that_does_not_answer_is_waited_for_as_long_as_the_user_says() {
    // A socket that listens, but has no room for one more: the kernel lets everybody wait.
    let family = rustix::net::AddressFamily::INET;
    let full = rustix::net::socket(family, rustix::net::SocketType::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    rustix::net::bind(full.as_fd(), &any).expect("bound");
    rustix::net::listen(full.as_fd(), 0).expect("listening");
    let listening = std::net::TcpListener::from(full);
    let address = listening.local_addr().expect("an address");
    let patience = Duration::from_millis(100);
    let waiting: Vec<TcpStream> = (0..4).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
    assert!(waiting.len() < 4, "there is room for everybody");

    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "late");
    let server = Server::start(move |request, stream| serve(&from, &manifest, request, stream));
    let toml = format!("server = 'http://{}'\n[host.'http://{address}']\ndial_timeout = '200ms'\n", host(&server));
    let (_place, hosts) = about("registry.invalid", &toml);
    let reference: Reference = "registry.invalid/a:1".parse().expect("a reference");
    let begun = Instant::now();
    pull(&registry(hosts), &reference, &Platform::linux(Arch::X86_64), &to, TOLD).expect("pulled");
    let waited = begun.elapsed();
    // Twice, and then never again; without the key it would be twice fifteen seconds.
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(10), "{waited:?}");
}
