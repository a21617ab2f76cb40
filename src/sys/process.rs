//! Processes: the one fork, waiting, dying together.

#![expect(unsafe_code, reason = "fork and _exit are unsafe by nature")]

use std::io;
use std::os::fd::OwnedFd;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rustix::process::{DumpableBehavior, PidfdFlags, Signal};
use rustix::thread::CapabilitySet;

use super::namespace::is_single_threaded;

/// A child made by [`fork`]; not waited for on drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child(Pid);

impl Child {
    /// Its number as the caller's PID namespace has it.
    pub fn id(self) -> u32 {
        self.0.as_raw().unsigned_abs()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// Forks the calling process; `None` in the child.
///
/// # Errors
/// `Unsupported` in a threaded process, where the child would inherit locks that nobody ever frees.
pub fn fork() -> io::Result<Option<Child>> {
    if !is_single_threaded()? {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "fork needs a process of one thread"));
    }
    // SAFETY: the process has this one thread, so no lock or allocator state can be held by a thread that is lost.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Some(Child(child))),
        ForkResult::Child => Ok(None),
    }
}

/// Ends the calling process at once: no destructors, no exit handlers of the process it was forked from.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` is defined in every state of a process and does not return.
    unsafe { libc::_exit(code) }
}

pub(super) fn ended(status: WaitStatus) -> Option<(Child, Waited)> {
    match status {
        WaitStatus::Exited(pid, code) => Some((Child(pid), Waited::Code(code))),
        WaitStatus::Signaled(pid, signal, _) => Some((Child(pid), Waited::Signal(signal as i32))),
        _ => None,
    }
}

fn wait(pid: Option<Pid>) -> io::Result<(Child, Waited)> {
    loop {
        match waitpid(pid, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => {
                if let Some(ended) = ended(other?) {
                    return Ok(ended);
                }
            }
        }
    }
}

/// Waits until `child` has ended.
pub fn wait_for(child: Child) -> io::Result<Waited> {
    Ok(wait(Some(child.0))?.1)
}

/// Waits until any child has ended, adopted ones too.
pub fn wait_any() -> io::Result<(Child, Waited)> {
    wait(None)
}

/// Reaps every child until `child` has ended: the work of process 1.
pub fn reap_until(child: Child) -> io::Result<Waited> {
    loop {
        let (ended, waited) = wait_any()?;
        if ended == child {
            return Ok(waited);
        }
    }
}

/// Opens a descriptor that becomes readable when process `pid` has ended.
pub fn open_pidfd(pid: u32) -> io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Sends `SIGKILL` to `child`; one that is dead already is fine.
pub fn kill(child: Child) -> io::Result<()> {
    match nix::sys::signal::kill(child.0, nix::sys::signal::Signal::SIGKILL) {
        Err(nix::errno::Errno::ESRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Has the kernel kill the calling process when the thread that started it ends.
///
/// The caller must look afterwards whether that has happened already.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Makes the calling process the leader of a new session without a terminal.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// Joins a new and empty session keyring, so that keys of the caller's session are possessed no more (`keyctl(2)`).
///
/// # Errors
/// `ENOSYS` without keys in the kernel, `EDQUOT` where the user has too many of them, `EPERM` below some filters.
pub fn new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let anonymous = std::ptr::null::<libc::c_char>();
    // SAFETY: without a name the kernel reads nothing from us and makes a keyring of its own.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Closes the calling process to `ptrace` and `/proc/<pid>/{exe,fd,root}` of everything without `CAP_SYS_PTRACE`.
pub fn block_ptrace() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Returns the most memory, in bytes, that one ended and waited-for descendant had resident.
pub fn max_child_rss() -> io::Result<u64> {
    let kib = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(u64::try_from(kib).unwrap_or_default() * 1024)
}

/// Tells whether the calling thread may use `capability` in its user namespace.
pub fn has_capability(capability: CapabilitySet) -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}
