//! What ran once does not run again, and what must run does.

use std::io::Write as _;
use std::time::Duration;

use dockless::llb::{GraphBuilder, op};
use dockless::oci::Arch;

use crate::support::solve::{Bench, read};

/// Steps that really ran, by the lines that say they started.
fn ran(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| line.split_once(' ')?.1.strip_suffix(" started"))
        .filter(|name| name.starts_with("step"))
        .collect()
}

#[test]
fn a_finished_build_is_answered_from_its_records() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["date +%N > /out/a", "cat /in/a > /out/b"]);
    let (first, said) = bench.solved(&graph);
    assert_eq!(ran(&said).len(), 2, "{said}");
    let (second, said) = bench.solved(&graph);
    assert_eq!(ran(&said).len(), 0, "{said}");
    assert_eq!(first, second);
}

#[test]
fn a_changed_step_runs_again_with_what_depends_on_it() {
    let Some(bench) = Bench::new() else { return };
    bench.solved(&Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b", "cat /in/b > /out/c"]));
    let (tree, said) = bench.solved(&Bench::graph(&["echo 1 > /out/a", "echo 2 > /out/b", "cat /in/b > /out/c"]));
    assert_eq!(ran(&said), ["step 1", "step 2"], "{said}");
    assert_eq!(read(&tree, "c"), "2\n");
}

#[test]
fn an_identical_output_stops_everything_below() {
    let Some(bench) = Bench::new() else { return };
    bench.solved(&Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b", "cat /in/b > /out/c"]));
    let (_, said) =
        bench.solved(&Bench::graph(&["echo 1 > /out/a # changed", "cat /in/a > /out/b", "cat /in/b > /out/c"]));
    assert_eq!(ran(&said), ["step 0"], "{said}");
}

#[test]
fn ignoring_the_cache_runs_everything() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b"]);
    bench.solved(&graph);
    let run = bench.solve(&graph, &["--no-cache"]);
    assert_eq!(ran(&String::from_utf8_lossy(&run.stderr)).len(), 2);
}

#[test]
fn merges_hold_all_inputs_and_later_ones_win() {
    let Some(bench) = Bench::new() else { return };
    let mut builder = GraphBuilder::new();
    let one = Bench::step(&mut builder, "step a", "mkdir /out/d; echo a > /out/d/x; echo a > /out/both", &[]);
    let two = Bench::step(&mut builder, "step b", "mkdir /out/d; echo b > /out/d/y; echo b > /out/both", &[]);
    let end = Bench::step(&mut builder, "step c", "cat /in/d/x /in/d/y /in/both > /out/all", &[one, two]);
    let (tree, _) = bench.solved(&builder.finish(end));
    assert_eq!(read(&tree, "all"), "a\nb\nb\n");
}

#[test]
fn two_runs_share_the_work_of_one_step() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["sleep 1; date +%N > /out/a"]);
    let start = |_| {
        let mut child = bench.command::<&str>(&[]).spawn().expect("the binary starts");
        child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("a definition is read");
        child
    };
    let outputs = [0, 1].map(start).map(|child| child.wait_with_output().expect("the binary ends"));
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    assert_eq!(outputs[0].stdout, outputs[1].stdout);
    let total: usize = outputs.iter().map(|output| ran(&String::from_utf8_lossy(&output.stderr)).len()).sum();
    assert_eq!(total, 1, "{outputs:?}");
}

#[test]
fn a_run_that_was_killed_leaves_a_store_that_the_next_one_uses() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a", "sleep 3; cat /in/a > /out/b"]);
    let mut child = bench.command::<&str>(&[]).spawn().expect("the binary starts");
    child.stdin.take().expect("piped").write_all(&graph.to_bytes()).expect("a definition is read");
    std::thread::sleep(Duration::from_secs(2));
    child.kill().expect("kill -9");
    child.wait().expect("dead");
    let (tree, said) = bench.solved(&graph);
    assert_eq!(ran(&said), ["step 1"], "{said}");
    assert_eq!(read(&tree, "b"), "1\n");
}

#[test]
fn a_failing_step_shows_its_end_and_keeps_its_whole_log() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 7"]);
    let run = bench.solve(&graph, &[]);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(run.stdout.is_empty());
    assert!(said.contains("step 0") && said.contains("exit code 7") && said.contains("line 99"), "{said}");
    let log = said.split_whitespace().find(|word| word.contains("/logs/")).expect("the path of the log");
    assert_eq!(std::fs::read_to_string(log).expect("the log").lines().count(), 100);
}

/// Names of the vertices that were worked on.
fn worked_on(said: &str) -> Vec<&str> {
    said.lines().filter_map(|line| line.split_once(' ')?.1.strip_suffix(" started")).collect()
}

#[test]
fn a_directory_is_copied_again_only_when_something_in_it_changed_whatever_its_times_say() {
    let Some(bench) = Bench::new() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("file");
    std::fs::write(&file, "old").expect("written");
    let mut builder = GraphBuilder::new();
    let edge = builder.add("copied", op::local("user", &[]), &[], Arch::X86_64, &[]);
    let graph = builder.finish(edge);
    let solve = || {
        let run = bench.solve(&graph, &["--local", &format!("user={}", place.path().display())]);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{said}");
        let tree = std::path::PathBuf::from(String::from_utf8_lossy(&run.stdout).trim());
        (read(&tree, "file"), worked_on(&said).contains(&"copied"))
    };
    // A look at what has just been written does not count.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(solve(), ("old".to_owned(), true));
    assert_eq!(solve(), ("old".to_owned(), false));
    let time = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).expect("a time");
    std::fs::write(&file, "new").expect("written");
    std::fs::File::options().write(true).open(&file).and_then(|file| file.set_modified(time)).expect("set back");
    assert_eq!(solve(), ("new".to_owned(), true));
}

#[test]
fn every_miss_tells_its_reason_when_asked() {
    let Some(bench) = Bench::new() else { return };
    let reason = |graph: &dockless::llb::Graph, arguments: &[&str], step: &str| {
        let run = bench.solve(graph, arguments);
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{said}");
        let start = format!("{step} started (");
        let line = said.lines().find_map(|line| Some(line.split_once(&start)?.1.trim_end_matches(')').to_owned()));
        line.unwrap_or_else(|| panic!("{step} did not say why: {said}"))
    };
    let first = Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b"]);
    assert_eq!(reason(&first, &["-v"], "step 1"), "no earlier run is known");
    let second = Bench::graph(&["echo 2 > /out/a", "cat /in/a > /out/b"]);
    assert_eq!(reason(&second, &["-v"], "step 0"), "the command changed");
    let third = Bench::graph(&["echo 3 > /out/a", "cat /in/a > /out/b"]);
    assert_eq!(reason(&third, &["-v"], "step 1"), "the content at /in changed");
    assert_eq!(reason(&third, &["-v", "--no-cache"], "step 1"), "the cache is ignored");
}
