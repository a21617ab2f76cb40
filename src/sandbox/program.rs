//! The program's own part of a setup, up to the moment when it is the program.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::thread::CapabilitySet;

use super::confine;
use super::error::EXECUTE;
use super::filter;
use super::init::REPORTED;
use super::message::{Report, send};
use super::op::SetupOp;
use super::owners::Oversight;
use super::plan::SEARCH;
use super::step::Security;
use super::user::Identity;
use crate::sys;

/// What Docker gives by default; a package's `make install` wants to change owners and modes, and nothing more.
pub(super) const CAPABILITIES: CapabilitySet = CapabilitySet::AUDIT_WRITE
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

const UMASK: u32 = 0o022;

/// The program to become.
#[derive(Debug)]
pub(super) struct Program<'a> {
    /// What is left to do.
    pub(super) ops: &'a [SetupOp],
    pub(super) identity: &'a Identity,
    /// What a sandboxed program may hold.
    pub(super) keep: CapabilitySet,
    /// Numbers of the descriptors, in their order.
    pub(super) numbers: &'a [i32],
    pub(super) descriptors: &'a [OwnedFd],
    /// The filter of system calls, assembled.
    pub(super) filter: Option<&'a sys::Program>,
    /// Who emulates owners, where they are.
    pub(super) oversight: Option<&'a Oversight>,
}

/// Becomes the program, or says on `socket` why not.
pub(super) fn become_program(program: &Program<'_>, socket: &UnixStream) -> ! {
    let Program { ops, numbers, descriptors, .. } = program;
    // Above every number that the program wants, so that none of them is replaced while it is needed.
    let above = numbers.iter().max().map_or(3, |number| number + 1);
    let Ok(socket) = lift(socket, above).map(UnixStream::from) else { sys::exit_now(REPORTED) };
    let kept: io::Result<Vec<(i32, OwnedFd)>> =
        numbers.iter().zip(*descriptors).map(|(number, fd)| Ok((*number, lift(fd, above)?))).collect();
    let failure = match kept {
        Err(error) => Report::failed("keep the descriptors", &format!("{numbers:?}"), &error),
        Ok(kept) => {
            let failed = ops.iter().find_map(|op| act(op, program, &kept).err().map(|error| (op.describe(), error)));
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

fn act(op: &SetupOp, program: &Program<'_>, kept: &[(i32, OwnedFd)]) -> io::Result<()> {
    let Program { identity, keep, oversight, filter: assembled, .. } = program;
    match op {
        SetupOp::ChangeRoot { path } => {
            rustix::process::chroot(path)?;
            Ok(rustix::process::chdir(c"/")?)
        }
        SetupOp::NewSession => {
            sys::new_session()?;
            // Not all kernels have keys, nor all users room for one more; the filter forbids to ask for any.
            let _ = sys::new_session_keyring();
            Ok(())
        }
        SetupOp::Settle => {
            sys::reset_signals()?;
            sys::set_umask(UMASK);
            // A step may bring a `/dev` of its own; then the machine's device, which it has already, must do.
            sys::silence_stdin()
                .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        }
        SetupOp::Personality32 => sys::use_32_bit_personality(),
        SetupOp::Directory { path } => Ok(rustix::process::chdir(path)?),
        SetupOp::Filter => filter::install(assembled.ok_or(io::ErrorKind::InvalidInput)?),
        SetupOp::DropPrivileges { security, no_new_privileges } => {
            if *no_new_privileges {
                sys::no_new_privileges()?;
            }
            // Before the right to ask for it is given up.
            let emulated = oversight.map(Oversight::offer).transpose()?.unwrap_or_default();
            become_user(identity, (*security, *keep), emulated)
        }
        SetupOp::Confine { writable } => confine::files(writable),
        SetupOp::EndWithGuard => sys::die_with_parent(),
        SetupOp::ForbidSockets => confine::sockets(),
        SetupOp::Limit { limit } => sys::set_limit(&limit.name, limit.soft, limit.hard),
        SetupOp::Execute { args, env, home } => {
            debug_assert!(kept.iter().all(|(number, fd)| fd.as_raw_fd() > *number));
            sys::keep_descriptors(kept)?;
            let mut env = env.clone();
            if *home && !env.iter().any(|entry| entry.starts_with("HOME=") && entry.len() > "HOME=".len()) {
                env.retain(|entry| entry != "HOME=");
                env.push(format!("HOME={}", identity.home));
            }
            Err(execute(args, &env)?)
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The capabilities of a program of root, of which a sandboxed one may hold `keep`.
pub(super) fn capabilities(security: Security, keep: CapabilitySet) -> io::Result<CapabilitySet> {
    let all = security == Security::Insecure;
    // Without namespaces nobody has more than is kept.
    let most = sys::permitted_capabilities()?;
    Ok(if all && keep == CAPABILITIES { most } else { keep & most })
}

/// Takes the ids of the user and, where it is not root, leaves the capabilities behind, unless nothing is forbidden. Where
/// ids are emulated it has them already, and the kernel's ids and capabilities stay root's.
fn become_user(identity: &Identity, (security, keep): (Security, CapabilitySet), emulated: bool) -> io::Result<()> {
    let all = security == Security::Insecure;
    let keep = capabilities(security, keep)?;
    sys::limit_bounding_set(keep)?;
    if emulated {
        return sys::set_capabilities(keep, all);
    }
    if identity.uid != 0 {
        // The log would stay the builder's, and `echo > /dev/stderr` would be refused.
        sys::give_output(identity.uid, identity.gid);
    }
    if let Some(groups) = &identity.groups {
        sys::set_ids(identity.uid, identity.gid, groups, all)?;
    }
    let held = if identity.uid == 0 || all { keep } else { CapabilitySet::empty() };
    sys::set_capabilities(held, all)
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
