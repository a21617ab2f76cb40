//! `dockless release`: the matrix under one budget, all or nothing, and on where it stopped.
//!
//! The recipes here make small trees that are no Python, so that what builds is real and quick; what tests say of such a tree is
//! a failure, as it must be. `scripts/test` releases a real one.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dockless::dist::{Description, Dist, Stage, VariantOutcome};
use dockless::oci::Digest;

use crate::rootfs_images::Bench;

const MATRIX: &str = "versions = ['3.12', '3.11']\narchitectures = ['x86_64', 'x86']\nsupported = ['3.12', '3.11']\n\
                      name = 'release-{version}-{arch}'\nepoch = 1\n";

const RECIPE: &str = "name = 'python'\nsummary = 'a tree'\nlicense = 'MIT'\nscript = 'python.sh'\nrootfs = 'base'\n\
                      series = true\nsources = ['cpython']\n";

/// A tree that says what it is.
pub(crate) const TREE: &str = "echo making $DOCKLESS_VERSION for $DOCKLESS_ARCH\nmkdir -p /out/opt/python\n\
                    echo $DOCKLESS_VERSION $DOCKLESS_ARCH > /out/opt/python/name\n";

/// A project with two versions, built in an image of a registry on loopback.
pub(crate) fn bench() -> Option<Bench> {
    let bench = Bench::new()?;
    let (index, _) = bench.push("1", &["amd64", "386"], "x");
    bench.write("rootfs/base.toml", &format!("image = '{}@{index}'\n", bench.name("")));
    bench.write("recipes/release.toml", MATRIX);
    bench.write("recipes/python.toml", RECIPE);
    bench.write("scripts/python.sh", TREE);
    let mut lock = String::new();
    for version in ["3.12.6", "3.11.2"] {
        bench.write(&format!("sources/python-{version}.txt"), version);
        let _ = write!(
            lock,
            "[[source]]\nname = 'cpython'\nversion = '{version}'\nfile = 'python-{version}.txt'\nsha256 = '{}'\n\
             license = 'PSF-2.0'\norigins = ['https://nowhere.invalid/x']\n",
            Digest::of(version.as_bytes()).hex()
        );
    }
    bench.write("recipes/locks/debian.lock", &lock);
    Some(bench)
}

/// The project's directory, where commands run.
pub(crate) fn here(bench: &Bench) -> PathBuf {
    bench.place.path().join("project")
}

pub(crate) fn with<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&["release", "--source-dir", "sources", "--profile", "quick"], args].concat()
}

/// Runs a release that must end with this code; returns its lines and what it said.
fn release(bench: &Bench, code: i32, args: &[&str]) -> (Vec<String>, String) {
    let output = bench.run(&with(args));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    (String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(), said)
}

/// Names of the files of a directory, sorted.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

fn description(path: &Path) -> Description {
    let text = fs::read_to_string(path.join("release.json")).expect("a release.json");
    Description::parse(&text).expect("a description")
}

fn outcomes(path: &Path) -> Vec<(String, VariantOutcome)> {
    let variants = description(path).variants;
    variants.into_iter().map(|it| (format!("{}-{}", it.version, it.arch), it.outcome)).collect()
}

/// Steps that were started, but for scripts, which are looked at each time.
fn started(said: &str) -> usize {
    said.lines().filter(|line| line.ends_with(" started") && !line.contains("scripts of")).count()
}

#[test]
fn a_stage_makes_every_variant_of_the_matrix_and_the_second_time_nothing() {
    let Some(bench) = bench() else { return };
    let (paths, said) = release(&bench, 0, &["--stage", "build"]);
    let stems = ["release-3.12-x86_64", "release-3.12-x86", "release-3.11-x86_64", "release-3.11-x86"];
    assert_eq!(paths, stems.map(|stem| format!("build/{stem}.tar.gz")));
    assert!(said.contains("3.11-x86 packing") && said.contains("3.12-x86_64 passed"), "{said}");
    let build = here(&bench).join("build");
    let dist = Dist::open_of(&build, Some(Stage::Build)).expect("a stage");
    for stem in stems {
        let of = |ending: &str| format!("{stem}.{ending}");
        for ending in ["tar.gz", "spdx.json", "cdx.json", "intoto.jsonl", "log"] {
            assert!(dist.assets().iter().any(|asset| asset.name == of(ending)), "{}", of(ending));
        }
        let log = fs::read_to_string(build.join(of("log"))).expect("a log");
        assert!(log.contains("== python 3.1") && log.contains("making 3.1"), "{log}");
        assert_eq!(names(&build.join("logs").join(stem)).len(), 1);
    }
    let facts = &description(&build).variants[3];
    assert_eq!((facts.python.as_deref(), facts.profile.as_deref()), (Some("3.11.2"), Some("quick")));
    assert_eq!((facts.components[0].name.as_str(), facts.components[0].version.as_str()), ("cpython", "3.11.2"));
    let before: Vec<Digest> = dist.tarballs().map(|(asset, _, _)| asset.digest).collect();
    let (_, said) = release(&bench, 0, &["--stage", "build"]);
    assert_eq!(started(&said), 0, "{said}");
    let again = Dist::open_of(&build, Some(Stage::Build)).expect("a stage");
    assert_eq!(before, again.tarballs().map(|(asset, _, _)| asset.digest).collect::<Vec<_>>());
    assert!(description(&build).variants.iter().all(|it| it.steps[0].cached), "{said}");
}

#[test]
fn variants_run_at_the_same_time_and_no_more_steps_than_jobs() {
    let Some(bench) = bench() else { return };
    bench.write("scripts/python.sh", &format!("sleep 1\n{TREE}"));
    for (jobs, store) in [("1", "one"), ("2", "two")] {
        let store = bench.place.path().join(store);
        let store = store.to_str().expect("text");
        let (_, said) = release(&bench, 0, &["--stage", "build", "--jobs", jobs, "--store", store]);
        let (mut running, mut most) = (0, 0);
        for line in said.lines().filter(|line| line.contains(": python 3.1")) {
            match line {
                line if line.ends_with(" started") => running += 1,
                line if line.contains(" done ") => running -= 1,
                _ => {}
            }
            most = most.max(running);
        }
        assert_eq!(most.to_string(), jobs, "{said}");
    }
}

#[test]
fn the_first_failure_ends_all_and_leaves_logs_and_no_directory() {
    let Some(bench) = bench() else { return };
    let script = format!(
        "case $DOCKLESS_VERSION-$DOCKLESS_ARCH in 3.12.6-x86) echo the reason; exit 7;; *) sleep 20;; esac\n{TREE}"
    );
    bench.write("scripts/python.sh", &script);
    let begin = Instant::now();
    let (paths, said) = release(&bench, 1, &["--jobs", "2"]);
    assert!(begin.elapsed() < Duration::from_secs(15), "what ran was not stopped: {said}");
    assert!(paths.is_empty() && said.contains("error: 3.12-x86: step `python 3.12.6` failed: exit code 7"), "{said}");
    assert!(said.contains("the reason") && said.contains("`dist.failed`"), "{said}");
    assert!(said.contains("\n3.12-x86_64 skipped\n") && said.contains("\n3.12-x86 failed\n"), "{said}");
    assert!(!here(&bench).join("dist").exists());
    let failed = here(&bench).join("dist.failed");
    let of = |name: &str, outcome| (name.to_owned(), outcome);
    assert_eq!(
        outcomes(&failed),
        [
            of("3.12-x86_64", VariantOutcome::Skipped),
            of("3.12-x86", VariantOutcome::Failed),
            of("3.11-x86_64", VariantOutcome::Skipped),
            of("3.11-x86", VariantOutcome::Skipped),
        ]
    );
    assert!(fs::read_to_string(failed.join("release-3.12-x86.log")).expect("a log").contains("the reason"));
    assert!(description(&failed).variants[1].error.as_deref().is_some_and(|why| why.contains("exit code 7")));
    // The next success takes it away.
    bench.write("scripts/python.sh", TREE);
    release(&bench, 0, &["--stage", "build", "--out", "dist"]);
    assert!(!failed.exists());
}

#[test]
fn with_keep_going_the_others_are_finished_and_the_directory_says_which_failed() {
    let Some(bench) = bench() else { return };
    bench.write("scripts/python.sh", &format!("[ $DOCKLESS_VERSION != 3.12.6 ] || exit 7\n{TREE}"));
    let (paths, said) = release(&bench, 1, &["--stage", "build", "--keep-going"]);
    assert_eq!(paths, ["build/release-3.11-x86_64.tar.gz", "build/release-3.11-x86.tar.gz"]);
    assert!(said.contains("2 of 4 variants failed: 3.12-x86_64, 3.12-x86") && said.contains("`build` has"), "{said}");
    let build = here(&bench).join("build");
    assert!(Dist::open_of(&build, Some(Stage::Build)).is_ok());
    assert_eq!(outcomes(&build)[0], ("3.12-x86_64".to_owned(), VariantOutcome::Failed));
    assert!(build.join("release-3.12-x86.log").is_file() && !build.join("release-3.12-x86.tar.gz").exists());
}

#[test]
fn a_variant_whose_time_is_up_is_stopped_and_named_with_what_ran() {
    let Some(bench) = bench() else { return };
    bench.write("scripts/python.sh", &format!("[ $DOCKLESS_VERSION != 3.12.6 ] || sleep 60\n{TREE}"));
    let args = ["--stage", "build", "--arch", "x86", "--keep-going", "--timeout", "3s"];
    let (paths, said) = release(&bench, 1, &args);
    assert_eq!(paths, ["build/release-3.11-x86.tar.gz"], "{said}");
    assert!(said.contains("3.12-x86: it took longer than 3.00s: `python 3.12.6` was stopped"), "{said}");
    assert!(said.contains("--timeout"), "{said}");
}

/// Waits for a line that holds `word` in a file that grows.
fn wait_for(log: &Path, word: &str, child: &mut Child) {
    let begin = Instant::now();
    while !fs::read_to_string(log).unwrap_or_default().contains(word) {
        assert!(child.try_wait().expect("a child").is_none(), "{}", fs::read_to_string(log).unwrap_or_default());
        assert!(begin.elapsed() < Duration::from_mins(1), "{}", fs::read_to_string(log).unwrap_or_default());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_run_that_was_killed_goes_on_where_it_stopped() {
    let Some(bench) = bench() else { return };
    let slow = "[ $DOCKLESS_VERSION != 3.11.2 ] || sleep 8";
    bench.write("scripts/python.sh", &format!("{slow}\n{TREE}"));
    for signal in ["KILL", "INT"] {
        let store = bench.place.path().join(signal);
        let store = store.to_str().expect("text");
        let args = with(&["--stage", "build", "--arch", "x86", "--jobs", "1", "--store", store, "--out", signal]);
        let log = bench.place.path().join(format!("{signal}.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(&args).current_dir(here(&bench)).env("DOCKLESS_PROGRESS", "plain").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a log"));
        let mut child = command.spawn().expect("the binary starts");
        wait_for(&log, "3.11-x86: python 3.11.2 started", &mut child);
        let killed = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().expect("kill");
        assert!(killed.success());
        let code = child.wait().expect("ended").code();
        assert_eq!(code, if signal == "INT" { Some(130) } else { None });
        let place = here(&bench).join(signal);
        assert!(!place.exists() && !here(&bench).join(format!("{signal}.failed")).exists());
        let (paths, said) = release(&bench, 0, &args[5..]);
        assert_eq!(paths.len(), 2);
        assert!(said.contains("3.12-x86: python 3.12.6 cached") && started(&said) == 1, "{said}");
        let beside: Vec<String> = names(&here(&bench)).into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(beside.is_empty(), "{beside:?}");
    }
}

#[test]
fn what_does_not_pass_its_tests_is_not_released() {
    let Some(bench) = bench() else { return };
    let (paths, said) = release(&bench, 1, &["3.12", "--arch", "x86"]);
    assert!(paths.is_empty() && said.contains("`release-3.12-x86.tar.gz` did not pass its tests"), "{said}");
    assert!(said.contains("no program inside") && !here(&bench).join("dist").exists(), "{said}");
    assert_eq!(outcomes(&here(&bench).join("dist.failed"))[0].1, VariantOutcome::Failed);
    // Stage by stage it is the same.
    release(&bench, 0, &["3.12", "--arch", "x86", "--stage", "build"]);
    let (_, said) = release(&bench, 1, &["--stage", "test"]);
    assert!(said.contains("did not pass its tests") && !here(&bench).join("test").exists(), "{said}");
}

#[test]
fn names_follow_the_pattern_and_options_the_stage() {
    let Some(bench) = bench() else { return };
    let args = ["3.12", "--arch", "x86", "--stage", "build"];
    let pattern = "standalone-python-{version}-{arch}-{date}";
    let (paths, _) = release(&bench, 0, &[&args[..], &["--name", pattern, "--date", "2026-11-26"]].concat());
    assert_eq!(paths, ["build/standalone-python-3.12-x86-2026-11-26.tar.gz"]);
    bench.write("recipes/release.toml", &MATRIX.replace("release-{version}-{arch}", "p-{version}-{arch}-{date}"));
    let (paths, _) = release(&bench, 0, &[&args[..], &["--epoch", "0"]].concat());
    assert_eq!(paths, ["build/p-3.12-x86-1970-01-01.tar.gz"]);
    for (wrong, words) in [
        (&["--name", "{version}"][..], "{arch}"),
        (&["--tag", "v1"], "--tag is for --stage release"),
        (&["--out", "sources"], "python-3.11.2.txt"),
        (&["--timeout", "never"], "90s"),
    ] {
        let (_, said) = release(&bench, 2, &[&args[..], wrong].concat());
        assert!(said.contains(words), "{said}");
    }
    let (_, said) = release(&bench, 2, &["--stage", "test", "build", "--arch", "x86"]);
    assert!(said.contains("--arch is for --stage build"), "{said}");
    assert_eq!(names(&here(&bench).join("sources")).len(), 2);
}

#[test]
fn a_disk_that_cannot_hold_what_is_missing_is_told_before_the_first_step() {
    let Some(bench) = bench() else { return };
    let args = ["3.12", "--stage", "build", "--arch", "x86"];
    let (paths, said) = release(&bench, 3, &[&args[..], &["--disk-reserve", "1000000t"]].concat());
    assert!(paths.is_empty() && started(&said) == 0, "{said}");
    for words in
        ["free, but what is still to be done needs about", "stay free", "cache prune", "--store", "--disk-reserve"]
    {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
    // A recipe says what its step needs; what is done needs nothing.
    bench.write("recipes/python.toml", &format!("{RECIPE}disk.build = '1000000t'\n"));
    let (_, said) = release(&bench, 3, &args);
    assert!(started(&said) == 0 && said.contains("needs about 1024000000g there"), "{said}");
    bench.write("recipes/python.toml", RECIPE);
    release(&bench, 0, &args);
    bench.write("recipes/python.toml", &format!("{RECIPE}disk.build = '1000000t'\n"));
    let (_, said) = release(&bench, 0, &[&args[..], &["--disk-reserve", "1000000t"]].concat());
    assert_eq!(started(&said), 0, "{said}");
    let (_, said) = release(&bench, 3, &["3.11", "--stage", "build", "--arch", "x86"]);
    assert!(started(&said) == 0, "{said}");
    bench.write("recipes/python.toml", &format!("{RECIPE}disk.build = 'much'\n"));
    let (_, said) = release(&bench, 2, &args);
    assert!(said.contains("`much` is not a size"), "{said}");
}
