//! Daemons that are not there, do not want us, break, or share the work: each is told by name, with what to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::buildkit::{daemon, said};
use crate::support::buildkit::{Buildkitd, Setting};
use crate::support::solve::Bench;

#[test]
fn a_daemon_that_is_not_there_is_named_with_what_to_do() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["true"]);
    let place = tempfile::tempdir().expect("temporary directory");
    let nobody = place.path().join("nobody.sock");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for (address, words) in [
        (format!("unix://{}", nobody.display()), "no BuildKit daemon answers"),
        (format!("tcp://{closed}"), "no BuildKit daemon answers"),
        (format!("docker://{}", nobody.display()), "no BuildKit daemon answers"),
    ] {
        let run = bench.solve(&graph, &["--buildkit-addr", &address]);
        let told = said(&run);
        assert_eq!(run.status.code(), Some(3), "{told}");
        assert!(told.contains(words) && told.contains(&address) && told.contains("help: "), "{told}");
    }
    let run = bench.solve(&graph, &["--buildkit-addr", "builder.test"]);
    assert_eq!(run.status.code(), Some(2), "{}", said(&run));
    assert!(said(&run).contains("tcp://HOST"), "{}", said(&run));
}

/// Answers every connection with these bytes, for as long as the test lasts.
fn answers(bytes: &'static [u8]) -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().expect("temporary directory");
    let path = place.path().join("odd.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(bytes);
        }
    });
    let address = path.display().to_string();
    (place, address)
}

#[test]
fn who_speaks_something_else_is_no_daemon() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["true"]);
    let (_place, path) = answers(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    let run = bench.solve(&graph, &["--buildkit-addr", &format!("unix://{path}")]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    let run = bench.solve(&graph, &["--buildkit-addr", &format!("docker://{path}")]);
    let told = said(&run);
    assert_eq!(run.status.code(), Some(3), "{told}");
    assert!(told.contains("does not lend its BuildKit") && told.contains("404 Not Found"), "{told}");
}

/// Makes an authority, a certificate for a server and one for a client; `None` without openssl.
fn certificates(place: &Path) -> Option<()> {
    let script = "set -e
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority
        openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.pem -days 2 -subj /CN=other
        for name in server client; do
            openssl req -newkey rsa:2048 -nodes -keyout $name.key -out $name.csr -subj /CN=$name
            printf 'subjectAltName=DNS:builder.test,IP:127.0.0.1' > $name.ext
            openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile $name.ext -out $name.pem
        done";
    let made = Command::new("sh").args(["-c", script]).current_dir(place).stderr(Stdio::null()).status();
    if !made.is_ok_and(|status| status.success()) {
        crate::support::skip("openssl", "certificates cannot be made on this machine");
        return None;
    }
    Some(())
}

#[test]
fn tls_is_believed_in_both_directions_or_not_at_all() {
    let Some(bench) = Bench::new() else { return };
    let place = tempfile::tempdir().expect("temporary directory");
    let Some(()) = certificates(place.path()) else { return };
    let file = |name: &str| place.path().join(name).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let address = format!("tcp://127.0.0.1:{port}");
    let (ca, cert, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let arguments = ["--addr", &address, "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
    let started = Buildkitd::with(&Setting { arguments: &arguments, ..Setting::default() });
    if started.is_none() {
        return;
    }
    let graph = Bench::graph(&["echo seen > /out/x"]);
    let solve = |options: &[(&str, String)]| {
        let mut arguments = vec![format!("--buildkit-addr={address}")];
        arguments.extend(options.iter().map(|(name, value)| format!("--buildkit-tls-{name}={value}")));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = bench.solve(&graph, &arguments);
        (run.status.code(), said(&run))
    };
    let own = [("cert", file("client.pem")), ("key", file("client.key"))];
    let with = |first: &[(&'static str, String)]| [first, &own].concat();
    let (code, told) = solve(&with(&[("ca", ca.clone())]));
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = solve(&with(&[("ca", ca.clone()), ("server-name", "builder.test".to_owned())]));
    assert_eq!(code, Some(0), "{told}");
    // Not its authority, not its name, nobody we say we are, nobody it believes, no encryption.
    let wrong = [
        with(&[("ca", file("other.pem"))]),
        with(&[("ca", ca.clone()), ("server-name", "elsewhere.test".to_owned())]),
        vec![("ca", ca.clone())],
        vec![("ca", ca.clone()), ("cert", file("other.pem")), ("key", file("other.key"))],
    ];
    for options in &wrong {
        let (code, told) = solve(options);
        assert_eq!(code, Some(3), "{options:?}: {told}");
        assert!(told.contains("TLS with") && told.contains("--buildkit-tls-ca is"), "{options:?}: {told}");
    }
    let (code, told) = solve(&[]);
    assert_eq!(code, Some(3), "{told}");
    let (code, told) = solve(&[("ca", file("server.key"))]);
    assert_eq!(code, Some(2), "{told}");
    let (code, told) = solve(&with(&[]));
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("--buildkit-tls-ca"), "{told}");
}

#[test]
fn what_a_daemon_does_not_grant_is_said() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let mut graph = Bench::graph(&["true"]).marshal();
    let replaced = |op: &mut dockless::llb::pb::Op| {
        if let Some(dockless::llb::pb::op::Op::Exec(exec)) = &mut op.op {
            exec.security = dockless::llb::pb::SecurityMode::Insecure.into();
        }
    };
    let graph = rewritten(&mut graph, &replaced);
    for allow in [&[][..], &["--allow", "security.insecure"]] {
        let mut arguments = vec!["--buildkit-addr", &address];
        arguments.extend(allow);
        let run = bench.solve(&graph, &arguments);
        let told = said(&run);
        assert_eq!(run.status.code(), Some(2), "{told}");
        assert!(told.contains("does not allow it") && told.contains("security.insecure"), "{told}");
        assert!(told.contains("--allow-insecure-entitlement"), "{told}");
    }
}

/// Applies `change` to every op, and names anew what has changed.
fn rewritten(
    definition: &mut dockless::llb::pb::Definition,
    change: &dyn Fn(&mut dockless::llb::pb::Op),
) -> dockless::llb::Graph {
    use prost::Message as _;
    let mut names = std::collections::BTreeMap::new();
    let mut metadata = std::collections::BTreeMap::new();
    for bytes in &mut definition.def {
        let before = dockless::oci::Digest::of(bytes).to_string();
        let mut op = dockless::llb::pb::Op::decode(bytes.as_slice()).expect("an op");
        change(&mut op);
        for input in &mut op.inputs {
            if let Some(name) = names.get(&input.digest) {
                input.digest = String::clone(name);
            }
        }
        *bytes = op.encode_to_vec();
        let after = dockless::oci::Digest::of(bytes).to_string();
        metadata.insert(after.clone(), definition.metadata.get(&before).cloned().unwrap_or_default());
        names.insert(before, after);
    }
    definition.metadata = metadata;
    dockless::llb::Graph::try_from(&*definition).expect("a graph")
}

#[test]
fn a_daemon_that_is_not_there_is_passed_over_for_one_that_is() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let graph = Bench::graph(&["echo done > /out/x"]);
    let nobody = format!("unix://{}", bench.root().with_file_name("nobody.sock").display());
    let run = bench.solve(&graph, &["--buildkit-addr", &nobody, "--buildkit-addr", &address]);
    let told = said(&run);
    assert!(run.status.success(), "{told}");
    assert!(told.contains(&nobody) && told.contains("another daemon is asked"), "{told}");
}

#[test]
fn what_a_daemon_was_at_when_it_died_is_done_by_another() {
    let Some(bench) = Bench::new() else { return };
    let (Some(mut first), Some(second)) = (Buildkitd::start(), Buildkitd::start()) else { return };
    let graph = Bench::graph(&["echo begun; sleep 5; echo done > /out/x"]);
    let mut command = bench.command(&["--buildkit-addr", first.address(), "--buildkit-addr", second.address()]);
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("read");
    let mut told = String::new();
    let mut stderr = child.stderr.take().expect("piped");
    let mut killed = false;
    let mut piece = [0; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut piece) {
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
        if !killed && told.contains("begun") {
            first.kill();
            killed = true;
        }
    }
    let run = child.wait_with_output().expect("it ends");
    assert!(killed && run.status.success(), "{told}");
    assert!(told.contains("broke") && told.contains("another daemon is asked"), "{told}");
    let tree = String::from_utf8_lossy(&run.stdout).trim().to_owned();
    assert_eq!(fs::read_to_string(Path::new(&tree).join("x")).expect("the result"), "done\n");
    // Alone, it is an error that says so.
    let run = bench.solve(&graph, &["--buildkit-addr", first.address()]);
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
}

#[test]
fn a_connection_that_is_cut_in_the_middle_ends_the_solve_with_its_name() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    // Between both: what is cut is a connection, the daemon lives on.
    let socket = address.strip_prefix("unix://").expect("a socket").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let between = format!("tcp://{}", listener.local_addr().expect("an address"));
    let (cut, cutting) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let mut all: Vec<TcpStream> = Vec::new();
        listener.set_nonblocking(true).expect("a socket");
        while cutting.try_recv().is_err() {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(false).expect("a socket");
                let daemon = std::os::unix::net::UnixStream::connect(&socket).expect("the daemon");
                all.push(stream.try_clone().expect("a socket"));
                let (mut a, mut b) = (stream.try_clone().expect("a socket"), daemon.try_clone().expect("a socket"));
                std::thread::spawn(move || std::io::copy(&mut a, &mut b));
                let (mut a, mut b) = (daemon, stream);
                std::thread::spawn(move || std::io::copy(&mut a, &mut b));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for stream in all {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    });
    let graph = Bench::graph(&["echo begun; sleep 30"]);
    let mut child = bench.command(&["--buildkit-addr", &between]).spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("read");
    let (mut told, mut piece, start) = (String::new(), [0; 4096], Instant::now());
    let mut stderr = child.stderr.take().expect("piped");
    let mut cut = Some(cut);
    while let Ok(count @ 1..) = stderr.read(&mut piece) {
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
        if told.contains("begun") {
            cut.take().map(|cut| cut.send(()));
        }
    }
    let run = child.wait().expect("it ends");
    assert_eq!(run.code(), Some(3), "{told}");
    assert!(told.contains(&format!("the connection to the daemon at `{between}` broke")), "{told}");
    assert!(start.elapsed() < Duration::from_secs(25), "it waited for the step");
}

#[test]
fn a_daemon_of_another_architecture_is_said() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let elsewhere = |op: &mut dockless::llb::pb::Op| {
        let platform = op.platform.get_or_insert_default();
        // One that nobody registers an emulator for.
        (platform.os, platform.architecture) = ("linux".to_owned(), "mips64".to_owned());
    };
    let graph = rewritten(&mut Bench::graph(&["true"]).marshal(), &elsewhere);
    let run = bench.solve(&graph, &["--buildkit-addr", &address]);
    let told = said(&run);
    assert_eq!(run.status.code(), Some(2), "{told}");
    assert!(told.contains(&format!("`{address}` builds for linux/amd64")), "{told}");
    assert!(told.contains("not for linux/mips64") && told.contains("help: name a daemon of that"), "{told}");
}

#[test]
fn a_daemon_whose_disk_is_full_is_said_or_passed_over() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    if !rustix::process::geteuid().is_root() {
        crate::support::skip("root", "only root makes a small disk");
        return;
    }
    let Some(small) = Buildkitd::with(&Setting { disk: Some(24 << 20), ..Setting::default() }) else { return };
    // Sent as a directory, which is more than the daemon has room for.
    let mut noise = vec![0; 40 << 20];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut noise).expect("randomness");
    fs::write(bench.root().join("noise"), &noise).expect("written");
    let graph = Bench::graph(&["echo done > /out/x"]);
    let run = bench.solve(&graph, &["--buildkit-addr", small.address()]);
    let told = said(&run);
    assert_eq!(run.status.code(), Some(3), "{told}");
    assert!(told.contains(&format!("the disk of the daemon at `{}` is full", small.address())), "{told}");
    assert!(told.contains("help: free room there"), "{told}");
    let run = bench.solve(&graph, &["--buildkit-addr", small.address(), "--buildkit-addr", &address]);
    assert!(run.status.success(), "{}", said(&run));
    assert!(said(&run).contains("another daemon is asked"), "{}", said(&run));
}
