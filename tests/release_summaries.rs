//! `dockless describe`: notes, metrics and report, and a directory that is as sound afterwards.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use dockless::dist::Dist;

use crate::support::forge::{dist, seal};
use crate::support::skip;

fn run(arguments: &[&str], here: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.arg("describe").args(arguments).current_dir(here).output().expect("the binary runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const DESCRIPTION: &str = r#"{"format":1,"name":"standalone-python","tag":"release-2026-11-26","started":"2026-11-26T10:00:00Z",
"seconds":1500.5,"variants":[{"version":"3.12","arch":"x86_64","python":"3.12.6","tarball":"release-3.12-x86_64.tar.gz",
"size":40000,"seconds":812.5,"components":[{"name":"openssl","version":"3.5.1","license":"Apache-2.0","size":9000000}],
"steps":[{"name":"openssl","started":1.0,"seconds":60.0},{"name":"zlib","cached":true}],
"tests":[{"name":"moved elsewhere","outcome":"passed"}]}]}"#;

#[test]
fn a_release_is_described_and_its_sums_hold_before_and_after() {
    let place = dist();
    fs::write(place.path().join("release.json"), DESCRIPTION).expect("written");
    seal(&place);
    let here = place.path();
    let described = run(&["."], here);
    assert!(described.status.success(), "{}", said(&described));
    let read = |name: &str| fs::read_to_string(here.join(name)).expect("written");
    assert!(read("metrics.prom").contains("build_time_seconds{version=\"3.12\",arch=\"x86_64\"} 812.5"));
    assert!(read("RELEASE_NOTES.md").contains("| openssl | 3.5.1 |"));
    assert!(read("report.html").contains("moved elsewhere"));
    let names: Vec<String> = Dist::open(here).expect("sound").assets().iter().map(|asset| asset.name.clone()).collect();
    for name in ["metrics.prom", "report.html", "RELEASE_NOTES.md", "release.json"] {
        assert!(names.contains(&name.to_owned()) && read("SHA256SUMS").contains(name), "{name}");
    }
    // Twice gives the same bytes.
    let before = read("SHA256SUMS");
    assert!(run(&["."], here).status.success());
    assert_eq!(read("SHA256SUMS"), before);
    let checked =
        Command::new("sha256sum").args(["--check", "--strict", "--quiet", "SHA256SUMS"]).current_dir(here).output();
    match checked {
        Ok(checked) => assert!(checked.status.success(), "{}", said(&checked)),
        Err(_) => skip("sha256sum", "the program is not on this machine"),
    }
}

#[test]
fn a_template_and_the_release_before_are_taken_from_files() {
    let place = dist();
    let (here, more) = (place.path(), tempfile::TempDir::new().expect("a place"));
    fs::write(here.join("release.json"), DESCRIPTION).expect("written");
    seal(&place);
    let before = DESCRIPTION.replace("3.5.1", "3.5.0").replace("release-2026-11-26", "release-2026-11-01");
    fs::write(more.path().join("release.json"), before).expect("written");
    fs::write(more.path().join("notes.md"), "{tag}\n{changes}\n").expect("written");
    let arguments = |template: &str| {
        let previous = more.path().to_str().expect("text").to_owned();
        run(&[".", "--previous", &previous, "--template", more.path().join(template).to_str().expect("text")], here)
    };
    let described = arguments("notes.md");
    assert!(described.status.success(), "{}", said(&described));
    let notes = fs::read_to_string(here.join("RELEASE_NOTES.md")).expect("written");
    let changed = "- 3.12 x86_64: openssl 3.5.0 → 3.5.1, same size";
    assert_eq!(notes, format!("release-2026-11-26\nSince release-2026-11-01:\n\n{changed}\n"));
    fs::write(more.path().join("wrong.md"), "{what}").expect("written");
    let wrong = arguments("wrong.md");
    assert!(wrong.status.code() == Some(2) && said(&wrong).contains("`{what}`"), "{}", said(&wrong));
}

#[test]
fn a_directory_that_was_changed_is_not_described() {
    let place = dist();
    fs::write(place.path().join("release-3.12-x86.tar.gz"), "other").expect("written");
    let described = run(&["."], place.path());
    assert_eq!(described.status.code(), Some(2), "{}", said(&described));
    assert!(!place.path().join("report.html").exists());
}
