//! The cost of one step: `true` of a static busybox in a minimal root, beside a plain spawn, bubblewrap and `runc run`.
//!
//! ```text
//! cargo bench --bench steps                        # what is on PATH
//! cargo bench --bench steps -- --rounds 301        # default: 101
//! cargo bench --bench steps -- --program PATH      # the init of another build
//! ```
//!
//! Every round runs everybody once, in turns, so that a machine that gets slower does so for all. The overhead of each
//! is the median of the differences to the plain spawn of the same round, `quiet` the lowest tenth of them: what it costs
//! where nobody else wants the processors. The bound of ours is 8 ms.
//!
//! - `spawn`: the same program without any isolation.
//! - `dockless`: as BuildKit runs an `ExecOp` of a graph; `bare`: as our recipes run theirs; both in the builder's own
//!   process, as in a build, with a root that is kept or one that is read-only.
//! - `limits`: as `dockless`, in a control group with limits of memory, processes and processor time.
//! - `bwrap`, `runc`: new namespaces of all kinds, a fresh `/proc` and `/dev`; runc also makes control groups, as it must.

#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dockless::cgroup::{Cpus, Groups, Limits, Place};
use dockless::sandbox::{Cancel, Launcher, Mount, Network, Step};

const BOUND: f64 = 8.0;

/// What everybody starts from.
struct Bed {
    place: tempfile::TempDir,
    launcher: Launcher,
    groups: Option<Groups>,
}

type Run = fn(&Bed) -> bool;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let rounds: usize = value("--rounds").and_then(|text| text.parse().ok()).unwrap_or(101);
    let program = value("--program").unwrap_or_else(|| env!("CARGO_BIN_EXE_dockless").to_owned());
    let Some(bed) = Bed::make(Path::new(&program)) else { return };
    let all: [(&str, Run); 6] = [
        ("spawn", spawn),
        ("dockless", foreign),
        ("bare", bare),
        ("limits", limited),
        ("bwrap", bwrap),
        ("runc", runc),
    ];
    let able: Vec<(&str, Run)> = all
        .into_iter()
        .filter(|(name, run)| {
            let works = run(&bed);
            if !works {
                println!("SKIPPED ({name}): it is not here, or does not run here");
            }
            works
        })
        .collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); able.len()];
    for _ in 0..rounds {
        for ((name, run), times) in able.iter().zip(&mut times) {
            let start = Instant::now();
            assert!(run(&bed), "{name} ran before");
            times.push(milliseconds(start.elapsed()));
        }
    }
    report(&able, &times, rounds);
    owners(&bed);
}

/// What emulated owners cost a program that looks at many files, which all steps but bare ones have where one id exists.
fn owners(bed: &Bed) {
    let script = "i=0; while [ $i -lt 10000 ]; do [ -e /bin/true ]; i=$((i+1)); done";
    let look = Step { args: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec(), ..step(bed) };
    let (with, without) = (bed.launcher.clone(), bed.launcher.clone().without_owners());
    let cancel = Cancel::new().expect("a switch");
    let (mut emulated, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        for (launcher, times) in [(&with, &mut emulated), (&without, &mut plain)] {
            let start = Instant::now();
            let exit = launcher.run(&look, &cancel, &mut |_| {}).expect("it ran before");
            assert!(exit.success(), "it ran before");
            times.push(milliseconds(start.elapsed()));
        }
    }
    println!("\n10,000 looks at files, 9 rounds in turns (ms); the same where all ids are real");
    println!("  owners emulated {:>8.1}   not {:>8.1}", median(&emulated), median(&plain));
}

fn report(able: &[(&str, Run)], times: &[Vec<f64>], rounds: usize) {
    let plain = times[0].clone();
    let ours = able.iter().position(|(name, _)| *name == "dockless").map(|at| median(&times[at]));
    println!("\none step that does nothing, {rounds} rounds in turns (ms)");
    println!("  {:<10} {:>8} {:>8} {:>10} {:>8} {:>8}", "", "median", "min", "overhead", "quiet", "ratio");
    for ((name, _), times) in able.iter().zip(times) {
        let over: Vec<f64> = times.iter().zip(&plain).map(|(time, plain)| time - plain).collect();
        let least = times.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio = ours.map_or(f64::NAN, |ours| median(times) / ours);
        let (overhead, quiet) = (median(&over), part(&over, 10));
        println!("  {name:<10} {:>8.2} {least:>8.2} {overhead:>10.2} {quiet:>8.2} {ratio:>8.2}", median(times));
        if ["dockless", "bare"].contains(name) && overhead > BOUND {
            println!("  {name:<10} is above its bound of {BOUND} ms");
        }
    }
}

fn median(times: &[f64]) -> f64 {
    part(times, 2)
}

/// The value that one in `of` is below.
fn part(times: &[f64], of: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / of]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Bed {
    /// Makes the root: a busybox, and the directories that every runtime mounts on.
    fn make(program: &Path) -> Option<Self> {
        let place = tempfile::tempdir().expect("a temporary directory");
        let root = place.path().join("bundle/rootfs");
        for directory in ["bin", "proc", "dev", "sys", "tmp", "etc"] {
            fs::create_dir_all(root.join(directory)).expect("made");
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        let Some(busybox) = busybox else {
            println!("SKIPPED (busybox): there is no busybox (Debian: busybox-static)");
            return None;
        };
        fs::copy(busybox, root.join("bin/busybox")).expect("copied");
        std::os::unix::fs::symlink("busybox", root.join("bin/true")).expect("linked");
        if !Command::new(root.join("bin/true")).status().is_ok_and(|status| status.success()) {
            println!("SKIPPED (busybox): it does not run by itself; is it static?");
            return None;
        }
        let own = Place::own().unwrap_or_default();
        let groups = Groups::open(&own, limits().controllers()).ok();
        let bed = Self { place, launcher: Launcher::at(program), groups };
        bed.spec();
        Some(bed)
    }

    fn bundle(&self) -> PathBuf {
        self.place.path().join("bundle")
    }

    fn root(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    /// The bundle's configuration as runc makes it, with our program and without a terminal.
    fn spec(&self) {
        let mut spec = Command::new("runc");
        spec.args(["spec", "--bundle"]).arg(self.bundle());
        if !rustix::process::getuid().is_root() {
            spec.arg("--rootless");
        }
        let path = self.bundle().join("config.json");
        if spec.status().is_ok_and(|status| status.success()) {
            let text = fs::read(&path).expect("a spec");
            let mut config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = vec!["/bin/true"].into();
            fs::write(&path, config.to_string()).expect("a spec");
        }
    }

    fn run(&self, step: &Step) -> bool {
        let cancel = Cancel::new().expect("a switch");
        self.launcher.run(step, &cancel, &mut |_| {}).is_ok_and(|exit| exit.success())
    }
}

fn limits() -> Limits {
    Limits { memory: Some(256 << 20), pids: Some(100), cpus: Cpus::parse("1"), ..Limits::default() }
}

fn spawn(bed: &Bed) -> bool {
    quiet(&mut Command::new(bed.root().join("bin/true")))
}

fn step(bed: &Bed) -> Step {
    let root = Mount::Bind { source: bed.root(), readonly: false };
    Step { network: Network::None, ..Step::new(root, vec!["/bin/true".to_owned()]) }
}

fn foreign(bed: &Bed) -> bool {
    bed.run(&step(bed))
}

fn bare(bed: &Bed) -> bool {
    let root = Mount::Bind { source: bed.root(), readonly: true };
    bed.run(&Step::bare(root, vec!["/bin/true".to_owned()]))
}

fn limited(bed: &Bed) -> bool {
    let Some(Ok(group)) = bed.groups.as_ref().map(|groups| groups.step(&limits())) else { return false };
    bed.run(&Step { group: Some(group), ..step(bed) })
}

fn bwrap(bed: &Bed) -> bool {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--bind"]).arg(bed.root()).args(["/", "--proc", "/proc"]);
    quiet(command.args(["--dev", "/dev", "--tmpfs", "/tmp", "/bin/true"]))
}

fn runc(bed: &Bed) -> bool {
    let mut command = Command::new("runc");
    command.arg("--root").arg(bed.place.path().join("runc")).args(["run", "--bundle"]).arg(bed.bundle());
    quiet(command.arg(format!("steps-{}", std::process::id())))
}

fn quiet(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
