//! dockless beside skopeo with umoci, buildah and BuildKit: one base image out of one registry on loopback, and out again.
//!
//! ```text
//! cargo bench --bench images                     # everything that is on PATH
//! cargo bench --bench images -- --rounds 11      # default: 7
//! cargo bench --bench images -- --only pull      # pull, tar, oci or memory
//! ```
//!
//! - `pull`: a gzip-compressed image becomes a tree, from nothing: an empty store, an empty storage, an empty daemon each
//!   time. BuildKit unpacks only what a step wants, so its build is the image and one trivial step.
//! - `tar`, `oci`: the same image, which everybody has by then, as the tar of its tree and as an archive with an image
//!   layout. Who has an answer cached gives it.
//! - `memory`: the most that the processes of each held at a time while they did the above; a daemon counts, too.
//!
//! Nothing is deleted before the end, and nothing should have been in the minutes before, on the file system of `TMPDIR`: ext4
//! searches long for a free inode then, and whoever makes files fastest pays most. It takes some 300 MB a round.
//!
//! The tools take turns, so that a busy minute hits all of them; absolute times are those of this machine at this hour, the
//! ratios are what stays. A peer that is not there, or does not run here, is skipped aloud. Debian's `docker-registry`
//! serves the image; without it there is nothing to measure.

#![expect(clippy::cast_precision_loss, reason = "megabytes for people")]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "images/bed.rs"]
mod bed;
#[path = "solve/measure.rs"]
mod measure;
#[path = "images/tools.rs"]
mod tools;

use std::collections::BTreeMap;
use std::time::Instant;

use bed::Bed;
use measure::{Sample, milliseconds, table};
use tools::{Run, Tool};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let rounds: usize = value("--rounds").and_then(|text| text.parse().ok()).unwrap_or(7);
    let only = value("--only").unwrap_or_default();
    let wants = |name: &str| only.is_empty() || only == name;
    // Names of images are in lower case, and buildah takes this path for a part of one.
    let prefix = format!("bench-{}", std::process::id());
    let place = tempfile::Builder::new().prefix(&prefix).rand_bytes(0).tempdir().expect("a temporary directory");
    if let Some(bed) = Bed::make(place.path()) {
        println!("the image: {:.1} MB compressed, {:.1} MB of files", bed.compressed / 1e6, bed.files / 1e6);
        let tools: Vec<Tool> = tools::all().into_iter().filter(|tool| tool.runs(&bed)).collect();
        if wants("pull") {
            turns("from the registry to a tree (ms)", rounds, &tools, |tool| Some(tool.pull(&bed)));
        }
        for (name, title) in [("tar", "the tree as a tar (ms)"), ("oci", "an archive with an image layout (ms)")] {
            if wants(name) {
                turns(title, rounds, &tools, |tool| tool.export(&bed, name));
            }
        }
        if wants("memory") {
            memory(&bed, &tools);
        }
    }
    if dockless::store::remove_tree(place.path()).is_err() {
        let mut command = std::process::Command::new("unshare");
        let _ = command.args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"]).arg(place.path()).status();
    }
}

/// Measures a thing in turns, once before that to warm up.
fn turns<'a>(title: &str, rounds: usize, tools: &'a [Tool], work: impl Fn(&'a Tool) -> Option<Run<'a>>) {
    let mut samples: BTreeMap<&str, Sample> = BTreeMap::new();
    for round in 0..=rounds {
        for tool in tools {
            let Some(run) = work(tool) else { continue };
            let begin = Instant::now();
            run.go();
            let time = begin.elapsed();
            if round > 0 {
                samples.entry(tool.name).or_default().add(time);
            }
            run.end();
        }
    }
    table(title, &samples);
}

fn memory(bed: &Bed, tools: &[Tool]) {
    println!("\npeak memory (MiB)");
    for tool in tools {
        let mut line = format!("  {:<10}", tool.name);
        let runs = [("pull", Some(tool.pull(bed))), ("tar", tool.export(bed, "tar")), ("oci", tool.export(bed, "oci"))];
        for (name, run) in runs {
            let Some(run) = run else { continue };
            let (peak, time) = run.watched();
            line = format!("{line}   {name} {:>6.1} in {:.0} ms", peak as f64 / f64::from(1 << 20), milliseconds(time));
            run.end();
        }
        println!("{line}");
    }
}
