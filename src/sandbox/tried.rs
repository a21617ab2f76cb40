//! How many ids a build would have here, tried.

use std::process::{Command, Stdio};

use super::life::MARK;
use crate::sys::IdMap;

/// Enters a namespace as a build does, in a process of its own, and counts its user ids; `None` where that cannot be
/// told, e.g. because no namespace can be entered.
pub fn tried_ids() -> Option<u64> {
    let mut command = Command::new("/proc/self/exe");
    command.args([MARK, "enter", "/bin/cat", "/proc/self/uid_map"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    let map = IdMap::parse(std::str::from_utf8(&output.stdout).ok()?)?;
    Some(map.0.iter().map(|range| u64::from(range.count)).sum())
}
