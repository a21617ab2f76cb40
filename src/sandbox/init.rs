//! The life of a step's init: outside its PID namespace a guard, inside it process 1, and the program.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::chroot;
use super::error::{MAP_IDS, PREPARE, UNSHARE};
use super::message::{Plan, Report, receive, send};
use super::op::SetupOp;
use super::owners::{Oversight, Reach, Scope};
use super::program::{CAPABILITIES, Program, become_program, capabilities};
use super::setup::Setup;
use super::step::Security;
use crate::sys::{self, Child, Namespaces, Waited};

/// The exit code of a child that has reported why it ended itself.
pub(super) const REPORTED: i32 = 125;

/// Looks after one step: reads its plan from standard input, a socket, and never returns.
///
/// `main` calls this before any thread exists, when [`super::life`] says so.
pub fn init() -> ! {
    let code = match guard() {
        Ok(()) => 0,
        // The socket is gone, and with it everybody who could be told.
        Err(_) => REPORTED,
    };
    sys::exit_now(code)
}

fn guard() -> io::Result<()> {
    sys::close_inherited()?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((plan, descriptors)) = receive::<Plan>(&socket)? else { return Ok(()) };
    if let Some(base) = plan.base.clone() {
        return chroot::guard(plan, &base, descriptors, &socket);
    }
    let namespaces = Namespaces { user: true, pid: true, ..Namespaces::default() };
    if let Err(error) = sys::unshare(namespaces) {
        return send(&socket, &Report::failed(UNSHARE, "user, pid", &error), &[]);
    }
    send(&socket, &Report::Unshared, &[])?;
    if receive::<()>(&socket)?.is_none() {
        return Ok(());
    }
    if let Err(error) = sys::become_root() {
        return send(&socket, &Report::failed(MAP_IDS, "become uid 0", &error), &[]);
    }
    // Only now: a change of credentials takes the death signal back.
    sys::die_with_parent()?;
    let (alive, keep_alive) = io::pipe()?;
    let one = match sys::fork() {
        Ok(Some(one)) => one,
        Ok(None) => {
            drop(keep_alive);
            let alive = alive.into();
            process_one(plan, descriptors, &socket, &alive);
        }
        Err(error) => return send(&socket, &Report::failed("fork", "process 1", &error), &[]),
    };
    drop(descriptors);
    sys::silence_output()?;
    match watch(&socket, one)? {
        Waited::Code(0) => Ok(()),
        Waited::Code(code) => send(&socket, &Report::Lost { status: format!("exit code {code}") }, &[]),
        Waited::Signal(signal) => send(&socket, &Report::Lost { status: format!("signal {signal}") }, &[]),
    }
}

/// Waits for the end of process 1, and brings it about when the builder wants it or is gone.
fn watch(socket: &UnixStream, one: Child) -> io::Result<Waited> {
    let ended = sys::open_pidfd(one.id())?;
    let mut fds = [PollFd::new(&ended, PollFlags::IN), PollFd::new(socket, PollFlags::IN)];
    loop {
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        if fds[0].revents().is_empty() {
            // The kernel kills all other processes of the namespace before process 1 counts as ended.
            sys::kill(one)?;
        }
        return sys::wait_for(one);
    }
}

/// What failed, ready to be told.
type Failure = Report;

fn process_one(plan: Plan, descriptors: Vec<OwnedFd>, socket: &UnixStream, alive: &OwnedFd) -> ! {
    let told = match step(plan, descriptors, socket, alive) {
        Ok(exited) => send(socket, &exited, &[]),
        Err(failure) => send(socket, &failure, &[]),
    };
    sys::exit_now(if told.is_ok() { 0 } else { REPORTED })
}

fn step(plan: Plan, descriptors: Vec<OwnedFd>, socket: &UnixStream, alive: &OwnedFd) -> Result<Report, Failure> {
    let general = |what: &'static str| move |error: io::Error| Report::failed(PREPARE, what, &error);
    sys::die_with_parent().map_err(general("the death signal"))?;
    // What process 1 has no handler for does not reach it from within its namespace (pid_namespaces(7)). The standard
    // library's handlers of SIGSEGV and SIGBUS would: one on top of the other does not fit their stack, and that kills.
    sys::reset_signals().map_err(general("signals"))?;
    if is_orphan(alive).map_err(general("the guard"))? {
        sys::exit_now(REPORTED);
    }
    let (programs, ours): (Vec<SetupOp>, Vec<SetupOp>) = plan.ops.into_iter().partition(SetupOp::is_programs);
    let security = programs.iter().find_map(SetupOp::security).unwrap_or(Security::Sandbox);
    sys::silence_stdin().map_err(general("standard input"))?;
    // What is made is to have the mode that is asked for, whatever the builder's own mask.
    sys::set_umask(0);
    let (uids, gids) = sys::current_map().map_err(general("the id maps"))?;
    let emulates = plan.owners && (uids.is_single() || gids.is_single());
    let mut setup = Setup::new(plan.overlay, plan.rule, emulates);
    for op in &ours {
        setup.act(op).map_err(|error| {
            let (operation, operand) = op.describe();
            Report::failed(operation, &operand, &error)
        })?;
    }
    // Without it a step of root runs as it can, and one of another user says why it cannot.
    let scope = if emulates { Scope::Owners } else { Scope::Devices };
    let oversight = plan.owners.then(|| Oversight::prepare(scope).ok()).flatten();
    sys::block_ptrace().map_err(general("process 1"))?;
    let Some(program) = sys::fork().map_err(general("the program's process"))? else {
        let (identity, numbers) = (setup.identity(), plan.inherit.as_slice());
        let (keep, oversight, filter) = (CAPABILITIES, oversight.as_ref(), plan.filter.as_ref());
        let program = Program { ops: &programs, identity, keep, numbers, descriptors: &descriptors, filter, oversight };
        become_program(&program, socket)
    };
    drop(descriptors);
    sys::silence_output().map_err(general("the log"))?;
    if let Some(oversight) = oversight {
        let keep = capabilities(security, CAPABILITIES).map_err(general("the capabilities"))?;
        let begun = oversight.begin(setup.identity(), keep, Reach::Own);
        begun.map_err(general("the emulation of owners"))?;
    }
    let waited = sys::reap_until(program).map_err(general("waiting for the program"))?;
    let max_rss = sys::max_child_rss().unwrap_or_default();
    setup.tidy();
    Ok(match waited {
        Waited::Code(code) => Report::Exited { code: Some(code), signal: None, max_rss },
        Waited::Signal(signal) => Report::Exited { code: None, signal: Some(signal), max_rss },
    })
}

/// Tells whether the guard has died before its death could be signalled.
fn is_orphan(alive: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(alive, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(!fds[0].revents().is_empty())
}
