//! What a step may use at most, and that nothing of its group stays.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use dockless::cgroup::{Controller, Cpus, Groups, Limits, Met, Place, delegated};
use dockless::llb::{Graph, pb};
use dockless::sandbox::{Cancel, Outcome};
use prost::Message as _;

use crate::support::cell::{Cell, is_running};
use crate::support::skip;
use crate::support::solve::Bench;

/// The groups that tests may make; `None`, said aloud, where this machine has none for this user.
fn groups(needed: &[Controller]) -> Option<Groups> {
    let place = Place::own().expect("this process is somewhere");
    match Groups::open(&place, needed.iter().copied()) {
        Ok(groups) => Some(groups),
        Err(error) => {
            skip("cgroup", &error.to_string());
            None
        }
    }
}

/// A step with limits, and what holds its group.
fn limited(script: &str, limits: Limits) -> Option<(Cell, Groups)> {
    let cell = Cell::new(script)?;
    let controllers: Vec<Controller> = limits.controllers().collect();
    let groups = groups(&controllers)?;
    let group = groups.step(&limits).expect("a group");
    Some((cell.with(|step| step.group = Some(group)), groups))
}

const MIB: u64 = 1 << 20;

#[test]
fn a_step_that_takes_too_much_memory_is_ended_and_the_limit_is_named() {
    let script = "perl -e 'my $all = \"x\" x (200 << 20); print length $all'; echo code $?; exit 7";
    let limits = Limits { memory: Some(32 * MIB), ..Limits::default() };
    let Some((cell, _groups)) = limited(script, limits) else { return };
    let (exit, log) = cell.try_run(&Cancel::new().expect("a switch"));
    let exit = exit.expect("it ran");
    assert_eq!(exit.met, Met { memory: Some(32 * MIB), pids: None }, "{}", String::from_utf8_lossy(&log));
    assert!(exit.to_string().contains("the step's limit of 32m"), "{exit}");
}

#[test]
fn memory_file_systems_of_a_step_count_as_its_memory() {
    let limits = Limits { memory: Some(32 * MIB), ..Limits::default() };
    let Some((cell, _groups)) = limited("head -c 100M /dev/zero > /tmp/big", limits) else { return };
    let (exit, _) = cell.try_run(&Cancel::new().expect("a switch"));
    assert_eq!(exit.expect("it ran").met.memory, Some(32 * MIB));
}

#[test]
fn a_step_within_its_limits_notices_nothing_of_them() {
    let limits = Limits { memory: Some(256 * MIB), pids: Some(50), cpus: Cpus::parse("1"), ..Limits::default() };
    let Some((cell, _groups)) = limited("cat /proc/self/cgroup", limits) else { return };
    let output = cell.output();
    for controller in Controller::ALL {
        let line =
            output.lines().find(|line| line.split(':').nth(1).is_some_and(|names| names.contains(controller.name())));
        assert!(line.is_none_or(|line| line.ends_with(":/")), "{output}");
    }
}

#[test]
fn a_fork_bomb_is_bounded_and_the_end_of_the_step_ends_it() {
    let marker = format!("77.{}1", std::process::id());
    // Each shell starts two more; what cannot start says so and the rest sleeps.
    let bomb = format!("bomb() {{ sleep {marker} & bomb & bomb; }}; bomb 2>/dev/null; sleep {marker}");
    let limits = Limits { pids: Some(40), ..Limits::default() };
    let Some((cell, _groups)) = limited(&bomb, limits) else { return };
    let cell = cell.with(|step| step.timeout = Some(Duration::from_secs(2)));
    let start = Instant::now();
    let (exit, _) = cell.try_run(&Cancel::new().expect("a switch"));
    let exit = exit.expect("it ran");
    assert_eq!(exit.met.pids, Some(40), "{exit}");
    assert!(exit.to_string().contains("the step's limit is 40"), "{exit}");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
    assert!(!is_running(&marker));
}

#[test]
fn processor_time_is_measured_out() {
    let script =
        "perl -e 'my $end = time + 2; 1 while time < $end; my ($user, $system) = times; print $user + $system'";
    let limits = Limits { cpus: Cpus::parse("0.1"), ..Limits::default() };
    let Some((cell, _groups)) = limited(script, limits) else { return };
    let used: f64 = cell.output().parse().expect("seconds");
    // Two to three seconds of a tenth of a processor; without the limit it would be as many of a whole one.
    assert!(used < 1.0, "{used}");
}

#[test]
fn a_process_that_leaves_its_session_ends_with_the_step_and_no_group_stays() {
    let marker = format!("78.{}1", std::process::id());
    let script =
        format!("setsid sh -c 'sleep {marker} & setsid sleep {marker}' >/dev/null 2>&1 & sleep 0.2; sleep {marker}");
    let limits = Limits { pids: Some(30), memory: Some(64 * MIB), ..Limits::default() };
    for way in ["timeout", "cancel"] {
        let Some((cell, groups)) = limited(&script, limits) else { return };
        let cancel = Cancel::new().expect("a switch");
        let cell = cell.with(|step| step.timeout = (way == "timeout").then(|| Duration::from_secs(1)));
        let exit = thread::scope(|scope| {
            let other = cancel.clone();
            if way == "cancel" {
                scope.spawn(move || {
                    thread::sleep(Duration::from_secs(1));
                    other.cancel();
                });
            }
            cell.try_run(&cancel).0.expect("it ran")
        });
        let wanted = if way == "cancel" { Outcome::Cancelled } else { Outcome::TimedOut };
        assert_eq!((exit.outcome, exit.met), (wanted, Met::default()));
        assert!(!is_running(&marker), "{way}");
        // Other tests of this process have groups of their own beside these.
        let (paths, runs) = (cell.step.group.as_ref().expect("a group").paths(), groups.paths());
        assert!(paths.iter().chain(&runs).all(|path| path.is_dir()));
        drop(cell);
        assert!(!paths.iter().any(|path| path.exists()));
        drop(groups);
        assert!(!runs.iter().any(|path| path.exists()));
    }
}

#[test]
fn groups_of_a_killed_run_are_removed_by_the_next() {
    let Some(groups) = groups(&[Controller::Pids]) else { return };
    drop(groups);
    let marker = format!("79.{}1", std::process::id());
    let Some(bench) = Bench::new() else { return };
    let trial = bench.solve(&Bench::graph(&["echo x > /out/x"]), &["--pids-limit", "20"]);
    if trial.status.code() == Some(3) {
        return skip("cgroup", &String::from_utf8_lossy(&trial.stderr));
    }
    let graph = Bench::graph(&[&format!("sleep {marker}")]);
    let mut command = bench.command(&["--pids-limit", "20"]);
    let mut child = command.spawn().expect("it starts");
    let name = format!("dockless-{}-0", child.id());
    let mut input = child.stdin.take().expect("piped");
    input.write_all(&graph.to_bytes()).expect("it reads");
    drop(input);
    let place = Place::own().expect("this process is somewhere");
    let parent = place.legacy.get(&Controller::Pids).or(place.unified.as_ref()).expect("a tree").clone();
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_running(&marker) {
        assert!(Instant::now() < deadline, "the step did not start");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(parent.join(&name).join("step-0").is_dir());
    child.kill().expect("killed");
    child.wait().expect("reaped");
    while is_running(&marker) {
        assert!(Instant::now() < deadline, "the step outlived its builder");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(parent.join(&name).is_dir());
    // Also one that has no use for groups.
    bench.solve(&Bench::graph(&["echo next > /out/x"]), &[]);
    assert!(!parent.join(&name).exists());
}

#[test]
fn a_limit_that_cannot_be_set_is_refused_before_anything_runs() {
    let place = Place::own().expect("this process is somewhere");
    let (ours, lacks) = delegated(&place);
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo x > /out/x"]);
    for (controller, flag) in
        [(Controller::Memory, "--memory=64m"), (Controller::Pids, "--pids-limit=50"), (Controller::Cpu, "--cpus=1")]
    {
        let output = bench.solve(&graph, &[flag]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(ours.contains(&controller) != lacks.contains_key(&controller));
        if ours.contains(&controller) && output.status.success() {
            continue;
        }
        // Also where this process, in the same group, is in the way.
        assert_eq!(output.status.code(), Some(3), "{flag}: {said}");
        assert!(said.contains(&format!("limit of {controller}")) && said.contains("leave the limit out"), "{said}");
    }
    for wrong in ["--memory=5m", "--cpus=0", "--pids-limit=0", "--step-timeout=10"] {
        assert_eq!(bench.solve(&graph, &[wrong]).status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn no_step_runs_longer_than_the_caller_allows() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["sleep 60"]);
    let start = Instant::now();
    let output = bench.solve(&graph, &["--step-timeout=1s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("timed out") && said.contains("--step-timeout"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// The graph with a wish for memory on its last step (`ops.proto OpMetadata.linux_resources`).
fn wishing(graph: &Graph, memory: i64) -> Graph {
    let mut definition = graph.marshal();
    for metadata in definition.metadata.values_mut() {
        metadata.linux_resources = Some(pb::LinuxResources { memory, ..pb::LinuxResources::default() });
    }
    Graph::from_bytes(&definition.encode_to_vec()).expect("a graph")
}

#[test]
fn what_a_graph_wishes_for_a_step_is_granted_or_told() {
    let Some(bench) = Bench::new() else { return };
    // `cp` holds little; the file in memory counts.
    let graph = wishing(&Bench::graph(&["cat /dev/zero > /tmp/big; exit 1"]), 16 << 20);
    let output = bench.solve(&graph, &["--step-timeout=20s"]);
    let said = String::from_utf8_lossy(&output.stderr);
    // With version 2 this process, in the same group, is in the way.
    let place = Place::own().expect("this process is somewhere");
    if place.legacy.contains_key(&Controller::Memory) && delegated(&place).0.contains(&Controller::Memory) {
        assert!(said.contains("the step's limit of 16m"), "{said}");
    } else {
        assert!(said.contains("limits that the graph names are not applied"), "{said}");
    }
}
