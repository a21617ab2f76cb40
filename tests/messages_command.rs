//! What the command says when it is given something wrong, and what a doctor finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The command with a home of its own.
#[derive(Debug)]
struct Bench {
    home: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary directory") }
    }

    fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// Runs the command in the project.
    fn run(&self, args: &[&str]) -> Output {
        self.run_in(Path::new(env!("CARGO_MANIFEST_DIR")), args)
    }

    fn run_in(&self, project: &Path, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dockless"))
            .args(args)
            .current_dir(project)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.home.path())
            .env("DOCKLESS_STORE", self.store())
            .stdin(Stdio::null())
            .output()
            .expect("the command starts")
    }

    /// Copies the parts of the project that a build reads, for a test to break.
    fn project(&self) -> PathBuf {
        let project = self.home.path().join("project");
        for part in ["recipes", "rootfs", "scripts"] {
            let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(part);
            for entry in walkdir::WalkDir::new(&from) {
                let entry = entry.expect("readable");
                let to = project.join(part).join(entry.path().strip_prefix(&from).expect("below"));
                if entry.file_type().is_dir() {
                    fs::create_dir_all(to).expect("made");
                } else {
                    fs::copy(entry.path(), to).expect("copied");
                }
            }
        }
        project
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Wants exit code 2, nothing on standard output, one error, and these words.
fn assert_refused(output: &Output, wanted: &[&str]) {
    let text = words(output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "results of a refused command: {text}");
    assert_eq!(text.matches("error: ").count(), 1, "{text}");
    for word in wanted {
        assert!(text.contains(word), "no {word:?} in: {text}");
    }
}

#[test]
fn what_does_not_exist_is_refused_with_what_does() {
    let bench = Bench::new();
    assert_refused(&bench.run(&["build", "nosuch"]), &["`nosuch`", "help:", "zlib"]);
    assert_refused(&bench.run(&["build", "python@3.99"]), &["3.99", "help:", "3.11"]);
    assert_refused(&bench.run(&["release", "3.11.99"]), &["3.11.99", "help:", "3.11.2"]);
    assert_refused(&bench.run(&["build", "zlib", "--arch", "mips"]), &["`mips`", "x86_64", "x86"]);
    assert_refused(&bench.run(&["build", "zlib", "--progress", "fancy"]), &["fancy", "plain"]);
}

#[test]
fn a_misspelt_key_is_underlined_in_its_recipe() {
    let bench = Bench::new();
    let project = bench.project();
    let recipe = project.join("recipes/zlib.toml");
    let text = fs::read_to_string(&recipe).expect("a recipe").replacen("script =", "scrpt =", 1);
    fs::write(&recipe, text).expect("written");
    let output = bench.run_in(&project, &["build", "zlib"]);
    assert_refused(&output, &["unknown key `scrpt`", "recipes/zlib.toml:", "scrpt = ", "help:"]);
}

#[test]
fn a_broken_lock_is_shown_where_it_breaks() {
    let bench = Bench::new();
    let project = bench.project();
    let lock = project.join("recipes/locks/debian.lock");
    let text = fs::read_to_string(&lock).expect("a lock").replacen("sha256 = \"", "sha256 = \"zz", 1);
    fs::write(&lock, text).expect("written");
    assert_refused(&bench.run_in(&project, &["build", "zlib"]), &["recipes/locks/debian.lock:", "zz"]);
}

#[test]
fn a_directory_without_recipes_is_no_project() {
    let bench = Bench::new();
    let output = bench.run_in(bench.home.path(), &["build", "zlib"]);
    assert_refused(&output, &["recipes/", "help:", "--project"]);
}

#[test]
fn a_doctor_says_the_same_to_people_and_programs_and_changes_nothing() {
    let bench = Bench::new();
    let output = bench.run(&["doctor", "--offline", "--format", "json"]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let code = if value["can_build"] == true { 0 } else { 3 };
    assert_eq!(output.status.code(), Some(code), "{value}");
    let people = bench.run(&["doctor", "--offline"]);
    assert_eq!(people.status.code(), Some(code));
    let text = String::from_utf8_lossy(&people.stdout);
    for finding in value["findings"].as_array().expect("a list") {
        assert!(text.contains(finding["name"].as_str().expect("a name")), "{finding} is not in: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours without a terminal: {text}");
    assert_eq!(fs::read_dir(bench.home.path()).expect("readable").count(), 0, "something was left behind");
}

#[test]
fn a_machine_whose_store_has_no_place_cannot_build() {
    let bench = Bench::new();
    let output = bench.run(&["doctor", "--offline", "--format", "json", "--store", "/proc/self/store"]);
    assert_eq!(output.status.code(), Some(3));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let row = value["findings"].as_array().and_then(|rows| rows.iter().find(|row| row["state"] == "missing"));
    let mend = row.and_then(|row| row["mend"][0].as_str()).unwrap_or_default();
    assert!(mend.contains("--store DIR"), "{value}");
}
