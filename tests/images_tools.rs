//! Other tools read what we save and push, and we read what they write: the tree is the same.

use std::fs;

use dockless::store::Store;

use crate::support::images::{Place, named, sample, tool};
use crate::support::registry::DockerRegistry;
use crate::support::skip;

/// A place with `mine:1` in its store and as the layout `layout/`, and the digest of its manifest.
fn place() -> (Place, Store, String) {
    let place = Place::new();
    let store = place.store();
    let digest = sample(&store, "a", "amd64");
    named(&store, &digest, "localhost/mine:1");
    place.done(&["save", "--format", "oci", "localhost/mine:1", "-o", "layout"]);
    (place, store, digest.to_string())
}

/// Whether a tool is there and did what it should.
fn did(place: &Place, program: &str, arguments: &[&str]) -> Option<String> {
    let output = tool(program, arguments, place.directory.path())?;
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn what_skopeo_copies_is_loaded_with_the_same_tree() {
    let (place, _store, digest) = place();
    let tree = place.tree(&digest);
    // It compresses what is not, so digests differ.
    for format in
        ["docker-archive:a.tar:localhost/mine:1", "oci-archive:b.tar:localhost/mine:1", "oci:c:localhost/mine:1"]
    {
        if did(&place, "skopeo", &["copy", "-q", "oci:layout:localhost/mine:1", format]).is_none() {
            return;
        }
        let file = format.split(':').nth(1).expect("a file");
        let other = Place::new();
        let loaded = other.done(&["load", &place.path(file).display().to_string()]);
        assert!(loaded.ends_with(" localhost/mine:1"), "{format}: {loaded}");
        assert_eq!(other.tree("localhost/mine:1"), tree, "{format}");
        let elsewhere = format.split(':').take(2).collect::<Vec<_>>().join(":");
        assert_eq!(place.tree(&elsewhere), tree, "{elsewhere}");
    }
    // Compressed from the outside, and from standard input.
    for program in ["gzip", "xz", "zstd", "bzip2"] {
        if did(&place, program, &["-kf", "a.tar"]).is_none() {
            continue;
        }
        let name =
            ["a.tar.gz", "a.tar.xz", "a.tar.zst", "a.tar.bz2"].into_iter().find(|name| place.path(name).exists());
        let path = place.path(name.expect("compressed"));
        let other = Place::new();
        let mut load = other.image(&["load", "-q"]);
        let output = load.stdin(fs::File::open(&path).expect("open")).output().expect("the binary ends");
        assert!(output.status.success(), "{program}: {output:?}");
        assert_eq!(other.tree("localhost/mine:1"), tree, "{program}");
        fs::remove_file(path).expect("removed");
    }
}

#[test]
fn a_layout_of_umoci_is_loaded() {
    let (place, _store, digest) = place();
    let tree = place.tree(&digest);
    let tagged = ["tag", "--image", "layout:localhost/mine:1", "v1"];
    if did(&place, "umoci", &tagged).is_none() {
        return;
    }
    did(&place, "umoci", &["config", "--image", "layout:v1", "--config.user", "joe"]);
    let other = Place::new();
    let from = format!("oci:{}:v1", place.path("layout").display());
    assert_eq!(other.tree(&from), tree);
    assert!(other.done(&["inspect", "--config", &from]).contains("joe"));
}

#[test]
fn skopeo_and_umoci_read_what_we_save() {
    let (place, _store, digest) = place();
    place.done(&["save", "localhost/mine:1", "-o", "a.tar"]);
    place.done(&["save", "--format", "docker-archive", "localhost/mine:1", "-o", "b.tar"]);
    for from in ["oci:layout:localhost/mine:1", "oci-archive:a.tar", "docker-archive:b.tar:localhost/mine:1"] {
        let Some(shown) = did(&place, "skopeo", &["inspect", from]) else { break };
        assert_eq!(shown.contains(&digest), !from.starts_with("docker"), "{from}: {shown}");
        assert!(shown.contains("SALT=a"), "{from}: {shown}");
    }
    let unpack = ["unpack", "--rootless", "--image", "layout:localhost/mine:1", "bundle"];
    if did(&place, "umoci", &unpack).is_some() {
        let Some(tree) = place.tree(&digest) else { return };
        assert_eq!(dockless::layer::tree_digest(&place.path("bundle/rootfs")).expect("a tree"), tree);
    }
}

#[test]
fn podman_and_buildah_read_what_we_save_and_we_what_podman_saves() {
    let (place, _store, digest) = place();
    let tree = place.tree(&digest);
    place.done(&["save", "localhost/mine:1", "-o", "a.tar"]);
    place.done(&["save", "--format", "docker-archive", "localhost/mine:1", "-o", "b.tar"]);
    let storage = ["--root", "storage", "--runroot", "run", "--storage-driver", "vfs"];
    let run =
        |program: &str, arguments: &[&str]| tool(program, &[&storage[..], arguments].concat(), place.directory.path());
    let Some(info) = run("podman", &["info"]) else { return };
    if !info.status.success() {
        return skip("podman", &String::from_utf8_lossy(&info.stderr));
    }
    for file in ["a.tar", "b.tar"] {
        let loaded = run("podman", &["load", "-q", "-i", file]).expect("it was there");
        let said = String::from_utf8_lossy(&loaded.stdout);
        assert!(loaded.status.success() && said.contains("localhost/mine:1"), "{file}: {loaded:?}");
    }
    for (format, file) in [("docker-archive", "c.tar"), ("oci-archive", "d.tar"), ("oci-dir", "e")] {
        let arguments = ["save", "-q", "--format", format, "-o", file, "localhost/mine:1"];
        let saved = run("podman", &arguments).expect("it was there");
        assert!(saved.status.success(), "{format}: {saved:?}");
        let other = Place::new();
        other.done(&["load", "--tag", "localhost/back", &place.path(file).display().to_string()]);
        assert_eq!(other.tree("localhost/back"), tree, "{format}");
    }
    if let Some(pushed) = run("buildah", &["push", "-q", "localhost/mine:1", "oci-archive:f.tar:localhost/mine:2"]) {
        assert!(pushed.status.success(), "{pushed:?}");
        let other = Place::new();
        other.done(&["load", &place.path("f.tar").display().to_string()]);
        assert_eq!(other.tree("localhost/mine:2"), tree);
    }
    // Directories in there may not be ours, nor writable.
    let _ = run("podman", &["rmi", "--all", "--force"]);
}

#[test]
fn skopeo_reads_what_we_push_and_we_pull_what_skopeo_pushes() {
    let Some(shelf) = DockerRegistry::start(&[]) else { return };
    let (place, _store, digest) = place();
    let name = format!("{}/a/mine:1", shelf.host());
    assert_eq!(place.done(&["push", "localhost/mine:1", &name]), digest);
    let Some(shown) = did(&place, "skopeo", &["inspect", "--tls-verify=false", &format!("docker://{name}")]) else {
        return;
    };
    assert!(shown.contains(&digest), "{shown}");
    for (tag, format) in [("oci", "oci"), ("docker", "v2s2")] {
        let to = format!("docker://{}/b/mine:{tag}", shelf.host());
        let copy = ["copy", "-q", "--dest-tls-verify=false", "--format", format, "oci:layout:localhost/mine:1", &to];
        did(&place, "skopeo", &copy);
        let other = Place::new();
        let name = format!("{}/b/mine:{tag}", shelf.host());
        other.done(&["pull", &name]);
        assert_eq!(other.tree(&name), place.tree(&digest), "{format}");
    }
}

#[test]
fn a_bundle_is_what_runc_starts() {
    let (place, store, _) = place();
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find_map(|path| fs::read(path).ok());
    let Some(busybox) = busybox else { return skip("busybox", "the program is not on this machine") };
    let shell =
        crate::support::images::program(&store, "bin/busybox", &busybox, "joe", r#"["/bin/busybox","id","-u"]"#);
    named(&store, &shell, "localhost/shell");
    let output = place.image(&["unpack", "--bundle", "localhost/shell", "bundle"]).output().expect("the binary ends");
    if output.status.code() == Some(3) {
        return skip("userns", &String::from_utf8_lossy(&output.stderr));
    }
    assert!(output.status.success(), "{output:?}");
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("bundle/config.json")).expect("read")).expect("JSON");
    let one_id = config["linux"]["uidMappings"].as_array().is_some_and(|maps| maps.len() == 1);
    let id = format!("dockless-{}", std::process::id());
    let Some(run) = tool("runc", &["--root", "state", "run", "--bundle", "bundle", &id], place.directory.path()) else {
        return;
    };
    let said = String::from_utf8_lossy(&run.stderr);
    // Machines that are containers themselves may forbid what every runtime does first.
    if !run.status.success()
        && ["permission denied", "operation not permitted", "cgroup"].iter().any(|why| said.contains(why))
    {
        return skip("runc", &said);
    }
    assert!(run.status.success(), "{run:?}");
    assert_eq!(String::from_utf8_lossy(&run.stdout).trim(), if one_id { "0" } else { "7" });
}
