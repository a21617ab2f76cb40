//! How the program has its calls looked at, and who looks.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::thread::CapabilitySet;

use super::calls::filter;
use super::creds::Creds;
use super::overseer::Overseer;
use super::view::View;
use crate::sandbox::user::Identity;
use crate::sys::{self, Detached, FilterFlags, Listener};

/// What process 1 prepares before the program's process is there.
#[derive(Debug)]
pub(in crate::sandbox) struct Oversight {
    /// The `/proc` of the step's PID namespace, wherever the step has its own or none.
    proc: Detached,
    ours: UnixStream,
    programs: UnixStream,
}

impl Oversight {
    /// Prepares it, inside the step's namespaces.
    pub(in crate::sandbox) fn prepare() -> io::Result<Self> {
        let (ours, programs) = UnixStream::pair()?;
        Ok(Self { proc: sys::proc_fs()?, ours, programs })
    }

    /// In the program's process: has the calls of everything it becomes and starts looked at; tells whether that is
    /// possible. Needs `CAP_SYS_ADMIN` in the step's user namespace.
    pub(in crate::sandbox) fn offer(&self) -> io::Result<bool> {
        let program = filter().assemble();
        let install = |wait_killable| sys::install_filter(&program, FilterFlags { listener: true, wait_killable });
        // Without it, before Linux 5.19, a signal can have a call made twice.
        let installed = install(true).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => install(false),
            _ => Err(error),
        });
        let listener: Option<OwnedFd> = installed.ok().flatten();
        let descriptors: Vec<_> = listener.iter().map(OwnedFd::as_fd).collect();
        sys::send_frame(&self.programs, b"", &descriptors)?;
        Ok(listener.is_some())
    }

    /// In process 1, after the program's process has begun: starts who answers. `keep` are the capabilities of the
    /// program, which is all that the answering thread has, beside the right to look into the program.
    pub(in crate::sandbox) fn begin(self, identity: &Identity, keep: CapabilitySet) -> io::Result<()> {
        let Self { proc, ours, programs } = self;
        // So that its end is seen where the program never came to offer anything.
        drop(programs);
        let Some((_, descriptors)) = sys::recv_frame(&ours)? else { return Ok(()) };
        let Some(listener) = descriptors.into_iter().next() else { return Ok(()) };
        let listener = Listener::new(listener);
        let creds = Creds::new(identity.uid, identity.gid, identity.groups.as_deref().unwrap_or_default());
        let work = move || -> io::Result<()> {
            sys::leave_directories()?;
            let view = View::new(proc.as_fd().try_clone_to_owned()?)?;
            sys::set_capabilities(keep | CapabilitySet::SYS_PTRACE, false)?;
            Overseer::new(listener, view, creds).serve();
            Ok(())
        };
        thread::Builder::new().name("owners".to_owned()).spawn(work).map(|_| ())
    }
}
