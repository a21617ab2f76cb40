//! What a system's own mounts hold, as files.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, makedev};

/// The devices of every step (`Documentation/admin-guide/devices.txt`).
pub(super) const DEVICES: [(&str, u32, u32); 6] =
    [("full", 1, 7), ("null", 1, 3), ("random", 1, 8), ("tty", 5, 0), ("urandom", 1, 9), ("zero", 1, 5)];

/// What is copied of `/proc`: what programs that are being built ask about the machine, and nothing about processes.
const COPIED: [&str; 12] = [
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "uptime",
    "version",
    "sys/kernel/cap_last_cap",
    "sys/kernel/ngroups_max",
    "sys/kernel/osrelease",
    "sys/kernel/ostype",
    "sys/kernel/pid_max",
];

/// Most bytes of one of them.
const LARGEST: u64 = 1 << 20;

/// Fills an empty `/dev` and returns the pipe in it that is standard output and error.
///
/// Without `/proc/self/fd` these two could not be opened by name, as shell scripts do: hence a pipe with a name.
pub(super) fn devices(directory: &Path) -> io::Result<PathBuf> {
    for (name, major, minor) in DEVICES {
        make_device(&directory.join(name), major, minor)?;
    }
    let log = directory.join("stdout");
    rustix::fs::mknodat(CWD, &log, FileType::Fifo, Mode::from_raw_mode(0o666), 0)?;
    fs::set_permissions(&log, Permissions::from_mode(0o666))?;
    symlink("stdout", directory.join("stderr"))?;
    symlink("null", directory.join("stdin"))?;
    let numbers = directory.join("fd");
    fs::create_dir(&numbers)?;
    for (number, target) in [("0", "../stdin"), ("1", "../stdout"), ("2", "../stderr")] {
        symlink(target, numbers.join(number))?;
    }
    Ok(log)
}

/// Makes a device that everybody may use.
pub(super) fn make_device(path: &Path, major: u32, minor: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, mode, makedev(major, minor))?;
    // Whatever the mask is.
    fs::set_permissions(path, Permissions::from_mode(0o666))
}

/// Fills an empty `/proc`.
pub(super) fn proc(directory: &Path) -> io::Result<()> {
    for name in COPIED {
        let mut text = Vec::new();
        let Ok(file) = File::open(Path::new("/proc").join(name)) else { continue };
        file.take(LARGEST).read_to_end(&mut text)?;
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap_or(directory))?;
        fs::write(&path, text)?;
    }
    // Programs that look for the file system they are on find one.
    fs::write(directory.join("mounts"), "rootfs / rootfs rw 0 0\n")
}
