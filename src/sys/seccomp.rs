//! Installing filters of system calls (`seccomp(2)`).

#![expect(unsafe_code, reason = "no safe wrapper of seccomp(2) takes a listener")]

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

use super::bpf::Program;

/// How to install a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FilterFlags {
    /// Return the descriptor that receives the calls whose action is [`super::Action::Notify`] (Linux 5.0). A thread and
    /// what it starts has one at most.
    pub listener: bool,
    /// Only deadly signals interrupt a call that the listener has received (Linux 5.19).
    pub wait_killable: bool,
}

/// Has the calling thread and everything it will start obey `program`, for good; older filters stay in force, and of
/// several answers the strictest counts.
///
/// # Errors
/// `EACCES` without `no_new_privs` and without `CAP_SYS_ADMIN` in the user namespace, `EINVAL` for a program longer than
/// 4096 instructions and for flags that the kernel does not know, `EBUSY` for a second listener.
pub fn install_filter(program: &Program, flags: FilterFlags) -> io::Result<Option<OwnedFd>> {
    let instructions = program.instructions();
    let length = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel copies the instructions; it does not write to them.
    let filter = libc::sock_fprog { len: length, filter: instructions.as_ptr().cast_mut().cast() };
    let mut bits = 0;
    if flags.listener {
        bits |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    }
    if flags.wait_killable {
        bits |= libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    }
    // SAFETY: `filter` names `length` instructions of the layout of `sock_filter`, and both outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, bits, &raw const filter) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if !flags.listener {
        return Ok(None);
    }
    let listener = RawFd::try_from(result).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: with this flag the kernel returns a new descriptor, which is nobody else's.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;
    use std::thread;

    use super::*;
    use crate::sys::{Action, Filter, Rule, Table};

    fn program(number: libc::c_long, action: Action) -> Program {
        let number = u32::try_from(number).expect("a number");
        let table = |rules| Table { rules, otherwise: Action::Allow, beyond: None };
        let x86_64 = table(vec![Rule::always(number, action)]);
        Filter { x86_64, i386: table(Vec::new()), foreign: Action::KillProcess }.assemble()
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_kernel_takes_a_program_and_obeys_it() {
        // A filter is a thread's own.
        let answers = thread::spawn(|| {
            super::super::no_new_privileges().expect("allowed");
            let installed = install_filter(&program(libc::SYS_getppid, Action::Errno(95)), FilterFlags::default());
            assert!(installed.expect("installed").is_none());
            // SAFETY: it takes nothing and changes nothing.
            let refused = unsafe { libc::syscall(libc::SYS_getppid) };
            (refused, io::Error::last_os_error().raw_os_error())
        });
        assert_eq!(answers.join().expect("lived"), (-1, Some(95)));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_listener_comes_as_a_descriptor_that_closes_at_execution() {
        let listener = thread::spawn(|| {
            super::super::no_new_privileges().expect("allowed");
            let flags = FilterFlags { listener: true, ..FilterFlags::default() };
            let listener = install_filter(&program(libc::SYS_getppid, Action::Notify), flags).expect("installed");
            let listener = listener.expect("a descriptor");
            assert!(listener.as_raw_fd() > 2);
            rustix::io::fcntl_getfd(&listener).expect("open")
        });
        assert!(listener.join().expect("lived").contains(rustix::io::FdFlags::CLOEXEC));
    }
}
