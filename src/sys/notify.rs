//! System calls that wait for somebody else's answer (`seccomp_unotify(2)`), and the memory they speak of.

#![expect(unsafe_code, reason = "no safe wrapper of the ioctls of a listener and of another process's memory")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};

/// A call that waits (`struct seccomp_notif`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Its name towards the listener.
    pub id: u64,
    /// The thread, as the PID namespace of the listener's reader has it; 0 where it is not in there.
    pub thread: u32,
    /// `AUDIT_ARCH_…`.
    pub architecture: u32,
    /// Its number.
    pub number: u32,
    /// Its arguments.
    pub arguments: [u64; 6],
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The kernel makes it as if nobody had looked.
    Continue,
    /// It returns this.
    Value(i64),
    /// It fails with this error number.
    Errno(i32),
}

/// The end at which calls arrive.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// `SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP`: whoever is answered runs at once, on the same processor.
const WAKE_AT_ONCE: u64 = 1;

impl Listener {
    /// Listens at a descriptor of [`super::install_filter`].
    pub fn new(descriptor: OwnedFd) -> Self {
        // SAFETY: this ioctl takes a number; a kernel before 6.6 refuses it, and answers come a little later.
        unsafe { libc::ioctl(descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS as _, WAKE_AT_ONCE) };
        Self(descriptor)
    }

    /// Waits for a call; `None` when nobody is left who could make one.
    ///
    /// # Errors
    /// Whatever the kernel says but for callers that died meanwhile.
    pub fn receive(&self) -> io::Result<Option<Call>> {
        loop {
            let mut found = libc::seccomp_notif {
                id: 0,
                pid: 0,
                flags: 0,
                data: libc::seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] },
            };
            // SAFETY: the kernel fills in one `seccomp_notif`, which is all zeros as it wants it.
            if unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV as _, &raw mut found) } == 0 {
                return Ok(Some(Call {
                    id: found.id,
                    thread: found.pid,
                    architecture: found.data.arch,
                    number: found.data.nr.cast_unsigned(),
                    arguments: found.data.args,
                }));
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The caller died, or the last one of all.
                Some(libc::ENOENT) if !self.is_deserted()? => {}
                Some(libc::ENOENT) => return Ok(None),
                _ => return Err(error),
            }
        }
    }

    fn is_deserted(&self) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut fds, Some(&rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
        Ok(fds[0].revents().contains(PollFlags::HUP))
    }

    /// Tells whether a call still waits: until it does, what was read under its thread's number may be another's.
    pub fn is_waiting(&self, id: u64) -> bool {
        // SAFETY: the kernel reads one number.
        unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID as _, &raw const id) == 0 }
    }

    /// Answers a call; one that waits no longer needs no answer.
    ///
    /// # Errors
    /// Whatever the kernel says.
    pub fn answer(&self, id: u64, answer: Answer) -> io::Result<()> {
        let (val, error, flags) = match answer {
            Answer::Continue => (0, 0, 1),
            Answer::Value(value) => (value, 0, 0),
            Answer::Errno(number) => (0, -number, 0),
        };
        let response = libc::seccomp_notif_resp { id, val, error, flags };
        // SAFETY: the kernel reads one `seccomp_notif_resp`.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND as _, &raw const response) };
        match io::Error::last_os_error() {
            _ if done == 0 => Ok(()),
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            error => Err(error),
        }
    }

    /// Opens `file` in the caller, too; returns its number there.
    ///
    /// # Errors
    /// `EMFILE` at the caller's limit, `EINVAL` before Linux 5.9.
    pub fn give(&self, id: u64, file: BorrowedFd<'_>, close_at_execution: bool) -> io::Result<i32> {
        let flags = if close_at_execution { libc::O_CLOEXEC } else { 0 };
        let given = libc::seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: file.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: flags.cast_unsigned(),
        };
        // SAFETY: the kernel reads one `seccomp_notif_addfd`, which names a descriptor that is open.
        let number = unsafe { libc::ioctl(self.0.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD as _, &raw const given) };
        if number < 0 { Err(io::Error::last_os_error()) } else { Ok(number) }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Reads another process's memory (`process_vm_readv(2)`); returns how many bytes there were.
///
/// # Errors
/// `EFAULT` where there is none, `EPERM` without the right to look.
pub fn read_memory(thread: u32, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let here = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let there = libc::iovec { iov_base: pointer(address), iov_len: buffer.len() };
    // SAFETY: `here` is the buffer, to which nobody else has access; `there` is never dereferenced in this process.
    let count = unsafe { libc::process_vm_readv(thread.cast_signed(), &raw const here, 1, &raw const there, 1, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Writes into another process's memory (`process_vm_writev(2)`), all of it or an error.
///
/// # Errors
/// As [`read_memory`].
pub fn write_memory(thread: u32, address: u64, bytes: &[u8]) -> io::Result<()> {
    let here = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let there = libc::iovec { iov_base: pointer(address), iov_len: bytes.len() };
    // SAFETY: the kernel reads `here`, which is the slice, and never writes to it; `there` is another process's.
    let count = unsafe { libc::process_vm_writev(thread.cast_signed(), &raw const here, 1, &raw const there, 1, 0) };
    match usize::try_from(count) {
        Ok(count) if count == bytes.len() => Ok(()),
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

fn pointer(address: u64) -> *mut libc::c_void {
    usize::try_from(address).map_or(std::ptr::null_mut(), std::ptr::without_provenance_mut)
}

/// Reads the soft limit of real-time processor time of another process (`prlimit(2)` `RLIMIT_RTTIME`), which children and
/// executed programs inherit.
///
/// # Errors
/// `ESRCH` where it is gone.
pub fn real_time_limit(thread: u32) -> io::Result<u64> {
    limits(thread, None).map(|limits| limits.rlim_cur)
}

/// Sets the soft limit of [`real_time_limit`].
///
/// # Errors
/// `EINVAL` above the hard limit.
pub fn set_real_time_limit(thread: u32, soft: u64) -> io::Result<()> {
    let now = limits(thread, None)?;
    limits(thread, Some(libc::rlimit { rlim_cur: soft, ..now })).map(|_| ())
}

fn limits(thread: u32, new: Option<libc::rlimit>) -> io::Result<libc::rlimit> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the kernel reads `new` where it is one and fills in `old`.
    let done = unsafe { libc::prlimit(thread.cast_signed(), libc::RLIMIT_RTTIME, new, &raw mut old) };
    if done == 0 { Ok(old) } else { Err(io::Error::last_os_error()) }
}

/// `struct statx` as a caller wants it in its memory.
pub const STATX: usize = 256;

/// What `statx(2)` says of an open file, as bytes.
///
/// # Errors
/// Whatever the kernel says.
pub fn statx_bytes(file: BorrowedFd<'_>, flags: i32, mask: u32) -> io::Result<[u8; STATX]> {
    let mut bytes = [0; STATX];
    let flags = flags | libc::AT_EMPTY_PATH;
    // SAFETY: the kernel fills in the 256 bytes of a `struct statx`, for which any bytes are right.
    let done =
        unsafe { libc::syscall(libc::SYS_statx, file.as_raw_fd(), c"".as_ptr(), flags, mask, bytes.as_mut_ptr()) };
    if done == 0 { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// Gives the calling thread a root, working directory and umask of its own, apart from the other threads.
///
/// # Errors
/// Whatever the kernel says.
pub fn leave_directories() -> io::Result<()> {
    Ok(nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)?)
}
