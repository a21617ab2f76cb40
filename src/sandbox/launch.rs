//! The builder's side of a step: start init, map its ids, pass the log on, end it in time.

use std::io::{self, PipeReader, PipeWriter, Read as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::thread::CapabilitySet;

use super::chroot::{Assembly, Base, CopyTree, Ground, assembled, programs};
use super::end::{Cancel, Exit, Outcome};
use super::error::{MAP_IDS, SandboxError};
use super::filter;
use super::life::MARK;
use super::message::{Plan, Report, receive, send};
use super::op::SetupOp;
use super::plan::plan;
use super::sealed::Sealed;
use super::step::Step;
use super::stub::Rule;
use crate::cgroup::{Group, Met};
use crate::sys::{self, IdMap};

/// How long init may take to end a step before it is killed itself.
const GRACE: Duration = Duration::from_secs(20);

/// How much of the log is passed on at a time.
const CHUNK: usize = 64 << 10;

/// Starts steps by executing a program whose `main` begins with [`super::life`].
#[derive(Debug, Clone)]
pub struct Launcher {
    program: PathBuf,
    overlay: bool,
    /// Where steps without namespaces live.
    ground: Option<Arc<Ground>>,
    owners: bool,
}

impl Default for Launcher {
    /// The running program itself.
    fn default() -> Self {
        Self::at(Path::new("/proc/self/exe"))
    }
}

/// Runs `step` to its end and hands everything it prints to `log`, as it comes.
///
/// # Errors
/// A program that fails is an [`Exit`]; an error means that it never ran, or that its end is unknown.
pub fn run(step: &Step, cancel: &Cancel, log: &mut dyn FnMut(&[u8])) -> Result<Exit, SandboxError> {
    Launcher::default().run(step, cancel, log)
}

impl Launcher {
    /// Starts steps with `program`: for programs whose own `main` is not ours, such as tests.
    pub fn at(program: &Path) -> Self {
        Self { program: program.to_owned(), overlay: true, ground: None, owners: true }
    }

    /// Never lays an overlay over a step's root, as on machines that have none.
    #[must_use]
    pub fn without_overlay(mut self) -> Self {
        self.overlay = false;
        self
    }

    /// Runs steps without namespaces and mounts, in roots below the existing directory `place`, which must be on the
    /// file system of everything that steps write to, and is removed in the end. `copy` makes copies of trees.
    #[must_use]
    pub fn in_chroot(mut self, place: &Path, copy: CopyTree) -> Self {
        self.ground = Some(Arc::new(Ground::new(place, copy)));
        self
    }

    /// Tells whether steps run without namespaces and mounts.
    pub fn is_chroot(&self) -> bool {
        self.ground.is_some()
    }

    /// Never emulates owners, as on kernels that cannot.
    #[must_use]
    pub fn without_owners(mut self) -> Self {
        self.owners = false;
        self
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs `step`; see [`run`].
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self, step: &Step, cancel: &Cancel, log: &mut dyn FnMut(&[u8])) -> Result<Exit, SandboxError> {
        step.check()?;
        if cancel.is_cancelled() {
            return Ok(Exit { outcome: Outcome::Cancelled, max_rss: 0, met: Met::default() });
        }
        let rule = Rule { all: step.bare, parents: step.bare || step.remove_stubs };
        let Some(ground) = &self.ground else {
            let plan = self.plan(step, plan(step), rule, None);
            return self.follow(step, &plan, None, cancel, log);
        };
        let assembly = Assembly::make(ground, &assembled(step), rule)?;
        let base = assembly.base();
        let plan = self.plan(step, programs(step, base.root()), rule, Some(base));
        let exit = self.follow(step, &plan, assembly.log(), cancel, log);
        // What failed first is what to tell.
        let apart = assembly.take_apart();
        let exit = exit?;
        apart.map(|()| exit)
    }

    fn plan(&self, step: &Step, ops: Vec<SetupOp>, rule: Rule, base: Option<Base>) -> Plan {
        let inherit = step.inherit.iter().map(|(number, _)| *number).collect();
        let owners = self.owners && !step.bare;
        let filtered = ops.contains(&SetupOp::Filter);
        let filter = filtered.then(|| filter::program().clone());
        Plan { ops, inherit, filter, rule, base, owners, overlay: self.overlay }
    }

    /// Has an init carry out `plan`; the program prints to the pipe `named`, where the step has one.
    fn follow(
        &self,
        step: &Step,
        plan: &Plan,
        named: Option<&Path>,
        cancel: &Cancel,
        log: &mut dyn FnMut(&[u8]),
    ) -> Result<Exit, SandboxError> {
        let io = |action: &'static str| move |error| SandboxError::io(action, Path::new("init of the step"), error);
        let (socket, theirs) = UnixStream::pair().map_err(io("make a socket for"))?;
        let (output, writer) = named.map_or_else(io::pipe, open_pipe).map_err(io("make a log for"))?;
        let errors = writer.try_clone().map_err(io("make a log for"))?;
        // Where nothing can be mounted, the kernel's own word about running programs must do.
        let sealed = Sealed::new(&self.program).ok();
        let mut command = Command::new(sealed.as_ref().map_or_else(|| self.program.clone(), Sealed::path));
        // The step sees the arguments of its process 1; where the builder lies is none of its business.
        command.arg0("dockless").args([MARK, "init"]).env_clear().current_dir("/").process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(writer).stderr(errors);
        let child = command.spawn().map_err(|error| SandboxError::io("start", &self.program, error))?;
        // The command holds our copies of init's ends; while they are open, no end of init could be seen.
        drop(command);
        let mut running = Running { child, socket, output, failure: None, exited: None, verdict: None };
        // It waits for its plan and has made no process yet, so that all of them will be in the group.
        let grouped = step.group.as_ref().map_or(Ok(()), |group| group.add(running.child.id()));
        if let Err(source) = grouped {
            return running.finish(Err(SandboxError::Group { source }), None, log);
        }
        let descriptors: Vec<_> = step.inherit.iter().map(|(_, descriptor)| descriptor.as_fd()).collect();
        let sent = send(&running.socket, plan, &descriptors);
        let followed = match sent {
            Ok(()) => running.follow(step.timeout.map(|timeout| Instant::now() + timeout), cancel, log),
            // Init did not live to read it; how it ended says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(io("send the plan to")(error)),
        };
        running.finish(followed, step.group.as_ref(), log)
    }
}

/// Opens both ends of a pipe with a name.
fn open_pipe(path: &Path) -> io::Result<(PipeReader, PipeWriter)> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // Not waiting for the other end, which only opens then.
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | flags, Mode::empty())?;
    let writer = rustix::fs::open(path, OFlags::WRONLY | flags, Mode::empty())?;
    Ok((reader.into(), writer.into()))
}

#[derive(Debug)]
struct Running {
    child: Child,
    socket: UnixStream,
    output: PipeReader,
    failure: Option<SandboxError>,
    exited: Option<Exit>,
    /// Why we ended it, if we did, and since when.
    verdict: Option<(Outcome, Instant)>,
}

impl Running {
    /// Serves the step until its init has ended.
    fn follow(
        &mut self,
        deadline: Option<Instant>,
        cancel: &Cancel,
        log: &mut dyn FnMut(&[u8]),
    ) -> Result<(), SandboxError> {
        let io = |action: &'static str| move |error| SandboxError::io(action, Path::new("init of the step"), error);
        let ended = sys::open_pidfd(self.child.id()).map_err(io("watch"))?;
        rustix::io::ioctl_fionbio(&self.output, true).map_err(|errno| io("read the log of")(errno.into()))?;
        let (mut socket_open, mut output_open) = (true, true);
        loop {
            let until = self.verdict.map_or(deadline, |(_, since)| Some(since + GRACE));
            let patience = until.map(|until| until.saturating_duration_since(Instant::now()));
            // Closed descriptors would report their end for ever, so they are not asked any more.
            let watched = [
                (ended.as_fd(), true),
                (self.socket.as_fd(), socket_open),
                (self.output.as_fd(), output_open),
                (cancel.event(), self.verdict.is_none()),
            ];
            let [is_ended, is_told, is_logged, is_cancelled] = wait(watched, patience).map_err(io("watch"))?;
            if is_logged {
                output_open = self.pass_on(log, 1).map_err(io("read the log of"))?;
            }
            if is_told {
                socket_open = self.listen()?;
            }
            if is_ended {
                return Ok(());
            }
            if self.verdict.is_none() && is_cancelled {
                self.stop(Outcome::Cancelled);
            } else if until.is_some_and(|until| until <= Instant::now()) {
                if self.verdict.is_none() {
                    self.stop(Outcome::TimedOut);
                } else {
                    return self.child.kill().map_err(io("kill"));
                }
            }
        }
    }

    /// Asks init to end the step.
    fn stop(&mut self, outcome: Outcome) {
        self.verdict = Some((outcome, Instant::now()));
        // Fails only where init is gone already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Passes at most `chunks` pieces of the log on; tells whether more may come.
    fn pass_on(&mut self, log: &mut dyn FnMut(&[u8]), chunks: usize) -> io::Result<bool> {
        let mut buffer = vec![0; CHUNK];
        for _ in 0..chunks {
            match self.output.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(length) => log(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes one message of init; tells whether more may come.
    fn listen(&mut self) -> Result<bool, SandboxError> {
        let received = receive::<Report>(&self.socket);
        let report = match received {
            Ok(Some((report, _))) => report,
            Ok(None) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(SandboxError::io("read the report of", Path::new("init of the step"), error)),
        };
        match report {
            Report::Unshared => {
                let mapped = map_ids(self.child.id()).and_then(|()| send(&self.socket, &(), &[]));
                if let Err(error) = mapped {
                    let error = SandboxError::setup(MAP_IDS, "of the step", error, &sys::facts());
                    self.failure.get_or_insert(error);
                    let _ = self.socket.shutdown(Shutdown::Write);
                }
            }
            Report::Failed { operation, operand, errno, message } => {
                let source = errno.map_or_else(|| io::Error::other(message), io::Error::from_raw_os_error);
                let error = SandboxError::setup(&operation, &operand, source, &sys::facts());
                self.failure.get_or_insert(error);
            }
            Report::Exited { code, signal, max_rss } => {
                let outcome = signal.map_or(Outcome::Code(code.unwrap_or_default()), Outcome::Signal);
                self.exited.get_or_insert(Exit { outcome, max_rss, met: Met::default() });
            }
            Report::Lost { status } => {
                if self.exited.is_none() && self.verdict.is_none() {
                    self.failure.get_or_insert(SandboxError::Lost { status });
                }
            }
        }
        Ok(true)
    }

    /// Reaps init and decides what became of the step.
    fn finish(
        mut self,
        followed: Result<(), SandboxError>,
        group: Option<&Group>,
        log: &mut dyn FnMut(&[u8]),
    ) -> Result<Exit, SandboxError> {
        if followed.is_err() {
            let _ = self.socket.shutdown(Shutdown::Write);
        }
        let io = |action: &'static str| move |error| SandboxError::io(action, Path::new("init of the step"), error);
        let status = self.child.wait().map_err(io("wait for"))?;
        followed?;
        // All who could write are dead: what is there is all there will be.
        rustix::io::ioctl_fionbio(&self.output, true).map_err(|errno| io("read the log of")(errno.into()))?;
        self.pass_on(log, usize::MAX).map_err(io("read the log of"))?;
        while self.listen()? {}
        let met = group.map(Group::met).unwrap_or_default();
        if let Some((outcome, _)) = self.verdict {
            return Ok(Exit { outcome, max_rss: self.exited.map_or(0, |exit| exit.max_rss), met });
        }
        // Where memory runs out, the kernel may well choose one of the two that look after the step.
        let killed = Exit { outcome: Outcome::Signal(libc::SIGKILL), max_rss: 0, met };
        match (self.failure, self.exited) {
            (None | Some(SandboxError::Lost { .. }), None) if met.memory.is_some() => Ok(killed),
            (Some(failure), _) => Err(failure),
            (None, Some(exit)) => Ok(Exit { met, ..exit }),
            (None, None) => Err(SandboxError::Lost { status: status.to_string() }),
        }
    }
}

/// Waits until one of the descriptors that are `true` is readable or closed, at most for `patience`.
fn wait<const N: usize>(watched: [(BorrowedFd<'_>, bool); N], patience: Option<Duration>) -> io::Result<[bool; N]> {
    let patience = patience.map(|patience| Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    });
    let asked = watched.iter().filter(|(_, asked)| *asked);
    let mut fds: Vec<PollFd<'_>> = asked.map(|(fd, _)| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
    match poll(&mut fds, patience.as_ref()) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false; N]),
        Err(error) => return Err(error.into()),
    }
    let mut ready = fds.iter().map(|fd| !fd.revents().is_empty());
    Ok(watched.map(|(_, asked)| asked && ready.next().unwrap_or_default()))
}

/// Gives init every id that we have ourselves, under its own number; one id where we may not give more.
fn map_ids(pid: u32) -> io::Result<()> {
    let (uids, gids) = sys::current_map()?;
    if sys::has_capability(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        return sys::write_map(pid, &uids.nested(), &gids.nested());
    }
    let uid = rustix::process::geteuid().as_raw();
    let gid = rustix::process::getegid().as_raw();
    sys::deny_setgroups(pid)?;
    sys::write_map(pid, &IdMap::single(uid), &IdMap::single(gid))
}
