//! Answers the calls of a step, one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, Stat};
use rustix::io::Errno;

use super::calls::{Kind, Meaning, meaning};
use super::creds::{Change, Creds, Of};
use super::stat;
use super::view::{self, View, name, text};
use crate::ownership::{self, Special};
use crate::sys::{self, Answer, Call, Listener};

/// Most sets of ids that a step can have, and owners that no file system keeps.
const MOST: usize = 1 << 16;

/// Real-time limits from here on, which nobody reaches and nobody sets, number [`Overseer::known`].
const TAGS: u64 = 1 << 60;

/// `CAP_CHOWN`, `CAP_SETGID` and `CAP_SETUID` (`linux/capability.h`).
const IDS: u32 = 1 | 1 << 6 | 1 << 7;

/// Why a call is not answered with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The kernel does it, or says what is wrong with it.
    Continue,
    /// An error number.
    Errno(i32),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno.raw_os_error())
    }
}

pub(super) type Verdict = Result<i64, Stop>;

/// Who answers.
#[derive(Debug)]
pub(super) struct Overseer {
    pub(super) listener: Listener,
    pub(super) view: View,
    /// Sets of ids that some process has or had; the first is what the step began with.
    known: Vec<Creds>,
    /// Owners of what is on no file system that keeps records, by device and inode.
    kept: BTreeMap<(u64, u64), (u32, u32)>,
}

/// A file as the step should see it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) stat: Stat,
    pub(super) kind: FileType,
    /// What is recorded.
    recorded: Option<(u32, u32)>,
    node: Option<Special>,
}

impl Seen {
    pub(super) fn owner(&self) -> (u32, u32) {
        self.recorded.unwrap_or((self.stat.st_uid, self.stat.st_gid))
    }

    /// Tells whether it belongs to somebody of the step, and not to another user of the machine.
    pub(super) fn is_ours(&self) -> bool {
        self.recorded.is_some() || (self.stat.st_uid, self.stat.st_gid) == (0, 0)
    }
}

impl Overseer {
    pub(super) fn new(listener: Listener, view: View, creds: Creds) -> Self {
        Self { listener, view, known: vec![creds], kept: BTreeMap::new() }
    }

    /// Answers until nobody is left to ask.
    pub(super) fn serve(mut self) {
        while let Ok(Some(call)) = self.listener.receive() {
            let answer = match meaning(&call).map_or(Err(Stop::Continue), |meaning| self.judge(&call, meaning)) {
                Ok(value) => Answer::Value(value),
                Err(Stop::Continue) => Answer::Continue,
                Err(Stop::Errno(number)) => Answer::Errno(number),
            };
            let _ = self.listener.answer(call.id, answer);
        }
    }

    fn judge(&mut self, call: &Call, meaning: Meaning) -> Verdict {
        match meaning.kind {
            Kind::Stat | Kind::Lstat | Kind::Fstat | Kind::Fstatat | Kind::Statx => self.stat(call, meaning),
            Kind::SetOne(of) => self.change(call, of, Change::One(id(call, meaning, 0))),
            Kind::SetTwo(of) => self.change(call, of, Change::Two(id(call, meaning, 0), id(call, meaning, 1))),
            Kind::SetThree(of) => {
                self.change(call, of, Change::Three([0, 1, 2].map(|argument| id(call, meaning, argument))))
            }
            Kind::SetFile(of) => {
                let before = self.creds(call.thread).of(of).file;
                self.change(call, of, Change::File(id(call, meaning, 0)))?;
                Ok(before.into())
            }
            Kind::SetGroups => self.set_groups(call, meaning),
            Kind::GetReal(of) => Ok(shown(self.creds(call.thread).of(of).real, meaning).into()),
            Kind::GetEffective(of) => Ok(shown(self.creds(call.thread).of(of).effective, meaning).into()),
            Kind::GetThree(of) => {
                let set = self.creds(call.thread).of(of);
                for (argument, value) in [set.real, set.effective, set.saved].into_iter().enumerate() {
                    self.write(call, call.arguments[argument], &encode(value, meaning))?;
                }
                Ok(0)
            }
            Kind::GetGroups => self.groups(call, meaning),
            Kind::Elsewhere => {
                self.view.away = true;
                Err(Stop::Continue)
            }
            Kind::Prctl => {
                let keeps = low(call.arguments[1]) == 1;
                self.keep(call, |creds| Creds { keeps, ..creds })
            }
            Kind::Capset => {
                // Version, process; then effective, permitted and inheritable bits (`capget(2)`).
                let mut data = [0; 12];
                let count = sys::read_memory(call.thread, call.arguments[1], &mut data).map_err(|_| Stop::Continue)?;
                let permitted = u32::from_le_bytes([data[4], data[5], data[6], data[7]]);
                let none = count == data.len() && permitted & IDS == 0;
                self.keep(call, |creds| Creds { kept: creds.kept && !none, ..creds })
            }
            Kind::Chown | Kind::Lchown | Kind::Fchown | Kind::Fchownat => self.chown(call, meaning),
            Kind::Execve | Kind::Execveat => self.execute(call, meaning.kind),
            Kind::Setxattr | Kind::Lsetxattr | Kind::Fsetxattr => self.set_attribute(call, meaning.kind),
            _ => self.create(call, meaning),
        }
    }

    /// The ids of a process: those that its limit names, since children and executed programs inherit it in the same
    /// moment as everything else.
    pub(super) fn creds(&self, thread: u32) -> &Creds {
        let tag = sys::real_time_limit(thread).ok().and_then(|limit| limit.checked_sub(TAGS));
        let found = tag.and_then(|tag| usize::try_from(tag).ok()).and_then(|tag| self.known.get(tag));
        found.unwrap_or(&self.known[0])
    }

    pub(super) fn become_other(&mut self, call: &Call, creds: Creds) -> Verdict {
        let index = match self.known.iter().position(|known| *known == creds) {
            Some(index) => index,
            None if self.known.len() < MOST => {
                self.known.push(creds);
                self.known.len() - 1
            }
            None => return Err(Stop::Errno(libc::EAGAIN)),
        };
        // As `setuid(2)` says it where a limit is in the way.
        sys::set_real_time_limit(call.thread, TAGS + index as u64).map_err(|_| Stop::Errno(libc::EAGAIN))?;
        Ok(0)
    }

    fn change(&mut self, call: &Call, of: Of, change: Change) -> Verdict {
        let creds = self.creds(call.thread);
        let changed = creds.change(of, change).map_err(Stop::Errno)?;
        if changed == *creds { Ok(0) } else { self.become_other(call, changed) }
    }

    /// Notes what becomes of privileges, and lets the kernel do it as well.
    fn keep(&mut self, call: &Call, change: impl FnOnce(Creds) -> Creds) -> Verdict {
        let creds = self.creds(call.thread);
        let changed = change(creds.clone());
        if changed != *creds {
            self.still(call)?;
            self.become_other(call, changed)?;
        }
        Err(Stop::Continue)
    }

    fn set_groups(&mut self, call: &Call, meaning: Meaning) -> Verdict {
        let creds = self.creds(call.thread).set_groups(BTreeSet::new()).map_err(Stop::Errno)?;
        let width = if meaning.short { 2 } else { 4 };
        // `NGROUPS_MAX`, and the kernel reads an int.
        let count = usize::try_from(low(call.arguments[0])).ok().filter(|count| *count <= 65536);
        let count = count.ok_or(Stop::Errno(libc::EINVAL))?;
        let mut bytes = vec![0; count * width];
        let is_read = count == 0
            || sys::read_memory(call.thread, call.arguments[1], &mut bytes).is_ok_and(|read| read == bytes.len());
        if !is_read {
            return Err(Stop::Errno(libc::EFAULT));
        }
        let groups =
            bytes.chunks_exact(width).map(|word| word.iter().rev().fold(0, |id, byte| id << 8 | u32::from(*byte)));
        self.become_other(call, Creds { groups: groups.collect(), ..creds })
    }

    fn groups(&self, call: &Call, meaning: Meaning) -> Verdict {
        let groups = &self.creds(call.thread).groups;
        let room = low(call.arguments[0]).cast_signed();
        let count = i64::try_from(groups.len()).unwrap_or(i64::MAX);
        if room != 0 {
            if i64::from(room) < count {
                return Err(Stop::Errno(libc::EINVAL));
            }
            let bytes: Vec<u8> = groups.iter().flat_map(|group| encode(*group, meaning)).collect();
            self.write(call, call.arguments[1], &bytes)?;
        }
        Ok(count)
    }

    /// Writes into the caller's memory, if it is still the caller's.
    fn write(&self, call: &Call, address: u64, bytes: &[u8]) -> Result<(), Stop> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.still(call)?;
        sys::write_memory(call.thread, address, bytes).map_err(|_| Stop::Errno(libc::EFAULT))
    }

    /// Makes sure that nothing was read of another process, before anything is done.
    pub(super) fn still(&self, call: &Call) -> Result<(), Stop> {
        if self.listener.is_waiting(call.id) { Ok(()) } else { Err(Stop::Continue) }
    }

    /// What a file is, and whose.
    pub(super) fn look(&self, file: &OwnedFd) -> Result<Seen, Errno> {
        let stat = rustix::fs::fstat(file)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let mut recorded = ownership::owner(name(file), kind);
        if recorded.is_none() && !self.kept.is_empty() {
            recorded = self.kept.get(&(stat.st_dev, stat.st_ino)).copied();
        }
        let node = if kind == FileType::RegularFile && stat.st_size == 0 { ownership::node(name(file)) } else { None };
        Ok(Seen { stat, kind, recorded, node })
    }

    /// Notes whose a file is.
    pub(super) fn record(&mut self, file: &OwnedFd, seen: &Seen, owner: (u32, u32)) -> Result<(), Stop> {
        let inode = (seen.stat.st_dev, seen.stat.st_ino);
        let meant = (owner != (seen.stat.st_uid, seen.stat.st_gid)).then_some(owner);
        match ownership::record_owner(name(file), seen.kind, meant) {
            Err(errno @ (Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO)) => return Err(errno.into()),
            Err(_) if meant.is_some() && self.kept.len() < MOST => {
                self.kept.insert(inode, owner);
            }
            _ => {
                self.kept.remove(&inode);
            }
        }
        Ok(())
    }

    /// Opens what a call names by directory and path; with an empty path, where it allows that, the descriptor.
    pub(super) fn named(
        &self,
        call: &Call,
        (directory, path): (i32, u64),
        empty: bool,
        follow: bool,
    ) -> Result<OwnedFd, Stop> {
        let path = match text(call.thread, path) {
            Some(path) => path,
            // `statx(2)` since Linux 6.11.
            None if empty && path == 0 => c"".to_owned(),
            None => return Err(Stop::Continue),
        };
        if path.is_empty() {
            return if empty { Ok(view::descriptor(call.thread, directory)?) } else { Err(Stop::Continue) };
        }
        Ok(self.view.open(call.thread, directory, &path, follow)?)
    }

    fn stat(&self, call: &Call, meaning: Meaning) -> Verdict {
        let [first, second, third, fourth, fifth, _] = call.arguments;
        let here = libc::AT_FDCWD;
        let none = AtFlags::empty();
        let (place, buffer, flags) = match meaning.kind {
            Kind::Stat => ((here, first), second, none),
            Kind::Lstat => ((here, first), second, AtFlags::SYMLINK_NOFOLLOW),
            Kind::Fstat => ((descriptor(first), 0), second, AtFlags::EMPTY_PATH),
            Kind::Statx => ((descriptor(first), second), fifth, at_flags(third)),
            _ => ((descriptor(first), second), third, at_flags(fourth)),
        };
        let empty = flags.contains(AtFlags::EMPTY_PATH);
        let file =
            self.named(call, place, empty, !flags.contains(AtFlags::SYMLINK_NOFOLLOW)).map_err(|_| Stop::Continue)?;
        let seen = self.look(&file).map_err(|_| Stop::Continue)?;
        if seen.recorded.is_none() && seen.node.is_none() {
            return Err(Stop::Continue);
        }
        let change = stat::Change { owner: seen.owner(), node: seen.node };
        let bytes = if meaning.kind == Kind::Statx {
            // Only what says how fresh it is to be; `AT_STATX_…`.
            let flags = low(third).cast_signed() & 0x6000;
            let told = sys::statx_bytes(std::os::fd::AsFd::as_fd(&file), flags, low(fourth));
            stat::extended(told.map_err(|_| Stop::Continue)?, &change)
        } else if meaning.compat {
            stat::compat(&seen.stat, &change)
        } else {
            stat::native(&seen.stat, &change)
        };
        self.write(call, buffer, &bytes)?;
        Ok(0)
    }
}

/// The lower half of an argument, which is all that the kernel reads of an `int`.
#[expect(clippy::cast_possible_truncation, reason = "an int")]
pub(super) const fn low(argument: u64) -> u32 {
    argument as u32
}

pub(super) const fn descriptor(argument: u64) -> i32 {
    low(argument).cast_signed()
}

pub(super) const fn at_flags(argument: u64) -> AtFlags {
    AtFlags::from_bits_retain(low(argument))
}

/// An id as it is given.
pub(super) fn id(call: &Call, meaning: Meaning, argument: usize) -> u32 {
    let id = low(call.arguments[argument]);
    match (meaning.short, id & 0xffff) {
        (false, _) => id,
        (true, 0xffff) => u32::MAX,
        (true, short) => short,
    }
}

/// An id as it is shown; those that do not fit are the overflow id (`id_t` of 16 bits).
fn shown(id: u32, meaning: Meaning) -> u32 {
    if meaning.short && id > 0xffff { 65534 } else { id }
}

fn encode(id: u32, meaning: Meaning) -> Vec<u8> {
    let bytes = shown(id, meaning).to_le_bytes();
    bytes[..if meaning.short { 2 } else { 4 }].to_vec()
}

/// Reads the path that an argument names.
pub(super) fn path(call: &Call, argument: usize) -> Result<std::ffi::CString, Stop> {
    text(call.thread, call.arguments[argument]).ok_or(Stop::Continue)
}

/// Tells whether a name is that of a record, which programs do not set.
pub(super) fn is_record(name: &CStr) -> bool {
    ownership::is_record(name.to_bytes())
}
