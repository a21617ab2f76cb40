//! `dockless build DIR`: Dockerfiles of the real binary, from a base image to an image that is used.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use dockless::oci::Digest;
use serde_json::Value;

use crate::git_sources::{Daemon, git};
use crate::support::images::{Place, printed, sample};
use crate::support::registry::DockerRegistry;
use crate::support::skip;
use crate::support::solve::Bench;

/// A place with a store, and a root filesystem with a shell as the build context `host`.
struct Bed {
    place: Place,
    bench: Bench,
}

impl Bed {
    fn new() -> Option<Self> {
        let bed = Self { place: Place::new(), bench: Bench::new()? };
        fs::create_dir(bed.place.path("context")).expect("a directory");
        Some(bed)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.place.path("context").join(name);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn build(&self, arguments: &[&str]) -> Output {
        let mut command = self.place.dockless();
        command.args(["build", "--build-context"]).arg(format!("host={}", self.bench.root().display()));
        command.args(arguments).env("FROM_ENVIRONMENT", "inherited").output().expect("the binary ends")
    }

    fn config(&self, reference: &str) -> Value {
        let text = self.place.done(&["inspect", reference, "--format", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_dockerfile_becomes_an_image_that_the_next_one_is_built_on_and_nothing_runs_twice() {
    let Some(bed) = Bed::new() else { return };
    bed.write(
        "Dockerfile",
        "ARG NAME=nobody
FROM scratch AS base
COPY --from=host . /
ARG NAME FROM_ENVIRONMENT
RUN [\"/bin/sh\", \"-c\", \"echo hello $NAME $FROM_ENVIRONMENT > /greeting\"]
COPY *.txt sub/ /data/
FROM base
ENV A=b
USER 7
WORKDIR /data
LABEL one=two
RUN cat /greeting && ls
ENTRYPOINT [\"/bin/cat\"]
CMD [\"/greeting\"]
",
    );
    for (name, text) in [("a.txt", "a"), ("ignored.txt", "i"), ("sub/b", "b"), (".dockerignore", "ignored.txt\n")] {
        bed.write(name, text);
    }
    let context = bed.place.path("context").display().to_string();
    let arguments = [&*context, "-t", "localhost/mine:1", "--build-arg", "NAME=you", "--build-arg", "FROM_ENVIRONMENT"];
    let arguments = [&arguments[..], &["--label", "three=four"]].concat();
    let first = bed.build(&arguments);
    let digest = printed(&first);
    let log = said(&first);
    assert!(log.contains("hello you inherited"), "{log}");
    assert!(log.contains("a.txt") && log.contains("| b") && !log.contains("ignored"), "{log}");

    let second = bed.build(&arguments);
    assert_eq!(printed(&second), digest, "the same image");
    let ran = said(&second).lines().filter(|line| line.contains("started") && line.contains("RUN")).count();
    assert_eq!(ran, 0, "{}", said(&second));

    let config = bed.config("localhost/mine:1").to_string();
    for part in [r#""Entrypoint":["/bin/cat"]"#, r#""User":"7""#, r#""A=b""#, r#""one":"two""#, r#""three":"four""#] {
        assert!(config.contains(part), "{part}: {config}");
    }

    let mut child = bed.place.dockless();
    let child = child.args(["build", "-", "--offline"]).stdin(Stdio::piped());
    let mut child = child.spawn().expect("the binary starts");
    let text = b"FROM localhost/mine:1\nUSER 0\nRUN cat /greeting && id -u\n";
    child.stdin.take().expect("piped").write_all(text).expect("written");
    let output = child.wait_with_output().expect("the binary ends");
    printed(&output);
    assert!(said(&output).contains("hello you inherited") && said(&output).contains("| 0"), "{}", said(&output));
}

#[test]
fn what_is_wrong_is_told_before_anything_is_built() {
    let Some(bed) = Bed::new() else { return };
    bed.write(".dockerignore", "secret\n");
    bed.write("secret", "x");
    bed.write("Dockerfile", "FROM scratch\nCOPY secret /\n");
    bed.write("missing", "FROM scratch AS one\nCOPY --from=host / /\nCOPY nothere /\n");
    bed.write("word", "FROM scratch\nRUNN x\n");
    bed.write("host", "FROM scratch\nCOPY --from=host / /\nRUN --network=host true\n");
    bed.write("empty", "\n");
    let context = bed.place.path("context").display().to_string();
    let file = |name: &str| format!("{context}/{name}");
    let fits = |arguments: &[&str], words: &[&str]| {
        let output = bed.build(arguments);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: `{word}` is not in: {text}");
        }
        assert!(!text.contains(" started"), "{text}");
    };
    fits(&[&context], &["`secret` is excluded by .dockerignore", "Dockerfile:2:6", "`!`"]);
    fits(&[&context, "-f", &file("missing")], &["no `nothere` in", "missing:3:6"]);
    fits(&[&context, "-f", &file("word")], &["unknown instruction `RUNN`", "did you mean `RUN`?"]);
    fits(&[&context, "-f", &file("host")], &["--allow network.host"]);
    fits(&[&context, "-f", &file("empty")], &["the Dockerfile is empty"]);
    fits(&["-", "-f", &file("Dockerfile")], &["no `secret` in the build context", "`-` has none"]);
    fits(&[&context, "-f", &file("none")], &["there is no Dockerfile", "--file FILE"]);
    fits(&[&context, "-f", &file("missing"), "--target", "two"], &["`two` could not be found", "one"]);
    fits(&[&context, "--platform", "linux/amd64,linux/386"], &["one platform"]);
    fits(&["context"], &["write ./context for the Dockerfile in it"]);
    fits(&["./context", "./other"], &["one Dockerfile at a time"]);
    fits(&["--target", "x", "zlib"], &["need the directory"]);
    fits(&["./context", "--arch", "x86"], &["--platform"]);
    fits(&["./context", "-o", "type=registry"], &["where to push is not said"]);
}

#[test]
fn base_images_come_from_registries_by_digest_and_from_the_store_until_asked_anew() {
    let Some(bed) = Bed::new() else { return };
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let name = format!("{}/team/base:1", server.host());
    let publish = |salt: &str| {
        let digest = sample(&bed.place.store(), salt, "amd64");
        bed.place.done(&["push", &digest.to_string(), &name]);
        digest
    };
    let (one, two) = (publish("one"), publish("two"));
    bed.write("Dockerfile", &format!("FROM {name}\nENV X=y\n"));
    let graph = |more: &[&str]| {
        let mut command = bed.place.dockless();
        printed(&command.args(["graph", "./context"]).args(more).output().expect("the binary ends"))
    };
    assert!(graph(&[]).contains(&two.to_string()), "a tag means what it means now");

    // A name of the store goes first, as with docker.
    bed.place.done(&["tag", &one.to_string(), &name]);
    assert!(graph(&[]).contains(&one.to_string()));
    assert!(graph(&["--pull"]).contains(&two.to_string()));
    assert!(graph(&["--offline"]).contains(&one.to_string()));

    let digest: Digest = printed(&bed.build(&["./context", "--pull"])).parse().expect("a digest");
    let config = bed.config(&digest.to_string()).to_string();
    assert!(config.contains("SALT=two") && config.contains("X=y"), "{config}");

    // A policy may send a name elsewhere.
    let policy = format!(
        r#"{{"rules":[{{"action":"CONVERT","selector":{{"identifier":"docker-image://docker.io/library/base:9"}},
            "updates":{{"identifier":"docker-image://{name}"}}}}]}}"#
    );
    bed.write("policy.json", &policy);
    bed.write("Dockerfile", "FROM base:9\n");
    let output = bed.build(&["./context", "--pull", "--source-policy", "context/policy.json"]);
    let config = bed.config(&printed(&output)).to_string();
    assert!(config.contains("SALT=two"), "{config}");
}

#[test]
fn a_repository_is_built_without_a_clone() {
    let Some(bed) = Bed::new() else { return };
    let repo = bed.place.path("repo.git");
    fs::create_dir_all(repo.join("deep")).expect("made");
    if std::process::Command::new("git").arg("version").stdout(Stdio::null()).status().is_err() {
        return skip("git", "the program is not on this machine");
    }
    git(&repo, &["init", "--quiet", "--initial-branch=main"]);
    for (name, text) in [("Dockerfile", "FROM scratch\nCOPY f /f\n"), ("f", "above"), ("deep/f", "below")] {
        fs::write(repo.join(name), text).expect("written");
    }
    fs::write(repo.join("deep/Other"), "FROM scratch\nCOPY f /f\n").expect("written");
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "--quiet", "-m", "one"]);
    let Some(daemon) = Daemon::start(bed.place.directory.path()) else { return };
    let address = format!("git://127.0.0.1:{}/repo.git", daemon.port);
    let built = |arguments: &[&str], out: &str| {
        let path = bed.place.path(out);
        printed(&bed.build(&[arguments, &["-o", &path.display().to_string()]].concat()));
        fs::read_to_string(path.join("f")).expect("a file")
    };
    assert_eq!(built(&[&address], "one"), "above");
    assert_eq!(built(&[&format!("{address}#main:deep"), "-f", "Other"], "two"), "below");
}

#[test]
fn an_image_without_files_is_an_image() {
    let Some(bed) = Bed::new() else { return };
    bed.write("Dockerfile", "FROM scratch\nCMD [\"/x\"]\n");
    let digest = printed(&bed.build(&["./context"]));
    assert!(bed.config(&digest).to_string().contains(r#""Cmd":["/x"]"#));
    let output = bed.build(&["./context", "-o", "type=tar,dest=empty.tar"]);
    printed(&output);
    assert!(Path::new(&bed.place.path("empty.tar")).exists());
    let refused = bed.build(&["./context", "--sbom", "-t", "x"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
}
