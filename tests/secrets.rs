//! Secrets reach the step that asks, and nothing else: no layer, log, view, record or list of processes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dockless::llb::{Edge, Graph, GraphBuilder, op, pb};
use dockless::oci::Arch;
use dockless::sandbox::{Cancel, Mount, Outcome, Secret, StepMount};

use crate::support::cell::Cell;
use crate::support::solve::Bench;

/// What no file and no output may hold.
const FILE: &str = "correct-horse-battery";
const VARIABLE: &str = "staple-of-great-length";

/// A secret of its own for the test of processes, beside which the others run and give theirs.
const HELD: &str = "held-by-one-step-only";

/// A step that is given both secrets, then one that is given none and sees the first one's output.
fn graph(script: &str) -> Graph {
    let mut builder = GraphBuilder::new();
    let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let mut step = |name: &str, script: &str, given: bool, input: Option<Edge>| {
        let mut mounts = vec![op::bind(0, "/"), op::scratch("/out", Some(0))];
        let mut edges = vec![root];
        if let Some(edge) = input {
            edges.push(edge);
            mounts.push(op::bind(1, "/in"));
        }
        let mut exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        if given {
            let secret = pb::SecretOpt { id: "file".to_owned(), mode: 0o400, ..pb::SecretOpt::default() };
            mounts.push(pb::Mount {
                input: -1,
                dest: "/run/secrets/file".to_owned(),
                output: -1,
                mount_type: pb::MountType::Secret.into(),
                secret_opt: Some(secret),
                ..pb::Mount::default()
            });
            let name = "TOKEN".to_owned();
            exec.secretenv.push(pb::SecretEnv { id: "variable".to_owned(), name, optional: false });
        }
        exec.mounts = mounts;
        builder.add(name, pb::op::Op::Exec(exec), &edges, Arch::X86_64, &[])
    };
    let first = step("given", script, true, None);
    let second = "ls -R /run /in || true; cat /proc/*/environ /run/secrets/file 2>/dev/null || echo none; echo \"${TOKEN-unset}\"; \
                  echo x > /out/x";
    let last = step("not given", second, false, Some(first));
    builder.finish(last)
}

/// Every file below `place`, whole.
fn files(place: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&path, found);
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path, bytes));
        }
    }
}

fn holds(bytes: &[u8]) -> bool {
    [FILE, VARIABLE].iter().any(|secret| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
}

/// Solves `graph` with both secrets and every document that can be had; returns what was said and where things lie.
fn solve(bench: &Bench, graph: &Graph, more: &[&str]) -> (Output, PathBuf) {
    let place = bench.store().parent().expect("a place").to_owned();
    let file = place.join("given-secret");
    fs::write(&file, format!("{FILE}\n")).expect("written");
    let image = place.join("image.tar");
    let mut arguments = vec![
        format!("--secret=id=file,src={}", file.display()),
        "--secret=id=variable,env=DOCKLESS_TEST_SECRET".to_owned(),
        format!("--output=type=oci-archive,dest={}", image.display()),
        "--provenance".to_owned(),
        "--sbom".to_owned(),
    ];
    arguments.extend(more.iter().map(|word| (*word).to_owned()));
    let mut command = bench.command(&arguments);
    command.env("DOCKLESS_TEST_SECRET", VARIABLE).env("DOCKLESS_LOG", "debug");
    let mut child = command.spawn().expect("the binary starts");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), &graph.to_bytes()).expect("sent");
    let output = child.wait_with_output().expect("the binary ends");
    fs::remove_file(&file).expect("removed");
    (output, place)
}

#[test]
fn a_secret_is_in_no_output_no_log_no_layer_and_no_document() {
    // Whole, twice, in two writes, and from the variable.
    let script = "s=$(cat /run/secrets/file); echo \"[$s$s]\"; echo \"<$TOKEN>\"; printf %s correct-ho; sleep 0.3; \
                  echo rse-battery; ls -l /run/secrets/file > /out/list";
    let Some(bench) = Bench::new() else { return };
    for progress in ["plain", "json"] {
        let (output, place) = solve(&bench, &graph(script), &["--no-cache", "--progress", progress]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(!holds(said.as_bytes()), "{said}");
        if progress == "plain" {
            for line in ["[******]", "<***>", "| ***", "none", "unset"] {
                assert!(said.contains(line), "no {line} in\n{said}");
            }
        }
        let mut found = Vec::new();
        files(&place, &mut found);
        assert!(found.len() > 20);
        let leaks: Vec<PathBuf> = found.into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect();
        assert!(leaks.is_empty(), "{leaks:?}");
    }
}

#[test]
fn a_failing_step_does_not_take_its_secrets_into_the_report() {
    let Some(bench) = Bench::new() else { return };
    let (output, place) = solve(&bench, &graph("echo $TOKEN; cat /run/secrets/file >&2; exit 9"), &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("***") && !holds(said.as_bytes()), "{said}");
    let mut found = Vec::new();
    files(&place, &mut found);
    assert!(!found.iter().any(|(_, bytes)| holds(bytes)));
}

#[test]
fn no_process_shows_a_secret_and_no_other_step_finds_it() {
    let Some(cell) = Cell::new("echo ready; sleep 2; cat /run/secret") else { return };
    let data = format!("{HELD}\n").into_bytes();
    let secret = Mount::Secret(Secret { data, uid: 0, gid: 0, mode: 0o400 });
    let holder = cell.with(|step| step.mounts.push(StepMount::new("/run/secret", secret)));
    // A cache of another build, which holds the same word.
    let holder = holder.writable("cache", "/cache");
    fs::write(holder.dir.path().join("cache/file"), HELD).expect("written");
    let spy = "cat /proc/*/environ /proc/*/cmdline /proc/*/root/run/secret /proc/*/root/cache/* /proc/*/cwd/cache/* \
               /run/secret /cache/* /tmp/* /dev/shm/* 2>/dev/null | \
               tr '\\0' '\\n'; true";
    let Some(spy) = Cell::new(spy) else { return };
    let is_ready = AtomicBool::new(false);
    thread::scope(|scope| {
        let held = scope.spawn(|| {
            let mut log = Vec::new();
            let exit = holder.launcher.run(&holder.step, &Cancel::new().expect("a switch"), &mut |bytes| {
                is_ready.store(true, Ordering::SeqCst);
                log.extend_from_slice(bytes);
            });
            (exit.expect("it runs").outcome, String::from_utf8_lossy(&log).into_owned())
        });
        while !is_ready.load(Ordering::SeqCst) && !held.is_finished() {
            thread::sleep(Duration::from_millis(5));
        }
        for process in fs::read_dir("/proc").expect("read").flatten() {
            for file in ["cmdline", "environ"] {
                let bytes = fs::read(process.path().join(file)).unwrap_or_default();
                assert!(!String::from_utf8_lossy(&bytes).contains(HELD), "{}", process.path().display());
            }
        }
        assert!(!spy.output().contains(HELD));
        assert_eq!(held.join().expect("it ends"), (Outcome::Code(0), format!("ready\n{HELD}\n")));
    });
}

#[test]
fn trees_with_set_uid_programs_lie_where_no_other_user_can_go() {
    let Some(bench) = Bench::new() else { return };
    // The directory may be there already, and open.
    let store = bench.store().parent().expect("a place").join("open");
    fs::create_dir(&store).expect("made");
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).expect("set");
    let run = bench.solve_in(&store, &Bench::graph(&["cp /bin/sh /out/become; chmod 6755 /out/become"]), &[]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut found = Vec::new();
    files(&store, &mut found);
    found.retain(|(path, _)| path.ends_with("become"));
    assert!(!found.is_empty());
    for (path, _) in found {
        assert_ne!(fs::metadata(&path).expect("there").permissions().mode() & 0o4000, 0);
        let above = path.ancestors().skip(1).take_while(|above| *above != store);
        let closed = |above: &Path| fs::metadata(above).expect("there").permissions().mode().trailing_zeros() >= 6;
        assert!(above.into_iter().any(closed), "{} is open to all", path.display());
    }
}

/// A step that is given an agent and talks to it, then one that is not.
fn with_agent() -> Graph {
    let mut builder = GraphBuilder::new();
    let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    let mut step = |name: &str, script: &str, given: bool, input: Option<Edge>| {
        let mut exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![op::bind(0, "/"), op::scratch("/out", Some(0))],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        if given {
            exec.mounts.push(pb::Mount {
                input: -1,
                dest: "/run/agent".to_owned(),
                output: -1,
                mount_type: pb::MountType::Ssh.into(),
                ssh_opt: Some(pb::SshOpt { id: "default".to_owned(), mode: 0o600, ..pb::SshOpt::default() }),
                ..pb::Mount::default()
            });
        }
        let mut edges = vec![root];
        if let Some(edge) = input {
            edges.push(edge);
            exec.mounts.push(op::bind(1, "/in"));
        }
        builder.add(name, pb::op::Op::Exec(exec), &edges, Arch::X86_64, &[])
    };
    let first = step("given", "test -S /run/agent; echo it is there; echo x > /out/x", true, None);
    let second =
        "ls -l /run /in /proc/*/root/run 2>/dev/null || true; test ! -S /run/agent; echo it is not; echo x > /out/x";
    let last = step("not given", second, false, Some(first));
    builder.finish(last)
}

#[test]
fn an_agent_is_there_for_the_step_that_asks_and_nothing_of_it_stays() {
    use std::os::unix::fs::FileTypeExt as _;
    const AGENT: &str = "where-the-users-agent-listens";
    let Some(bench) = Bench::new() else { return };
    let place = bench.store().parent().expect("a place").to_owned();
    let socket = place.join(AGENT);
    let _agent = std::os::unix::net::UnixListener::bind(&socket).expect("an agent");
    let image = place.join("image.tar");
    let agent = format!("--ssh=default={}", socket.display());
    let output = format!("--output=type=oci-archive,dest={}", image.display());
    let run = bench.solve(&with_agent(), &[&agent, &output, "--provenance", "--sbom"]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("it is there") && said.contains("it is not") && !said.contains(AGENT), "{said}");
    let mut open = vec![bench.store()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let kind = entry.file_type().expect("a type");
            assert!(!kind.is_socket(), "{entry:?}");
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file() {
                let bytes = fs::read(entry.path()).unwrap_or_default();
                assert!(!bytes.windows(AGENT.len()).any(|part| part == AGENT.as_bytes()), "{entry:?}");
            }
        }
    }
    let bytes = fs::read(&image).expect("an image");
    assert!(!bytes.windows(AGENT.len()).any(|part| part == AGENT.as_bytes()));
}
