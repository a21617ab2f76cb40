//! Which way of running steps is taken where, and that all of them make the same.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use dockless::llb::{Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;
use dockless::sys::{self, Action, Filter, FilterFlags, Rule, Table};

use crate::support::container::{Container, furnish, install};
use crate::support::skip;
use crate::support::solve::{Bench, read};

/// What [`graph`] makes, everywhere.
const RESULT: &str = "771c61b923be8c0e6e89b19670f9d82b7ca583e4138b3bce53b4fbad09425294";

/// Two steps that look at what a step has and leave all kinds of files.
fn graph() -> Graph {
    let first = "echo one > /out/a; mkdir /out/d; chmod 750 /out/d; ln /out/a /out/d/b; ln -s a /out/l; \
                 touch -d '2001-02-03 04:05:06' /out/old; \
                 head -c 8 /dev/zero | wc -c > /out/zero; echo gone > /dev/null; cat /dev/null >> /out/zero; \
                 echo said > /dev/stderr; test -d /proc; id -u > /out/id; umask >> /out/id; echo t > /tmp/t; \
                 if touch /new 2> /tmp/why; then exit 9; fi; mkdir -p /out/deep/er; rm -r /out/deep/er; \
                 stat -c %a /tmp /dev/shm >> /out/id";
    let second = "cat /in/a > /out/copy; chmod 4755 /out/copy; cp -r /in/. /out/all; ls / > /out/root; test ! -e /new; \
                  test ! -e /tmp/t; cat /etc/hosts > /out/hosts; wc -c < /etc/resolv.conf >> /out/hosts; \
                  mknod /out/null c 1 3; mknod -m 640 /out/disk b 8 1; chown 0:6 /out/disk";
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
    let line = said.lines().find_map(|line| line.find("isolation: ").map(|at| line[at..].to_owned()));
    Built { digest, announced: line.unwrap_or_else(|| panic!("nothing announced: {said}")) }
}

/// What a run that was refused said.
fn refused(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no step can run here") && said.contains("ways out:"), "{said}");
    said
}

/// A directory with the root of the steps and a store.
fn place() -> Option<tempfile::TempDir> {
    let place = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(place.path().join("step")).expect("made");
    furnish(&place.path().join("step")).then_some(place)
}

/// Has the graph solved in `place`, by our program after these words.
fn solve(place: &Path, words: &[&str], arguments: &[&str]) -> Output {
    let ours = ["solve", "--store", "store", "--local", "root=step"];
    let all: Vec<&str> = words
        .iter()
        .copied()
        .chain([env!("CARGO_BIN_EXE_dockless")])
        .chain(ours)
        .chain(arguments.iter().copied())
        .collect();
    let mut command = Command::new(all[0]);
    command.args(&all[1..]).current_dir(place);
    command.env("DOCKLESS_PROGRESS", "plain").env_remove("DOCKLESS_ISOLATION");
    run(command, &graph())
}

fn run(mut command: Command, graph: &Graph) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    // A run that is refused does not read.
    let _ = child.stdin.take().expect("piped").write_all(&graph.to_bytes());
    child.wait_with_output().expect("it ends")
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn on_a_machine_with_user_namespaces_steps_have_them() {
    let Some(place) = place() else { return };
    let output = solve(place.path(), &[], &[]);
    if output.status.code() == Some(3) {
        return skip("userns", &refused(&output));
    }
    let built = built(&output);
    let facts = sys::facts();
    let ranged =
        facts.newuidmap.is_some() && facts.newgidmap.is_some() && facts.subuid.is_some() && facts.subgid.is_some();
    let wanted = match (facts.uid, ranged, facts.subuid) {
        (0, _, _) => "all ids of root".to_owned(),
        (_, true, Some((_, count))) => format!("{} ids", count + 1),
        _ => "one id".to_owned(),
    };
    assert_eq!(
        (built.announced.as_str(), built.digest.as_str()),
        (&*format!("isolation: user namespaces, {wanted}"), RESULT)
    );
}

#[test]
fn root_may_have_a_changed_root_instead() {
    if !is_root() {
        return skip("root", "only root can change the root");
    }
    let Some(place) = place() else { return };
    let built = built(&solve(place.path(), &[], &["--isolation", "chroot"]));
    assert!(
        built.announced.starts_with("isolation: chroot; steps share with this container: process ids, "),
        "{built:?}"
    );
    assert_eq!(built.digest, RESULT);
    assert_eq!(fs::read_dir(place.path().join("store/tmp")).expect("a store").count(), 0);
}

#[test]
fn others_may_not() {
    if is_root() {
        return skip("user", "this test is an ordinary user's");
    }
    let Some(place) = place() else { return };
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.args(["solve", "--store", "store"]).current_dir(place.path()).env("DOCKLESS_ISOLATION", "chroot");
    let said = refused(&run(command, &graph()));
    assert!(said.contains("device files cannot be made here") || said.contains("only root can"), "{said}");
}

#[test]
fn where_user_namespaces_are_switched_off_a_user_is_told_so() {
    let Some(place) = place() else { return };
    // The switch holds for a namespace and all below it, so that one of our own can be had without.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let words = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"];
    if !Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .status()
        .is_ok_and(|status| status.success())
    {
        return skip("userns", "there are no user namespaces to switch off, or no unshare");
    }
    let said = refused(&solve(place.path(), &words, &[]));
    assert!(said.contains("user.max_user_namespaces=15000"), "{said}");
    assert!(said.contains("device files cannot be made here"), "{said}");
    let said = refused(&solve(place.path(), &words, &["--isolation", "userns"]));
    assert!(!said.contains("changed root"), "{said}");
}

#[test]
fn where_a_filter_forbids_namespaces_root_gets_a_changed_root_and_others_an_answer() {
    let Some(place) = place() else { return };
    let program = std::env::current_exe().expect("a path");
    let mut command = Command::new(program);
    command.args(["--exact", "situations::forbid_namespaces_and_build", "--ignored", "--nocapture"]);
    command.current_dir(place.path()).env("DOCKLESS_PROGRESS", "plain").env_remove("DOCKLESS_ISOLATION");
    let output = run(command, &graph());
    if is_root() {
        let built = built(&output);
        assert!(built.announced.starts_with("isolation: chroot, for want of user namespaces"), "{built:?}");
        assert_eq!(built.digest, RESULT);
    } else {
        let said = refused(&output);
        assert!(said.contains("seccomp=unconfined") && said.contains("only root can"), "{said}");
    }
}

#[test]
#[ignore = "run by where_a_filter_forbids_namespaces_root_gets_a_changed_root_and_others_an_answer"]
fn forbid_namespaces_and_build() {
    // unshare(2) and clone3(2); a filter is the thread's own and that of what it becomes.
    let forbidden = [(272, 1), (435, 38)].map(|(number, errno)| Rule::always(number, Action::Errno(errno)));
    let table = |rules| Table { rules, otherwise: Action::Allow, beyond: None };
    let filter = Filter { x86_64: table(forbidden.to_vec()), i386: table(Vec::new()), foreign: Action::Allow };
    sys::no_new_privileges().expect("allowed");
    sys::install_filter(&filter.assemble(), FilterFlags::default()).expect("installed");
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    panic!("{}", command.args(["solve", "--store", "store", "--local", "root=step"]).exec());
}

/// Two steps that change the root they stand on.
fn layered() -> Graph {
    let mut builder = GraphBuilder::new();
    let mut last = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let first = "echo a > /a; rm /etc/group; mkdir -p /var/x; chmod 700 /var/x; rm -r /usr; mkdir /usr; echo u > /usr/u; ls /tmp";
    let second = "echo b >> /a; mv /usr/u /var/x; ln /a /b; touch -d '2001-02-03 04:05:06' /etc/passwd; chown 5:6 /b";
    for script in [first, second] {
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-ec", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![pb::Mount { readonly: false, output: 0, ..op::bind(0, "/") }, op::tmpfs("/tmp")],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        last = builder.add(script, pb::op::Op::Exec(exec), &[last], Arch::X86_64, &[]);
    }
    builder.finish(last)
}

#[test]
fn an_image_has_the_same_layers_on_every_rung() {
    if !is_root() {
        return skip("root", "only root can change the root");
    }
    let Some(place) = place() else { return };
    let images = ["userns", "chroot"].map(|isolation| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(["solve", "--store", isolation, "--local", "root=step", "--isolation", isolation]);
        command.args(["--output", &format!("type=oci-archive,dest={isolation}.tar")]).current_dir(place.path());
        command.env("DOCKLESS_PROGRESS", "plain").env("SOURCE_DATE_EPOCH", "1700000000");
        let output = run(command, &layered());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(place.path().join(format!("{isolation}.tar"))).expect("an image")
    });
    assert!(images[0] == images[1], "the images differ");
    assert!(images[0].windows(4).filter(|window| window == b"gzip").count() >= 3, "three layers");
}

/// Lists everything in a container that is not the store's, and its mounts and processes.
const LISTING: &str = "find / -xdev -path /root/store -prune -o -path /root/graph -prune -o -exec stat -c '%n %f %u %g %s %Y' {} +; \
     find /dev -path /dev/shm -prune -o -exec stat -c '%n %f' {} +; cat /proc/self/mountinfo; cat /proc/[0-9]*/comm 2> /dev/null | busybox grep dockless";

/// Builds in a container and says how; fails where the build left anything but its store.
fn build_in(container: &Container) -> Option<Output> {
    let store = if container.user.0 == 0 { "/root/store" } else { "/dev/shm/store" };
    let graph_file = if container.user.0 == 0 { "/root/graph" } else { "/dev/shm/graph" };
    let script = format!(
        "cat > {graph_file}; mkdir {store}; ({LISTING}) > /dev/shm/before 2>&1; \
         dockless solve --store {store} --local root=/root/step < {graph_file}; code=$?; \
         ({LISTING}) > /dev/shm/after 2>&1; busybox diff /dev/shm/before /dev/shm/after >&2 || code=99; \
         test -z \"$(ls -A {store}/tmp 2> /dev/null)\" || code=98; exit $code"
    );
    container.run(&script, &graph().to_bytes())
}

#[test]
fn root_in_an_ordinary_container_builds_and_leaves_no_trace() {
    let Some(container) = Container::new() else { return };
    let Some(output) = build_in(&container) else { return };
    let built = built(&output);
    assert!(built.announced.starts_with("isolation: chroot, for want of user namespaces"), "{built:?}");
    assert_eq!(built.digest, RESULT);
}

#[test]
fn root_in_a_container_without_a_filter_builds_the_same() {
    let Some(container) = Container::new() else { return };
    let Some(output) = build_in(&Container { filtered: false, ..container }) else { return };
    let built = built(&output);
    // Namespaces can be had, but no `/proc` in them, as long as parts of the container's are covered.
    assert!(built.announced.starts_with("isolation: chroot, for want of user namespaces"), "{built:?}");
    assert_eq!(built.digest, RESULT);
}

#[test]
fn root_without_its_capabilities_is_told_which_are_missing() {
    let Some(container) = Container::new() else { return };
    let capabilities = container.capabilities.iter().filter(|name| *name != "CAP_MKNOD").cloned().collect();
    let container = Container { capabilities, ..container };
    let Some(output) = build_in(&container) else { return };
    assert!(refused(&output).contains("root lacks the capabilities MKNOD"));
    let Some(output) = build_in(&Container { capabilities: Vec::new(), ..container }) else { return };
    let said = refused(&output);
    assert!(said.contains("CHOWN, DAC_OVERRIDE,") && said.contains("SYS_CHROOT"), "{said}");
}

#[test]
fn a_user_in_an_ordinary_container_is_told_the_ways_out() {
    let Some(container) = Container::new() else { return };
    let container = Container { user: (777, 1000), ..container };
    let Some(output) = build_in(&container) else { return };
    let said = refused(&output);
    assert!(said.contains("seccomp=unconfined") && said.contains("only root can"), "{said}");
    let Some(output) = build_in(&Container { filtered: false, ..container }) else { return };
    assert!(refused(&output).contains("systempaths=unconfined"));
}

#[test]
fn doctor_names_the_way_that_would_be_taken() {
    let Some(container) = Container::new() else { return };
    let script = "dockless doctor --format json --debian-mirror file:///nowhere";
    let Some(output) = container.run(script, b"") else { return };
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = found["findings"].as_array().expect("rows").iter().find(|row| row["name"] == "isolation");
    let row = row.expect("a row");
    assert_eq!(row["state"], "degraded", "{row}");
    assert!(row["detail"].as_str().expect("text").contains("a changed root"), "{row}");
    let Some(output) = Container { user: (777, 1000), ..container }.run(script, b"") else { return };
    assert_eq!(output.status.code(), Some(3));
}

/// Builds in a step of a build, which may do anything or not; returns what the inner build said.
fn build_nested(security: pb::SecurityMode) -> Option<String> {
    let place = place()?;
    let root = place.path().join("step");
    install(&root);
    let inner = root.join("inner");
    fs::create_dir(&inner).expect("made");
    furnish(&inner);
    fs::write(root.join("graph"), graph().to_bytes()).expect("written");
    let script = "cd /tmp; dockless solve --store /tmp/store --local root=/inner < /graph > /tmp/path 2> /out/said; \
                  echo $? > /out/code; cat /tmp/path > /out/path";
    let mut builder = GraphBuilder::new();
    let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let exec = pb::ExecOp {
        meta: Some(pb::Meta {
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin".to_owned(), "DOCKLESS_PROGRESS=plain".to_owned()],
            cwd: "/".to_owned(),
            ..pb::Meta::default()
        }),
        mounts: vec![op::bind(0, "/"), op::scratch("/out", Some(0)), op::tmpfs("/tmp")],
        network: pb::NetMode::None.into(),
        security: security.into(),
        ..pb::ExecOp::default()
    };
    let out = builder.add("outer", pb::op::Op::Exec(exec), &[root], Arch::X86_64, &[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.args(["solve", "--store", "store", "--local", "root=step", "--allow", "security.insecure"]);
    command.current_dir(place.path()).env("DOCKLESS_PROGRESS", "plain").env_remove("DOCKLESS_ISOLATION");
    let output = run(command, &builder.finish(out));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(3) {
        skip("userns", &said);
        return None;
    }
    assert!(output.status.success(), "{said}");
    let tree = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    Some(["code", "path", "said"].map(|name| read(&tree, name)).concat())
}

#[test]
fn a_build_in_a_step_that_may_do_anything_has_namespaces_again() {
    let Some(said) = build_nested(pb::SecurityMode::Insecure) else { return };
    assert!(said.starts_with("0\n") && said.contains(RESULT), "{said}");
    assert!(said.contains("isolation: user namespaces, "), "{said}");
}

#[test]
fn a_build_in_an_ordinary_step_is_told_the_ways_out() {
    let Some(said) = build_nested(pb::SecurityMode::Sandbox) else { return };
    assert!(said.starts_with("3\n") && said.contains("no step can run here"), "{said}");
    assert!(said.contains("seccomp=unconfined") && said.contains("device files cannot be made here"), "{said}");
}
