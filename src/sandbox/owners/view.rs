//! What a program means by a path, a descriptor or an address.
//!
//! The kernel looks paths up for us as it does for the program: from its working directory or descriptor
//! (`proc_pid_cwd(5)`, `proc_pid_fd(5)`), below its root. The thread that asks has no more rights than the program, so what
//! it is made to find the program could have found itself.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::{Errno, Result};

use crate::sys;

/// Longest path with its zero byte (`PATH_MAX`).
const LONGEST: usize = 4096;

const PAGE: usize = 4096;

/// Our own sight of the step's files; the calling thread's working directory is `/proc`.
#[derive(Debug)]
pub(super) struct View {
    proc: OwnedFd,
    root: OwnedFd,
    /// Mount and inode of the root.
    place: (u64, u64),
    /// Some process may have another root.
    pub(super) away: bool,
    /// All processes have this root for good, a directory of the machine, where we have the machine's.
    fixed: Option<PathBuf>,
}

/// A path below a directory that is open.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) parent: OwnedFd,
    /// One plain name.
    pub(super) leaf: CString,
}

impl View {
    /// Settles the calling thread, which must have directories of its own, in `proc`.
    pub(super) fn new(proc: OwnedFd) -> io::Result<Self> {
        rustix::process::fchdir(&proc)?;
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let place = place(root.as_fd(), c"")?;
        Ok(Self { proc, root, place, away: false, fixed: None })
    }

    /// Sees the files below `root` as a program does that nobody lets leave it; the working directory must be `/proc`.
    /// Neither the root nor any other directory of the calling process is ever changed.
    pub(super) fn of_root(root: OwnedFd) -> io::Result<Self> {
        let (proc, place) = (rustix::fs::open(c".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?, (0, 0));
        let fixed = Some(target(name(&root))?);
        Ok(Self { proc, root, place, away: false, fixed })
    }

    /// The root that all processes have for good, as a path of the machine.
    pub(super) fn fixed(&self) -> Option<&Path> {
        self.fixed.as_deref()
    }

    /// Opens what the program means by `path`, without rights. `LOOP` where the way leads over another process's, and so
    /// perhaps over our own, descriptors.
    pub(super) fn open(&self, thread: u32, directory: i32, path: &CStr, follow: bool) -> Result<OwnedFd> {
        let mut flags = OFlags::PATH | OFlags::CLOEXEC;
        if !follow {
            flags |= OFlags::NOFOLLOW;
        }
        if let Some(fixed) = &self.fixed {
            let mut full = PathBuf::from("/");
            if !path.to_bytes().starts_with(b"/") {
                let from = target(entry(thread, directory))?;
                full.push(from.strip_prefix(fixed).map_err(|_| Errno::NOENT)?);
            }
            full.push(OsStr::from_bytes(path.to_bytes()));
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            return rustix::fs::openat2(&self.root, full, flags, Mode::empty(), resolve);
        }
        if let Some(own) = own(thread, path, follow) {
            return rustix::fs::openat(CWD, own, flags, Mode::empty());
        }
        let base = if path.to_bytes().starts_with(b"/") { None } else { Some(descriptor(thread, directory)?) };
        let base = base.as_ref().map_or(CWD, AsFd::as_fd);
        self.below_its_root(thread, || {
            rustix::fs::openat2(base, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)
        })
    }

    /// Opens the directory that `path` is in; `INVAL` where its last part is no name.
    pub(super) fn spot(&self, thread: u32, directory: i32, path: &CStr) -> Result<Spot> {
        let (parent, leaf) = split(path.to_bytes()).ok_or(Errno::INVAL)?;
        let parent = CString::new(parent).map_err(|_| Errno::INVAL)?;
        let leaf = CString::new(leaf).map_err(|_| Errno::INVAL)?;
        Ok(Spot { parent: self.open(thread, directory, &parent, true)?, leaf })
    }

    /// Looks something up as the program would with its own root.
    fn below_its_root<T>(&self, thread: u32, look: impl FnOnce() -> Result<T>) -> Result<T> {
        let name = CString::new(format!("{thread}/root")).map_err(|_| Errno::INVAL)?;
        if !self.away || place(CWD, &name)? == self.place {
            return look();
        }
        let root = rustix::fs::openat(CWD, &*name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let enter = |root: BorrowedFd<'_>| rustix::process::fchdir(root).and_then(|()| rustix::process::chroot("."));
        let found = enter(root.as_fd()).and_then(|()| look());
        enter(self.root.as_fd()).and_then(|()| rustix::process::fchdir(&self.proc))?;
        found
    }
}

/// Opens a descriptor of the program, or its working directory, without rights.
pub(super) fn descriptor(thread: u32, number: i32) -> Result<OwnedFd> {
    rustix::fs::openat(CWD, entry(thread, number), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// What `/proc` calls a descriptor of the program, or its working directory.
fn entry(thread: u32, number: i32) -> String {
    if number == libc::AT_FDCWD { format!("{thread}/cwd") } else { format!("{thread}/fd/{number}") }
}

/// Where the open file `name` of [`name`] or [`entry`] lies.
pub(super) fn target(name: String) -> Result<PathBuf> {
    let target = rustix::fs::readlinkat(CWD, name, Vec::new())?;
    Ok(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
}

/// Reads one line of what `/proc` says about a thread (`proc_pid_status(5)`).
pub(super) fn status(thread: u32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("{thread}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.trim().to_owned())
}

/// Returns the mask of modes with which a thread makes files.
pub(super) fn umask(thread: u32) -> Option<u32> {
    u32::from_str_radix(&status(thread, "Umask:")?, 8).ok()
}

/// The name by which an open file can be reached, from our working directory.
pub(super) fn name(file: &OwnedFd) -> String {
    format!("self/fd/{}", file.as_raw_fd())
}

/// Reads a string of the program; `None` where it cannot be read or does not end.
pub(super) fn text(thread: u32, address: u64) -> Option<CString> {
    let mut bytes = Vec::new();
    while bytes.len() < LONGEST {
        let from = address.checked_add(bytes.len() as u64)?;
        // A page at a time: the next one may not be there.
        let room = PAGE - usize::try_from(from % PAGE as u64).ok()?;
        let mut part = vec![0; room];
        let count = sys::read_memory(thread, from, &mut part).ok().filter(|count| *count > 0)?;
        part.truncate(count);
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(&part[..end]);
            return CString::new(bytes).ok();
        }
        bytes.extend(part);
    }
    None
}

fn place(directory: BorrowedFd<'_>, path: &CStr) -> Result<(u64, u64)> {
    let flags = if path.is_empty() { AtFlags::EMPTY_PATH } else { AtFlags::empty() };
    let stat = rustix::fs::statx(directory, path, flags, StatxFlags::MNT_ID | StatxFlags::INO)?;
    Ok((stat.stx_mnt_id, stat.stx_ino))
}

/// A path that names the program's own processes or descriptors, as we can name them from `/proc`.
fn own(thread: u32, path: &CStr, follow: bool) -> Option<String> {
    let path = path.to_str().ok()?;
    let output = |name| match name {
        "/dev/stdin" => Some(0),
        "/dev/stdout" => Some(1),
        "/dev/stderr" => Some(2),
        _ => None,
    };
    if let Some(number) = output(path).filter(|_| follow) {
        return Some(format!("{thread}/fd/{number}"));
    }
    let rest = |start| path.strip_prefix(start).filter(|rest: &&str| !rest.is_empty());
    if let Some(rest) = rest("/dev/fd/") {
        return Some(format!("{thread}/fd/{rest}"));
    }
    rest("/proc/self/").or(rest("/proc/thread-self/")).map(|rest| format!("{thread}/{rest}"))
}

/// The directory and the last name of a path; `None` where that is no name.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let path = &path[..end];
    let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (parent, leaf) = path.split_at(start);
    let parent = if parent.is_empty() { b"." } else { parent };
    (![&b"."[..], b".."].contains(&leaf)).then_some((parent, leaf))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_a_path_is_what_is_made() {
        let parts = |path: &'static str| {
            split(path.as_bytes())
                .map(|(parent, leaf)| [parent, leaf].map(|part| String::from_utf8_lossy(part)).join(" "))
        };
        assert_eq!(parts("a").as_deref(), Some(". a"));
        assert_eq!(parts("/a").as_deref(), Some("/ a"));
        assert_eq!(parts("a/b//").as_deref(), Some("a/ b"));
        for none in ["", "/", "..", "a/.", "//"] {
            assert_eq!(parts(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_the_programs_own_is_not_looked_for_among_ours() {
        for (path, follow, found) in [
            (c"/proc/self/fd/1", true, Some("7/fd/1")),
            (c"/dev/stdout", true, Some("7/fd/1")),
            (c"/dev/stdout", false, None),
            (c"/dev/fd/63", true, Some("7/fd/63")),
            (c"/proc/self", true, None),
            (c"/etc/passwd", true, None),
        ] {
            assert_eq!(own(7, path, follow).as_deref(), found, "{path:?}");
        }
    }
}
