//! Ways to a daemon, each by the program that leads there: ssh, kubectl, Docker's own daemon.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use dockless::llb::{Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;
use tempfile::TempDir;

use crate::buildkit::{contents, daemon, said};
use crate::support::buildkit::programs;
use crate::support::skip;
use crate::support::solve::Bench;

/// A program that ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Docker's daemon ends the programs that it has started.
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&self.0), rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Puts a program where it is found before others of its name.
fn program(place: &Path, name: &str, script: &str) -> String {
    let bin = place.join("bin");
    fs::create_dir_all(&bin).expect("a directory");
    let file = bin.join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a program");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("executable");
    format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())
}

fn solve(bench: &Bench, path: &str, address: &str) -> Output {
    let mut command = bench.command(&["--buildkit-addr", address]);
    let mut child = command.env("PATH", path).spawn().expect("the binary starts");
    let graph = Bench::graph(&["echo reached > /out/x"]);
    let _ = std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &graph.to_bytes());
    child.wait_with_output().expect("it ends")
}

fn assert_reached(run: &Output) {
    assert!(run.status.success(), "{}", said(run));
    let tree = PathBuf::from(String::from_utf8_lossy(&run.stdout).trim());
    assert_eq!(fs::read_to_string(tree.join("x")).expect("the result"), "reached\n");
}

/// OpenSSH's own server on a port of loopback, and a configuration for its client that believes it.
fn sshd(place: &Path) -> Option<(Server, u16)> {
    let found = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).is_file());
    let (Some(sshd), Some(programs)) = (found, programs()) else {
        skip("ssh", "there is no OpenSSH server on this machine: install openssh-server");
        return None;
    };
    let id = rustix::process::geteuid().as_raw().to_string();
    let account = Command::new("getent").args(["passwd", &id]).output().expect("getent").stdout;
    if String::from_utf8_lossy(&account).trim().ends_with("nologin") {
        skip("login", "this user has no shell to log in with");
        return None;
    }
    for key in ["host", "user"] {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(place.join(key)).status();
        assert!(made.expect("ssh-keygen").success());
    }
    let at = |name: &str| place.join(name).display().to_string();
    fs::copy(at("user.pub"), at("authorized")).expect("a key");
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    // As root it wants a place of its own.
    let _ = fs::create_dir_all("/run/sshd");
    let path = format!("{}:/usr/bin:/bin", programs.display());
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPidFile none\n\
         PermitRootLogin yes\nSetEnv PATH={path}\n",
        at("host"),
        at("authorized")
    );
    fs::write(at("sshd_config"), config).expect("written");
    let host = fs::read_to_string(at("host.pub")).expect("a key");
    fs::write(at("known"), format!("[127.0.0.1]:{port} {host}")).expect("written");
    let config = format!(
        "IdentityFile {}\nUserKnownHostsFile {}\nStrictHostKeyChecking yes\nIdentitiesOnly yes\n",
        at("user"),
        at("known")
    );
    fs::write(at("ssh_config"), config).expect("written");
    let mut command = Command::new(sshd);
    command.args(["-D", "-e", "-f", &at("sshd_config")]).stdin(Stdio::null());
    command.stderr(fs::File::create(at("sshd.log")).expect("a log"));
    let server = Server(command.spawn().expect("sshd starts"));
    for _ in 0..200 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some((server, port));
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("sshd does not answer: {}", fs::read_to_string(at("sshd.log")).unwrap_or_default());
}

#[test]
fn a_daemon_is_reached_by_ssh() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let place = TempDir::new().expect("a place");
    let Some((_server, port)) = sshd(place.path()) else { return };
    // The user's own configuration is not a test's to change.
    let script = format!("exec /usr/bin/ssh -F {}/ssh_config \"$@\"", place.path().display());
    let path = program(place.path(), "ssh", &script);
    let user = Command::new("id").arg("-un").output().expect("id").stdout;
    let user = String::from_utf8_lossy(&user).trim().to_owned();
    let socket = address.trim_start_matches("unix://");
    assert_reached(&solve(&bench, &path, &format!("ssh://{user}@127.0.0.1:{port}{socket}")));
    // No daemon there, no server there, not the key that was there before.
    let nobody = format!("ssh://{user}@127.0.0.1:{port}/nobody.sock");
    let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let closed = format!("ssh://{user}@127.0.0.1:{closed}/nobody.sock");
    for address in [&nobody, &closed] {
        let run = solve(&bench, &path, address);
        let told = said(&run);
        assert_eq!(run.status.code(), Some(3), "{told}");
        assert!(told.contains(address.as_str()) && told.contains("help: "), "{told}");
    }
    fs::write(place.path().join("known"), "").expect("written");
    let run = solve(&bench, &path, &format!("ssh://{user}@127.0.0.1:{port}{socket}"));
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("Host key verification failed"), "{}", said(&run));
}

/// No cluster is here: what stands in for `kubectl` runs the command that a pod would run.
#[test]
fn a_pod_is_asked_by_kubectl_with_the_names_of_the_address() {
    let (Some(bench), Some(address), Some(programs)) = (Bench::new(), daemon(), programs()) else { return };
    let place = TempDir::new().expect("a place");
    let script = format!(
        "[ \"$*\" = '--context=c --namespace=ci --container=b exec -i pod-0 -- buildctl dial-stdio' ] ||\n\
         {{ echo \"error: unknown command: $*\" >&2; exit 1; }}\n\
         exec {}/buildctl --addr {address} dial-stdio",
        programs.display()
    );
    let path = program(place.path(), "kubectl", &script);
    assert_reached(&solve(&bench, &path, "kube-pod://pod-0?context=c&namespace=ci&container=b"));
    let run = solve(&bench, &path, "kube-pod://pod-1");
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("unknown command") && said(&run).contains("kube-pod://pod-1"), "{}", said(&run));
    let run = solve(&bench, "/nowhere", "kube-pod://pod-0");
    assert_eq!(run.status.code(), Some(3), "{}", said(&run));
    assert!(said(&run).contains("`kubectl`, which leads to `kube-pod://pod-0`"), "{}", said(&run));
}

/// Docker's daemon with a place of its own, which touches no network of this machine.
fn dockerd(place: &Path) -> Option<(Server, String)> {
    let asked = Command::new("dockerd").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        skip("dockerd", "there is no Docker daemon on this machine");
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        skip("dockerd", "Docker's daemon needs root");
        return None;
    }
    let at = |name: &str| place.join(name).display().to_string();
    fs::write(at("daemon.json"), "{}").expect("written");
    let socket = at("docker.sock");
    let mut command = Command::new("dockerd");
    command.args(["--config-file", &at("daemon.json"), "--host", &format!("unix://{socket}")]);
    command.args(["--data-root", &at("data"), "--exec-root", &at("exec"), "--pidfile", &at("pid")]);
    command.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(fs::File::create(at("log")).expect("a log"));
    let mut server = Server(command.spawn().expect("dockerd starts"));
    for _ in 0..600 {
        if fs::read_to_string(at("log")).unwrap_or_default().contains("API listen on") {
            return Some((server, format!("docker://{socket}")));
        }
        if let Ok(Some(status)) = server.0.try_wait() {
            skip("dockerd", &format!("{status}: {}", fs::read_to_string(at("log")).unwrap_or_default()));
            return None;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("dockerd does not come up: {}", fs::read_to_string(at("log")).unwrap_or_default());
}

/// A graph with owners, modes, links and times, on a root that is copied from a directory.
fn many_kinds() -> Graph {
    let mut builder = GraphBuilder::new();
    let script = "mkdir -p /out/d/e; echo a > /out/d/f; chmod 4751 /out/d/f; cp -l /out/d/f /out/d/hard;
        chown 7:8 /out/d/e; mkdir /out/empty; chmod 1777 /out/empty; cd /out/d; cp -s f soft";
    let step = Bench::step(&mut builder, "kinds", script, &[]);
    builder.finish(step)
}

#[test]
fn dockers_own_daemon_gives_the_same_tree() {
    let Some(bench) = Bench::new() else { return };
    let place = TempDir::new().expect("a place");
    let Some((_server, address)) = dockerd(place.path()) else { return };
    let graph = many_kinds();
    let of = |name: &str, engine: [&str; 2]| {
        let tar = bench.root().with_file_name(name);
        let run = bench.solve(&graph, &["-o", &format!("type=tar,dest={}", tar.display()), engine[0], engine[1]]);
        assert!(run.status.success(), "{}", said(&run));
        contents(&tar)
    };
    let (here, there) = (of("here.tar", ["--engine", "embedded"]), of("there.tar", ["--buildkit-addr", &address]));
    assert_eq!(here, there);
    assert!(here.len() == 6, "{here:?}");
    let run = bench.solve(&Bench::graph(&["echo one; exit 17"]), &["--buildkit-addr", &address]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("step `step 0` failed: exit code 17"), "{}", said(&run));
    // What an old one lacks is named before anything is built; a new one has it.
    let mut builder = GraphBuilder::new();
    let inputs = [1, 2].map(|i| Bench::step(&mut builder, &format!("part {i}"), &format!("echo > /out/{i}"), &[]));
    let merged = builder.add("both", op::merge(2), &inputs, Arch::X86_64, &["mergeop"]);
    let op = pb::op::Op::Diff(pb::DiffOp {
        lower: Some(pb::LowerDiffInput { input: 0 }),
        upper: Some(pb::UpperDiffInput { input: 1 }),
    });
    let diff = builder.add("difference", op, &[inputs[0], merged], Arch::X86_64, &["diffop"]);
    let run = bench.solve(&builder.finish(diff), &["--buildkit-addr", &address]);
    if !run.status.success() {
        let told = said(&run);
        assert_eq!(run.status.code(), Some(2), "{told}");
        assert!(told.contains("it has no `diffop`, which `difference` needs") && told.contains("help: "), "{told}");
    }
}
