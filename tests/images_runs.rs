//! An image starts as its config says, entry point, arguments, environment, directory and user, whoever unpacks it.

use std::fs;
use std::path::Path;
use std::process::Command;

use dockless::export::{ImageOptions, docker_archive, oci_archive, oci_layout};
use dockless::layer::{Owner, PackTimes};
use dockless::oci::Arch;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exports::one;
use crate::support::images::{Place, tool};
use crate::support::skip;

/// Says everything that a config can ask for.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char here[256];
    for (int i = 0; i < argc; i++) printf("%s ", argv[i]);
    printf("%s %s %d:%d\n", getenv("GREETING"), getcwd(here, sizeof here), getuid(), getgid());
    return 0;
}
"#;

/// A tree with that program and a user; `None` where nothing static can be compiled.
fn tree() -> Option<TempDir> {
    let tree = TempDir::new().expect("temporary directory");
    for directory in ["bin", "etc", "work", "proc", "dev", "sys"] {
        fs::create_dir(tree.path().join(directory)).expect("directory");
    }
    let source = tree.path().join("tell.c");
    fs::write(&source, PROGRAM).expect("file");
    let program = tree.path().join("bin/tell");
    let compiled = Command::new("cc").args(["-static", "-Os", "-s", "-o"]).arg(program).arg(&source).output();
    if compiled.map_or(true, |compiled| !compiled.status.success()) {
        skip("cc", "no static program can be compiled");
        return None;
    }
    fs::remove_file(&source).expect("removed");
    fs::write(tree.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\njoe:x:7:8::/:/bin/sh\n").expect("file");
    fs::write(tree.path().join("etc/group"), "root:x:0:\njoe:x:8:joe\n").expect("file");
    Some(tree)
}

fn options() -> ImageOptions {
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": {
            "Entrypoint": ["/bin/tell", "one"], "Cmd": ["two", "three four"], "Env": ["GREETING=hello you"],
            "WorkingDir": "/work", "User": "joe",
        },
    });
    let Value::Object(config) = config else { unreachable!("it is written above") };
    ImageOptions {
        names: vec!["tell:1".to_owned()],
        times: PackTimes::All(1),
        owner: Owner::Root,
        config: Some(config),
        ..ImageOptions::new(Arch::X86_64)
    }
}

/// Runs a bundle; `None` where no container can be made here.
fn run(place: &Path, bundle: &str) -> Option<String> {
    let id = format!("dockless-{}-{bundle}", std::process::id());
    let run = tool("runc", &["--root", "state", "run", "--bundle", bundle, &id], place)?;
    let errors = String::from_utf8_lossy(&run.stderr);
    if !run.status.success()
        && ["permission denied", "operation not permitted", "cgroup"].iter().any(|why| errors.contains(why))
    {
        skip("runc", &errors);
        return None;
    }
    assert!(run.status.success(), "{bundle}: {errors}");
    Some(String::from_utf8_lossy(&run.stdout).into_owned())
}

const SAID: &str = "/bin/tell one two three four hello you /work";

#[test]
fn an_image_starts_the_same_from_a_bundle_of_ours_and_of_umoci() {
    let (Some(tree), place) = (tree(), Place::new()) else { return };
    let layers = one(&tree);
    oci_layout(&layers, &options(), &place.path("layout")).expect("exported");
    oci_archive(&layers, &options(), &place.path("oci.tar")).expect("exported");
    docker_archive(&layers, &options(), &place.path("docker.tar")).expect("exported");
    let forms = ["oci:layout:tell:1", "oci-archive:oci.tar", "docker-archive:docker.tar"];
    for (bundle, from) in ["one", "two", "three"].into_iter().zip(forms) {
        let output = place.image(&["unpack", "--bundle", from, bundle]).output().expect("the binary ends");
        if output.status.code() == Some(3) {
            return skip("userns", &String::from_utf8_lossy(&output.stderr));
        }
        assert!(output.status.success(), "{from}: {output:?}");
        let config: Value =
            serde_json::from_slice(&fs::read(place.path(bundle).join("config.json")).expect("read")).expect("JSON");
        // Who has one id has that one inside.
        let one_id = config["linux"]["uidMappings"].as_array().is_some_and(|maps| maps.len() == 1);
        let Some(said) = run(place.directory.path(), bundle) else { return };
        assert_eq!(said, format!("{SAID} {}\n", if one_id { "0:0" } else { "7:8" }), "{from}");
    }
    // umoci's bundles for ordinary users know one id, and the image wants another.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let unpack = ["unpack", "--image", "layout:tell:1", "theirs"];
    let Some(unpacked) = tool("umoci", &unpack, place.directory.path()) else { return };
    assert!(unpacked.status.success(), "{unpacked:?}");
    let path = place.path("theirs/config.json");
    let mut spec: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    spec["process"]["terminal"] = false.into();
    fs::write(&path, spec.to_string()).expect("written");
    if let Some(said) = run(place.directory.path(), "theirs") {
        assert_eq!(said, format!("{SAID} 7:8\n"), "umoci");
    }
}

#[test]
fn an_image_starts_under_podman_and_buildah_sees_how() {
    let (Some(tree), place) = (tree(), Place::new()) else { return };
    docker_archive(&one(&tree), &options(), &place.path("docker.tar")).expect("exported");
    let storage = ["--root", "storage", "--runroot", "run", "--storage-driver", "vfs"];
    let here = place.directory.path();
    let with = |program: &str, arguments: &[&str]| tool(program, &[&storage[..], arguments].concat(), here);
    let mut id = String::new();
    for program in ["buildah", "podman"] {
        let Some(pulled) = with(program, &["pull", "--quiet", "docker-archive:docker.tar"]) else { return };
        let errors = String::from_utf8_lossy(&pulled.stderr).into_owned();
        if !pulled.status.success() && !rustix::process::geteuid().is_root() {
            return skip(program, &errors);
        }
        assert!(pulled.status.success(), "{program}: {errors}");
        String::from_utf8_lossy(&pulled.stdout).trim().clone_into(&mut id);
    }
    let inspect = ["inspect", "--type", "image", "--format", "{{.OCIv1.Config}}", &id];
    let seen = with("buildah", &inspect).expect("it was there");
    let seen = String::from_utf8_lossy(&seen.stdout).into_owned();
    for word in ["joe", "/bin/tell", "three four", "GREETING=hello you", "/work"] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    // Low limits: a machine that is a container itself may not raise any.
    let how = [
        "--rm",
        "--network",
        "none",
        "--log-driver",
        "none",
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=4096:4096",
        &id,
    ];
    let run = [&["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run"], &how[..]].concat();
    let run = with("podman", &run).expect("it was there");
    let errors = String::from_utf8_lossy(&run.stderr);
    match run.status.code() {
        // Podman or its runtime failed, not what they ran.
        Some(125) => skip("podman", &errors),
        // Who has one id cannot be the image's user.
        Some(126) if !rustix::process::geteuid().is_root() && errors.contains("setup user") => {}
        _ => {
            assert!(run.status.success(), "{run:?}");
            assert_eq!(String::from_utf8_lossy(&run.stdout), format!("{SAID} 7:8\n"));
        }
    }
    let _ = with("podman", &["rmi", "--all", "--force"]);
}
