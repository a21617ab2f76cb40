//! Memory of the sandbox's own, mounted on a directory of the machine until the step's root is the root.
//!
//! Where mounts are prepared: a mount that is attached nowhere cannot be shown in part (before Linux 6.15), and a file of
//! memory has no other place. It goes with the machine's mounts; what is mounted from it stays.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};

use crate::sys::{self, Detached};

/// Directories one of which every machine has.
const PLACES: [&str; 6] = ["/tmp", "/run", "/mnt", "/var", "/opt", "/usr"];

#[derive(Debug)]
pub(super) struct Stage {
    memory: Detached,
    names: u32,
    nothing: Option<OwnedFd>,
}

impl Stage {
    pub(super) fn new() -> io::Result<Self> {
        let place = PLACES.iter().find_map(|path| sys::open_path(Path::new(path)).ok());
        let memory = sys::tmpfs(None, 0o755)?;
        sys::attach(&memory, place.ok_or(io::ErrorKind::NotFound)?)?;
        Ok(Self { memory, names: 0, nothing: None })
    }

    fn name(&mut self) -> String {
        self.names += 1;
        self.names.to_string()
    }

    fn open(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(rustix::fs::openat(&self.memory, name, flags, Mode::empty())?)
    }

    /// Makes an empty directory.
    pub(super) fn directory(&mut self, mode: u32) -> io::Result<OwnedFd> {
        let name = self.name();
        rustix::fs::mkdirat(&self.memory, &name, Mode::from_raw_mode(mode))?;
        self.open(&name)
    }

    /// Makes an empty directory that looks like the one of `stat`.
    pub(super) fn directory_like(&mut self, stat: &rustix::fs::Stat) -> io::Result<OwnedFd> {
        let name = self.name();
        rustix::fs::mkdirat(&self.memory, &name, Mode::RWXU)?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        // An owner that has no id here stays away, as it would in the tree itself.
        let _ = rustix::fs::chownat(&self.memory, &name, Some(uid), Some(gid), AtFlags::empty());
        rustix::fs::chmodat(&self.memory, &name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?;
        self.open(&name)
    }

    /// Makes a file.
    pub(super) fn file(&mut self, data: &[u8], owner: (u32, u32), mode: u32) -> io::Result<OwnedFd> {
        let name = self.name();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&self.memory, &name, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all(data)?;
        if owner != (0, 0) {
            rustix::fs::fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        }
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
        self.open(&name)
    }

    /// A directory with nothing in it.
    pub(super) fn nothing(&mut self) -> io::Result<&OwnedFd> {
        if self.nothing.is_none() {
            self.nothing = Some(self.directory(0o555)?);
        }
        self.nothing.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
