//! `dockless verify` says whether a release is what it says: what was changed is found, and named.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::release::{COMMIT, STEM, TARBALL, forge, release};

pub(crate) fn verify(here: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.arg("verify").args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", here).current_dir(here);
    command.output().expect("the binary runs")
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Verifies `subject` and looks for words in what is said.
fn says(here: &Path, subject: &str, code: i32, words: &str) {
    let run = verify(here, &[subject]);
    let said = text(&run.stdout) + &text(&run.stderr);
    assert_eq!(run.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "`{words}` in {said}");
}

fn strings<'a>(document: &'a mut Value, key: &str) -> &'a mut Vec<Value> {
    document[key].as_array_mut().expect("a list")
}

#[test]
fn a_release_that_is_what_it_says_holds_as_a_directory_and_as_one_tarball() {
    let place = release();
    let run = verify(place.path(), &[".", "--json"]);
    let said = text(&run.stdout);
    assert!(run.status.success(), "{said}{}", text(&run.stderr));
    let document: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&document["format"], &document["holds"]), (&1.into(), &true.into()));
    let outcome = |check: &str| {
        let rows = document["checks"].as_array().expect("a list");
        rows.iter().filter(|row| row["check"] == check).map(|row| row["outcome"].clone()).collect::<Vec<_>>()
    };
    for check in ["sum", "tree", "spdx", "cyclonedx", "provenance"] {
        assert_eq!(outcome(check), ["passed"], "{check}");
    }
    assert_eq!(outcome("signature"), ["missing", "missing"], "that nobody signed is said");
    says(place.path(), TARBALL, 0, COMMIT);
    says(place.path(), TARBALL, 0, "it holds: 6 passed, 0 failed, 1 missing");
}

#[test]
fn a_file_that_was_changed_removed_or_added_is_named() {
    let changed = |change: &dyn Fn(&Path), words: &str| {
        let place = release();
        change(place.path());
        says(place.path(), ".", 1, words);
    };
    changed(&|it| fs::write(it.join(TARBALL), "other").expect("written"), TARBALL);
    changed(&|it| fs::write(it.join("release.json"), "{}").expect("written"), "release.json");
    changed(&|it| fs::write(it.join("extra.txt"), "x").expect("written"), "extra.txt");
    changed(&|it| fs::remove_file(it.join(format!("{STEM}.spdx.json"))).expect("removed"), "it is not there as a file");
    changed(
        &|it| {
            let other = format!("{}  {TARBALL}\n", "0".repeat(64));
            fs::write(it.join(format!("{TARBALL}.sha256")), other).expect("written");
        },
        "was changed after it was made",
    );
    changed(
        &|it| {
            fs::remove_file(it.join(TARBALL)).expect("removed");
            symlink("/etc/passwd", it.join(TARBALL)).expect("linked");
        },
        "a symbolic link",
    );
    changed(&|it| fs::write(it.join("SHA256SUMS"), "nonsense\n").expect("written"), "line 1");
    // One tarball alone, by what lies beside it.
    let place = release();
    fs::write(place.path().join(format!("{TARBALL}.sha256")), format!("{}  {TARBALL}\n", "0".repeat(64)))
        .expect("written");
    says(place.path(), TARBALL, 1, "FAILED");
}

#[test]
fn documents_that_do_not_tell_the_truth_fail_though_all_sums_are_right() {
    let lie = |name: &str, change: &dyn Fn(&mut Value), words: &str| {
        let place = release();
        forge(&place, name, |value| change(value));
        says(place.path(), ".", 1, words);
    };
    let (spdx, cdx, provenance) =
        (&format!("{STEM}.spdx.json"), &format!("{STEM}.cdx.json"), &format!("{STEM}.intoto.jsonl"));
    let other = "0".repeat(64);
    lie(
        spdx,
        &|it| it["packages"][0]["checksums"][0]["checksumValue"] = other.clone().into(),
        "it is about sha256:000",
    );
    lie(
        cdx,
        &|it| it["metadata"]["component"]["hashes"][0]["content"] = other.clone().into(),
        "it is about sha256:000",
    );
    lie(provenance, &|it| it["subject"][0]["digest"]["sha256"] = other.clone().into(), "it is about sha256:000");
    let zlib = |it: &&mut Value| it["name"] == "zlib";
    let without = |it: &mut Value| strings(it, "components").retain(|it| it["name"] != "zlib");
    lie(cdx, &without, "is in the tree and not listed");
    let older = |it: &mut Value| {
        strings(it, "components").iter_mut().find(zlib).expect("zlib")["version"] = "1.2.11".into();
    };
    lie(cdx, &older, "zlib 1.2.11, which is not in the tree");
    let older = |it: &mut Value| {
        strings(it, "packages").iter_mut().find(zlib).expect("zlib")["versionInfo"] = "1.2.11".into();
    };
    lie(spdx, &older, "zlib 1.2.11, which is not in the tree");
    let elsewhere = |it: &mut Value| {
        let six = strings(it, "components").iter_mut().find(|it| it["name"] == "six").expect("six");
        six["evidence"]["occurrences"][0]["location"] = "opt/python/lib/six.txt".into();
    };
    lie(cdx, &elsewhere, "opt/python/lib/six.txt, which is not in the tarball");
    lie(spdx, &|it| it["spdxVersion"] = "SPDX-2.2".into(), "no SPDX 2.3 document");
    let parameters = |key: &'static str, value: Value| {
        move |it: &mut Value| it["predicate"]["buildDefinition"]["externalParameters"][key] = value.clone()
    };
    lie(provenance, &parameters("architecture", "x86".into()), "it was made for x86, its name says x86_64");
    lie(provenance, &parameters("profile", "release".into()), "its profile is `release`, the tree says `quick`");
    lie(provenance, &|it| it["predicateType"] = "https://example.test/other".into(), "no SLSA provenance");
    let nameless = |it: &mut Value| {
        it["predicate"]["buildDefinition"]["resolvedDependencies"][0]
            .as_object_mut()
            .expect("an input")
            .remove("digest");
    };
    lie(provenance, &nameless, "1 inputs have no digest");
    lie("release.json", &|it| it["commit"] = "f".repeat(40).into(), "release.json says commit ffff");
}

#[test]
fn what_is_no_release_is_told_apart_from_one_that_does_not_hold() {
    let place = tempfile::tempdir().expect("a place");
    says(place.path(), ".", 2, "no SHA256SUMS");
    says(place.path(), "nowhere", 2, "nowhere");
    fs::write(place.path().join("x.tar.gz"), "no archive").expect("written");
    says(place.path(), "x.tar.gz", 2, "is not a release tarball");
    let run = verify(place.path(), &[".", "--require-signature"]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("by whom?"));
    let run = verify(place.path(), &[".", "--keyring=DEADBEEF"]);
    assert!(run.status.code() == Some(2) && text(&run.stderr).contains("short names can be forged"));
}

#[test]
fn a_tarball_is_not_built_again_of_other_recipes() {
    let place = release();
    let project = env!("CARGO_MANIFEST_DIR");
    let commit = Command::new("git").args(["-C", project, "rev-parse", "HEAD"]).output();
    if !commit.is_ok_and(|commit| commit.status.success()) {
        // Where git does not say which commit is there, it would be built.
        return crate::support::skip("checkout", "git does not read this checkout, which may be another user's");
    }
    let run = verify(place.path(), &[TARBALL, "--rebuild", "--project", project]);
    let said = text(&run.stderr);
    if run.status.code() == Some(3) {
        return crate::support::skip("userns", &said);
    }
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains(COMMIT) && said.contains("git worktree add"), "{said}");
    fs::remove_file(place.path().join(format!("{STEM}.intoto.jsonl"))).expect("removed");
    let run = verify(place.path(), &[TARBALL, "--rebuild", "--project", project]);
    assert_eq!(run.status.code(), Some(2));
    assert!(text(&run.stderr).contains("cannot be built again"), "{}", text(&run.stderr));
}

#[test]
fn entries_that_two_tarballs_have_otherwise_are_named() {
    let place = tempfile::tempdir().expect("a place");
    let pack = |name: &str, entries: &[(&str, &str, u32)]| {
        let path = place.path().join(name);
        let file = fs::File::create(&path).expect("a file");
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        for (name, text, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(*mode);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_cksum();
            builder.append_data(&mut header, name, text.as_bytes()).expect("packed");
        }
        builder.into_inner().expect("packed").finish().expect("compressed");
        path
    };
    let old = pack("old", &[("same", "x", 0o644), ("bytes", "x", 0o644), ("mode", "x", 0o644), ("gone", "x", 0o644)]);
    let new = pack("new", &[("same", "x", 0o644), ("bytes", "xy", 0o644), ("mode", "x", 0o755), ("new", "x", 0o644)]);
    let found = dockless::verify::differences(&old, &new).expect("both are archives");
    let said: Vec<(&str, &str)> = found.iter().map(|(name, what)| (name.as_str(), what.as_str())).collect();
    assert_eq!(said.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["bytes", "gone", "mode", "new"]);
    assert!(said[0].1.starts_with("1 bytes, sha256:") && said[0].1.contains("again 2 bytes"), "{said:?}");
    assert!(said[2].1.contains("644") && said[2].1.contains("again Regular 755"), "{said:?}");
    assert_eq!(dockless::verify::differences(&old, &old).expect("an archive").len(), 0);
}
