//! Leaving namespaces, and the two that need a word after birth: the host name and the loopback device.

#![expect(unsafe_code, reason = "the loopback device is only reachable by ioctl")]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use nix::sched::CloneFlags;

/// Which namespaces to leave (`namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "one switch a namespace is what the kernel has")]
pub struct Namespaces {
    /// `CLONE_NEWUSER`; the caller must have one thread only.
    pub user: bool,
    /// `CLONE_NEWPID`; takes effect for the next child.
    pub pid: bool,
    /// `CLONE_NEWNS`.
    pub mount: bool,
    /// `CLONE_NEWNET`.
    pub network: bool,
    /// `CLONE_NEWIPC`.
    pub ipc: bool,
    /// `CLONE_NEWUTS`.
    pub uts: bool,
    /// `CLONE_NEWCGROUP`.
    pub cgroup: bool,
}

impl Namespaces {
    fn flags(self) -> CloneFlags {
        [
            (self.user, CloneFlags::CLONE_NEWUSER),
            (self.pid, CloneFlags::CLONE_NEWPID),
            (self.mount, CloneFlags::CLONE_NEWNS),
            (self.network, CloneFlags::CLONE_NEWNET),
            (self.ipc, CloneFlags::CLONE_NEWIPC),
            (self.uts, CloneFlags::CLONE_NEWUTS),
            (self.cgroup, CloneFlags::CLONE_NEWCGROUP),
        ]
        .into_iter()
        .filter_map(|(wanted, flag)| wanted.then_some(flag))
        .collect()
    }
}

/// Moves the calling process into new namespaces.
///
/// # Errors
/// `EPERM` where the machine forbids it, `ENOSPC` at the limit of `user.max_*_namespaces`, `EINVAL` from a threaded
/// process or a kernel without the namespace.
pub fn unshare(namespaces: Namespaces) -> io::Result<()> {
    Ok(nix::sched::unshare(namespaces.flags())?)
}

/// Tells whether the calling process has a single thread, as `CLONE_NEWUSER` and [`super::fork`] want it.
pub fn is_single_threaded() -> io::Result<bool> {
    Ok(fs::read_dir("/proc/self/task")?.take(2).count() == 1)
}

/// Sets the host name of the current UTS namespace.
pub fn set_host_name(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}

/// Brings up `lo` in the current network namespace.
pub fn loopback_up() -> io::Result<()> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            // IFF_UP | IFF_RUNNING, which libc has as int and the kernel as short.
            ifru_flags: 0x41,
        },
    };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: SIOCSIFFLAGS reads one `ifreq`, which outlives the call; the descriptor is an open socket.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
