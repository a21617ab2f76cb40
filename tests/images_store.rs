//! The store under images: what loses its name is freed, runs do not disturb one another, and a killed one leaves a
//! store that works.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::images::{Place, attachment, named, printed, sample};
use crate::support::registry::DockerRegistry;
use crate::support::skip;

fn prune(place: &Place) -> Option<String> {
    let output = place.dockless().args(["cache", "prune"]).output().expect("the binary ends");
    if output.status.code() == Some(3) {
        skip("userns", &String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(printed(&output))
}

#[test]
fn an_image_without_a_name_is_freed_with_all_that_only_it_needs() {
    let place = Place::new();
    {
        let store = place.store();
        let [one, two] = ["a", "b"].map(|salt| sample(&store, salt, "amd64"));
        attachment(&store, &one);
        attachment(&store, &two);
        named(&store, &one, "one:1");
        named(&store, &two, "two:1");
    }
    let all = place.blobs();
    if prune(&place).is_none() {
        return;
    }
    assert_eq!(place.blobs(), all, "what has a name stays, and what is attached to it");
    let used = printed(&place.dockless().args(["cache", "du", "-v"]).output().expect("the binary ends"));
    assert!(used.contains("docker.io/library/one:1") && used.contains("layer of docker.io/library/two:1"), "{used}");

    place.done(&["rm", "one:1"]);
    assert_eq!(place.blobs(), all, "collection frees, not rm");
    let said = prune(&place).expect("as before");
    assert!(said.contains("docker.io/library/one:1, untagged"), "{said}");
    // Manifest, config and first layer are its own; the second layer is the other's too. The attachment is cache.
    assert_eq!(place.blobs().len(), all.len() - 3);
    assert!(place.tree("two:1").is_some());
    assert_eq!(place.done(&["ls", "-aq"]).lines().count(), 1);

    // A name that moves leaves what it had.
    place.done(&["tag", "two:1", "keep:1"]);
    place.done(&["rm", "two:1"]);
    let before = place.blobs();
    prune(&place);
    assert_eq!(place.blobs(), before, "another name keeps it");
}

#[test]
fn two_runs_load_the_same_archive_at_once() {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "one:1");
    place.done(&["save", "one:1", "-o", "a.tar"]);
    let other = Place::new();
    let path = place.path("a.tar").display().to_string();
    let runs: Vec<_> = (0..4)
        .map(|at| other.image(&["load", "--tag", &format!("n{at}"), &path]).spawn().expect("it starts"))
        .collect();
    for run in runs {
        printed(&run.wait_with_output().expect("it ends"));
    }
    assert_eq!(other.done(&["ls", "-q"]).lines().count(), 1);
    assert_eq!(other.done(&["ls"]).lines().count(), 5);
    assert_eq!(other.tree("n3"), place.tree("one:1"));
}

#[test]
fn a_load_that_is_killed_leaves_nothing() {
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    named(&store, &digest, "one:1");
    let saved = place.image(&["save", "--format", "docker-archive", "one:1"]).output().expect("the binary ends").stdout;
    let other = Place::new();
    let mut run = other.image(&["load"]).stdin(Stdio::piped()).spawn().expect("it starts");
    let mut input = run.stdin.take().expect("piped");
    input.write_all(&saved[..saved.len() - 2048]).expect("read");
    // It has all but the end, and something in the making.
    let making = || {
        fs::read_dir(other.path("store/tmp"))
            .into_iter()
            .flatten()
            .flatten()
            .any(|it| fs::read_dir(it.path()).into_iter().flatten().count() > 0)
    };
    for _ in 0..600 {
        if making() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    run.kill().expect("killed");
    run.wait().expect("ended");
    drop(input);
    assert_eq!(other.done(&["ls", "-a"]), "");
    assert_eq!(other.blobs(), Vec::<String>::new(), "the next run sweeps");
    fs::write(other.path("a.tar"), &saved).expect("written");
    other.done(&["load", "a.tar"]);
    assert_eq!(other.tree("one:1"), place.tree(&digest.to_string()));
}

#[test]
fn a_pull_that_is_killed_can_be_run_again() {
    let Some(shelf) = DockerRegistry::start(&[]) else { return };
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    let name = format!("{}/a/mine:1", shelf.host());
    place.done(&["push", &digest.to_string(), &name]);
    let other = Place::new();
    for delay in [1, 5, 10, 20, 40, 80] {
        let mut run = other.image(&["pull", &name]).spawn().expect("it starts");
        thread::sleep(Duration::from_millis(delay));
        let _ = run.kill();
        run.wait().expect("ended");
    }
    assert_eq!(other.done(&["pull", &name]), digest.to_string());
    assert_eq!(other.tree(&name), place.tree(&digest.to_string()));
    assert!(fs::read_dir(other.path("store/tmp")).expect("there").next().is_none());
}
