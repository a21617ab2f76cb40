//! The tools, and the bed that all of them lie in: one root filesystem, one definition.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dockless::llb::{GraphBuilder, op, pb};
use dockless::oci::{Arch, Digest};
use dockless::source::read_rootfs;
use serde_json::Value;

use crate::measure::{high_water, watch};

const BASE: &str = "minbase-x86_64";

/// What everybody starts from.
pub(crate) struct Bed {
    place: PathBuf,
    /// Manifest of the base image in `base/`, an OCI layout.
    manifest: String,
    daemon: Option<Daemon>,
    pub(crate) tools: Vec<Tool>,
}

/// A way to run steps.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    /// It builds many steps; otherwise it runs one container.
    pub(crate) builds: bool,
    command: fn(&Bed, steps: usize, nonce: &str) -> (Command, Vec<u8>),
    export: &'static [&'static str],
}

struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn present(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn skip(tool: &str, why: &str) {
    println!("SKIPPED ({tool}): {why}");
}

impl Bed {
    /// Makes the base with dockless, and finds out which peers run here.
    pub(crate) fn make(place: &Path) -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let lock = read_rootfs(&project.join("rootfs"), BASE).expect("the base is locked").lock;
        let mut builder = GraphBuilder::new();
        let image = op::oci_layout(&format!("dockless/{BASE}"), &lock.manifest);
        let edge = builder.add("base", image, &[], Arch::X86_64, &[]);
        let definition = builder.finish(edge).to_bytes();
        let mut bed = Self { place: place.to_owned(), manifest: String::new(), daemon: None, tools: Vec::new() };
        for (kind, name) in [("oci", "base"), ("dir", "bundle/rootfs")] {
            fs::create_dir_all(place.join(name).parent().expect("below the place")).expect("a directory");
            let mut command = bed.dockless();
            command.arg("--output").arg(format!("type={kind},dest={}", place.join(name).display()));
            start(command, &definition).wait().expect("it ends").success().then_some(()).expect("a base");
        }
        let index = fs::read(place.join("base/index.json")).expect("a layout");
        let index: Value = serde_json::from_slice(&index).expect("JSON");
        index["manifests"][0]["digest"].as_str().expect("a digest").clone_into(&mut bed.manifest);
        bed.tools.push(Tool {
            name: "dockless",
            builds: true,
            command: dockless,
            export: &["--output", "type=oci,dest="],
        });
        bed.runc();
        bed.buildah();
        bed.buildkit();
        bed
    }

    fn dockless(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(["solve", "--progress", "quiet", "--store"]);
        command.arg(self.place.join("store"));
        command
    }

    fn runc(&mut self) {
        let bundle = self.place.join("bundle");
        if !present("runc") {
            return skip("runc", "not on PATH");
        }
        let mut spec = Command::new("runc");
        spec.arg("spec").arg("--bundle").arg(&bundle);
        if !rustix::process::getuid().is_root() {
            spec.arg("--rootless");
        }
        if !spec.status().is_ok_and(|status| status.success()) {
            return skip("runc", "`runc spec` failed");
        }
        let path = bundle.join("config.json");
        let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("a spec")).expect("JSON");
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = vec!["true"].into();
        fs::write(&path, config.to_string()).expect("a spec");
        self.tool(Tool { name: "runc", builds: false, command: runc, export: &[] });
    }

    fn buildah(&mut self) {
        if !present("buildah") {
            return skip("buildah", "not on PATH");
        }
        self.tool(Tool { name: "buildah", builds: true, command: buildah, export: &["--tag", "oci:"] });
    }

    fn buildkit(&mut self) {
        if !present("buildkitd") || !present("buildctl") {
            return skip("buildkit", "buildkitd and buildctl are not on PATH (PATH=\"$(scripts/buildkit):$PATH\")");
        }
        if !rustix::process::getuid().is_root() {
            return skip("buildkit", "not as an ordinary user: it would need rootlesskit");
        }
        let mut command = Command::new("buildkitd");
        command.args(["--oci-worker=true", "--containerd-worker=false", "--root"]).arg(self.place.join("buildkit"));
        command.arg("--addr").arg(self.address());
        let log = fs::File::create(self.place.join("buildkitd.log")).expect("a file");
        let error = log.try_clone().expect("a descriptor");
        match command.stdin(Stdio::null()).stdout(log).stderr(error).spawn() {
            Ok(child) => self.daemon = Some(Daemon(child)),
            Err(error) => return skip("buildkit", &error.to_string()),
        }
        for _ in 0..200 {
            let mut workers = Command::new("buildctl");
            workers.arg("--addr").arg(self.address()).args(["debug", "workers"]);
            if workers.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
                let export = &["--output", "type=oci,dest="];
                return self.tool(Tool { name: "buildkit", builds: true, command: buildkit, export });
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = fs::read_to_string(self.place.join("buildkitd.log")).unwrap_or_default();
        skip("buildkit", log.lines().last().unwrap_or("the daemon does not answer"));
    }

    fn address(&self) -> String {
        format!("unix://{}", self.place.join("buildkitd.sock").display())
    }

    /// Takes a tool in if it can do the work at all.
    fn tool(&mut self, tool: Tool) {
        let (mut command, input) = (tool.command)(self, 1, "trial");
        command.stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::piped());
        let output = command.spawn().and_then(|mut child| {
            child.stdin.take().map(|mut pipe| pipe.write_all(&input));
            child.wait_with_output()
        });
        match output {
            Ok(output) if output.status.success() => self.tools.push(tool),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                skip(tool.name, said.trim().lines().last().unwrap_or("it fails without a word"));
            }
            Err(error) => skip(tool.name, &error.to_string()),
        }
    }

    /// A chain of trivial steps over the base that only this nonce has.
    fn definition(&self, steps: usize, nonce: &str) -> Vec<u8> {
        let mut builder = GraphBuilder::new();
        let digest: Digest = self.manifest.parse().expect("a digest");
        let mut image = op::oci_layout("dockless/bench", &digest);
        if let pb::op::Op::Source(source) = &mut image {
            source.attrs.insert("oci.store".to_owned(), "bench".to_owned());
        }
        let mut edge = builder.add("base", image, &[], Arch::X86_64, &["source.ocilayout"]);
        for number in 0..steps {
            let exec = pb::ExecOp {
                meta: Some(pb::Meta {
                    args: ["/bin/sh", "-c", &script(number, nonce)].map(str::to_owned).to_vec(),
                    env: vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
                    cwd: "/".to_owned(),
                    remove_mount_stubs_recursive: true,
                    ..pb::Meta::default()
                }),
                mounts: vec![pb::Mount { dest: "/".to_owned(), ..pb::Mount::default() }],
                ..pb::ExecOp::default()
            };
            edge = builder.add(&format!("step {number}"), pb::op::Op::Exec(exec), &[edge], Arch::X86_64, &[]);
        }
        builder.finish(edge).to_bytes()
    }
}

fn script(number: usize, nonce: &str) -> String {
    format!("true # {nonce} {number}")
}

fn dockless(bed: &Bed, steps: usize, nonce: &str) -> (Command, Vec<u8>) {
    let mut command = bed.dockless();
    command.arg("--oci-layout").arg(format!("bench={}", bed.place.join("base").display()));
    (command, bed.definition(steps, nonce))
}

fn buildkit(bed: &Bed, steps: usize, nonce: &str) -> (Command, Vec<u8>) {
    let mut command = Command::new("buildctl");
    command.arg("--addr").arg(bed.address()).args(["build", "--progress=plain", "--oci-layout"]);
    command.arg(format!("bench={}", bed.place.join("base").display()));
    (command, bed.definition(steps, nonce))
}

fn buildah(bed: &Bed, steps: usize, nonce: &str) -> (Command, Vec<u8>) {
    let mut text = format!("FROM oci:{}\n", bed.place.join("base").display());
    for number in 0..steps {
        text = text + "RUN " + &script(number, nonce) + "\n";
    }
    let mut command = Command::new("buildah");
    let storage = bed.place.join("buildah");
    command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
    // Its own default runtime does not start on every machine; the others use this one, too.
    command.args(["build", "--quiet", "--layers", "--runtime", "runc", "--network", "host", "--file", "-"]);
    // The context is the directory it runs in: an argument would have to come after the one that exports.
    let context = bed.place.join("empty");
    let _ = fs::create_dir_all(&context);
    command.current_dir(context);
    (command, text.into_bytes())
}

fn runc(bed: &Bed, _: usize, _: &str) -> (Command, Vec<u8>) {
    let mut command = Command::new("runc");
    command.arg("--root").arg(bed.place.join("runc")).args(["run", "--bundle"]);
    command.arg(bed.place.join("bundle")).arg("bench");
    (command, Vec::new())
}

fn start(mut command: Command, input: &[u8]) -> Child {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it ran");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    child
}

impl Tool {
    /// Runs trivial steps that are new with a new `nonce`; returns the time from start to end.
    pub(crate) fn run(&self, bed: &Bed, steps: usize, nonce: &str) -> Duration {
        let (command, input) = (self.command)(bed, steps, nonce);
        let begin = Instant::now();
        let status = start(command, &input).wait().expect("it ends");
        let time = begin.elapsed();
        assert!(status.success(), "{}: {status}", self.name);
        time
    }

    /// Runs twenty new steps and exports an image; returns the builder's peak memory in bytes, and the time.
    pub(crate) fn export(&self, bed: &Bed) -> (u64, Duration) {
        let (mut command, input) = (self.command)(bed, 20, "memory");
        let dest = bed.place.join(format!("{}-image", self.name));
        let [flag, value] = self.export else { panic!("{} exports nothing", self.name) };
        command.arg(flag).arg(format!("{value}{}", dest.display()));
        let begin = Instant::now();
        let mut child = start(command, &input);
        let (peak, time) = watch(&mut child, begin);
        let daemon =
            bed.daemon.as_ref().filter(|_| self.name == "buildkit").map_or(0, |daemon| high_water(daemon.0.id()));
        (peak + daemon, time)
    }
}
