//! Restricting oneself without privileges or namespaces (`landlock(7)`).

#![expect(unsafe_code, reason = "no safe wrapper has the three system calls")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use rustix::fs::FileType;

/// Rights on files (`linux/landlock.h LANDLOCK_ACCESS_FS_*`).
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// From removing a directory to making a symbolic link.
const CHANGE_DIR: u64 = 0x1ff0;
/// Linking and renaming from one directory to another (version 2).
const REFER: u64 = 1 << 13;
/// Version 3.
const TRUNCATE: u64 = 1 << 14;
/// Version 5.
const IOCTL_DEV: u64 = 1 << 15;

/// `LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET`, `LANDLOCK_SCOPE_SIGNAL` (version 6).
const SCOPES: u64 = 3;

/// What a rule gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Looking at and executing what is there, and using devices.
    Read,
    /// Everything.
    Write,
}

/// A restriction in the making: without rules nothing at all can be opened under it.
#[derive(Debug)]
pub struct Landlock {
    ruleset: OwnedFd,
    version: u32,
}

#[repr(C)]
struct RulesetAttr {
    files: u64,
    network: u64,
    scopes: u64,
}

#[repr(C, packed)]
struct PathBeneathAttr {
    allowed: u64,
    parent: i32,
}

/// Returns the version of Landlock that this kernel has; 0 where it has none, or where that may not be asked.
pub fn landlock_version() -> u32 {
    // SAFETY: with this flag the kernel reads nothing and returns a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) };
    u32::try_from(version).unwrap_or(0)
}

impl Landlock {
    /// Begins a restriction of files and, from version 6 on, of signals and abstract sockets to those of one's own
    /// descendants. `None` where the kernel has none, or only the first version, under which no file could be moved to
    /// another directory.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Option<Self>> {
        let version = landlock_version();
        if version < 2 {
            return Ok(None);
        }
        let scopes = if version >= 6 { SCOPES } else { 0 };
        let attr = RulesetAttr { files: rights(version), network: 0, scopes };
        // Kernels refuse more than they know, even zeros before version 4.
        let size: usize = match version {
            0..=3 => 8,
            4 | 5 => 16,
            _ => 24,
        };
        // SAFETY: the kernel reads `size` bytes of `attr`, which has at least as many and outlives the call.
        let made = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        let made = RawFd::try_from(made).map_err(|_| io::ErrorKind::InvalidData)?;
        // SAFETY: the kernel returned a new descriptor, which is nobody else's.
        Ok(Some(Self { ruleset: unsafe { OwnedFd::from_raw_fd(made) }, version }))
    }

    /// Gives the file or directory `place` and everything below it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn allow(&self, place: impl AsFd, reach: Reach) -> io::Result<()> {
        let mut allowed = rights(self.version);
        if reach == Reach::Read {
            allowed &= EXECUTE | READ_FILE | READ_DIR | IOCTL_DEV;
        }
        let stat = rustix::fs::fstat(&place)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            allowed &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
        }
        let attr = PathBeneathAttr { allowed, parent: place.as_fd().as_raw_fd() };
        // SAFETY: a rule of this kind is one `PathBeneathAttr`, which outlives the call; both descriptors are open.
        let result =
            unsafe { libc::syscall(libc::SYS_landlock_add_rule, self.ruleset.as_raw_fd(), 1, &raw const attr, 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Puts the calling thread and everything it will start under the restriction, for good.
    ///
    /// # Errors
    /// `EPERM` without `no_new_privs` and without `CAP_SYS_ADMIN`.
    pub fn enforce(self) -> io::Result<()> {
        // SAFETY: it takes an open descriptor and no memory.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.ruleset.as_raw_fd(), 0) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// All rights that this version knows.
fn rights(version: u32) -> u64 {
    let mut rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR | REFER;
    if version >= 3 {
        rights |= TRUNCATE;
    }
    if version >= 5 {
        rights |= IOCTL_DEV;
    }
    rights
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;

    #[test]
    fn what_no_rule_gives_cannot_be_written_and_then_not_be_seen() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        for name in ["read", "write", "hidden"] {
            fs::create_dir(place(name)).expect("made");
            fs::write(place(name).join("file"), "x").expect("written");
        }
        let open = |name: &str| fs::File::open(place(name)).expect("opened");
        let (read, write) = (open("read"), open("write"));
        let found = thread::scope(|scope| {
            // A restriction is a thread's own.
            let thread = scope.spawn(|| {
                super::super::no_new_privileges().expect("allowed");
                let landlock = Landlock::new().expect("made")?;
                landlock.allow(&read, Reach::Read).expect("allowed");
                landlock.allow(&write, Reach::Write).expect("allowed");
                landlock.enforce().expect("enforced");
                let can_write = |name: &str| fs::write(place(name).join("new"), "y").is_ok();
                let can_read = |name: &str| fs::read(place(name).join("file")).is_ok();
                Some(["read", "write", "hidden"].map(|name| (can_read(name), can_write(name))))
            });
            thread.join().expect("lived")
        });
        let Some(found) = found else { return };
        assert_eq!(found, [(true, false), (true, true), (false, false)]);
    }
}
