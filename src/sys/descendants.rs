//! Ending all that a process has started, without a PID namespace that would do it (`PR_SET_CHILD_SUBREAPER`, `proc(5)`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::process::{Child, Waited, ended};

/// Has descendants whose parents end become children of the calling process, which must wait for them then.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Returns a child that has ended, if there is one, without waiting.
pub fn reap_ended() -> io::Result<Option<(Child, Waited)>> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) | Ok(nix::sys::wait::WaitStatus::StillAlive) => return Ok(None),
            other => {
                if let Some(ended) = ended(other?) {
                    return Ok(Some(ended));
                }
            }
        }
    }
}

/// Kills and reaps every descendant of the calling process, which must have called [`adopt_orphans`] and have one thread.
///
/// First all are stopped, until a look finds no new one, because a process that is killed while it forks leaves a child
/// that nobody has seen.
///
/// # Errors
/// Where `/proc` cannot be read.
pub fn end_descendants() -> io::Result<()> {
    loop {
        let mut stopped = BTreeSet::new();
        loop {
            let found = descendants()?;
            let new: Vec<i32> = found.difference(&stopped).copied().collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
                stopped.insert(pid);
            }
        }
        for pid in &stopped {
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        loop {
            match waitpid(None::<Pid>, None) {
                Err(Errno::ECHILD) => break,
                Err(Errno::EINTR) | Ok(_) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        if descendants()?.is_empty() {
            return Ok(());
        }
    }
}

/// Returns all processes that descend from the calling one.
fn descendants() -> io::Result<BTreeSet<i32>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // One that has ended meanwhile has no file any more.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![Pid::this().as_raw()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    Ok(found)
}

/// Reads the parent off `/proc/<pid>/stat`, in which a name may hold anything.
fn parent(stat: &[u8]) -> Option<i32> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_looks_like_numbers_is_no_parent() {
        assert_eq!(parent(b"12 (a) S 1 (b) 9) R 34 5"), Some(34));
        assert_eq!(parent(b"12 (sh) S 7 12 12"), Some(7));
        assert_eq!(parent(b"12"), None);
    }
}
