//! A release on several daemons: they share the variants, one takes over for another, and what a cache has nobody makes again.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use dockless::oci::Digest;

use crate::releasing::{TREE, bench, here, with};
use crate::rootfs_images::Bench;
use crate::support::buildkit::Buildkitd;

/// A library that all variants of an architecture have in common.
const LIBRARY: &str =
    "name = 'library'\nsummary = 'what all need'\nlicense = 'MIT'\nscript = 'library.sh'\nrootfs = 'base'\n";

const NEEDS: &str = "needs = ['library']\n";

/// As `releasing::bench`, with a library that every tree carries.
fn with_library() -> Option<Bench> {
    let bench = bench()?;
    let recipe = here(&bench).join("recipes/python.toml");
    let text = fs::read_to_string(&recipe).expect("a recipe");
    fs::write(&recipe, format!("{text}{NEEDS}")).expect("written");
    bench.write("recipes/library.toml", LIBRARY);
    bench.write("scripts/library.sh", "echo making the library\necho for $DOCKLESS_ARCH > /out/library\n");
    bench.write("scripts/python.sh", &format!("{TREE}cat /deps/library > /out/opt/python/library\n"));
    Some(bench)
}

/// Runs a release of the stage `build` into a store of its own; returns what it said and the tarballs' digests.
fn release(bench: &Bench, store: &str, more: &[&str]) -> (String, Vec<(String, Digest)>) {
    let place = bench.place.path().join(store);
    let (store, out) = (place.join("store").display().to_string(), place.join("build").display().to_string());
    let output = bench.run(&[&with(&["--stage", "build", "--store", &store, "--out", &out])[..], more].concat());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    (told, tarballs(Path::new(&out)))
}

fn tarballs(out: &Path) -> Vec<(String, Digest)> {
    let files = fs::read_dir(out).expect("a stage").flatten().map(|entry| entry.path());
    let mut found: Vec<(String, Digest)> = files
        .filter(|path| path.to_string_lossy().ends_with(".tar.gz"))
        .map(|path| {
            (
                path.file_name().expect("a name").to_string_lossy().into_owned(),
                Digest::of(&fs::read(&path).expect("read")),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn the_variants_of_a_release_spread_over_the_daemons_and_are_those_of_this_machine() {
    let (Some(bench), Some(a), Some(b)) = (with_library(), Buildkitd::start(), Buildkitd::start()) else { return };
    bench.write("scripts/library.sh", "sleep 2\necho making the library\necho for $DOCKLESS_ARCH > /out/library\n");
    let (_, here) = release(&bench, "here", &[]);
    let (told, there) = release(&bench, "there", &["--buildkit-addr", a.address(), "--buildkit-addr", b.address()]);
    assert_eq!(here.len(), 4);
    assert_eq!(here, there, "{told}");
    for daemon in [&a, &b] {
        assert!(told.contains(&format!(" at {}", daemon.address())), "{told}");
    }
}

#[test]
fn a_daemon_that_dies_in_the_middle_of_a_release_is_replaced_by_another() {
    let (Some(bench), Some(mut a), Some(b)) = (with_library(), Buildkitd::start(), Buildkitd::start()) else { return };
    let (_, here) = release(&bench, "here", &[]);
    let slow = fs::read_to_string(crate::releasing::here(&bench).join("scripts/python.sh")).expect("a script");
    bench.write("scripts/python.sh", &format!("echo begun\nsleep 4\n{slow}"));
    let place = bench.place.path().join("there");
    let (store, out) = (place.join("store").display().to_string(), place.join("build").display().to_string());
    let daemons = ["--buildkit-addr", a.address(), "--buildkit-addr", b.address()];
    let arguments = [&with(&["--stage", "build", "--store", &store, "--out", &out])[..], &daemons].concat();
    let mut child = bench.command(&arguments).stdin(Stdio::null()).spawn().expect("the binary starts");
    let (mut told, mut piece, mut killed) = (String::new(), [0; 4096], false);
    let mut stderr = child.stderr.take().expect("piped");
    while let Ok(count @ 1..) = stderr.read(&mut piece) {
        told.push_str(&String::from_utf8_lossy(&piece[..count]));
        if !killed && told.contains("begun") {
            a.kill();
            killed = true;
        }
    }
    let run = child.wait().expect("it ends");
    assert!(killed && run.success(), "{told}");
    assert!(told.contains(a.address()) && told.contains("another daemon is asked"), "{told}");
    assert_eq!(here, tarballs(Path::new(&out)), "{told}");
}

#[test]
fn what_one_daemon_has_left_in_a_registry_another_does_not_make_again() {
    let Some(bench) = with_library() else { return };
    let cache = bench.name("/cache:python");
    let (from, to) = (format!("type=registry,ref={cache}"), format!("type=registry,ref={cache},mode=max"));
    let first = {
        let Some(daemon) = Buildkitd::start() else { return };
        let arguments = ["3.12", "--arch", "x86_64", "--buildkit-addr", daemon.address(), "--cache-to", &to];
        let (told, first) = release(&bench, "first", &arguments);
        assert!(told.contains("making the library"), "{told}");
        first
    };
    let Some(daemon) = Buildkitd::start() else { return };
    let nobody = bench.place.path().join("nobody.sock").display().to_string();
    let nobody = format!("unix://{nobody}");
    let arguments =
        ["3.12", "3.11", "--arch", "x86_64", "--buildkit-addr", &nobody, "--buildkit-addr", daemon.address()];
    let (told, second) = release(&bench, "second", &[&arguments[..], &["--cache-from", &from]].concat());
    assert!(told.contains("another daemon is asked"), "{told}");
    assert!(!told.contains("making the library") && !told.contains("making 3.12"), "{told}");
    assert!(told.contains("making 3.11"), "{told}");
    assert!(second.len() == 2 && second.contains(&first[0]), "{first:?} {second:?}");
}
