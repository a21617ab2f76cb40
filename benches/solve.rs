//! dockless beside BuildKit, buildah and `runc run`: the same small work, in turns, on this machine.
//!
//! ```text
//! cargo bench --bench solve                    # everything that is on PATH
//! cargo bench --bench solve -- --rounds 21     # default: 11
//! cargo bench --bench solve -- --only memory   # step, cached or memory
//! ```
//!
//! - `step`: one more trivial step (`true`) that was never run before. Tools that build run one and twenty of them; a
//!   twentieth of what the nineteen others take on top, start of the tool included in neither, is the overhead of one.
//! - `cached`: a build of twenty steps that are all in the cache, from start to end.
//! - `memory`: the most that the builder's own processes hold at a time while it runs twenty steps and exports an
//!   image; the daemon's share counts for tools that have one.
//!
//! Absolute times are those of this machine at this hour; the ratios are what stays. A peer that is not there, or does
//! not run here, is skipped aloud. Peers keep what they make below one temporary directory.

#![expect(clippy::print_stdout, reason = "its result is what it prints")]

#[path = "solve/measure.rs"]
mod measure;
#[path = "solve/tools.rs"]
mod tools;

use std::collections::BTreeMap;
use std::path::Path;

use measure::{Sample, milliseconds};
use tools::Bed;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    let rounds: usize = value("--rounds").and_then(|text| text.parse().ok()).unwrap_or(11);
    let only = value("--only").unwrap_or_default();
    // Names of images are in lower case, and buildah takes this path for a part of one.
    let prefix = format!("bench-{}", std::process::id());
    let place = tempfile::Builder::new().prefix(&prefix).rand_bytes(0).tempdir().expect("a temporary directory");
    let bed = Bed::make(place.path());
    let wants = |name: &str| only.is_empty() || only == name;
    if wants("step") {
        step(&bed, rounds);
    }
    if wants("cached") {
        cached(&bed, rounds);
    }
    if wants("memory") {
        memory(&bed);
    }
    drop(bed);
    remove(place.path());
}

fn step(bed: &Bed, rounds: usize) {
    let mut one: BTreeMap<&str, Sample> = BTreeMap::new();
    let mut more: BTreeMap<&str, Sample> = BTreeMap::new();
    for round in 0..rounds {
        for tool in &bed.tools {
            let first = tool.run(bed, 1, &format!("one {round}"));
            one.entry(tool.name).or_default().add(first);
            // A runtime runs one container at a time: its start is the overhead.
            let overhead = if tool.builds {
                tool.run(bed, 20, &format!("twenty {round}")).saturating_sub(first) / 19
            } else {
                first
            };
            more.entry(tool.name).or_default().add(overhead);
        }
    }
    measure::table("a build of one step, from start to end (ms)", &one);
    measure::table("one more step (ms)", &more);
}

fn cached(bed: &Bed, rounds: usize) {
    let mut samples: BTreeMap<&str, Sample> = BTreeMap::new();
    let builders = || bed.tools.iter().filter(|tool| tool.builds);
    for tool in builders() {
        tool.run(bed, 20, "cached");
    }
    for _ in 0..rounds {
        for tool in builders() {
            samples.entry(tool.name).or_default().add(tool.run(bed, 20, "cached"));
        }
    }
    measure::table("twenty cached steps, from start to end (ms)", &samples);
}

fn memory(bed: &Bed) {
    println!("\npeak memory of twenty steps and an export (MiB)");
    for tool in bed.tools.iter().filter(|tool| tool.builds) {
        let (peak, time) = tool.export(bed);
        println!("  {:<10} {:>8}   in {:.0} ms", tool.name, peak >> 20, milliseconds(time));
    }
}

/// Trees may hold files of ids that only a namespace can remove.
fn remove(place: &Path) {
    if dockless::store::remove_tree(place).is_err() {
        let mut command = std::process::Command::new("unshare");
        let _ = command.args(["--user", "--map-root-user", "--map-auto", "rm", "-rf", "--"]).arg(place).status();
    }
}
