//! The life of a step's init: outside its PID namespace a guard, inside it process 1, and the program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::CapabilitySet;

use super::error::{EXECUTE, MAP_IDS, UNSHARE};
use super::message::{Plan, Report, receive, send};
use super::plan::SetupOp;
use super::setup::Setup;
use crate::sys::{self, Child, Limits, Namespaces, Waited};

/// What Docker gives by default; a package's `make install` wants to change owners and modes, and nothing more.
const CAPABILITIES: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// No core files in outputs; as many descriptors as Docker's builders give before they run into slow close loops.
const LIMITS: Limits = Limits { core: 0, descriptors: 1024 };

const UMASK: u32 = 0o022;

/// Where a program without a slash is searched when the environment has no `PATH`.
const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The exit code of a child that has reported why it ended itself.
const REPORTED: i32 = 125;

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
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let Some((plan, descriptors)) = receive::<Plan>(&socket)? else { return Ok(()) };
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
    let general = |what: &'static str| move |error: io::Error| Report::failed("prepare", what, &error);
    sys::die_with_parent().map_err(general("the death signal"))?;
    if is_orphan(alive).map_err(general("the guard"))? {
        sys::exit_now(REPORTED);
    }
    let (programs, ours): (Vec<SetupOp>, Vec<SetupOp>) = plan.ops.into_iter().partition(SetupOp::is_programs);
    let mut setup = Setup::new(plan.overlay);
    for op in &ours {
        setup.act(op).map_err(|error| {
            let (operation, operand) = op.describe();
            Report::failed(operation, &operand, &error)
        })?;
    }
    sys::block_ptrace().map_err(general("process 1"))?;
    let Some(program) = sys::fork().map_err(general("the program's process"))? else {
        become_program(&programs, &plan.inherit, &descriptors, socket)
    };
    drop(descriptors);
    sys::silence_output().map_err(general("the log"))?;
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

fn become_program(ops: &[SetupOp], numbers: &[i32], descriptors: &[OwnedFd], socket: &UnixStream) -> ! {
    // Above every number that the program wants, so that none of them is replaced while it is needed.
    let above = numbers.iter().max().map_or(3, |number| number + 1);
    let Ok(socket) = lift(socket, above).map(UnixStream::from) else { sys::exit_now(REPORTED) };
    let kept: io::Result<Vec<(i32, OwnedFd)>> =
        numbers.iter().zip(descriptors).map(|(number, fd)| Ok((*number, lift(fd, above)?))).collect();
    let failure = match kept {
        Err(error) => Report::failed("keep the descriptors", &format!("{numbers:?}"), &error),
        Ok(kept) => {
            let failed = ops.iter().find_map(|op| act(op, &kept).err().map(|error| (op.describe(), error)));
            let ((operation, operand), error) =
                failed.unwrap_or_else(|| ((EXECUTE, String::new()), io::ErrorKind::NotFound.into()));
            Report::failed(operation, &operand, &error)
        }
    };
    let _ = send(&socket, &failure, &[]);
    sys::exit_now(REPORTED)
}

fn lift(descriptor: impl AsFd, above: i32) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(descriptor, above)?)
}

fn act(op: &SetupOp, kept: &[(i32, OwnedFd)]) -> io::Result<()> {
    match op {
        SetupOp::NewSession => sys::new_session(),
        SetupOp::Settle => {
            sys::reset_signals()?;
            sys::set_limits(LIMITS)?;
            sys::set_umask(UMASK);
            sys::silence_stdin()
        }
        SetupOp::Personality32 => sys::use_32_bit_personality(),
        SetupOp::Directory { path } => Ok(rustix::process::chdir(path)?),
        SetupOp::DropPrivileges => {
            sys::no_new_privileges()?;
            sys::limit_capabilities(CAPABILITIES)
        }
        SetupOp::Execute { args, env } => {
            debug_assert!(kept.iter().all(|(number, fd)| fd.as_raw_fd() > *number));
            sys::keep_descriptors(kept)?;
            Err(execute(args, env)?)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn execute(args: &[String], env: &[String]) -> io::Result<io::Error> {
    let strings = |list: &[String]| -> io::Result<Vec<CString>> {
        list.iter().map(|text| Ok(CString::new(text.as_str())?)).collect()
    };
    let (arguments, environment) = (strings(args)?, strings(env)?);
    let name = args.first().ok_or(io::ErrorKind::InvalidInput)?;
    if name.contains('/') {
        return Ok(sys::execute(&arguments[0], &arguments, &environment));
    }
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(SEARCH);
    let mut worst = io::Error::from_raw_os_error(libc::ENOENT);
    for directory in path.split(':').filter(|directory| directory.starts_with('/')) {
        let candidate = CString::new(Path::new(directory).join(name).as_os_str().as_bytes())?;
        let error = sys::execute(&candidate, &arguments, &environment);
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            // As a shell does: go on, but a file that is there and cannot be executed is what to tell about.
            Some(libc::EACCES) => worst = error,
            _ => return Ok(error),
        }
    }
    Ok(worst)
}
