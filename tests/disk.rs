//! The disk does not run full: with a store on a small file system of its own, in a mount namespace of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::support::skip;
use crate::support::solve::Bench;

/// A bench whose programs run with a store on an empty file system of `options`.
struct Small {
    bench: Bench,
    options: &'static str,
}

/// A step that writes until nobody lets it, and gives whoever watches, on a busy machine, time to look.
const WRITER: &str = "while cat /bin/sh >> /out/big; do :; done; sleep 4; echo it ended by itself; exit 7";

impl Small {
    fn new(options: &'static str) -> Option<Self> {
        let small = Self { bench: Bench::new()?, options };
        let tried = small.run(":", &[]);
        if tried.status.success() {
            return Some(small);
        }
        skip("tmpfs in a mount namespace", &String::from_utf8_lossy(&tried.stderr));
        None
    }

    fn place(&self) -> PathBuf {
        self.bench.store().with_file_name("small")
    }

    /// Runs a shell script in which `solve NAME OPTION…` solves the graph of that name; both outputs are one.
    fn run(&self, script: &str, graphs: &[(&str, &[&str])]) -> Output {
        let place = self.place();
        fs::create_dir_all(&place).expect("made");
        for (name, scripts) in graphs {
            fs::write(place.with_file_name(name), Bench::graph(scripts).to_bytes()).expect("written");
        }
        let script = format!(
            "cd {above} && mount -t tmpfs -o {options} small small || exit 99
             solve() {{
                 graph=$1; shift
                 {program} solve --store small/store --local root=root --progress plain \"$@\" < $graph 2>&1
                 echo \"$graph: code $?\"
             }}
             {script}",
            above = place.parent().expect("a place").display(),
            options = self.options,
            program = env!("CARGO_BIN_EXE_dockless"),
        );
        let mut command = Command::new("unshare");
        // As an ordinary user with the one id that needs nobody's help.
        if !rustix::process::geteuid().is_root() {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "sh", "-c", &script]).output().expect("util-linux is there")
    }

    fn said(&self, script: &str, graphs: &[(&str, &[&str])]) -> String {
        let output = self.run(script, graphs);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

#[test]
fn a_step_that_fills_the_disk_is_ended_while_there_is_room_and_leaves_nothing() {
    let Some(small) = Small::new("size=96m") else { return };
    let script = "
        solve before
        solve writer --disk-reserve 40m
        echo \"large: $(find small -size +2000k -newer before -type f | grep -c big)\"
        echo \"temporary: $(find small/store/tmp -mindepth 2 | wc -l)\"
        solve after --disk-reserve 40m
    ";
    let said =
        small.said(script, &[("before", &["echo 1 > /out/x"]), ("writer", &[WRITER]), ("after", &["echo 2 > /out/x"])]);
    assert!(said.contains("writer: code 3") && !said.contains("it ended by itself"), "{said}");
    let error = said.lines().find(|line| line.starts_with("error:")).expect("an error");
    assert!(error.contains("less than the 40m that stay free there: `step 0` was ended"), "{said}");
    assert!(said.contains("dockless cache prune") && said.contains("--disk-reserve"), "{said}");
    assert!(said.contains("large: 0\n") && said.contains("temporary: 0\n"), "{said}");
    assert!(said.contains("after: code 0"), "{said}");
}

#[test]
fn without_a_word_a_twentieth_of_a_small_disk_stays_free_and_with_0_nothing() {
    let Some(small) = Small::new("size=64m") else { return };
    let script = "solve writer; solve writer --disk-reserve 0";
    let said = small.said(script, &[("writer", &[WRITER])]);
    let (usual, none) = said.split_once("writer: code 3").expect("the first is ended");
    assert!(usual.contains("less than the 3276k that stay free there"), "{said}");
    assert!(!usual.contains("it ended by itself"), "{said}");
    // Nobody watches: the kernel says it, and the step ends as it likes.
    assert!(none.contains("it ended by itself") && none.contains("writer: code 1"), "{said}");
}

#[test]
fn a_step_that_makes_files_without_end_is_ended_while_there_are_inodes() {
    let Some(small) = Small::new("size=200m,nr_inodes=20000") else { return };
    let script = "solve writer; solve after";
    let files = "i=0; while :; do : > /out/$i || { sleep 4; exit 7; }; i=$((i+1)); done";
    let said = small.said(script, &[("writer", &[files]), ("after", &["echo 2 > /out/x"])]);
    assert!(said.contains("inodes free, less than the 1000 that stay free there"), "{said}");
    assert!(said.contains("writer: code 3") && said.contains("after: code 0"), "{said}");
}

#[test]
fn what_is_answered_from_the_cache_needs_no_room() {
    let Some(small) = Small::new("size=64m") else { return };
    let script = "solve one; solve one --disk-reserve 64m; solve two --disk-reserve 64m";
    let said = small.said(script, &[("one", &["echo 1 > /out/x"]), ("two", &["echo 2 > /out/x; sleep 5"])]);
    assert_eq!(said.matches("one: code 0").count(), 2, "{said}");
    assert!(said.contains("two: code 3"), "{said}");
}
