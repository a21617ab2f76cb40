//! File systems: of the store, of temporary files, and of this program.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

use super::facts::Facts;
use super::finding::{Finding, State, finding};
use crate::cli::progress::bytes;
use crate::sandbox::Trials;

/// Room for one build with everything that it unpacks.
const ROOM: u64 = 5_000_000_000;
/// Room below which a build does not end.
const LEAST_ROOM: u64 = 2_000_000_000;
/// Files and directories of one build: a root filesystem and some sources.
const FILES: u64 = 200_000;
const LEAST_FILES: u64 = 20_000;
/// Room for what is written to temporary files.
const TEMPORARY: u64 = 100_000_000;

/// A place and the file system that it is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// The place, which may not exist yet.
    pub path: PathBuf,
    /// Type of the file system, e.g. `ext4`; empty where the kernel does not say.
    pub kind: String,
    /// Bytes that this user may still write there.
    pub free: u64,
    /// Files that can still be made there; `None` where there is no bound but the bytes.
    pub files: Option<u64>,
    /// Whether this user may write there.
    pub writable: bool,
    /// Mounted read-only.
    pub read_only: bool,
    /// Nothing on it can be executed.
    pub no_exec: bool,
}

/// Looks at the nearest directory above `path`, or itself, that exists.
pub(super) fn look(path: &Path) -> Result<Disk, String> {
    let existing = existing(path).ok_or_else(|| format!("`{}` is nowhere", path.display()))?;
    let told = rustix::fs::statvfs(existing).map_err(|error| format!("`{}`: {error}", existing.display()))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let real = fs::canonicalize(existing).unwrap_or_else(|_| existing.to_owned());
    Ok(Disk {
        path: path.to_owned(),
        kind: kind(&mounts, &real).unwrap_or_default().to_owned(),
        free: told.f_bavail.saturating_mul(told.f_frsize),
        files: (told.f_files > 0).then_some(told.f_favail),
        writable: is_writable(existing),
        read_only: told.f_flag.contains(StatVfsMountFlags::RDONLY),
        no_exec: told.f_flag.contains(StatVfsMountFlags::NOEXEC),
    })
}

/// Returns the nearest directory above a path, or the path itself, that exists.
pub(super) fn existing(path: &Path) -> Option<&Path> {
    path.ancestors()
        .map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path })
        .find(|path| path.exists())
}

pub(super) fn is_writable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// Finds the type of the file system of a real path in `/proc/self/mountinfo`: of the longest mount point, the last.
fn kind<'a>(mountinfo: &'a str, path: &Path) -> Option<&'a str> {
    let mut found: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((front, back)) = line.split_once(" - ") else { continue };
        let (Some(point), Some(kind)) = (front.split(' ').nth(4), back.split(' ').next()) else { continue };
        let point = point.replace("\\040", " ");
        if path.starts_with(&point) && found.is_none_or(|(length, _)| length <= point.len()) {
            found = Some((point.len(), kind));
        }
    }
    found.map(|(_, kind)| kind)
}

/// Judges the places.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let overlays = facts.trials.as_ref().is_ok_and(|trials| trials.overlay.is_none());
    let mut findings = vec![store(&facts.disk, overlays)];
    findings.extend(facts.disk.as_ref().ok().map(files));
    findings.push(overlay(facts));
    findings.push(temporary(&facts.temporary));
    findings
}

fn store(disk: &Result<Disk, String>, overlays: bool) -> Finding {
    const NAME: &str = "room for the store";
    const ELSEWHERE: &str = "choose another place with --store DIR";
    let missing = |detail: String| finding(NAME, State::Missing, detail).needed();
    let disk = match disk {
        Ok(disk) => disk,
        Err(reason) => return missing(reason.clone()).mend(ELSEWHERE),
    };
    let store = disk.path.display();
    let remount = |word: &str| format!("sudo mount -o remount,{word} \"$(findmnt -no TARGET -T {store})\"");
    if disk.read_only {
        return missing(format!("`{store}` is on a file system that is mounted read-only"))
            .mend(remount("rw"))
            .mend(ELSEWHERE);
    }
    if !disk.writable {
        return missing(format!("`{store}` cannot be written to")).mend(ELSEWHERE);
    }
    // Of what is bound into a step the flag stays; an overlay is a mount of its own.
    if disk.no_exec && !overlays {
        return missing(format!("`{store}` is on a file system that is mounted noexec: no step can run its programs"))
            .mend(remount("exec"))
            .mend(ELSEWHERE);
    }
    let words = format!("{} free for `{store}`", bytes(disk.free));
    let room = "dockless cache prune, or make room, or choose another place with --store DIR";
    match disk.free {
        free if free < LEAST_ROOM => missing(format!("{words}, {} are needed", bytes(LEAST_ROOM))).mend(room),
        free if free < ROOM => {
            finding(NAME, State::Degraded, format!("{words}; a whole release takes {}", bytes(ROOM))).mend(room)
        }
        _ if disk.no_exec => {
            let what = "steps cannot run programs that other steps made, unless they are in their root";
            finding(NAME, State::Degraded, format!("{words}, mounted noexec: {what}"))
                .mend(remount("exec"))
                .mend(ELSEWHERE)
        }
        _ => finding(NAME, State::Ok, words),
    }
}

fn files(disk: &Disk) -> Finding {
    const NAME: &str = "files for the store";
    let Some(files) = disk.files else { return finding(NAME, State::Ok, "as many as there is room for") };
    let words = format!("{files} more can be made (inodes)");
    let mend = "remove files there (`df -i`), or choose another file system with --store DIR";
    match files {
        files if files < LEAST_FILES => finding(NAME, State::Missing, words).needed().mend(mend),
        files if files < FILES => finding(NAME, State::Degraded, words).mend(mend),
        _ => finding(NAME, State::Ok, words),
    }
}

fn overlay(facts: &Facts) -> Finding {
    const NAME: &str = "overlay";
    let (namespaces, overlay) = match &facts.trials {
        Ok(Trials { namespaces, overlay, .. }) => (namespaces.as_ref(), overlay.as_ref()),
        Err(_) => return finding(NAME, State::Degraded, "not tried without user namespaces"),
    };
    let reason = match (namespaces, overlay) {
        (Some(_), _) => return finding(NAME, State::Degraded, "not tried without user namespaces"),
        (None, None) => return finding(NAME, State::Ok, "mounts in a user namespace, tried"),
        (None, Some(reason)) => reason,
    };
    let kind = facts.disk.as_ref().map(|disk| disk.kind.as_str()).unwrap_or_default();
    let row = finding(NAME, State::Degraded, format!("{reason}: every step copies its root"));
    match kind {
        // What the kernel refuses as upper layer (`overlayfs.rst`): no own attributes, or itself an overlay.
        "overlay" => row.mend("the store is on an overlay, as in a container: give it a volume, e.g. docker run -v dockless:/store …, and --store /store"),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "vfat" | "exfat" | "ecryptfs" | "virtiofs" => {
            row.mend(format!("the store is on {kind}: choose a local ext4, xfs, btrfs or tmpfs with --store DIR"))
        }
        fuse if fuse.starts_with("fuse") => {
            row.mend(format!("the store is on {fuse}: choose a local ext4, xfs, btrfs or tmpfs with --store DIR"))
        }
        _ if super::diagnosis::is_before_overlay(&facts.machine.kernel) => row.mend("install Linux 5.11 or newer"),
        _ if !facts.machine.overlay_listed => row.mend("sudo modprobe overlay"),
        _ => row,
    }
}

fn temporary(disk: &Result<Disk, String>) -> Finding {
    const NAME: &str = "temporary files";
    let mend = "name another place with TMPDIR=DIR";
    match disk {
        Err(reason) => finding(NAME, State::Degraded, reason.clone()).mend(mend),
        Ok(disk) if !disk.writable || disk.read_only => {
            finding(NAME, State::Degraded, format!("`{}` cannot be written to", disk.path.display())).mend(mend)
        }
        Ok(disk) if disk.free < TEMPORARY || disk.files.is_some_and(|files| files < 1000) => {
            finding(NAME, State::Degraded, format!("`{}` is nearly full", disk.path.display())).mend(mend)
        }
        Ok(disk) => finding(NAME, State::Ok, format!("{} free in `{}`", bytes(disk.free), disk.path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::good;
    use super::*;

    #[test]
    fn each_fault_of_the_stores_place_is_named_with_its_way_out() {
        type Change = fn(&mut Disk);
        let cases: [(Change, State, &str, &str); 7] = [
            (|disk| disk.read_only = true, State::Missing, "read-only", "remount,rw"),
            (|disk| disk.writable = false, State::Missing, "cannot be written", "--store DIR"),
            (|disk| disk.no_exec = true, State::Degraded, "noexec", "remount,exec"),
            (|disk| disk.free = 1_000_000, State::Missing, "are needed", "dockless cache prune"),
            (|disk| disk.free = 3_000_000_000, State::Degraded, "a whole release", "--store DIR"),
            (|disk| disk.files = Some(100), State::Missing, "100 more", "df -i"),
            (|disk| disk.files = Some(100_000), State::Degraded, "100000 more", "df -i"),
        ];
        for (change, state, word, mend) in cases {
            let mut facts = good();
            change(facts.disk.as_mut().expect("a disk"));
            let found: Vec<Finding> = judge(&facts).into_iter().filter(|found| found.state != State::Ok).collect();
            let [found] = &found[..] else { panic!("{word}: {found:#?}") };
            assert_eq!((found.state, found.needed), (state, state == State::Missing), "{found:?}");
            assert!(found.detail.contains(word) && found.mend[0].contains(mend), "{found:?}");
        }
        assert_eq!(store(&Err("gone".to_owned()), true).state, State::Missing);
        let disk = Disk { no_exec: true, ..good().disk.expect("a disk") };
        assert_eq!(store(&Ok(disk), false).state, State::Missing);
    }

    #[test]
    fn an_overlay_that_cannot_be_says_why() {
        for (kind, kernel, listed, word) in [
            ("overlay", "6.1.0", true, "-v dockless:/store"),
            ("nfs4", "6.1.0", true, "on nfs4"),
            ("fuse.sshfs", "6.1.0", true, "on fuse.sshfs"),
            ("ext4", "5.4.0", true, "5.11"),
            ("ext4", "6.1.0", false, "modprobe overlay"),
        ] {
            let mut facts = good();
            facts.disk.as_mut().expect("a disk").kind = kind.to_owned();
            facts.machine.kernel = kernel.to_owned();
            facts.machine.overlay_listed = listed;
            facts.trials = Ok(Trials { overlay: Some("invalid".to_owned()), ..Trials::default() });
            let found = overlay(&facts);
            assert!(found.state == State::Degraded && found.mend[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn temporary_files_need_a_place() {
        let disk = |free, writable| {
            let disk = good().temporary.expect("a disk");
            temporary(&Ok(Disk { free, writable, ..disk })).state
        };
        assert_eq!((disk(1_000_000_000, true), disk(1, true)), (State::Ok, State::Degraded));
        assert_eq!(
            (disk(1_000_000_000, false), temporary(&Err(String::new())).state),
            (State::Degraded, State::Degraded)
        );
    }

    #[test]
    fn the_type_is_that_of_the_innermost_and_latest_mount() {
        let mounts =
            "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:5 / /a\\040b rw - tmpfs t rw\n3 1 0:6 / / rw - overlay o rw\n";
        assert_eq!(kind(mounts, Path::new("/a b/c")), Some("tmpfs"));
        assert_eq!(kind(mounts, Path::new("/a")), Some("overlay"));
        assert_eq!(kind("", Path::new("/")), None);
    }

    #[test]
    fn a_store_that_does_not_exist_yet_lies_on_the_disk_of_what_does() {
        let here = tempfile::tempdir().expect("a temporary directory");
        let disk = look(&here.path().join("not/yet/there")).expect("a disk");
        assert!(disk.free > 0 && disk.writable && !disk.kind.is_empty());
    }
}
