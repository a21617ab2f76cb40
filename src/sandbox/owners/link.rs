//! How the program has its calls looked at, and who looks.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use rustix::thread::CapabilitySet;

use super::calls;
use super::creds::Creds;
use super::devices::{self, Leave};
use super::overseer::Overseer;
use super::view::View;
use crate::sandbox::user::Identity;
use crate::sys::{self, Detached, FilterFlags, Listener};

/// What is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sandbox) enum Scope {
    /// Owners and devices, where one id exists.
    Owners,
    /// Devices, where all ids are real.
    Devices,
}

/// What of the machine is within reach of who answers.
#[derive(Debug)]
pub(in crate::sandbox) enum Reach {
    /// The step's own namespaces.
    Own,
    /// The machine's files, where `/proc` is the working directory and the umask is 0.
    Below {
        /// The program's root.
        root: OwnedFd,
        /// What in it is the program's to write to.
        places: Vec<PathBuf>,
    },
}

/// What process 1, or the guard, prepares before the program's process is there.
#[derive(Debug)]
pub(in crate::sandbox) struct Oversight {
    scope: Scope,
    /// The `/proc` of the step's PID namespace, wherever the step has its own or none.
    proc: Option<Detached>,
    ours: UnixStream,
    programs: UnixStream,
}

impl Oversight {
    /// Prepares it, inside the step's namespaces.
    pub(in crate::sandbox) fn prepare(scope: Scope) -> io::Result<Self> {
        let (ours, programs) = UnixStream::pair()?;
        // For devices when somebody makes one.
        let proc = if scope == Scope::Owners { Some(sys::proc_fs()?) } else { None };
        Ok(Self { scope, proc, ours, programs })
    }

    /// In the program's process: has the calls of everything it becomes and starts looked at; tells whether owners are
    /// emulated from then on. Needs `CAP_SYS_ADMIN` in the step's user namespace, or that it has given up new privileges.
    pub(in crate::sandbox) fn offer(&self) -> io::Result<bool> {
        let filter = if self.scope == Scope::Owners { calls::filter() } else { calls::devices() };
        let program = filter.assemble();
        let install = |wait_killable| sys::install_filter(&program, FilterFlags { listener: true, wait_killable });
        // Without it, before Linux 5.19, a signal can have a call made twice.
        let installed = install(true).or_else(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => install(false),
            _ => Err(error),
        });
        let listener: Option<OwnedFd> = installed.ok().flatten();
        let descriptors: Vec<_> = listener.iter().map(OwnedFd::as_fd).collect();
        sys::send_frame(&self.programs, b"", &descriptors)?;
        Ok(listener.is_some() && self.scope == Scope::Owners)
    }

    /// In process 1, after the program's process has begun: starts who answers. `keep` are the capabilities of the
    /// program, which is all that the answering thread has, beside the right to look into the program.
    pub(in crate::sandbox) fn begin(self, identity: &Identity, keep: CapabilitySet, reach: Reach) -> io::Result<()> {
        let Self { scope: _, proc, ours, programs } = self;
        // So that its end is seen where the program never came to offer anything.
        drop(programs);
        let Some((_, descriptors)) = sys::recv_frame(&ours)? else { return Ok(()) };
        let Some(listener) = descriptors.into_iter().next() else { return Ok(()) };
        let listener = Listener::new(listener);
        let begin = thread::Builder::new().name("owners".to_owned());
        let Some(proc) = proc else {
            return begin.spawn(move || serve_devices(&listener, keep, reach)).map(|_| ());
        };
        let creds = Creds::new(identity.uid, identity.gid, identity.groups.as_deref().unwrap_or_default());
        let work = move || -> io::Result<()> {
            sys::leave_directories()?;
            let view = View::new(proc.as_fd().try_clone_to_owned()?)?;
            sys::set_capabilities(keep | CapabilitySet::SYS_PTRACE, false)?;
            Overseer::new(listener, view, creds).serve();
            Ok(())
        };
        begin.spawn(work).map(|_| ())
    }
}

fn serve_devices(listener: &Listener, keep: CapabilitySet, reach: Reach) {
    match reach {
        Reach::Own => {
            // Set to nothing, it takes away nothing from the modes that we make of the program's own.
            let look = || {
                sys::leave_directories()?;
                sys::set_umask(0);
                let mut view = View::new(sys::proc_fs()?.as_fd().try_clone_to_owned()?)?;
                // Nobody tells when a program changes its root.
                view.away = true;
                devices::settle(view, keep)
            };
            devices::serve(listener, &Leave { needed: CapabilitySet::MKNOD, places: Vec::new() }, look);
        }
        Reach::Below { root, places } => {
            // Nobody has more there than this, who installs packages. Directories are the guard's, too: containers forbid
            // to have ones of one's own (`unshare(2)`), and another process could not look into the program everywhere.
            let leave = Leave { needed: CapabilitySet::CHOWN, places };
            devices::serve(listener, &leave, || devices::settle(View::of_root(root)?, keep));
        }
    }
}
