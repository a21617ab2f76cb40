//! Which way of running steps is taken where, and that all of them make the same.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dockless::llb::Graph;

use crate::support::container::{Container, furnish};
use crate::support::skip;
use crate::support::solve::Bench;

/// Two steps that look at what a step has and leave all kinds of files.
fn graph() -> Graph {
    let first = "echo one > /out/a; mkdir /out/d; chmod 750 /out/d; ln /out/a /out/d/b; ln -s a /out/l; \
                 touch -d '2001-02-03 04:05:06' /out/old; \
                 head -c 8 /dev/zero | wc -c > /out/zero; echo gone > /dev/null; cat /dev/null >> /out/zero; \
                 echo said > /dev/stderr; test -d /proc; id -u > /out/id; umask >> /out/id; echo t > /tmp/t; \
                 if touch /new 2> /tmp/why; then exit 9; fi; mkdir -p /out/deep/er; rm -r /out/deep/er; stat -c %a /tmp /dev/shm >> /out/id";
    let second = "cat /in/a > /out/copy; chmod 4755 /out/copy; cp -r /in/. /out/all; ls / > /out/root; test ! -e /new; test ! -e /tmp/t; \
                  cat /etc/hosts > /out/hosts; wc -c < /etc/resolv.conf >> /out/hosts";
    Bench::graph(&[first, second])
}

/// What a run said and left.
#[derive(Debug)]
struct Built {
    /// The name of the result, which is the digest of its content.
    digest: String,
    /// How steps ran.
    announced: String,
}

fn built(output: &Output) -> Built {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().expect("a path").trim());
    let digest = path.parent().and_then(Path::file_name).expect("a snapshot").to_string_lossy().into_owned();
    Built { digest, announced: announced(&said) }
}

fn announced(said: &str) -> String {
    let line = said.lines().find_map(|line| line.find("isolation: ").map(|at| line[at..].to_owned()));
    line.unwrap_or_else(|| panic!("nothing announced: {said}"))
}

/// A directory with the root of the steps and a store.
fn place() -> Option<tempfile::TempDir> {
    let place = tempfile::tempdir().expect("a temporary directory");
    std::fs::create_dir(place.path().join("step")).expect("made");
    furnish(&place.path().join("step")).then_some(place)
}

/// Solves the graph on this machine, with `wrapper` before the command.
fn solve(place: &Path, store: &str, wrapper: &[&str], arguments: &[&str]) -> Output {
    let mut words: Vec<String> = wrapper.iter().map(|word| (*word).to_owned()).collect();
    words.push(env!("CARGO_BIN_EXE_dockless").to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["solve", "--store"]).arg(place.join(store));
    command.arg("--local").arg(format!("root={}", place.join("step").display())).args(arguments);
    command.env("DOCKLESS_PROGRESS", "plain").env_remove("DOCKLESS_ISOLATION");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let _ = child.stdin.take().expect("piped").write_all(&graph().to_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn root_gets_the_same_in_namespaces_and_in_a_changed_root() {
    if !rustix::process::geteuid().is_root() {
        return skip("root", "only root can change the root");
    }
    let Some(place) = place() else { return };
    let place = place.path();
    let userns = built(&solve(place, "a", &[], &["--isolation", "userns"]));
    assert!(userns.announced.starts_with("isolation: user namespaces, "), "{userns:?}");
    let chroot = built(&solve(place, "b", &[], &["--isolation", "chroot"]));
    assert!(chroot.announced.starts_with("isolation: chroot; steps share with this container: "), "{chroot:?}");
    assert_eq!(chroot.digest, userns.digest);
}

/// Lists everything in a container that is not the store's, and its mounts and processes.
const LISTING: &str = "find / -xdev -path /root/store -prune -o -path /root/graph -prune -o -exec stat -c '%n %f %u %g %s %Y' {} +; \
                       find /dev -path /dev/shm -prune -o -exec stat -c '%n %f' {} +; cat /proc/self/mountinfo; ls -d /proc/[0-9]* | wc -l";

#[test]
fn root_in_an_ordinary_container_builds_and_leaves_no_trace() {
    let Some(container) = Container::new() else { return };
    let Some(place) = place() else { return };
    let script = format!(
        "cat > /root/graph; touch /root /; ({LISTING}) > /dev/shm/before; \
         dockless solve --store /root/store --local root=/root/step < /root/graph; code=$?; \
         ({LISTING}) > /dev/shm/after; busybox diff /dev/shm/before /dev/shm/after >&2 || code=99; \
         ls /root/store/tmp >&2; exit $code"
    );
    let Some(output) = container.run(&script, &graph().to_bytes()) else { return };
    let here = built(&output);
    assert!(here.announced.starts_with("isolation: chroot, for want of user namespaces"), "{here:?}");
    let there = built(&solve(place.path(), "a", &[], &[]));
    assert_eq!(here.digest, there.digest);
}
#[test]
#[ignore = "dump"]
fn dump_graph() {
    std::fs::write("/tmp/chroot/graph.pb", graph().to_bytes()).unwrap();
}
