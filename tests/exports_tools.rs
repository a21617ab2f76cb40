//! What we export is read, unpacked and run by other tools: skopeo, umoci, buildah, podman, runc.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use dockless::export::{Annotations, ImageLayer, ImageOptions, docker_archive, oci_archive, oci_layout};
use dockless::layer::{Compression, PackTimes, tree_digest};
use dockless::oci::Arch;
use serde_json::Value;
use tempfile::TempDir;

use crate::exports::{json, names, one};
use crate::support::images::tool;
use crate::support::skip;

/// Prints its arguments, a variable and where it is.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char here[256];
    for (int i = 1; i < argc; i++) printf("%s ", argv[i]);
    printf("%s %s\n", getenv("GREETING"), getcwd(here, sizeof here));
    return 0;
}
"#;

/// A tree with one static program in it, and what tools find hard: links, odd modes, an empty directory.
fn tree() -> TempDir {
    let tree = TempDir::new().expect("temporary directory");
    let root = tree.path();
    for directory in ["bin", "empty", "work", "proc", "dev", "sys"] {
        fs::create_dir(root.join(directory)).expect("directory");
    }
    let source = root.join("empty/x.c");
    fs::write(&source, PROGRAM).expect("file");
    let compiled =
        Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(root.join("bin/greet")).arg(&source).output();
    if compiled.map_or(true, |compiled| !compiled.status.success()) {
        skip("cc", "no static program can be compiled");
        fs::write(root.join("bin/greet"), "no program").expect("file");
    }
    fs::remove_file(&source).expect("removed");
    fs::hard_link(root.join("bin/greet"), root.join("bin/same")).expect("hard link");
    std::os::unix::fs::symlink("/bin/greet", root.join("work/absolute")).expect("link");
    fs::write(root.join("work/private"), "x").expect("file");
    fs::set_permissions(root.join("work/private"), fs::Permissions::from_mode(0o4711)).expect("mode");
    tree
}

fn image() -> ImageOptions {
    let map = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    ImageOptions {
        epoch: 1_767_225_600,
        times: PackTimes::All(1_767_225_600),
        owner: dockless::layer::Owner::Root,
        names: vec!["r.test/greet:1".to_owned()],
        entrypoint: vec!["/bin/greet".to_owned()],
        command: vec!["hello".to_owned()],
        env: vec!["GREETING=world".to_owned()],
        working_directory: "/work".to_owned(),
        labels: map("org.example.label", "seen"),
        annotations: Annotations { manifest: map("org.example.annotation", "seen"), ..Annotations::default() },
        created_by: "a test".to_owned(),
        ..ImageOptions::new(Arch::X86_64)
    }
}

/// What a tool that must succeed writes to standard output.
pub(crate) fn said(program: &str, arguments: &[&str], directory: &Path) -> Option<String> {
    let run = tool(program, arguments, directory)?;
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{program} {arguments:?}: {errors}");
    Some(String::from_utf8(run.stdout).expect("UTF-8"))
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// Exports of all kinds below `place`; what skopeo calls them.
fn exported(tree: &TempDir, place: &Path, image: &ImageOptions) -> [&'static str; 3] {
    let layers = one(tree);
    oci_layout(&layers, image, &place.join("layout")).expect("exported");
    oci_archive(&layers, image, &place.join("oci.tar")).expect("exported");
    docker_archive(&layers, image, &place.join("docker.tar")).expect("exported");
    ["oci:layout:r.test/greet:1", "oci-archive:oci.tar:r.test/greet:1", "docker-archive:docker.tar:r.test/greet:1"]
}

#[test]
fn skopeo_sees_labels_annotations_history_and_platform() {
    let (tree, place) = (tree(), TempDir::new().expect("temporary directory"));
    let place = place.path();
    for source in exported(&tree, place, &image()) {
        let Some(seen) = said("skopeo", &["inspect", source], place) else { return };
        let seen = parsed(&seen);
        assert_eq!(seen["Labels"]["org.example.label"], "seen", "{source}");
        assert_eq!((&seen["Os"], &seen["Architecture"]), (&"linux".into(), &"amd64".into()), "{source}");
        assert_eq!(seen["Created"], "2026-01-01T00:00:00Z");
        let config = parsed(&said("skopeo", &["inspect", "--config", source], place).expect("it is there"));
        assert_eq!(config["history"][0]["created_by"], "a test");
        assert_eq!(config["config"]["Entrypoint"][0], "/bin/greet");
        let raw = parsed(&said("skopeo", &["inspect", "--raw", source], place).expect("it is there"));
        if !source.starts_with("docker") {
            assert_eq!(raw["annotations"]["org.example.annotation"], "seen");
        }
    }
}

#[test]
fn skopeo_copies_every_kind_to_every_other() {
    let (tree, place) = (tree(), TempDir::new().expect("temporary directory"));
    let place = place.path();
    for compression in [Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }, Compression::None] {
        let image = ImageOptions { compression, ..image() };
        fs::create_dir_all(place).expect("directory");
        for (count, source) in exported(&tree, place, &image).iter().enumerate() {
            let to = format!("dir:copy{count}");
            let Some(_) = said("skopeo", &["copy", "--insecure-policy", source, &to], place) else { return };
            let manifest = json(&place.join(format!("copy{count}/manifest.json")));
            assert_eq!(manifest["layers"].as_array().expect("layers").len(), 1, "{source}");
        }
        for name in names(place) {
            dockless::store::remove_tree(&place.join(name)).expect("removed");
        }
    }
}

#[test]
fn umoci_unpacks_the_tree_and_runc_runs_its_entry_point() {
    let (tree, place) = (tree(), TempDir::new().expect("temporary directory"));
    let place = place.path();
    let image = ImageOptions { names: vec!["greet:1".to_owned()], ..image() };
    oci_layout(&one(&tree), &image, &place.join("layout")).expect("exported");
    let is_root = rustix::process::geteuid().is_root();
    let mut arguments = vec!["unpack", "--image", "layout:greet:1", "bundle"];
    if !is_root {
        arguments.insert(1, "--rootless");
    }
    let Some(_) = said("umoci", &arguments, place) else { return };
    let (ours, theirs) = (tree.path(), place.join("bundle/rootfs"));
    if is_root {
        assert_eq!(tree_digest(&theirs).expect("digest"), tree_digest(ours).expect("digest"));
    }
    if fs::read(ours.join("bin/greet")).expect("file") == b"no program" {
        return;
    }
    let config = place.join("bundle/config.json");
    let mut spec = json(&config);
    assert_eq!(spec["process"]["args"], serde_json::json!(["/bin/greet", "hello"]));
    spec["process"]["terminal"] = false.into();
    fs::write(&config, spec.to_string()).expect("written");
    let state = place.join("state");
    let name = format!("dockless-test-{}", std::process::id());
    let run = ["--root", state.to_str().expect("UTF-8"), "run", "--bundle", "bundle", &name];
    let Some(run) = tool("runc", &run, place) else { return };
    if !run.status.success() {
        // Whether containers can be made here at all is not ours.
        skip("runc", &String::from_utf8_lossy(&run.stderr));
        return;
    }
    assert_eq!(String::from_utf8_lossy(&run.stdout), "hello world /work\n");
}

#[test]
fn buildah_and_podman_take_archives_in_and_see_what_they_say() {
    let (tree, place) = (tree(), TempDir::new().expect("temporary directory"));
    let place = place.path();
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).expect("mode");
    let zstd = ImageOptions { compression: Compression::Zstd { level: 3 }, ..image() };
    for (kind, image) in [("gzip", image()), ("zstd", zstd)] {
        let inside = place.join(kind);
        fs::create_dir(&inside).expect("directory");
        for source in exported(&tree, &inside, &image) {
            for program in ["buildah", "podman"] {
                let storage = ["--root", "storage", "--runroot", "run", "--storage-driver", "vfs"];
                let with = |more: &[&'static str]| -> Vec<String> {
                    storage.iter().chain(more).map(|word| (*word).to_owned()).collect()
                };
                let mut pull = with(&["pull", "--quiet"]);
                if program == "podman" {
                    pull = with(&["pull", "--quiet"]);
                }
                pull.push(source.to_owned());
                let pull: Vec<&str> = pull.iter().map(String::as_str).collect();
                let Some(pulled) = tool(program, &pull, &inside) else { continue };
                if !pulled.status.success() {
                    let errors = String::from_utf8_lossy(&pulled.stderr).into_owned();
                    // A user without subordinate ids, or a machine without user namespaces.
                    assert!(!rustix::process::geteuid().is_root(), "{program} {source}: {errors}");
                    skip(program, &errors);
                    continue;
                }
                let id = String::from_utf8_lossy(&pulled.stdout).trim().to_owned();
                let mut inspect = with(&["inspect", "--type", "image"]);
                inspect.push(id);
                let inspect: Vec<&str> = inspect.iter().map(String::as_str).collect();
                let seen = parsed(&said(program, &inspect, &inside).expect("it is there"));
                let labels = if program == "podman" { &seen[0]["Labels"] } else { &seen["OCIv1"]["config"]["Labels"] };
                assert_eq!(labels["org.example.label"], "seen", "{program} {source}");
            }
        }
        let clean = ["--root", "storage", "--runroot", "run", "--storage-driver", "vfs", "rmi", "--all", "--force"];
        let _ = tool("buildah", &clean, &inside);
    }
}

#[test]
fn the_layer_of_a_docker_archive_is_a_plain_tar() {
    let (tree, place) = (tree(), TempDir::new().expect("temporary directory"));
    docker_archive(&one(&tree), &image(), &place.path().join("docker.tar")).expect("exported");
    // The way of those who know nothing of images: the layer out of the archive, the tree out of the layer.
    let script = "tar -xf docker.tar && tar -xf */layer.tar work/private && cat work/private";
    let seen = said("sh", &["-c", script], place.path()).expect("a shell");
    assert_eq!(seen, "x");
}

#[test]
fn layers_over_one_another_are_what_other_tools_unpack() {
    let (lower, upper) = (tree(), TempDir::new().expect("temporary directory"));
    let place = TempDir::new().expect("temporary directory");
    fs::create_dir(upper.path().join("work")).expect("directory");
    fs::write(upper.path().join("work/new"), "new").expect("file");
    fs::write(upper.path().join("work/private"), "another").expect("file");
    let layers = [lower.path(), upper.path()].map(|path| ImageLayer::Tree { path: path.to_owned(), overlay: false });
    let image = ImageOptions { names: vec!["greet:1".to_owned()], ..image() };
    oci_layout(&layers, &image, &place.path().join("layout")).expect("exported");
    let is_root = rustix::process::geteuid().is_root();
    let rootless: &[&str] = if is_root { &[] } else { &["--rootless"] };
    let arguments = [&["unpack"], rootless, &["--image", "layout:greet:1", "bundle"]].concat();
    let Some(_) = said("umoci", &arguments, place.path()) else { return };
    let root = place.path().join("bundle/rootfs");
    assert_eq!(fs::read_to_string(root.join("work/new")).expect("file"), "new");
    assert_eq!(fs::read_to_string(root.join("work/private")).expect("file"), "another");
    assert!(root.join("bin/greet").exists());
}
