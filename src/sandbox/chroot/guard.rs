//! The process that starts the program and ends everything it started.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::super::error::PREPARE;
use super::super::message::{Plan, Report, send};
use super::super::op::SetupOp;
use super::super::owners::{Oversight, Reach, Scope};
use super::super::program::{Program, become_program};
use super::super::setup::{identify, make_directory};
use super::super::user::Identity;
use super::cover::Spot;
use super::steps::KEPT;
use crate::sys::{self, Child, Waited};

/// How long orphans that have ended wait to be reaped.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 500_000_000 };

/// Where the step lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Base {
    /// Its root, a path of the machine.
    pub(super) root: PathBuf,
    /// Secrets below it, gone with the step even where the builder is gone already.
    pub(super) secrets: Vec<PathBuf>,
}

impl Base {
    pub(in crate::sandbox) fn root(&self) -> &Path {
        &self.root
    }
}

/// Looks after one step.
pub(in crate::sandbox) fn guard(
    plan: Plan,
    base: &Base,
    descriptors: Vec<OwnedFd>,
    socket: &UnixStream,
) -> io::Result<()> {
    let root = match sys::open_path(&base.root) {
        Ok(root) => root,
        Err(error) => return send(socket, &Report::failed("open", &base.root.display().to_string(), &error), &[]),
    };
    let report = live(plan, &root, descriptors, socket).unwrap_or_else(|report| report);
    for secret in &base.secrets {
        let _ = Spot::find(root.as_fd(), secret).and_then(|spot| spot.clear());
    }
    send(socket, &report, &[])
}

fn live(plan: Plan, root: &OwnedFd, descriptors: Vec<OwnedFd>, socket: &UnixStream) -> Result<Report, Report> {
    let general = |what: &'static str| move |error: io::Error| Report::failed(PREPARE, what, &error);
    sys::adopt_orphans().map_err(general("the guard"))?;
    sys::silence_stdin().map_err(general("standard input"))?;
    sys::set_umask(0);
    let (programs, ours): (Vec<SetupOp>, Vec<SetupOp>) = plan.ops.into_iter().partition(SetupOp::is_programs);
    let mut identity = Identity::root();
    for op in &ours {
        let done = match op {
            SetupOp::User { user } => identify(root.as_fd(), user, false).map(|found| identity = found),
            SetupOp::MakeDirectory { path } => make_directory(root.as_fd(), path, &identity, false),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        done.map_err(|error| {
            let (operation, operand) = op.describe();
            Report::failed(operation, &operand, &error)
        })?;
    }
    let oversight = plan.owners.then(|| Oversight::prepare(Scope::Devices).ok()).flatten();
    sys::block_ptrace().map_err(general("the guard"))?;
    let Some(program) = sys::fork().map_err(general("the program's process"))? else {
        let numbers = plan.inherit.as_slice();
        let program = Program {
            ops: &programs,
            identity: &identity,
            keep: KEPT,
            numbers,
            descriptors: &descriptors,
            filter: plan.filter.as_ref(),
            oversight: oversight.as_ref(),
        };
        become_program(&program, socket)
    };
    drop(descriptors);
    sys::silence_output().map_err(general("the log"))?;
    if let Some(oversight) = oversight {
        let places = programs.iter().filter_map(SetupOp::writable).flatten().cloned().collect();
        let root = root.try_clone().map_err(general("the root"))?;
        // Where who answers looks processes up; nothing that is done from now on is named by a relative path.
        let there = rustix::process::chdir(c"/proc").map_err(io::Error::from);
        let begun = there.and_then(|()| oversight.begin(&identity, KEPT, Reach::Below { root, places }));
        begun.map_err(general("the emulation of devices"))?;
    }
    let followed = follow(program, socket);
    // Whatever happened: nothing of the step stays.
    sys::end_descendants().map_err(general("the end of the step's processes"))?;
    let max_rss = sys::max_child_rss().unwrap_or_default();
    Ok(match followed.map_err(general("waiting for the program"))? {
        Some(Waited::Code(code)) => Report::Exited { code: Some(code), signal: None, max_rss },
        Some(Waited::Signal(signal)) => Report::Exited { code: None, signal: Some(signal), max_rss },
        None => Report::Exited { code: None, signal: Some(libc::SIGKILL), max_rss },
    })
}

/// Waits for the end of the program, reaping orphans; `None` when the builder wants the end, or is gone.
fn follow(program: Child, socket: &UnixStream) -> io::Result<Option<Waited>> {
    let ended = sys::open_pidfd(program.id())?;
    loop {
        let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
        match poll(&mut fds, Some(&LOOK)) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let is_over = !fds[1].revents().is_empty();
        while let Some((child, waited)) = sys::reap_ended()? {
            if child == program {
                return Ok(Some(waited));
            }
        }
        if is_over {
            return Ok(None);
        }
    }
}
