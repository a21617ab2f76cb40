//! The tools, each with its way from a registry to a tree and from its own storage to a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::bed::{Bed, Daemon, dockless, feed, skip};
use crate::measure::{high_water, watch};

/// Every pull has a place of its own.
static PULLS: AtomicUsize = AtomicUsize::new(0);

/// A tool.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pull: fn(&Bed, &Path) -> Vec<Call>,
    export: Option<fn(&Bed, &str, &Path) -> Call>,
    /// It works through a daemon, which begins empty.
    daemon: bool,
    programs: &'static [&'static str],
}

/// A command and what it reads.
struct Call {
    command: Command,
    input: Vec<u8>,
}

/// One piece of work that is ready to be done.
pub(crate) struct Run<'a> {
    calls: std::cell::RefCell<Vec<Call>>,
    tool: &'a Tool,
    scratch: PathBuf,
    daemon: Option<Daemon>,
}

pub(crate) fn all() -> Vec<Tool> {
    vec![
        Tool { name: "dockless", pull: pull_dockless, export: Some(export_dockless), daemon: false, programs: &[] },
        Tool { name: "umoci", pull: pull_umoci, export: None, daemon: false, programs: &["skopeo", "umoci"] },
        Tool { name: "buildah", pull: pull_buildah, export: None, daemon: false, programs: &["buildah"] },
        Tool {
            name: "buildkit",
            pull: pull_buildkit,
            export: Some(export_buildkit),
            daemon: true,
            programs: &["buildkitd", "buildctl"],
        },
    ]
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

impl Tool {
    /// Tries it once, and what comes before an export, too; says aloud where it does not run.
    pub(crate) fn runs(&self, bed: &Bed) -> bool {
        for program in self.programs {
            let mut version = Command::new(program);
            if version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                skip(self.name, &format!("{program} is not on PATH"));
                return false;
            }
        }
        if self.daemon && !is_root() {
            skip(self.name, "not as an ordinary user: it would need rootlesskit");
            return false;
        }
        let run = self.pull(bed);
        let went = run.calls.borrow_mut().drain(..).all(|call| call.run().is_ok_and(|status| status));
        if !went {
            skip(self.name, "it does not pull here");
        }
        run.end();
        went
    }

    /// From an empty storage.
    pub(crate) fn pull(&self, bed: &Bed) -> Run<'_> {
        let number = PULLS.fetch_add(1, Ordering::Relaxed);
        let scratch = bed.place.join(format!("{}-{number}", self.name));
        fs::create_dir_all(&scratch).expect("made");
        let daemon = self.daemon.then(|| buildkitd(&scratch));
        Run { calls: (self.pull)(bed, &scratch).into(), tool: self, scratch, daemon }
    }

    /// Out of a storage that has it.
    pub(crate) fn export(&self, bed: &Bed, kind: &str) -> Option<Run<'_>> {
        let export = self.export?;
        let mut run = self.pull(bed);
        for call in run.calls.borrow_mut().drain(..) {
            assert!(call.run().expect("it runs"), "{}", self.name);
        }
        run.calls = vec![export(bed, kind, &run.scratch)].into();
        Some(run)
    }
}

impl Call {
    fn run(self) -> std::io::Result<bool> {
        feed(self.command, &self.input).wait().map(|status| status.success())
    }
}

impl From<Command> for Call {
    fn from(command: Command) -> Self {
        Self { command, input: Vec::new() }
    }
}

impl Run<'_> {
    /// Does it.
    pub(crate) fn go(&self) {
        for call in self.calls.borrow_mut().drain(..) {
            assert!(call.run().expect("it runs"), "{}", self.tool.name);
        }
    }

    /// Does it; returns the most memory held at a time and the time.
    pub(crate) fn watched(&self) -> (u64, Duration) {
        let (mut peak, begin) = (0, Instant::now());
        for call in self.calls.borrow_mut().drain(..) {
            peak = peak.max(watch(&mut feed(call.command, &call.input), begin).0);
        }
        let daemon = self.daemon.as_ref().map_or(0, |daemon| high_water(daemon.0.id()));
        (peak + daemon, begin.elapsed())
    }

    /// Ends what still runs. What was made stays until the end: ext4 searches long for a free inode while many have been
    /// deleted within the last minutes, and whoever makes files fastest would pay most.
    pub(crate) fn end(self) {
        let Self { scratch, daemon, .. } = self;
        drop(daemon);
        let storage = scratch.join("storage");
        if storage.exists() {
            let mut command = buildah(&scratch);
            let _ = command.args(["umount", "--all"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
            let _ = Command::new("umount").args(["-R", "-q"]).arg(storage.join("overlay")).status();
        }
    }
}

fn pull_dockless(bed: &Bed, scratch: &Path) -> Vec<Call> {
    vec![Call { command: dockless(&scratch.join("store")), input: bed.definition(false) }]
}

fn export_dockless(bed: &Bed, kind: &str, scratch: &Path) -> Call {
    let mut command = dockless(&scratch.join("store"));
    let kind = if kind == "oci" { "oci-archive" } else { kind };
    command.arg("--output").arg(format!("type={kind},dest={}", scratch.join("exported").display()));
    Call { command, input: bed.definition(false) }
}

fn pull_umoci(bed: &Bed, scratch: &Path) -> Vec<Call> {
    let layout = format!("{}:base", scratch.join("layout").display());
    let mut copy = Command::new("skopeo");
    copy.args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"]);
    copy.arg(format!("docker://{}", bed.image)).arg(format!("oci:{layout}"));
    let mut unpack = Command::new("umoci");
    unpack.arg("unpack");
    if !is_root() {
        unpack.arg("--rootless");
    }
    unpack.arg("--image").arg(layout).arg(scratch.join("bundle"));
    vec![copy.into(), unpack.into()]
}

fn buildah(scratch: &Path) -> Command {
    let mut command = Command::new("buildah");
    let storage = scratch.join("storage");
    // Overlays need a file system below them that can bear them; `vfs` works everywhere and with one layer costs no more.
    command.arg("--root").arg(storage.join("root")).arg("--runroot").arg(storage.join("run"));
    command.args(["--storage-driver", "vfs"]);
    command
}

fn pull_buildah(bed: &Bed, scratch: &Path) -> Vec<Call> {
    let mut command = buildah(scratch);
    command.args(["pull", "--quiet", "--tls-verify=false"]).arg(format!("docker://{}", bed.image));
    vec![command.into()]
}

fn address(scratch: &Path) -> String {
    format!("unix://{}", scratch.join("buildkitd.sock").display())
}

/// Starts a daemon with nothing in it, and waits until it answers.
fn buildkitd(scratch: &Path) -> Daemon {
    let mut command = Command::new("buildkitd");
    command.args(["--oci-worker=true", "--containerd-worker=false", "--root"]).arg(scratch.join("root"));
    command.arg("--addr").arg(address(scratch));
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it is there");
    for _ in 0..200 {
        let mut workers = Command::new("buildctl");
        workers.arg("--addr").arg(address(scratch)).args(["debug", "workers"]);
        if workers.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Daemon(child)
}

fn buildctl(scratch: &Path) -> Command {
    let mut command = Command::new("buildctl");
    command.arg("--addr").arg(address(scratch)).args(["build", "--progress=plain"]);
    command
}

fn pull_buildkit(bed: &Bed, scratch: &Path) -> Vec<Call> {
    vec![Call { command: buildctl(scratch), input: bed.definition(true) }]
}

fn export_buildkit(bed: &Bed, kind: &str, scratch: &Path) -> Call {
    let mut command = buildctl(scratch);
    command.arg("--output").arg(format!("type={kind},dest={}", scratch.join("exported").display()));
    Call { command, input: bed.definition(false) }
}
