//! The last acts of a process before it becomes a step's program.

#![expect(unsafe_code, reason = "descriptors are moved to fixed numbers and signals reset by number")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::sys::personality::Persona;
use nix::unistd::{Gid, Uid};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Becomes user and group 0 of the current user namespace, without supplementary groups where that is allowed.
pub fn become_root() -> io::Result<()> {
    if super::allow_setgroups() {
        nix::unistd::setgroups(&[])?;
    }
    set_root_ids()
}

/// Becomes user and group 0 of the current user namespace and keeps the supplementary groups.
pub fn set_root_ids() -> io::Result<()> {
    nix::unistd::setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0))?;
    Ok(nix::unistd::setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0))?)
}

/// Makes `uname -m` say `i686` and files of the 32-bit world the default (`personality(2)` `PER_LINUX32`).
pub fn use_32_bit_personality() -> io::Result<()> {
    // `PER_LINUX32`; nix names only the flag bits.
    const LINUX32: libc::c_int = 0x0008;
    nix::sys::personality::set(Persona::from_bits_retain(LINUX32))?;
    Ok(())
}

/// Sets the file mode creation mask.
pub fn set_umask(mask: u32) {
    rustix::process::umask(Mode::from_raw_mode(mask));
}

/// Gives up the right to ever gain privileges by executing something (`PR_SET_NO_NEW_PRIVS`).
pub fn no_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

/// Drops every capability but `keep` from the bounding set, for good.
pub fn limit_bounding_set(keep: CapabilitySet) -> io::Result<()> {
    for bit in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Numbers above the kernel's last capability.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Returns the capabilities that the calling thread may use.
pub fn permitted_capabilities() -> io::Result<CapabilitySet> {
    Ok(rustix::thread::capabilities(None)?.permitted)
}

/// Holds `held` and no other capability; with `ambient` also a program that is not root's holds them.
pub fn set_capabilities(held: CapabilitySet, ambient: bool) -> io::Result<()> {
    let inheritable = if ambient { held } else { CapabilitySet::empty() };
    // The ambient set follows the inheritable one down.
    rustix::thread::set_capabilities(None, CapabilitySets { effective: held, permitted: held, inheritable })?;
    if ambient {
        for capability in held.iter() {
            rustix::thread::configure_capability_in_ambient_set(capability, true)?;
        }
    }
    Ok(())
}

/// Becomes another user of the current user namespace; `groups` are set where that is allowed. With `keep` the
/// permitted capabilities stay.
pub fn set_ids(uid: u32, gid: u32, groups: &[u32], keep: bool) -> io::Result<()> {
    if super::allow_setgroups() {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&groups)?;
    }
    rustix::thread::set_keep_capabilities(keep)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    nix::unistd::setresgid(gid, gid, gid)?;
    nix::unistd::setresuid(uid, uid, uid)?;
    Ok(rustix::thread::set_keep_capabilities(false)?)
}

/// Makes `uid` and `gid` the owner of standard output and error, so that they can be opened anew by name.
pub fn give_output(uid: u32, gid: u32) {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        // Files of which the owner cannot be changed work as they are.
        let _ = rustix::fs::fchown(output, Some(uid), Some(gid));
    }
}

/// Gives every signal its default action and blocks none: a program must not inherit what the builder ignores, and process 1
/// is to have no handler.
pub fn reset_signals() -> io::Result<()> {
    for signal in 1..=64 {
        // SAFETY: restoring the default action installs no handler; numbers that cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Ok(nix::sys::signal::SigSet::empty().thread_set_mask()?)
}

/// Makes `/dev/null` the standard input.
pub fn silence_stdin() -> io::Result<()> {
    let null = fs::File::open("/dev/null")?;
    Ok(nix::unistd::dup2_stdin(&null)?)
}

/// Makes `/dev/null` the standard output and error, letting go of whatever they were; standard input, where the root
/// has no `/dev/null`.
pub fn silence_output() -> io::Result<()> {
    let null = match fs::File::options().write(true).open("/dev/null") {
        Ok(null) => OwnedFd::from(null),
        Err(_) => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?,
    };
    nix::unistd::dup2_stdout(&null)?;
    Ok(nix::unistd::dup2_stderr(&null)?)
}

/// Closes every descriptor from 3 on, at the very start of a life: those that its parent let through by mistake.
///
/// The process must not have opened anything yet that it still wants.
pub fn close_inherited() -> io::Result<()> {
    let result = close_range(0);
    if result.is_ok() {
        return Ok(());
    }
    for number in descriptors()? {
        // SAFETY: nobody in this young process owns a number from 3 on; that of the directory just read is closed already.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// Has every descriptor from 3 on close at execution, except `kept`, which move to the given numbers.
///
/// Whatever had one of those numbers is replaced, so the caller keeps its own above them.
pub fn keep_descriptors(kept: &[(RawFd, OwnedFd)]) -> io::Result<()> {
    close_on_execution()?;
    for (number, descriptor) in kept {
        if descriptor.as_raw_fd() == *number {
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            continue;
        }
        // SAFETY: `dup2` reads an open descriptor and replaces a number that the caller has given up.
        let result = unsafe { libc::dup2(descriptor.as_raw_fd(), *number) };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

fn close_on_execution() -> io::Result<()> {
    if close_range(libc::CLOSE_RANGE_CLOEXEC).is_ok() {
        return Ok(());
    }
    for number in descriptors()? {
        // SAFETY: setting a flag on a number is harmless even where the number has just been closed.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes all from 3 on, or marks them.
fn close_range(flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the callers answer for it that nobody in this process uses what is closed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Numbers from 3 on, for kernels before 5.11.
fn descriptors() -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        found.extend(
            entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()).filter(|number| *number > 2),
        );
    }
    Ok(found)
}

/// Becomes `program`; returns only on failure.
pub fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    match nix::unistd::execve(program, arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}
