//! Whether a step can be run this way here, tried rather than guessed.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::furniture::make_device;
use crate::sys::{self, Waited};

/// What putting a root together and leaving it to a program takes.
const NEEDED: [(&str, CapabilitySet); 10] = [
    ("CHOWN", CapabilitySet::CHOWN),
    ("DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("FOWNER", CapabilitySet::FOWNER),
    ("FSETID", CapabilitySet::FSETID),
    ("KILL", CapabilitySet::KILL),
    ("MKNOD", CapabilitySet::MKNOD),
    ("SETGID", CapabilitySet::SETGID),
    ("SETPCAP", CapabilitySet::SETPCAP),
    ("SETUID", CapabilitySet::SETUID),
    ("SYS_CHROOT", CapabilitySet::SYS_CHROOT),
];

/// Tries it in the empty directory `place`; the caller has one thread. What is left in `place` is the caller's.
///
/// # Errors
/// What is missing.
pub(in crate::sandbox) fn attempt(place: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::other("only root can"));
    }
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(_, capability)| !sys::has_capability(*capability)).map(|(name, _)| *name).collect();
    if !missing.is_empty() {
        return Err(io::Error::other(format!("root lacks the capabilities {}", missing.join(", "))));
    }
    let failed = |what: &'static str| move |error: io::Error| io::Error::other(format!("{what}: {error}"));
    let null = place.join("null");
    make_device(&null, 1, 3).map_err(failed("device files cannot be made here"))?;
    let used = OpenOptions::new().write(true).open(&null).and_then(|mut null| null.write_all(b"x"));
    used.map_err(failed("device files mean nothing here"))?;
    // A step of ours whose owners are emulated gets a record of a device, which is a file.
    if fs::read(&null).map_or(true, |bytes| !bytes.is_empty()) {
        return Err(io::Error::other("device files cannot be made here: one that was made is a plain file"));
    }
    let Some(child) = sys::fork()? else {
        let left = rustix::process::chroot(place);
        sys::exit_now(left.err().map_or(0, rustix::io::Errno::raw_os_error))
    };
    match sys::wait_for(child)? {
        Waited::Code(0) => Ok(()),
        Waited::Code(errno) => Err(failed("the root cannot be changed")(io::Error::from_raw_os_error(errno))),
        Waited::Signal(_) => Err(io::Error::other("changing the root is deadly here")),
    }
}
