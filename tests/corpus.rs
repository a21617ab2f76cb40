//! What a real BuildKit did with these definitions, dockless does too.
//!
//! `fixtures/corpus/corpus.tar.gz` holds definitions that BuildKit's Dockerfile frontend made, their contexts, and what
//! BuildKit made of them. A source policy leads them to our own locked root filesystem and to servers of this test.

pub(crate) mod case;
mod compare;
mod image;
mod listing;
mod run;
mod services;

use std::path::Path;

use dockless::llb::Graph;

use self::case::{Kind, cases, definitions, unpack};
use self::compare::compare;
use self::run::Place;
use crate::support::buildkit::{Buildkitd, Setting};

/// Cases and example programs decode, and are written again with the digests they came with.
#[test]
fn every_recorded_definition_is_a_graph() {
    let place = tempfile::tempdir().expect("a temporary directory");
    unpack(place.path());
    let mut all: Vec<(String, Vec<u8>)> = cases(place.path()).iter().flat_map(case::Case::definitions).collect();
    for entry in std::fs::read_dir(place.path().join("examples")).expect("examples").flatten() {
        all.extend(definitions(&entry.path()));
    }
    assert_eq!(all.len(), 38, "one a case, two more of 030, and six examples");
    for (name, bytes) in all {
        let graph = Graph::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let again = Graph::from_bytes(&graph.to_bytes()).expect("what we wrote");
        let digests = |graph: &Graph| -> Vec<_> { graph.vertices().map(|vertex| vertex.digest).collect() };
        assert_eq!(digests(&graph), digests(&again), "{name}");
    }
}

#[test]
fn the_recorded_trees_equal_themselves_and_nothing_less() {
    let place = tempfile::tempdir().expect("a temporary directory");
    unpack(place.path());
    let mut records = 0;
    for case in cases(place.path()).iter().filter(|case| case.kind == Kind::Runs) {
        let tree = case.tree();
        records += tree.len();
        assert_eq!(compare(&tree, &tree, &(0..=0)), [], "{}", case.name);
        for path in tree.keys() {
            let mut less = tree.clone();
            less.remove(path);
            assert_eq!(compare(&tree, &less, &(0..=0)).len(), 1, "{}: {path}", case.name);
        }
        for layer in case.layers() {
            assert_eq!(image::compare_layer(&layer, &layer, &(0..=0)), [], "{}", case.name);
        }
        let config = case.config();
        assert_eq!(image::compare_config(&config, &config), [], "{}", case.name);
    }
    assert!(records > 200, "{records}");
}

/// Cases whose names hold `DOCKLESS_CORPUS` are enough where that is set.
#[test]
fn every_recorded_case_gives_the_recorded_tree_and_config() {
    let Some(place) = Place::new() else { return };
    let report = place.run_all();
    assert!(report.failed.is_empty(), "\n{}\n{}", report.failed.join("\n"), report.table());
}

/// The same by a daemon of today: it was recorded from one that is older.
#[test]
fn every_recorded_case_gives_the_recorded_tree_and_config_at_a_daemon_too() {
    let entitlements = ["network.host", "security.insecure"].map(|name| format!("--allow-insecure-entitlement={name}"));
    let arguments = entitlements.each_ref().map(String::as_str);
    let Some(daemon) = Buildkitd::with(&Setting { arguments: &arguments, ..Setting::default() }) else { return };
    let Some(place) = Place::with(&["--buildkit-addr".to_owned(), daemon.address().to_owned()]) else { return };
    let mut report = place.run_all();
    if !rustix::process::geteuid().is_root() {
        // A daemon that is not root's and shares the network of its machine may mount no sysfs for steps.
        let no_sysfs = "cannot access '/sys/class/net': No such file";
        report.failed.retain(|failure| !(failure.starts_with("015-network-none") && failure.contains(no_sysfs)));
    }
    assert!(report.failed.is_empty(), "\n{}\n{}", report.failed.join("\n"), report.table());
}

/// The text of a file in the corpus.
pub(crate) fn member(name: &str) -> String {
    let place = tempfile::tempdir().expect("a temporary directory");
    unpack(place.path());
    std::fs::read_to_string(place.path().join(name)).expect("a file of the corpus")
}

/// The text of a file of the fixtures.
fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
