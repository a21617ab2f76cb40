//! Images that other tools build are read in every form in which they give them away; and ours in every form by them.

use std::fs;
use std::process::Output;

use dockless::layer::tree_digest;
use serde_json::Value;

use crate::support::images::{Place, named, sample, tool as foreign};
use crate::support::registry::DockerRegistry;
use crate::support::skip;

/// Where buildah and podman keep images: beside everything else of a test.
const STORAGE: &str = "--root storage --runroot run --storage-driver vfs";

/// buildah and podman with a storage of their own, emptied at the end: files in it may belong to other ids.
struct Tool<'a> {
    place: &'a Place,
}

impl Tool<'_> {
    fn run(&self, program: &str, arguments: &[&str]) -> Option<Output> {
        let storage: Vec<&str> = STORAGE.split(' ').collect();
        foreign(program, &[&storage[..], arguments].concat(), self.place.directory.path())
    }

    /// What it prints; it must succeed.
    fn said(&self, program: &str, arguments: &[&str]) -> Option<String> {
        let output = self.run(program, arguments)?;
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Tool<'_> {
    fn drop(&mut self) {
        if self.place.path("storage").exists() {
            let _ = self.run("buildah", &["rm", "--all"]);
            let _ = self.run("buildah", &["rmi", "--all", "--force"]);
        }
    }
}

/// A tree with links and modes, for others to make an image of.
fn context(place: &Place) {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let root = place.path("context");
    fs::create_dir_all(root.join("work/deep")).expect("directories");
    for (path, mode) in [("work/program", 0o755), ("work/deep/file", 0o640), ("gone", 0o644)] {
        fs::write(root.join(path), path).expect("a file");
        fs::set_permissions(root.join(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    symlink("deep/file", root.join("work/link")).expect("a link");
}

/// Checks what an image says of itself and what is in it.
fn as_built(place: &Place, reference: &str, from: &str) {
    let config: Value = serde_json::from_str(&place.done(&["inspect", "--config", reference])).expect("JSON");
    let config = &config["config"];
    assert_eq!(config["Entrypoint"], serde_json::json!(["/app/program"]), "{from}");
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"7:8".into(), &"/app".into()), "{from}");
    assert!(config["Env"].to_string().contains("A=b c"), "{from}: {config}");
    assert_eq!(config["Labels"]["org.example"], "seen", "{from}");
    let to = place.path("unpacked");
    let output = place.image(&["unpack", reference, "unpacked"]).output().expect("the binary ends");
    if output.status.code() == Some(3) {
        return skip("userns", &String::from_utf8_lossy(&output.stderr));
    }
    assert!(output.status.success(), "{from}: {output:?}");
    assert_eq!(fs::read_to_string(to.join("work/link")).expect("a file"), "work/deep/file", "{from}");
    assert_eq!(fs::read_to_string(to.join("new")).expect("a file"), "new", "{from}");
    assert!(!to.join("gone").exists(), "{from}");
    fs::remove_dir_all(&to).expect("removed");
}

#[test]
fn what_buildah_builds_is_read_in_every_form() {
    let place = Place::new();
    context(&place);
    fs::write(place.path("new"), "new").expect("a file");
    let tool = Tool { place: &place };
    // Two layers: the second one deletes and adds.
    let Some(first) = tool.run("buildah", &["from", "--name", "first", "scratch"]) else { return };
    if !first.status.success() {
        return skip("buildah", &String::from_utf8_lossy(&first.stderr));
    }
    let copied = tool.run("buildah", &["copy", "--quiet", "first", "context", "/"]).expect("it was there");
    if !copied.status.success() {
        // A user with one id, or a machine that lets nobody change roots.
        return skip("buildah", &String::from_utf8_lossy(&copied.stderr));
    }
    let said = |arguments: &[&str]| tool.said("buildah", arguments).expect("it was there");
    said(&["commit", "--quiet", "first", "localhost/first"]);
    said(&["from", "--name", "second", "--pull-never", "localhost/first"]);
    // Its mounts are seen in its own user namespace only, which root has no need of.
    let script = format!(
        "set -e; root=$(buildah {STORAGE} mount second); rm \"$root/gone\"; cp {} \"$root\"",
        place.path("new").display()
    );
    let changed = if rustix::process::geteuid().is_root() {
        foreign("sh", &["-c", &script], place.directory.path()).expect("a shell")
    } else {
        tool.run("buildah", &["unshare", "sh", "-c", &script]).expect("it was there")
    };
    assert!(changed.status.success(), "{changed:?}");
    let config = ["config", "--entrypoint", r#"["/app/program"]"#, "--user", "7:8", "--workingdir", "/app"];
    said(&[&config[..], &["--env", "A=b c", "--label", "org.example=seen", "second"]].concat());
    for format in ["oci", "docker"] {
        let name = format!("localhost/built:{format}");
        said(&["commit", "--quiet", "--format", format, "second", &name]);
        for form in ["oci", "oci-archive", "docker-archive"] {
            let to = format!("{form}:{format}-{form}:{name}");
            said(&["push", "--quiet", &name, &to]);
            as_built(&place, &to, &format!("{format} as {form}"));
        }
        // Docker's manifests know no zstd.
        let compressions: &[&str] = if format == "oci" { &["gzip", "zstd", "zstd:chunked"] } else { &["gzip"] };
        for compression in compressions {
            // A new one each time, or what is there already is taken as it is.
            let Some(server) = DockerRegistry::start(&[]) else { continue };
            let to = format!("{}/built:1", server.host());
            let how = ["push", "--quiet", "--tls-verify=false", "--compression-format", compression];
            said(&[&how[..], &[&name, &format!("docker://{to}")]].concat());
            let other = Place::new();
            other.done(&["pull", &to]);
            let manifest = other.done(&["inspect", "--manifest", &to]);
            let ending = format!("tar{}{}", if format == "oci" { "+" } else { "." }, &compression[..4]);
            assert!(manifest.contains(&ending), "{ending}: {manifest}");
            as_built(&other, &to, &format!("{format} from a registry, {compression}"));
        }
    }
}

#[test]
fn what_umoci_packs_is_read_with_its_deletions() {
    let place = Place::new();
    context(&place);
    let is_root = rustix::process::geteuid().is_root();
    let did = |arguments: &[&str]| {
        let output = foreign("umoci", arguments, place.directory.path())?;
        assert!(output.status.success(), "umoci {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Some(())
    };
    if did(&["init", "--layout", "layout"]).is_none() {
        return;
    }
    did(&["new", "--image", "layout:built"]);
    let unpack = |bundle: &str| {
        let rootless: &[&str] = if is_root { &[] } else { &["--rootless"] };
        did(&[&["unpack"], rootless, &["--image", "layout:built", bundle]].concat());
        place.path(bundle).join("rootfs")
    };
    let first = unpack("one");
    let copied = foreign("cp", &["-a", "context/.", "one/rootfs"], place.directory.path()).expect("cp");
    assert!(copied.status.success() && first.join("gone").exists(), "{copied:?}");
    did(&["repack", "--image", "layout:built", "one"]);
    let second = unpack("two");
    fs::remove_file(second.join("gone")).and_then(|()| fs::write(second.join("new"), "new")).expect("changed");
    did(&["repack", "--image", "layout:built", "two"]);
    let config = ["config", "--image", "layout:built", "--config.entrypoint", "/app/program", "--config.user", "7:8"];
    let more = ["--config.workingdir", "/app", "--config.env", "A=b c", "--config.label", "org.example=seen"];
    did(&[&config[..], &more].concat());
    as_built(&place, "oci:layout:built", "umoci");
    if let (true, Some(tree)) = (is_root, place.tree("oci:layout:built")) {
        assert_eq!(tree, tree_digest(&second).expect("a tree"));
    }
}

#[test]
fn podman_saves_several_images_in_one_archive_and_takes_ours() {
    let place = Place::new();
    let store = place.store();
    let names = ["localhost/a:1", "localhost/b:1"];
    let trees = names.map(|name| {
        named(&store, &sample(&store, name, "amd64"), name);
        place.tree(name)
    });
    let tool = Tool { place: &place };
    place.done(&["save", "--format", "docker-archive", names[0], names[1], "-o", "ours.tar"]);
    let Some(loaded) = tool.run("podman", &["load", "-q", "-i", "ours.tar"]) else { return };
    let errors = String::from_utf8_lossy(&loaded.stderr).into_owned();
    if !loaded.status.success() && !rustix::process::geteuid().is_root() {
        return skip("podman", &errors);
    }
    let said = String::from_utf8_lossy(&loaded.stdout).into_owned();
    assert!(names.iter().all(|name| said.contains(name)), "{said} {errors}");
    let save = ["save", "-q", "-m", "--format", "docker-archive", "-o", "theirs.tar", names[0], names[1]];
    tool.said("podman", &save);
    let other = Place::new();
    other.done(&["load", &place.path("theirs.tar").display().to_string()]);
    assert_eq!(names.map(|name| other.tree(name)), trees);
}

#[test]
fn buildah_takes_every_form_that_we_save() {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "localhost/mine:1");
    let tool = Tool { place: &place };
    for form in ["oci", "oci-archive", "docker-archive"] {
        place.done(&["save", "--format", form, "localhost/mine:1", "-o", form]);
        let from = format!("{form}:{form}:localhost/mine:1");
        let Some(pulled) = tool.run("buildah", &["pull", "--quiet", &from]) else { return };
        if !pulled.status.success() && !rustix::process::geteuid().is_root() {
            return skip("buildah", &String::from_utf8_lossy(&pulled.stderr));
        }
        assert!(pulled.status.success(), "{form}: {pulled:?}");
        let id = String::from_utf8_lossy(&pulled.stdout).trim().to_owned();
        let seen = tool.said("buildah", &["inspect", "--type", "image", &id]).expect("it was there");
        assert!(seen.contains("SALT=a"), "{form}: {seen}");
    }
}
