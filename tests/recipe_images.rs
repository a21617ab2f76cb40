//! What a recipe makes is an image, too: described by the recipe, the same bytes each time, and nothing but its files.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use dockless::oci::{Arch, Digest};
use dockless::recipe::{Profile, Recipe, RecipeError, Request};
use serde_json::Value;

use crate::rootfs_images::Bench;
use crate::support::skip;

const RECIPE: &str = r#"name = "tree"
summary = "a tree of one program"
license = "MIT"
script = "tree.sh"
rootfs = "base"
sources = ["thing"]
[image]
entrypoint = ["/opt/python/bin/python3", "-B"]
command = ["--help"]
working_directory = "/opt"
[image.env]
PATH = "/opt/python/bin:/bin"
A = "b=c"
[image.labels]
"org.opencontainers.image.title" = "A Tree"
"com.example" = "x"
"#;

const SCRIPT: &str = "cd /out\nmkdir -p opt/python/bin\ncat /sources/thing/thing.txt > opt/python/bin/python3\n\
                      chmod 755 opt/python/bin/python3 opt opt/python opt/python/bin\n";

/// Seconds since 1970 of the second day of 2001.
const EPOCH: &str = "978393600";

fn bench() -> Option<Bench> {
    let bench = Bench::new()?;
    let (index, _) = bench.push("1", &["amd64", "386"], "x");
    bench.write("rootfs/base.toml", &format!("image = '{}@{index}'\n", bench.name("")));
    bench.write("recipes/tree.toml", RECIPE);
    bench.write("scripts/tree.sh", SCRIPT);
    bench.write("sources/thing.txt", "a program\n");
    let lock = format!(
        "[[source]]\nname = 'thing'\nversion = '1.2.3'\nfile = 'thing.txt'\nsha256 = '{}'\n\
         license = 'BSD-3-Clause OR GPL-2.0-only'\norigins = ['https://nowhere.invalid/thing.txt']\n",
        Digest::of(b"a program\n").hex()
    );
    bench.write("recipes/locks/debian.lock", &lock);
    Some(bench)
}

/// Builds into an archive of this type; `store` is a fresh one for each word.
fn build(bench: &Bench, kind: &str, arch: &str, store: &str) -> Vec<u8> {
    let dest = bench.place.path().join(format!("{kind}-{arch}-{store}.tar"));
    let output = format!("type={kind},dest={}", dest.display());
    let store = bench.place.path().join(store);
    let args = ["build", "tree", "--arch", arch, "-o", &output, "--source-dir", "sources", "--epoch", EPOCH, "--store"];
    bench.succeed(&[&args[..], &[store.to_str().expect("a path in UTF-8")]].concat());
    fs::read(dest).expect("an archive")
}

/// Files of a tar by path, and how each is described.
fn files(tar: &[u8]) -> BTreeMap<String, (Vec<u8>, tar::Header)> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("in memory");
        (path.trim_end_matches('/').to_owned(), (bytes, entry.header().clone()))
    });
    entries.collect()
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

/// Wants the layer to be opt/python alone: root's, of one time, in order.
fn assert_layer(tar: &[u8]) {
    let files = files(tar);
    let paths: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(paths, ["opt", "opt/python", "opt/python/bin", "opt/python/bin/python3"]);
    for (path, (_, header)) in &files {
        let about = (header.uid().ok(), header.gid().ok(), header.mtime().ok().map(|time| time.to_string()));
        assert_eq!(about, (Some(0), Some(0), Some(EPOCH.to_owned())), "{path}");
    }
}

#[test]
fn an_image_of_a_recipe_says_what_its_recipe_says() {
    let Some(bench) = bench() else { return };
    for (arch, oci) in [("x86_64", "amd64"), ("x86", "386")] {
        let archive = files(&build(&bench, "oci-archive", arch, "one"));
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
            &archive[&format!("blobs/sha256/{}", digest.expect("a digest"))].0
        };
        let index = json(&archive["index.json"].0);
        let manifest = json(blob(&index["manifests"][0]));
        let config = json(blob(&manifest["config"]));
        assert_eq!((config["os"].as_str(), config["architecture"].as_str()), (Some("linux"), Some(oci)));
        let run = &config["config"];
        assert_eq!(run["Entrypoint"], serde_json::json!(["/opt/python/bin/python3", "-B"]));
        assert_eq!(run["Cmd"], serde_json::json!(["--help"]));
        assert_eq!(run["Env"], serde_json::json!(["A=b=c", "PATH=/opt/python/bin:/bin"]));
        assert_eq!(run["WorkingDir"], "/opt");
        let prefix = "org.opencontainers.image";
        for (label, value) in [
            (format!("{prefix}.title"), "A Tree"),
            (format!("{prefix}.description"), "a tree of one program"),
            (format!("{prefix}.version"), "1.2.3"),
            (format!("{prefix}.licenses"), "(BSD-3-Clause OR GPL-2.0-only) AND MIT"),
            (format!("{prefix}.created"), "2001-01-02T00:00:00Z"),
            ("com.example".to_owned(), "x"),
        ] {
            assert_eq!(run["Labels"][&label], value, "{label}");
        }
        assert_eq!(config["created"], "2001-01-02T00:00:00Z");
        assert_eq!(config["history"].as_array().map(Vec::len), Some(1));
        assert_eq!(manifest["layers"].as_array().map(Vec::len), Some(1));
        let mut layer = Vec::new();
        let packed = blob(&manifest["layers"][0]).as_slice();
        flate2::read::GzDecoder::new(packed).read_to_end(&mut layer).expect("gzip");
        assert_layer(&layer);
    }
}

#[test]
fn two_builds_of_an_image_are_equal_bytes() {
    let Some(bench) = bench() else { return };
    for kind in ["oci-archive", "docker-archive"] {
        assert!(build(&bench, kind, "x86_64", "one") == build(&bench, kind, "x86_64", "two"), "{kind}");
    }
}

/// `docker save`, then `opt/python` out of the layer: how releases were made before there was `dockless release`.
#[test]
fn a_saved_image_gives_its_tree_to_tar() {
    let Some(bench) = bench() else { return };
    let archive = build(&bench, "docker-archive", "x86", "one");
    let members = files(&archive);
    let manifest = json(&members["manifest.json"].0);
    let layers: Vec<&str> = manifest[0]["Layers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert_eq!(layers.len(), 1, "{manifest}");
    assert_layer(&members[layers[0]].0);
    let dest = bench.place.path().join("docker-archive-x86-one.tar");
    let script = "set -e; mkdir t; tar xf \"$1\" -C t; tar xf \"t/$2\" opt/python; cat opt/python/bin/python3";
    let mut run = Command::new("sh");
    run.args(["-c", script, "sh"]).arg(&dest).arg(layers[0]).current_dir(bench.place.path());
    let output = run.output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "a program\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_program_reads_the_image_and_its_labels() {
    let Some(bench) = bench() else { return };
    if Command::new("skopeo").arg("--version").output().is_err() {
        return skip("skopeo", "the program is not on this machine");
    }
    for (kind, arch, oci) in [("oci-archive", "x86", "386"), ("docker-archive", "x86_64", "amd64")] {
        build(&bench, kind, arch, "one");
        let image = format!("{kind}:{}", bench.place.path().join(format!("{kind}-{arch}-one.tar")).display());
        let output = Command::new("skopeo").args(["inspect", &image]).output().expect("skopeo");
        assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
        let seen = json(&output.stdout);
        assert_eq!((seen["Os"].as_str(), seen["Architecture"].as_str()), (Some("linux"), Some(oci)));
        assert_eq!(seen["Labels"]["org.opencontainers.image.version"], "1.2.3");
    }
}

#[test]
fn the_python_trees_are_images_that_start_python() {
    let sets = dockless::build::SETS.map(str::to_owned);
    let project = dockless::build::Project::open(Path::new(env!("CARGO_MANIFEST_DIR")), &sets).expect("the project");
    let python = [Request { name: "python".to_owned(), version: Some("3.11".to_owned()) }];
    for arch in Arch::ALL {
        let lowered = project.recipes.lower(&python, arch, Profile::Quick, 0).expect("lowers");
        let image = project.recipes.image(&python, &lowered, "1970-01-01T00:00:00Z");
        assert_eq!(image.entrypoint, ["/opt/python/bin/python3"]);
        assert!(image.env["PATH"].starts_with("/opt/python/bin:"), "{:?}", image.env);
        assert!(image.labels["org.opencontainers.image.version"].starts_with("3.11."));
        let licences = &image.labels["org.opencontainers.image.licenses"];
        for licence in ["PSF-2.0", "MIT", "GPL-3.0-or-later", "Apache-2.0"] {
            assert!(licences.split(" AND ").any(|one| one == licence), "no {licence} in: {licences}");
        }
    }
    // Of several recipes nobody can say what they are together.
    let both = [python[0].clone(), Request { name: "zlib".to_owned(), version: None }];
    let lowered = project.recipes.lower(&both, Arch::X86_64, Profile::Quick, 0).expect("lowers");
    let image = project.recipes.image(&both, &lowered, "1970-01-01T00:00:00Z");
    assert!(image.labels.is_empty() && image.entrypoint.is_empty(), "{image:?}");
}

#[test]
fn every_fault_of_an_image_is_shown_where_it_is() {
    for (from, to, shown, word) in [
        ("[\"/opt/python/bin/python3\"", "[\"python3\"", "\"python3\"", "begins with `/`"),
        ("\"/opt\"", "\"opt\"", "\"opt\"", "a directory of an image"),
        ("A = ", "\"A=\" = ", "\"A=\"", "the name of a variable"),
        ("\"com.example\"", "\"\"", "\"\"", "the name of a label"),
        ("\"--help\"", "\"\\u0000\"", "\"\\u0000\"", "a text of an image"),
        ("command", "comand", "comand", "unknown key"),
    ] {
        let text = RECIPE.replacen(from, to, 1);
        assert_ne!(text, RECIPE);
        let error = Recipe::parse(&text, Path::new("recipes/tree.toml")).expect_err(to);
        let RecipeError::Text { message, help, picture } = &error else { panic!("{error}") };
        assert_eq!(&picture.text[picture.span.clone()], shown, "{error}");
        let said = format!("{message} {}", help.as_deref().unwrap_or_default());
        assert!(said.contains(word), "{word}: {said}");
    }
}
