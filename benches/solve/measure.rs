//! Times and memory of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// Measured times of one thing.
#[derive(Debug, Default)]
pub(crate) struct Sample(Vec<Duration>);

impl Sample {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
        self.0.sort_unstable();
    }

    fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Prints medians, extremes, and how many times as long as dockless each took.
pub(crate) fn table(title: &str, samples: &BTreeMap<&str, Sample>) {
    println!("\n{title}");
    println!("  {:<10} {:>8} {:>8} {:>8} {:>8}", "", "median", "min", "max", "ratio");
    let ours = samples.get("dockless").map_or(f64::NAN, |sample| milliseconds(sample.median()));
    for (name, sample) in samples {
        let [median, min, max] = [sample.median(), sample.0[0], sample.0[sample.0.len() - 1]].map(milliseconds);
        println!("  {name:<10} {median:>8.1} {min:>8.1} {max:>8.1} {:>8.2}", median / ours);
    }
}

/// Waits for a process; returns the time since `start` and the most memory that it and its children with the same
/// program held at a time, in bytes. What its steps run is not the builder's.
pub(crate) fn watch(child: &mut Child, start: Instant) -> (u64, Duration) {
    let program = executable(child.id());
    let mut peak = 0;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            assert!(status.success(), "a build that is measured works: {status}");
            return (peak, start.elapsed());
        }
        peak =
            peak.max(family(child.id()).iter().filter(|pid| executable(**pid) == program).map(|pid| held(*pid)).sum());
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn executable(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/exe")).ok()
}

/// Memory of a process that no other process shares, and its part of what is shared, in bytes.
fn held(pid: u32) -> u64 {
    kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// The most that a process ever held, in bytes.
pub(crate) fn high_water(pid: u32) -> u64 {
    kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn kilobytes(path: &str, field: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// A process and all its descendants.
fn family(root: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::from([root]);
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
                if found.insert(child) {
                    left.push(child);
                }
            }
        }
    }
    found
}
