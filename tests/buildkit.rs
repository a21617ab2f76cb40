//! Graphs solved by a real BuildKit daemon: what comes back is what this machine would have made, and is told alike.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::ops::Deref;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use dockless::llb::{Edge, Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;

use crate::support::buildkit::Buildkitd;
use crate::support::solve::Bench;

/// One daemon for the tests that run at the same time, which only look at what is theirs; it ends with the last of them.
pub(crate) fn daemon() -> Option<Shared> {
    static SHARED: Mutex<Weak<Buildkitd>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(daemon) = shared.upgrade() {
        return Some(Shared(daemon));
    }
    let daemon = Arc::new(Buildkitd::start()?);
    *shared = Arc::downgrade(&daemon);
    Some(Shared(daemon))
}

/// A daemon that others use, too; written, it is its address.
pub(crate) struct Shared(Arc<Buildkitd>);

impl Deref for Shared {
    type Target = str;

    fn deref(&self) -> &str {
        self.0.address()
    }
}

impl std::fmt::Display for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything of a tar but the times of its entries.
pub(crate) fn contents(tar: &Path) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(fs::File::open(tar).expect("an export"));
    let mut all = BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let header = entry.header().clone();
        let name = entry.path().expect("a name").display().to_string();
        let link = entry.link_name().expect("a link").map(|link| link.display().to_string()).unwrap_or_default();
        let mut bytes = Vec::new();
        std::io::copy(&mut entry, &mut bytes).expect("bytes");
        let looks = (header.mode().expect("mode"), header.uid().expect("uid"), header.gid().expect("gid"));
        let kind = header.entry_type();
        all.insert(name, format!("{kind:?} {looks:?} {link} {}", String::from_utf8_lossy(&bytes)));
    }
    all
}

fn export(bench: &Bench, graph: &Graph, more: &[&str], name: &str) -> (BTreeMap<String, String>, String) {
    let tar = bench.root().with_file_name(name);
    let output = format!("type=tar,dest={}", tar.display());
    let mut arguments = vec!["-o", &output];
    arguments.extend(more);
    let run = bench.solve(graph, &arguments);
    assert!(run.status.success(), "{}", said(&run));
    (contents(&tar), said(&run))
}

#[test]
fn a_graph_gives_the_same_tree_by_either_engine() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let mut builder = GraphBuilder::new();
    let script = "mkdir -p /out/d/e; echo a > /out/d/f; chmod 4751 /out/d/f; cp -l /out/d/f /out/d/hard;
        chown 7:8 /out/d/e; mkdir /out/empty; chmod 1777 /out/empty";
    let first = Bench::step(&mut builder, "first", script, &[]);
    let other = Bench::step(&mut builder, "other", "mkdir /out/d; echo b > /out/d/g; echo c > /out/x", &[]);
    let last = Bench::step(&mut builder, "last", "cp -a /in/. /out/; cat /in/d/f /in/d/g > /out/sum", &[first, other]);
    let graph = builder.finish(last);
    let (here, _) = export(&bench, &graph, &["--engine", "embedded"], "here.tar");
    let (there, told) = export(&bench, &graph, &["--buildkit-addr", &address], "there.tar");
    assert_eq!(here, there, "{told}");
    assert!(here.len() == 8 && here.values().any(|entry| entry.contains("a\nb\n")), "{here:?}");
    for step in ["first", "other", "last"] {
        assert!(told.contains(&format!("{step} done")), "{told}");
    }
}

/// Steps, each on a root that is copied from the user's directory: what a daemon finds again, as it looks at its files. One
/// that is the user's directory itself is another one each time.
fn found_again(scripts: &[&str]) -> Graph {
    let mut builder = GraphBuilder::new();
    let local = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let copy = pb::FileActionCopy {
        src: "/".to_owned(),
        dest: "/".to_owned(),
        mode: -1,
        timestamp: -1,
        dir_copy_contents: true,
        create_dest_path: true,
        ..pb::FileActionCopy::default()
    };
    let action = Some(pb::file_action::Action::Copy(copy));
    let file = pb::FileOp { actions: vec![pb::FileAction { input: -1, secondary_input: 0, output: 0, action }] };
    let root = builder.add("copied", pb::op::Op::File(file), &[local], Arch::X86_64, &["file.base"]);
    let mut last: Option<Edge> = None;
    for (number, script) in scripts.iter().enumerate() {
        let meta = pb::Meta {
            args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned()],
            cwd: "/".to_owned(),
            ..pb::Meta::default()
        };
        let mut mounts = vec![op::bind(0, "/"), op::scratch("/out", Some(0))];
        mounts.extend(last.map(|_| op::bind(1, "/tmp")));
        let exec = pb::ExecOp { meta: Some(meta), mounts, network: pb::NetMode::None.into(), ..pb::ExecOp::default() };
        let inputs: Vec<Edge> = [root].into_iter().chain(last).collect();
        last = Some(builder.add(&format!("step {number}"), pb::op::Op::Exec(exec), &inputs, Arch::X86_64, &[]));
    }
    builder.finish(last.expect("a step"))
}

#[test]
fn what_is_done_is_not_done_again_and_not_sent_again() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let graph = found_again(&["echo $((6 * 7)) > /out/x", "cat /tmp/x > /out/y"]);
    let (first, told) = export(&bench, &graph, &["--buildkit-addr", &address], "first.tar");
    assert!(told.contains("step 1 done"), "{told}");
    let (again, told) = export(&bench, &graph, &["--buildkit-addr", &address], "again.tar");
    assert!(told.contains("step 1 cached") && !told.contains("step 1 done"), "{told}");
    let (anew, told) = export(&bench, &graph, &["--buildkit-addr", &address, "--no-cache"], "anew.tar");
    assert!(told.contains("step 1 done"), "{told}");
    assert!(first == again && first == anew && first.values().any(|entry| entry.ends_with("42\n")), "{first:?}");
}

#[test]
fn a_step_that_fails_is_told_alike_by_either_engine() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let graph = Bench::graph(&["echo one; echo two; exit 17"]);
    for engine in [["--engine", "embedded"], ["--buildkit-addr", &address]] {
        let run = bench.solve(&graph, &engine);
        let told = said(&run);
        assert_eq!(run.status.code(), Some(1), "{told}");
        assert!(told.contains("error: step `step 0` failed: exit code 17"), "{told}");
        let tail = told.split("lines of its output").nth(1).expect("the end of the output");
        assert!(tail.contains("one") && tail.contains("two"), "{told}");
        let log = told.split("whole log: ").nth(1).and_then(|rest| rest.lines().next()).expect("a log");
        assert_eq!(fs::read_to_string(log).expect("the log is there"), "one\ntwo\n");
    }
}

#[test]
fn ctrl_c_ends_the_solve_here_and_there() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let mark = format!("{}.4711", std::process::id());
    let graph = Bench::graph(&[&format!("sleep {mark}")]);
    let mut child = bench.command(&["--buildkit-addr", &address]).spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("read");
    let runs = || {
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| line.starts_with(b"sleep\0") && String::from_utf8_lossy(&line).contains(&mark))
    };
    let within = |seconds: u64, what: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end && !what() {
            std::thread::sleep(Duration::from_millis(50));
        }
        what()
    };
    assert!(within(60, &runs), "the step never began");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    let run = child.wait_with_output().expect("it ends");
    assert_eq!(run.status.code(), Some(130), "{}", said(&run));
    assert!(within(30, &|| !runs()), "the step goes on");
}

/// A graph of copies from the local source `name`.
fn local(include: &[&str]) -> Graph {
    let mut builder = GraphBuilder::new();
    let include: Vec<String> = include.iter().map(|&pattern| pattern.to_owned()).collect();
    let edge = builder.add("files", op::local("files", &include), &[], Arch::X86_64, &["source.local"]);
    builder.finish(edge)
}

#[test]
fn directories_are_sent_as_far_as_they_are_wanted_and_as_they_are() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let place = tempfile::tempdir().expect("temporary directory");
    let at = |name: &str| place.path().join(name);
    fs::create_dir_all(at("a/b/c")).expect("directories");
    fs::create_dir_all(at("büro")).expect("directories");
    for (name, bytes) in [("a/b/c/x.txt", 3), ("a/b/y.txt", 300_000), ("a/z", 0), ("büro/x.txt", 70_000)] {
        fs::write(at(name), vec![b'x'; bytes]).expect("a file");
    }
    fs::hard_link(at("a/b/y.txt"), at("a/hard.txt")).expect("a link");
    std::os::unix::fs::symlink("b/y.txt", at("a/soft.txt")).expect("a link");
    let named = format!("files={}", place.path().display());
    for include in [&[][..], &["**/*.txt"], &["a/b", "büro/*"], &["a/*", "!a/b"]] {
        let graph = local(include);
        let of = |engine: [&str; 2], name| export(&bench, &graph, &["--local", &named, engine[0], engine[1]], name).0;
        let (here, there) = (of(["--engine", "embedded"], "here.tar"), of(["--buildkit-addr", &address], "there.tar"));
        assert!(here == there, "{include:?}: {:?} {:?}", here.keys(), there.keys());
        assert!(!here.is_empty());
    }
    // What has changed since is sent, though size and name are the same.
    fs::write(at("a/b/c/x.txt"), "new").expect("a file");
    let (there, _) = export(&bench, &local(&[]), &["--local", &named, "--buildkit-addr", &address], "there.tar");
    assert!(there.iter().any(|(name, entry)| name.ends_with("x.txt") && entry.ends_with(" new")));
}

#[test]
fn only_what_is_given_can_be_had() {
    let (Some(bench), Some(address)) = (Bench::new(), daemon()) else { return };
    let mut builder = GraphBuilder::new();
    let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let secret = pb::Mount {
        input: -1,
        output: -1,
        dest: "/tmp/secret".to_owned(),
        mount_type: pb::MountType::Secret.into(),
        secret_opt: Some(pb::SecretOpt { id: "token".to_owned(), mode: 0o400, ..pb::SecretOpt::default() }),
        ..pb::Mount::default()
    };
    let meta = pb::Meta {
        args: ["/bin/sh", "-euc", "cat /tmp/secret > /out/x; cat /tmp/secret"].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".to_owned(),
        ..pb::Meta::default()
    };
    let mounts = vec![op::bind(0, "/"), op::scratch("/out", Some(0)), secret];
    let exec = pb::ExecOp { meta: Some(meta), mounts, network: pb::NetMode::None.into(), ..pb::ExecOp::default() };
    let edge = builder.add("secretive", pb::op::Op::Exec(exec), &[root], Arch::X86_64, &["exec.mount.secret"]);
    let graph = builder.finish(edge);
    let run = bench.solve(&graph, &["--buildkit-addr", &address]);
    assert_eq!(run.status.code(), Some(1), "{}", said(&run));
    assert!(said(&run).contains("secret token"), "{}", said(&run));
    let file = bench.root().with_file_name("token");
    fs::write(&file, "s3cr3t-value").expect("a secret");
    let given = format!("id=token,src={}", file.display());
    let (there, _) = export(&bench, &graph, &["--buildkit-addr", &address, "--secret", &given], "there.tar");
    assert!(there.values().any(|entry| entry.contains("s3cr3t-value")), "{there:?}");
}

#[test]
fn a_local_cache_goes_from_one_daemon_to_another() {
    let Some(bench) = Bench::new() else { return };
    let graph = found_again(&["echo $((6 * 7)) > /out/x", "cat /tmp/x > /out/y"]);
    let cache = bench.root().with_file_name("cache");
    for (flag, expected) in
        [("--cache-to=type=local,mode=max,dest=", "done"), ("--cache-from=type=local,src=", "cached")]
    {
        let Some(daemon) = Buildkitd::start() else { return };
        let flag = format!("{flag}{}", cache.display());
        let (there, told) = export(&bench, &graph, &["--buildkit-addr", daemon.address(), &flag], "there.tar");
        assert!(there.values().any(|entry| entry.contains("42")), "{there:?}");
        assert!(told.contains(&format!("step 1 {expected}")), "{told}\n{}", daemon.log());
    }
    let index = fs::read_to_string(cache.join("index.json")).expect("a layout");
    assert!(index.contains("latest"), "{index}");
}

#[test]
fn what_a_daemon_is_given_can_be_shown() {
    let shown = |engine: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dockless"));
        let run =
            command.args(["graph", "zlib", "--format", "json", "--engine", engine]).output().expect("the binary runs");
        assert!(run.status.success(), "{}", said(&run));
        String::from_utf8_lossy(&run.stdout).into_owned()
    };
    let (here, there) = (shown("embedded"), shown("buildkit"));
    for word in ["MAKEFLAGS=-j8", "oci.store"] {
        assert!(there.contains(word) && !here.contains(word), "{word}");
    }
}
