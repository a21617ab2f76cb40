//! Room in the store: told truly, and made without breaking anything.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use dockless::llb::Graph;

use crate::support::solve::Bench;

fn cache(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.arg("cache").args(arguments).arg("--store").arg(bench.store());
    // No project: locks of this clone are nothing to a test's store.
    command.arg("--project").arg(bench.store()).env("DOCKLESS_PROGRESS", "plain");
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn pruned(bench: &Bench, arguments: &[&str]) -> String {
    let output = cache(bench, &[&["prune"], arguments].concat()).output().expect("the binary ends");
    assert!(output.status.success(), "{}", said(&output));
    said(&output)
}

fn du(bench: &Bench) -> serde_json::Value {
    let output = cache(bench, &["du", "--format", "json"]).output().expect("the binary ends");
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn count(du: &serde_json::Value, kind: &str) -> usize {
    du["rows"].as_array().expect("rows").iter().filter(|row| row["type"] == kind).count()
}

fn start(bench: &Bench, graph: &Graph) -> Child {
    let mut child = bench.command::<&str>(&[]).spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("a definition is read");
    child
}

/// Steps that really ran.
fn ran(said: &str) -> usize {
    said.lines().filter(|line| line.contains(" step ") && line.ends_with(" started")).count()
}

#[test]
fn what_a_build_can_use_stays_until_it_is_asked_for() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b"]);
    bench.solved(&graph);
    pruned(&bench, &[]);
    assert_eq!(ran(&bench.solved(&graph).1), 0);
    let before = du(&bench);
    assert!(count(&before, "step") >= 2, "{before}");
    let dry = pruned(&bench, &["--all", "--dry-run"]);
    assert!(dry.contains("would be freed"), "{dry}");
    assert_eq!(count(&du(&bench), "step"), count(&before, "step"));
    let all = pruned(&bench, &["--all"]);
    assert!(all.contains(" freed ("), "{all}");
    let after = du(&bench);
    assert_eq!((count(&after, "step"), count(&after, "tree"), count(&after, "log")), (0, 0, 0), "{after}");
    assert!(after["bytes"].as_u64() < before["bytes"].as_u64());
    assert_eq!(ran(&bench.solved(&graph).1), 2);
}

#[test]
fn a_tree_without_a_record_and_a_record_without_a_tree_go() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a", "echo 2 > /out/b"]);
    let (tree, _) = bench.solved(&graph);
    fs::remove_dir_all(tree.parent().expect("its snapshot")).expect("removed");
    fs::write(bench.store().join("cache").join("00"), "nonsense").expect("written");
    let before = fs::read_dir(bench.store().join("cache")).expect("records").count();
    pruned(&bench, &[]);
    let after = fs::read_dir(bench.store().join("cache")).expect("records").count();
    assert!(after <= before - 2, "{before} {after}");
    let rows = du(&bench);
    assert!(rows["rows"].as_array().expect("rows").iter().all(|row| row["keep"] != "unused"), "{rows}");
}

#[test]
fn the_least_recently_used_goes_first_and_a_hit_is_a_use() {
    let Some(bench) = Bench::new() else { return };
    let [one, two] = ["echo one > /out/a", "echo two > /out/a"].map(|script| Bench::graph(&[script]));
    bench.solved(&one);
    bench.solved(&two);
    let old = rustix::fs::Timespec { tv_sec: 1_000_000_000, tv_nsec: 0 };
    for record in fs::read_dir(bench.store().join("cache")).expect("records").flatten() {
        let times = rustix::fs::Timestamps { last_access: old, last_modification: old };
        rustix::fs::utimensat(rustix::fs::CWD, record.path(), &times, rustix::fs::AtFlags::empty()).expect("set");
    }
    bench.solved(&one);
    let fresh = fs::read_dir(bench.store().join("cache")).expect("records").flatten();
    assert_eq!(fresh.filter(|record| record.metadata().expect("there").mtime() > 1_000_000_000).count(), 1);
    pruned(&bench, &["--older-than", "1h", "--filter", "type=step"]);
    assert_eq!((ran(&bench.solved(&one).1), ran(&bench.solved(&two).1)), (0, 1));
}

#[test]
fn a_running_build_is_waited_for() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["sleep 3; echo 1 > /out/a"]);
    let build = start(&bench, &graph);
    thread::sleep(Duration::from_secs(1));
    let refused = cache(&bench, &["prune", "--all", "--no-wait"]).output().expect("the binary ends");
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    let waited = pruned(&bench, &["--all"]);
    assert!(waited.contains("waiting"), "{waited}");
    let ended = build.wait_with_output().expect("the build ends");
    assert!(ended.status.success(), "{}", said(&ended));
}

#[test]
fn a_collection_that_is_killed_leaves_a_store_that_builds() {
    let Some(bench) = Bench::new() else { return };
    let scripts: Vec<String> = (0..8).map(|n| format!("echo {n} > /out/a; cp -r /bin /out/bin")).collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let graph = Bench::graph(&scripts);
    let entries = || -> usize {
        let rooms = ["cache", "snapshots"].map(|room| fs::read_dir(bench.store().join(room)).expect("a room").count());
        rooms.iter().sum()
    };
    let mut in_the_middle = 0;
    for round in 0..8 {
        bench.solved(&graph);
        let full = entries();
        let mut prune = cache(&bench, &["prune", "--all"]).spawn().expect("the binary starts");
        // Killed after a record or two, and later among the trees.
        while entries() > full - 1 - 2 * round && prune.try_wait().expect("asked").is_none() {}
        let _ = prune.kill();
        let killed = prune.wait().expect("reaped").signal().is_some();
        in_the_middle += usize::from(killed && (1..full).contains(&entries()));
        // No record leads to a tree that is gone, and no tree lies on one that is gone.
        let rows = du(&bench);
        let snapshots = bench.store().join("snapshots");
        for record in fs::read_dir(bench.store().join("cache")).expect("records").flatten() {
            let record: serde_json::Value =
                serde_json::from_slice(&fs::read(record.path()).expect("readable")).expect("JSON");
            for output in record["outputs"].as_array().expect("outputs") {
                let id = output["snapshot"].as_str().expect("an id").trim_start_matches("sha256:");
                assert!(snapshots.join(id).is_dir(), "{id}: {rows}");
            }
        }
        let meta = |path: &Path| fs::read(path.join("meta")).expect("a snapshot is whole");
        for snapshot in fs::read_dir(&snapshots).expect("snapshots").flatten() {
            let meta: serde_json::Value = serde_json::from_slice(&meta(&snapshot.path())).expect("JSON");
            for below in meta["below"].as_array().into_iter().flatten() {
                assert!(snapshots.join(below.as_str().expect("an id")).is_dir(), "{meta}");
            }
        }
    }
    assert!(in_the_middle > 1, "{in_the_middle} were killed in the middle");
    bench.solved(&graph);
    pruned(&bench, &["--all"]);
    let left = fs::read_dir(bench.store().join("tmp")).expect("tmp").flatten().count();
    assert_eq!((left, fs::read_dir(bench.store().join("snapshots")).expect("snapshots").count()), (0, 0));
}

#[test]
fn wrong_wishes_are_refused() {
    for arguments in [["--keep-bytes", "lots"], ["--older-than", "7"], ["--filter", "type=stepp"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_dockless")).args(["cache", "prune"]).args(arguments).output();
        assert_eq!(output.expect("the binary ends").status.code(), Some(2), "{arguments:?}");
    }
}
