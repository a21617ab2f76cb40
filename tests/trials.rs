//! `dockless test --roots` and `--packages`: what they refuse, skip, and are made of. The tables themselves want a release,
//! a mirror and an index: they are gates that a user calls.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use dockless::oci::Arch;
use dockless::progress::Silent;
use dockless::release::{Machine, Supplies, TrialError, packages, roots};
use dockless::rootfs::List;
use dockless::sandbox::{Cancel, Launcher};
use dockless::source::{Origins, SourceError, assemble_root, read_roots};
use dockless::store::Store;

fn rootfs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs")
}

#[test]
fn a_root_or_a_package_that_does_not_exist_is_told_with_those_that_do() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let (origins, lists) = (Origins::default(), rootfs());
    let supplies = Supplies { lists: &lists, store: &store, origins: &origins, jobs: NonZeroUsize::MIN };
    let (launcher, cancel) = (Launcher::default(), Cancel::new().expect("a switch"));
    let names = ["alpine".to_owned(), "plan9".to_owned()];
    let error = roots(Path::new("none"), &names, &supplies, (&launcher, &cancel), &Silent).expect_err("no plan9");
    let TrialError::Unknown { what: "root", name, known } = &error else { panic!("{error}") };
    assert!(name == "plan9" && known.iter().any(|name| name == "alpine"), "{error}");
    let names = ["leftpad".to_owned()];
    let machine = Machine::default();
    let error = packages(Path::new("none"), &names, &machine, (&launcher, &cancel), &Silent).expect_err("no leftpad");
    let TrialError::Unknown { what: "package", name, known } = &error else { panic!("{error}") };
    assert!(name == "leftpad" && known.iter().any(|name| name == "numpy"), "{error}");
}

#[test]
fn the_tables_take_names_with_an_equals_sign_only_so_that_a_tarball_is_never_a_name() {
    let help =
        Command::new(env!("CARGO_BIN_EXE_dockless")).args(["test", "--help"]).output().expect("the command starts");
    let text = String::from_utf8_lossy(&help.stdout);
    for wanted in ["--roots[=<ROOT>...]", "--packages[=<PACKAGE>...]", "alpine", "Alpine"] {
        assert!(text.to_lowercase().contains(&wanted.to_lowercase()), "no {wanted} in: {text}");
    }
}

#[test]
fn every_list_of_a_root_serves_both_architectures() {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(rootfs().join("roots")).expect("lists").flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("readable");
            for arch in Arch::ALL {
                let list = List::parse_for(&text, &path, arch).unwrap_or_else(|error| panic!("{error}"));
                assert_eq!(list.arch, arch);
            }
            assert!(List::parse(&text, &path).is_err(), "{} names an architecture", path.display());
            names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.sort();
    let wanted = ["alpine", "bookworm", "bullseye", "busybox", "forky", "rhel", "sid", "suse", "trixie"];
    assert_eq!(names, wanted);
    let text = "arch = 'x86'\nsuite = 'sid'\npackages = ['libc6']\n";
    let error = List::parse_for(text, Path::new("both.toml"), Arch::X86_64).expect_err("it names one");
    assert!(error.to_string().contains("names none"), "{error}");
}

#[test]
fn roots_of_stable_suites_are_locked_on_both_architectures_and_the_others_on_none() {
    let locked: Vec<String> =
        read_roots(&rootfs()).unwrap_or_else(|error| panic!("{error}")).into_iter().map(|root| root.name).collect();
    let stable = ["alpine", "bookworm", "bullseye", "busybox", "rhel", "suse", "trixie"];
    let wanted: Vec<String> =
        stable.iter().flat_map(|name| ["x86", "x86_64"].map(|arch| format!("roots/{name}-{arch}"))).collect();
    assert_eq!(locked, wanted);
}

#[test]
fn a_root_that_moves_is_not_asked_for_when_the_network_is_forbidden() {
    let home = tempfile::tempdir().expect("a directory");
    let store = Store::open(home.path()).expect("a store");
    let origins = Origins { offline: true, ..Origins::default() };
    let told = (&Silent as &dyn dockless::progress::Progress, dockless::oci::Digest::of(b"test"));
    let error = assemble_root(&store, (&rootfs(), "roots/sid-x86"), &origins, NonZeroUsize::MIN, told);
    let error = error.expect_err("there is no network");
    assert!(matches!(&error, SourceError::OfflineSource { what } if what.contains("sid-x86")), "{error}");
}
