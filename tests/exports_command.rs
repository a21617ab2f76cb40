//! `-o` and `--metadata-file` of the real binary: registries, the store, standard output.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use dockless::llb::{Graph, GraphBuilder, op};
use dockless::oci::{Arch, Digest};
use dockless::store::Store;
use serde_json::Value;
use tempfile::TempDir;

use crate::exports::{json, names, tree};
use crate::exports_tools::said;
use crate::support::registry::DockerRegistry;
use crate::support::skip;

/// A tree to export, a store, and a place for what comes of it.
pub(crate) struct Bed {
    tree: TempDir,
    pub(crate) place: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        Self { tree: tree(), place: TempDir::new().expect("a place") }
    }

    pub(crate) fn out(&self) -> &Path {
        self.place.path()
    }

    pub(crate) fn store(&self) -> std::path::PathBuf {
        self.place.path().join("store")
    }

    /// A graph whose result is the tree.
    fn graph() -> Graph {
        let mut builder = GraphBuilder::new();
        let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
        builder.finish(root)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(["solve", "--store"]).arg(self.store()).arg("--local");
        command.arg(format!("root={}", self.tree.path().display())).args(arguments);
        command.env("DOCKLESS_PROGRESS", "plain").env("HOME", self.out()).current_dir(self.out());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let _ = child.stdin.take().expect("piped").write_all(&Self::graph().to_bytes());
        child.wait_with_output().expect("the binary ends")
    }

    /// Runs what must succeed; `None` where the machine cannot.
    pub(crate) fn solved(&self, arguments: &[&str]) -> Option<Vec<u8>> {
        let run = self.run(arguments);
        let errors = String::from_utf8_lossy(&run.stderr);
        if run.status.code() == Some(3) && errors.contains("namespace") {
            skip("userns", &errors);
            return None;
        }
        assert!(run.status.success(), "{arguments:?}: {errors}");
        Some(run.stdout)
    }

    /// Runs what must be refused; returns what is said.
    fn refused(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        let errors = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {errors}");
        errors
    }
}

#[test]
fn an_image_goes_to_a_registry_under_each_of_its_names() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let bed = Bed::new();
    let host = server.host();
    let output = format!("type=registry,\"name={host}/a/b:1,{host}/c\",annotation.org.example=seen,label.l=seen");
    let Some(stdout) = bed.solved(&["-o", &output, "--metadata-file", "meta/data.json"]) else { return };
    let digest = String::from_utf8(stdout).expect("UTF-8").trim().to_owned();
    let metadata = json(&bed.out().join("meta/data.json"));
    assert_eq!(metadata["containerimage.digest"], digest);
    assert_eq!(metadata["containerimage.descriptor"]["digest"], digest);
    assert_eq!(metadata["image.name"], format!("{host}/a/b:1,{host}/c:latest"));
    for name in ["a/b:1", "c:latest"] {
        let from = format!("docker://{host}/{name}");
        let Some(raw) = said("skopeo", &["inspect", "--raw", "--tls-verify=false", &from], bed.out()) else { return };
        assert_eq!(Digest::of(raw.as_bytes()).to_string(), digest);
        let manifest: Value = serde_json::from_str(&raw).expect("JSON");
        assert_eq!(manifest["annotations"]["org.example"], "seen");
        assert_eq!(manifest["config"]["digest"], metadata["containerimage.config.digest"]);
        let to = format!("dir:{}", name.replace(['/', ':'], "_"));
        said("skopeo", &["copy", "--insecure-policy", "--src-tls-verify=false", &from, &to], bed.out());
    }
    // Nothing of it has a name in the store.
    let store = Store::open(&bed.store()).expect("a store");
    assert!(store.tags().expect("tags").is_empty());
}

#[test]
fn an_image_is_kept_in_the_store_under_what_its_name_means() {
    let bed = Bed::new();
    let Some(stdout) = bed.solved(&["-o", "type=image,name=greet,annotation-index.a=b"]) else { return };
    let digest = String::from_utf8(stdout).expect("UTF-8").trim().to_owned();
    let store = Store::open(&bed.store()).expect("a store");
    let found = store.resolve("docker.io/library/greet:latest").expect("an index").expect("tagged");
    assert_eq!(found.digest().to_string(), digest);
    assert!(found.media_type().to_string().ends_with("index.v1+json"));
}

#[test]
fn several_outputs_are_written_and_standard_output_takes_one() {
    let bed = Bed::new();
    let files = ["type=tar,dest=a.tar.gz", "type=oci,dest=layout,name=x:1", "copy", "type=docker,dest=docker.tar"];
    let arguments: Vec<&str> = files.iter().flat_map(|file| ["-o", *file]).collect();
    let Some(stdout) = bed.solved(&arguments) else { return };
    assert_eq!(String::from_utf8_lossy(&stdout), "a.tar.gz\nlayout\ncopy\ndocker.tar\n");
    assert_eq!(names(bed.out()), ["a.tar.gz", "copy", "docker.tar", "layout", "store"]);
    assert!(bed.out().join("copy/opt/python/bin/python3").symlink_metadata().is_ok());
    for (output, name) in [
        ("-", "opt/python/bin/same"),
        ("type=oci,tar=true", "index.json"),
        ("type=docker-archive,dest=-,name=x", "manifest.json"),
    ] {
        let archive = bed.solved(&["-o", output]).expect("as before");
        let listed: Vec<String> = tar::Archive::new(archive.as_slice())
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("an entry").path().expect("a path").display().to_string())
            .collect();
        assert!(listed.iter().any(|listed| listed == name), "{output}: {listed:?}");
    }
    let archive = bed.solved(&["-o", "type=oci-archive,name=x:1"]).expect("as before");
    fs::write(bed.out().join("piped.tar"), &archive).expect("written");
    bed.solved(&["-o", "type=oci-archive,name=x:1,dest=file.tar"]).expect("as before");
    assert_eq!(fs::read(bed.out().join("file.tar")).expect("archive"), archive);
}

#[test]
fn wrong_outputs_are_refused_before_anything_is_built() {
    let bed = Bed::new();
    for (arguments, word) in [
        (&["-o", "type=oci,dest=x,nmae=y"][..], "unknown key `nmae`"),
        (&["-o", "type=zip"], "unknown type `zip`"),
        (&["-o", "-", "-o", "type=docker"], "only one output"),
        (&["-o", "type=tar,dest=x", "-o", "type=registry"], "name="),
    ] {
        let errors = bed.refused(arguments);
        assert!(errors.contains(word), "{errors}");
    }
    assert!(names(bed.out()).is_empty(), "{:?}", names(bed.out()));
}

#[test]
fn rewriting_times_needs_a_time() {
    let bed = Bed::new();
    if bed.solved(&[]).is_none() {
        return;
    }
    let errors = bed.refused(&["-o", "type=oci,dest=x,rewrite-timestamp=true"]);
    assert!(errors.contains("SOURCE_DATE_EPOCH"), "{errors}");
    bed.solved(&["-o", "type=oci,dest=x,rewrite-timestamp=true", "--epoch", "5"]);
    assert!(!bed.out().join("y").exists() && bed.out().join("x/index.json").exists());
}
