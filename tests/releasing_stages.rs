//! `dockless release --stage package` and `--stage release`: directories of earlier stages, joined, checked, and described.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use dockless::dist::{self, Component, Description, Dist, FORMAT, Stage, Test, VariantFacts};
use dockless::oci::Digest;
use dockless::release::{Bytes, Product, stage};
use tempfile::TempDir;

use crate::support::skip;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Makes the directory that a stage leaves of one variant which passed its tests.
pub(crate) fn made(place: &Path, of: Stage, version: &str, arch: &str, commit: &str) {
    let name = format!("release-{version}-{arch}");
    let tarball = format!("the tree of {version} for {arch}").into_bytes();
    let component = Component { name: "openssl".to_owned(), version: "3.5.1".to_owned(), ..Component::default() };
    let test = |outcome: &str| Test { name: format!("a test that {outcome}"), outcome: outcome.to_owned(), note: None };
    let facts = VariantFacts {
        version: version.to_owned(),
        arch: arch.to_owned(),
        tarball: Some(format!("{name}.tar.gz")),
        sha256: Some(Digest::of(&tarball)),
        size: Some(tarball.len() as u64),
        components: vec![component],
        tests: if of == Stage::Build { Vec::new() } else { vec![test("passed"), test("skipped")] },
        ..VariantFacts::default()
    };
    let log = place.with_extension("log");
    fs::write(&log, "what it printed").expect("written");
    let product = Product {
        facts,
        files: vec![
            (format!("{name}.tar.gz"), Bytes::Here(tarball)),
            (format!("{name}.spdx.json"), Bytes::Here(b"{}".to_vec())),
            (format!("{name}.log"), Bytes::Here(b"all".to_vec())),
        ],
        logs: vec![(format!("{name}/openssl.log"), log.clone())],
    };
    let description = Description {
        format: FORMAT,
        name: Some("standalone-python".to_owned()),
        commit: Some(commit.to_owned()),
        started: Some("2026-11-26T10:00:00Z".to_owned()),
        seconds: Some(if arch == "x86" { 90.0 } else { 60.0 }),
        profile: Some("quick".to_owned()),
        ..Description::default()
    };
    stage(place, of, &description, &[product]).expect("a directory");
    fs::remove_file(log).expect("removed");
}

/// Two packages, as two jobs make them.
pub(crate) fn packages() -> TempDir {
    let place = TempDir::new().expect("a place");
    made(&place.path().join("a"), Stage::Package, "3.11", "x86_64", COMMIT);
    made(&place.path().join("b"), Stage::Package, "3.12", "x86", COMMIT);
    place
}

fn run(here: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.args(arguments).current_dir(here).env("DOCKLESS_PROGRESS", "plain");
    command.output().expect("the binary runs")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(here: &Path, arguments: &[&str], wanted: &[&str]) {
    let output = run(here, arguments);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    for word in wanted {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
}

#[test]
fn packages_of_several_jobs_become_one_release() {
    let place = packages();
    let here = place.path();
    let joined = run(here, &["release", "--stage", "release", "a", "b", "--tag", "release-2026-11-26"]);
    assert!(joined.status.success(), "{}", words(&joined));
    let printed = String::from_utf8_lossy(&joined.stdout).into_owned();
    // As in a matrix: the newest version first.
    assert_eq!(printed, "dist/release-3.12-x86.tar.gz\ndist/release-3.11-x86_64.tar.gz\n");
    let dist = Dist::open(&here.join("dist")).expect("a release");
    let release = dist.description().expect("a description");
    assert_eq!((release.tag.as_deref(), release.commit.as_deref()), (Some("release-2026-11-26"), Some(COMMIT)));
    assert_eq!((release.seconds, release.variants.len(), release.stage), (Some(90.0), 2, None));
    let names: Vec<&str> = dist.assets().iter().map(|asset| asset.name.as_str()).collect();
    for name in ["release-3.12-x86.tar.gz.sha256", "RELEASE_NOTES.md", "metrics.prom", "report.html", "SHA256SUMS"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let read = |name: &str| fs::read_to_string(here.join("dist").join(name)).expect("a file");
    assert!(
        read("RELEASE_NOTES.md").contains("release-2026-11-26") && read("report.html").contains("a test that skipped")
    );
    assert_eq!(read("logs/release-3.11-x86_64/openssl.log"), "what it printed");
    match Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(here.join("dist"))
        .output()
    {
        Ok(checked) => assert!(checked.status.success(), "{}", words(&checked)),
        Err(_) => skip("sha256sum", "the program is not on this machine"),
    }
    let published = run(here, &["publish", "dist", "--to", "dir", "--dest", "public"]);
    assert!(published.status.success(), "{}", words(&published));
    assert!(here.join("public/release-2026-11-26/report.html").is_file());
    // The same again replaces it by the same bytes.
    let before = read("SHA256SUMS");
    assert!(run(here, &["release", "--stage", "release", "b", "a", "--tag", "release-2026-11-26"]).status.success());
    assert_eq!(read("SHA256SUMS"), before);
}

#[test]
fn a_stage_takes_what_was_tested_and_no_directory_that_was_changed() {
    let place = TempDir::new().expect("a place");
    let here = place.path();
    made(&here.join("test"), Stage::Test, "3.12", "x86", COMMIT);
    made(&here.join("build"), Stage::Build, "3.12", "x86", COMMIT);
    let package = ["release", "--stage", "package"];
    let done = run(here, &package);
    assert!(done.status.success(), "{}", words(&done));
    assert!(here.join("package/release-3.12-x86.tar.gz.sha256").is_file());
    // Of another stage.
    refused(
        here,
        &[&package[..], &["build", "--out", "p"]].concat(),
        &["`build` is a directory of stage build", "help:"],
    );
    refused(here, &["release", "--stage", "release", "test"], &["stage test, not a directory of stage package"]);
    refused(
        here,
        &["publish", "package", "--to", "dir", "--dest", "d", "--tag", "v1"],
        &["not a release", "--stage release"],
    );
    // Changed: other bytes, a file too many, one too few, none at all.
    let tarball = here.join("test/release-3.12-x86.tar.gz");
    let bytes = fs::read(&tarball).expect("a tarball");
    let again = [&package[..], &["--out", "p"]].concat();
    fs::write(&tarball, "other").expect("written");
    refused(here, &again, &["`release-3.12-x86.tar.gz` is sha256:", "changed after it was made"]);
    fs::write(&tarball, bytes).expect("written");
    fs::write(here.join("test/extra"), "").expect("written");
    refused(here, &again, &["extra"]);
    fs::remove_file(here.join("test/extra")).expect("removed");
    fs::remove_file(here.join("test/release-3.12-x86.log")).expect("removed");
    refused(here, &again, &["release-3.12-x86.log"]);
    refused(here, &[&again[..], &["nowhere"]].concat(), &["nowhere"]);
    assert!(!here.join("p").exists());
}

#[test]
fn a_tarball_that_its_facts_do_not_tell_of_or_that_was_not_tested_is_no_package() {
    let place = TempDir::new().expect("a place");
    let root = place.path().join("test");
    let seal = |root: &Path| {
        let mut sums = std::collections::BTreeMap::new();
        for entry in fs::read_dir(root).expect("readable").flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name().into_string().expect("text");
            if name != "SHA256SUMS" {
                sums.insert(name, Digest::of(&fs::read(entry.path()).expect("readable")));
            }
        }
        fs::write(root.join("SHA256SUMS"), dist::render(&sums)).expect("written");
    };
    let package = ["release", "--stage", "package"];
    made(&root, Stage::Test, "3.12", "x86", COMMIT);
    fs::write(root.join("release-3.11-x86.tar.gz"), "slipped in").expect("written");
    seal(&root);
    refused(place.path(), &package, &["`release-3.11-x86.tar.gz`", "no variant of its release.json"]);
    made(&root, Stage::Test, "3.12", "x86", COMMIT);
    let text = fs::read_to_string(root.join("release.json")).expect("text").replace("\"passed\"\n", "\"failed\"\n");
    fs::write(root.join("release.json"), text).expect("written");
    seal(&root);
    refused(place.path(), &package, &["`release-3.12-x86.tar.gz` did not pass tests"]);
}

#[test]
fn what_does_not_belong_together_is_not_joined_and_what_is_no_release_not_replaced() {
    let place = packages();
    let here = place.path();
    let join = ["release", "--stage", "release"];
    refused(here, &[&join[..], &["a", "b", "a"]].concat(), &["`3.11-x86_64` is in `a` and in `a`"]);
    made(&here.join("c"), Stage::Package, "3.10", "x86", &COMMIT.replace('0', "f"));
    refused(here, &[&join[..], &["a", "c"]].concat(), &["of commit 0123", "of f123", "one commit"]);
    fs::create_dir(here.join("dist")).expect("made");
    fs::write(here.join("dist/thesis.odt"), "years of work").expect("written");
    refused(here, &[&join[..], &["a", "b"]].concat(), &["`dist` is no release", "thesis.odt", "--out"]);
    assert_eq!(fs::read_to_string(here.join("dist/thesis.odt")).expect("there"), "years of work");
}

#[test]
fn a_template_with_a_mistake_leaves_what_was_there() {
    let place = packages();
    let here = place.path();
    let join = ["release", "--stage", "release", "a", "b"];
    assert!(run(here, &join).status.success());
    let before = fs::read_to_string(here.join("dist/SHA256SUMS")).expect("sums");
    fs::write(here.join("wrong.md"), "{what}").expect("written");
    refused(here, &[&join[..], &["--template", "wrong.md"]].concat(), &["`{what}`"]);
    assert_eq!(fs::read_to_string(here.join("dist/SHA256SUMS")).expect("sums"), before);
    fs::write(here.join("right.md"), "{tag} is there\n").expect("written");
    let previous = ["--previous", "dist", "--template", "right.md", "--tag", "v2"];
    assert!(run(here, &[&join[..], &previous].concat()).status.success());
    assert_eq!(fs::read_to_string(here.join("dist/RELEASE_NOTES.md")).expect("notes"), "v2 is there\n");
}
