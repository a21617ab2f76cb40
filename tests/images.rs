//! Images of the store: found, named, shown, saved, and brought to and from a real registry.

use std::fs;
use std::io::Read as _;
use std::process::Stdio;

use dockless::oci::Digest;

use crate::registries::index;
use crate::support::images::{Place, attachment, layers, named, printed, sample};
use crate::support::registry::DockerRegistry;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn an_image_is_found_by_every_way_to_write_its_name() {
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    named(&store, &digest, "mine:1");
    let by_digest = format!("mine@{digest}");
    for reference in ["mine:1", "docker.io/library/mine:1", &digest.to_string(), &digest.hex()[..12], &by_digest] {
        let shown = json(&place.done(&["inspect", "--format", "json", reference]));
        assert_eq!(shown["digest"], digest.to_string(), "{reference}");
        assert_eq!(shown["names"][0], "docker.io/library/mine:1");
        assert_eq!(shown["config"]["config"]["Env"][0], "SALT=a");
    }
    let (code, said) = place.failed(&["inspect", "mime:1"]);
    assert!(code == Some(2) && said.contains("`docker.io/library/mine:1`"), "{said}");
    let (code, said) = place.failed(&["inspect", "sha256:00000000"]);
    assert!(code == Some(2) && said.contains("there is no image"), "{said}");
    let (code, said) = place.failed(&["tag", "mine:1", "Mine"]);
    assert!(code == Some(2) && said.contains("lower case"), "{said}");
    let manifest = fs::read_to_string(store.path(&digest)).expect("a manifest");
    assert_eq!(place.done(&["inspect", "--raw", "mine:1"]), manifest);
}

#[test]
fn names_are_listed_given_and_taken_away() {
    let place = Place::new();
    let store = place.store();
    assert_eq!(place.done(&["ls"]), "");
    let digest = sample(&store, "a", "386");
    named(&store, &digest, "one:1");
    place.done(&["tag", "one:1", "localhost/two"]);
    let listed = place.done(&["ls"]);
    assert!(listed.lines().count() == 3 && listed.contains("linux/386") && listed.contains("2026-01-02"), "{listed}");
    assert_eq!(place.done(&["ls", "-q"]), digest.to_string());
    let rows = json(&place.done(&["ls", "--format", "json"]));
    assert_eq!(rows[1]["name"], "localhost/two:latest");
    assert_eq!(rows[1]["platforms"][0], "linux/386");
    assert_eq!(place.done(&["rm", "one:1"]), "docker.io/library/one:1");
    assert_eq!(place.done(&["rm", &digest.to_string()]), "localhost/two:latest");
    assert_eq!(place.done(&["ls"]), "");
    assert_eq!(place.done(&["ls", "-aq"]), digest.to_string());
    assert!(place.failed(&["rm", "one:1"]).1.contains("there is no image"));
}

#[test]
fn what_is_saved_has_the_same_bytes_every_time_and_loads_as_the_same_image() {
    let place = Place::new();
    let store = place.store();
    let [one, two] = ["a", "b"].map(|salt| sample(&store, salt, "amd64"));
    named(&store, &one, "one:1");
    named(&store, &one, "uno");
    named(&store, &two, "localhost:5000/two:2");
    for format in ["oci-archive", "docker-archive", "oci"] {
        let save = |to: &str| {
            place.done(&["save", "--format", format, "one:1", "localhost:5000/two:2", "uno", "-o", to]);
        };
        save("first");
        save("second");
        let path = place.path("first");
        if format != "oci" {
            assert_eq!(fs::read(&path).expect("read"), fs::read(place.path("second")).expect("read"), "{format}");
            let streamed = place.image(&["save", "--format", format, "one:1", "localhost:5000/two:2", "uno"]).output();
            assert_eq!(streamed.expect("the binary ends").stdout, fs::read(&path).expect("read"), "{format}");
        }
        let other = Place::new();
        let loaded = other.done(&["load", &path.display().to_string()]);
        let names: Vec<&str> = loaded.lines().map(|line| line.split(' ').next_back().expect("a name")).collect();
        assert_eq!(names, ["docker.io/library/one:1", "docker.io/library/uno:latest", "localhost:5000/two:2"]);
        if format == "docker-archive" {
            // Its manifest is ours, but its config, which docker calls the image, is the same.
            let config = |place: &Place| place.done(&["inspect", "--config", "one:1"]);
            assert_eq!(config(&place), config(&other));
        } else {
            assert!(loaded.contains(&one.to_string()) && loaded.contains(&two.to_string()), "{loaded}");
        }
        assert_eq!(other.tree("one:1"), place.tree(&one.to_string()), "{format}");
        assert_eq!(other.tree("localhost:5000/two:2"), place.tree(&two.to_string()), "{format}");
        for name in ["first", "second"] {
            let _ = fs::remove_file(place.path(name));
            let _ = fs::remove_dir_all(place.path(name));
        }
    }
}

#[test]
fn a_layer_comes_out_of_a_docker_archive_with_tar_alone() {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "mine:1");
    let mut command = place.image(&["save", "--format", "docker-archive", "mine:1"]);
    let saved = command.output().expect("the binary ends").stdout;
    let mut archive = tar::Archive::new(&saved[..]);
    let mut found = Vec::new();
    let mut manifest = serde_json::Value::Null;
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        if name == "manifest.json" {
            manifest = serde_json::from_slice(&bytes).expect("JSON");
        } else if name.ends_with("/layer.tar") {
            found.push((name, bytes));
        }
    }
    assert_eq!(manifest[0]["RepoTags"][0], "docker.io/library/mine:1");
    for (at, layer) in layers("a").into_iter().enumerate() {
        let name = format!("{}/layer.tar", Digest::of(&layer).hex());
        assert_eq!(manifest[0]["Layers"][at], name);
        assert!(found.contains(&(name, layer)));
    }
}

#[test]
fn images_go_to_a_registry_and_come_back_one_platform_or_all() {
    let Some(shelf) = DockerRegistry::start(&[]) else { return };
    let place = Place::new();
    let store = place.store();
    let (amd64, x86) = (sample(&store, "a", "amd64"), sample(&store, "b", "386"));
    let both = index(&store, &[("amd64", amd64), ("386", x86)]);
    named(&store, &both, "both:1");
    let at = |rest: &str| format!("{}/{rest}", shelf.host());
    assert_eq!(place.done(&["push", "--all-platforms", "both:1", &at("a/both:1")]), both.to_string());
    assert_eq!(place.done(&["push", "--platform", "linux/386", "both:1", &at("a/x86:1")]), x86.to_string());
    assert_eq!(place.done(&["push", "both:1", &at("a/one:1")]), amd64.to_string());

    let other = Place::new();
    let pull = |arguments: &[&str]| other.done(&[&["pull"], arguments].concat());
    assert_eq!(pull(&["--platform", "x86", &at("a/both:1")]), x86.to_string());
    assert_eq!(pull(&["--platform", "linux/amd64", &at("a/both:1")]), amd64.to_string());
    assert_eq!(pull(&["--platform", "all", &at("a/both:1")]), both.to_string());
    assert_eq!(other.done(&["inspect", "--raw", &at("a/both:1")]), place.done(&["inspect", "--raw", "both:1"]));
    let by_digest = format!("{}@{both}", at("a/both"));
    assert_eq!(pull(&[&by_digest, &at("a/x86:1")]), format!("{amd64}\n{x86}"));
    assert!(other.done(&["ls"]).contains(&by_digest));
    let (code, said) = other.failed(&["pull", "--platform", "linux/s390x", &at("a/both:1")]);
    assert!(code == Some(2) && said.contains("linux/amd64, linux/386"), "{said}");
    let (code, said) = other.failed(&["pull", &at("a/none:1")]);
    assert!(code == Some(2) && said.contains("a/none"), "{said}");
    let (code, said) = other.failed(&["unpack", "--platform", "linux/arm64", &at("a/x86:1"), "root"]);
    assert!(code == Some(2) && said.contains("linux/386") && !other.path("root").exists(), "{said}");

    // What is there already says nothing and asks for one manifest.
    let again = other.image(&["pull", &at("a/x86:1")]).output().expect("the binary ends");
    assert_eq!((printed(&again), again.stderr.len()), (x86.to_string(), 0));
    assert_eq!(other.tree(&format!("docker://{}", at("a/x86:1"))), place.tree(&x86.to_string()));
}

#[test]
fn what_is_attached_to_an_image_goes_with_it_where_that_is_asked_for() {
    let Some(shelf) = DockerRegistry::start(&[]) else { return };
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    named(&store, &digest, "mine:1");
    let attached = attachment(&store, &digest);
    assert_eq!(json(&place.done(&["inspect", "--format", "json", "mine:1"]))["referrers"][0], attached.to_string());
    let name = format!("{}/a/mine:1", shelf.host());
    place.done(&["push", "--referrers", "mine:1", &name]);
    let other = Place::new();
    let by_digest = format!("{}/a/mine@{attached}", shelf.host());
    assert_eq!(other.done(&["pull", "--platform", "all", &by_digest]), attached.to_string());
    place.done(&["save", "--referrers", "mine:1", "-o", "saved.tar"]);
    let third = Place::new();
    third.done(&["load", &place.path("saved.tar").display().to_string()]);
    assert_eq!(json(&third.done(&["inspect", "--format", "json", "mine:1"]))["referrers"][0], attached.to_string());
}

#[test]
fn a_terminal_gets_no_archive_and_nobody_waits_for_one_on_it() {
    let place = Place::new();
    let (code, said) = place.failed(&["save", "--format", "oci", "x", "-o", "-"]);
    assert!(code == Some(2) && said.contains("-o"), "{said}");
    let empty = place.image(&["load"]).stdin(Stdio::null()).output().expect("the binary ends");
    assert_eq!(empty.status.code(), Some(2), "{empty:?}");
}

#[test]
fn a_directory_in_use_is_not_unpacked_over() {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "mine:1");
    fs::create_dir(place.path("full")).expect("made");
    fs::write(place.path("full/mine"), "mine").expect("written");
    let output = place.image(&["unpack", "mine:1", "full"]).output().expect("the binary ends");
    if output.status.code() == Some(3) {
        return crate::support::skip("userns", &String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_dir(place.path("full")).expect("there").count(), 1);
}
