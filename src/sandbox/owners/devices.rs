//! Devices for a step whose ids are all real: nobody makes device files in a user namespace, so they are recorded as where
//! one id exists, and layers are the same.
//!
//! Only `mknod` of a device is looked at, so nothing else pays; hence what was made looks like the empty file that it is
//! until the layer is packed. Whoever may make one where there are no namespaces may here: user 0 with `CAP_MKNOD`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode};
use rustix::thread::CapabilitySet;

use super::calls::{Kind, meaning};
use super::files::{make_device, special};
use super::overseer::{Stop, Verdict, descriptor, low, path};
use super::view::{self, View};
use crate::sys::{self, Answer, Call, Listener};

/// Who may make devices, and where.
#[derive(Debug)]
pub(super) struct Leave {
    /// What the caller must hold.
    pub(super) needed: CapabilitySet,
    /// Below which directories of the program's root, where no mount says so.
    pub(super) places: Vec<PathBuf>,
}

/// The ids with which a process makes files, and what it holds.
#[derive(Debug)]
struct Caller {
    uid: u32,
    gid: u32,
    holds: CapabilitySet,
}

/// Answers until nobody is left to ask. `look` is called when somebody asks first: few steps make devices.
pub(super) fn serve(listener: &Listener, leave: &Leave, look: impl FnOnce() -> io::Result<View>) {
    let mut look = Some(look);
    let mut view = None;
    while let Ok(Some(call)) = listener.receive() {
        if let Some(look) = look.take() {
            view = look().ok();
        }
        let verdict = view.as_ref().map_or(Err(Stop::Continue), |view| make(listener, leave, view, &call));
        let answer = match verdict {
            Ok(value) => Answer::Value(value),
            // The kernel says no, in its own order of reasons.
            Err(Stop::Continue) => Answer::Continue,
            Err(Stop::Errno(number)) => Answer::Errno(number),
        };
        let _ = listener.answer(call.id, answer);
    }
}

fn make(listener: &Listener, leave: &Leave, view: &View, call: &Call) -> Verdict {
    let at = |argument: usize| low(call.arguments[argument]);
    let (directory, argument, mode, device) = match meaning(call).map(|meaning| meaning.kind) {
        Some(Kind::Mknod) => (libc::AT_FDCWD, 0, at(1), at(2)),
        Some(Kind::Mknodat) => (descriptor(call.arguments[0]), 1, at(2), at(3)),
        _ => return Err(Stop::Continue),
    };
    let special = special(mode, device).ok_or(Stop::Continue)?;
    let caller = Caller::of(call.thread).ok_or(Stop::Continue)?;
    // Without the second it might make no file where we can.
    if caller.uid != 0 || !caller.holds.contains(leave.needed | CapabilitySet::DAC_OVERRIDE) {
        return Err(Stop::Continue);
    }
    let spot = view.spot(call.thread, directory, &path(call, argument)?).map_err(|_| Stop::Continue)?;
    if let Some(root) = view.fixed() {
        let place = view::target(view::name(&spot.parent))?;
        let place = place.strip_prefix(root).map_err(|_| Stop::Continue)?;
        if !leave.places.iter().any(|allowed| place.starts_with(allowed.strip_prefix("/").unwrap_or(allowed))) {
            return Err(Stop::Continue);
        }
    }
    let mode = mode & 0o7777 & !view::umask(call.thread).ok_or(Stop::Continue)?;
    if !listener.is_waiting(call.id) {
        return Err(Stop::Continue);
    }
    let file = make_device(&spot, Mode::from_raw_mode(mode), special)?;
    give(&spot.parent, &file, caller.gid);
    Ok(0)
}

/// Gives a new file the caller's group, unless it has its directory's.
fn give(parent: &OwnedFd, file: &OwnedFd, gid: u32) {
    let is_inherited = rustix::fs::fstat(parent).is_ok_and(|stat| stat.st_mode & libc::S_ISGID != 0);
    if gid != 0 && !is_inherited {
        // It exists in this namespace, since the caller has it.
        let _ = rustix::fs::chownat(file, c"", None, Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH);
    }
}

impl Caller {
    fn of(thread: u32) -> Option<Self> {
        // Real, effective, saved, and that of files (`proc_pid_status(5)`).
        let id = |field| view::status(thread, field)?.split_whitespace().nth(3)?.parse().ok();
        let holds = u64::from_str_radix(&view::status(thread, "CapEff:")?, 16).ok()?;
        Some(Self { uid: id("Uid:")?, gid: id("Gid:")?, holds: CapabilitySet::from_bits_retain(holds) })
    }
}

/// Leaves the calling thread with what it may hold from now on.
pub(super) fn settle(view: View, keep: CapabilitySet) -> io::Result<View> {
    let may = keep | CapabilitySet::SYS_PTRACE | CapabilitySet::SYS_CHROOT;
    sys::set_capabilities(may & sys::permitted_capabilities()?, false)?;
    Ok(view)
}
