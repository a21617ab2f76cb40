//! Calls that give files away, make them, or take an owner's ids by executing them.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, StatVfsMountFlags, Uid};
use rustix::io::Errno;

use super::calls::{Kind, Meaning};
use super::overseer::{Overseer, Stop, Verdict, at_flags, descriptor, id, is_record, low, path};
use super::view::{self, Spot, name};
use crate::ownership::{self, SECURITY_CAPABILITY, Special};
use crate::sys::{self, Call};

/// Longest value of file capabilities that the kernel takes (`vfs_ns_cap_data`), and more.
const CAPABILITIES: usize = 64;

const GROUP_EXECUTES: u32 = 0o010;

impl Overseer {
    /// `chown(2)` and its relatives.
    pub(super) fn chown(&mut self, call: &Call, meaning: Meaning) -> Verdict {
        let [first, second, .., flags, _] = call.arguments;
        let here = libc::AT_FDCWD;
        let (place, from, flags) = match meaning.kind {
            Kind::Chown => ((here, first), 1, AtFlags::empty()),
            Kind::Lchown => ((here, first), 1, AtFlags::SYMLINK_NOFOLLOW),
            Kind::Fchown => ((descriptor(first), 0), 1, AtFlags::EMPTY_PATH),
            _ => ((descriptor(first), second), 2, at_flags(flags)),
        };
        let given = [from, from + 1].map(|argument| Some(id(call, meaning, argument)).filter(|id| *id != u32::MAX));
        let empty = flags.contains(AtFlags::EMPTY_PATH);
        let file = match self.named(call, place, empty, !flags.contains(AtFlags::SYMLINK_NOFOLLOW)) {
            // A way over descriptors of processes: what is there is a pipe or terminal, which no layer holds.
            Err(Stop::Errno(libc::ELOOP)) if !flags.contains(AtFlags::SYMLINK_NOFOLLOW) => return Ok(0),
            other => other?,
        };
        let seen = self.look(&file)?;
        let before = seen.owner();
        if !self.creds(call.thread).may_give(before, (given[0], given[1])) {
            return Err(Stop::Errno(libc::EPERM));
        }
        self.still(call)?;
        // The kernel's part: what is read-only stays so, set-user-ID bits and capabilities go, and overlayfs copies up.
        let owner = (given[0].map(|_| Uid::ROOT), given[1].map(|_| Gid::ROOT));
        rustix::fs::chownat(&file, c"", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
        let seen = self.look(&file)?;
        self.record(&file, &seen, (given[0].unwrap_or(before.0), given[1].unwrap_or(before.1)))?;
        Ok(0)
    }

    /// Calls that make a file, which belongs to its maker.
    pub(super) fn create(&mut self, call: &Call, meaning: Meaning) -> Verdict {
        let here = libc::AT_FDCWD;
        let at = |argument: usize| descriptor(call.arguments[argument]);
        let number = |argument: usize| low(call.arguments[argument]);
        match meaning.kind {
            Kind::Open => self.open(call, here, 0, u64::from(number(1)), number(2)),
            Kind::Openat => self.open(call, at(0), 1, u64::from(number(2)), number(3)),
            Kind::Creat => {
                let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
                self.open(call, here, 0, u64::from(flags.cast_unsigned()), number(1))
            }
            Kind::Openat2 => self.open_how(call),
            Kind::Mkdir => self.mkdir(call, here, 0, number(1)),
            Kind::Mkdirat => self.mkdir(call, at(0), 1, number(2)),
            Kind::Symlink => self.symlink(call, here, 1),
            Kind::Symlinkat => self.symlink(call, at(1), 2),
            Kind::Mknod => self.mknod(call, here, 0, number(1), number(2)),
            Kind::Mknodat => self.mknod(call, at(0), 1, number(2), number(3)),
            _ => Err(Stop::Continue),
        }
    }

    /// `openat2(2)` with nothing but what `openat` has too.
    fn open_how(&mut self, call: &Call) -> Verdict {
        let mut how = [0; 24];
        let is_read = sys::read_memory(call.thread, call.arguments[2], &mut how).is_ok_and(|count| count == how.len());
        let word = |at: usize| how[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        let (flags, mode, resolve) = (word(0), word(8), word(16));
        let creates = flags & u64::from((libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY).cast_unsigned()) != 0;
        if !is_read || call.arguments[3] != 24 || resolve != 0 || !creates {
            return Err(Stop::Continue);
        }
        self.open(call, descriptor(call.arguments[0]), 1, flags, low(mode))
    }

    fn open(&mut self, call: &Call, directory: i32, argument: usize, flags: u64, mode: u32) -> Verdict {
        let flags = OFlags::from_bits_retain(low(flags));
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let close = flags.contains(OFlags::CLOEXEC);
        let nameless = flags.contains(OFlags::TMPFILE);
        // What cannot be is the kernel's to refuse.
        if flags.contains(OFlags::PATH) || !nameless && flags.contains(OFlags::DIRECTORY) {
            return Err(Stop::Continue);
        }
        let path = path(call, argument)?;
        let (file, owner) = if nameless {
            let parent = self.view.open(call.thread, directory, &path, true).map_err(|_| Stop::Continue)?;
            let owner = self.owner_in(call, &parent)?;
            (rustix::fs::openat(CWD, name(&parent), flags | OFlags::CLOEXEC, mode)?, owner)
        } else {
            if path.to_bytes().ends_with(b"/") {
                return Err(Stop::Continue);
            }
            let spot = self.view.spot(call.thread, directory, &path).map_err(|_| Stop::Continue)?;
            let owner = self.owner_in(call, &spot.parent)?;
            let creating = flags | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match rustix::fs::openat(&spot.parent, &*spot.leaf, creating, mode) {
                Err(Errno::EXIST) if !flags.contains(OFlags::EXCL) => return Err(Stop::Continue),
                other => (other?, owner),
            }
        };
        let seen = self.look(&file)?;
        self.record(&file, &seen, owner)?;
        match self.listener.give(call.id, file.as_fd(), close) {
            Ok(number) => Ok(number.into()),
            Err(error) => Err(Stop::Errno(error.raw_os_error().unwrap_or(libc::EIO))),
        }
    }

    /// Whose a file is that the caller makes in an open directory; the kernel makes what is root's. Sets our umask to the
    /// caller's.
    fn owner_in(&self, call: &Call, directory: &OwnedFd) -> Result<(u32, u32), Stop> {
        let (uid, mut gid) = self.creds(call.thread).owner();
        let stat = rustix::fs::fstat(directory)?;
        if stat.st_mode & libc::S_ISGID != 0 {
            gid = self.look(directory)?.owner().1;
        }
        if (uid, gid) == (0, 0) {
            return Err(Stop::Continue);
        }
        self.adopt_umask(call)?;
        Ok((uid, gid))
    }

    fn adopt_umask(&self, call: &Call) -> Result<(), Stop> {
        sys::set_umask(view::umask(call.thread).ok_or(Stop::Continue)?);
        self.still(call)
    }

    fn spot(&self, call: &Call, directory: i32, argument: usize) -> Result<Spot, Stop> {
        self.view.spot(call.thread, directory, &path(call, argument)?).map_err(|_| Stop::Continue)
    }

    /// Notes whose the file is that has just been made at a spot.
    fn made(&mut self, spot: &Spot, owner: (u32, u32)) -> Verdict {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&spot.parent, &*spot.leaf, flags, Mode::empty())?;
        let seen = self.look(&file)?;
        self.record(&file, &seen, owner)?;
        Ok(0)
    }

    fn mkdir(&mut self, call: &Call, directory: i32, argument: usize, mode: u32) -> Verdict {
        let spot = self.spot(call, directory, argument)?;
        let owner = self.owner_in(call, &spot.parent)?;
        rustix::fs::mkdirat(&spot.parent, &*spot.leaf, Mode::from_raw_mode(mode & 0o7777))?;
        self.made(&spot, owner)
    }

    fn symlink(&mut self, call: &Call, directory: i32, argument: usize) -> Verdict {
        let target = path(call, 0)?;
        let spot = self.spot(call, directory, argument)?;
        let owner = self.owner_in(call, &spot.parent)?;
        if target.is_empty() {
            return Err(Stop::Continue);
        }
        rustix::fs::symlinkat(&*target, &spot.parent, &*spot.leaf)?;
        self.made(&spot, owner)
    }

    fn mknod(&mut self, call: &Call, directory: i32, argument: usize, mode: u32, device: u32) -> Verdict {
        let kind = FileType::from_raw_mode(mode);
        let special = special(mode, device);
        let mode = Mode::from_raw_mode(mode & 0o7777);
        let spot = self.spot(call, directory, argument)?;
        let Some(special) = special else {
            let owner = self.owner_in(call, &spot.parent)?;
            // A type of none is a regular file (`mknod(2)`).
            let kind = if mode.as_raw_mode() == 0 && kind == FileType::Unknown { FileType::RegularFile } else { kind };
            rustix::fs::mknodat(&spot.parent, &*spot.leaf, kind, mode, 0)?;
            return self.made(&spot, owner);
        };
        if !self.creds(call.thread).is_root() {
            return Err(Stop::Errno(libc::EPERM));
        }
        let owner = match self.owner_in(call, &spot.parent) {
            Err(Stop::Continue) => {
                self.adopt_umask(call)?;
                (0, 0)
            }
            other => other?,
        };
        let file = make_device(&spot, mode, special)?;
        if owner != (0, 0) {
            let seen = self.look(&file)?;
            self.record(&file, &seen, owner)?;
        }
        Ok(0)
    }

    /// `execve(2)`: a set-user-ID program gives the ids of its owner.
    pub(super) fn execute(&mut self, call: &Call, kind: Kind) -> Verdict {
        let [first, second, _, _, flags, _] = call.arguments;
        let (place, flags) = match kind {
            Kind::Execve => ((libc::AT_FDCWD, first), AtFlags::empty()),
            _ => ((descriptor(first), second), at_flags(flags)),
        };
        let follow = !flags.contains(AtFlags::SYMLINK_NOFOLLOW);
        let file = self.named(call, place, flags.contains(AtFlags::EMPTY_PATH), follow).map_err(|_| Stop::Continue)?;
        let stat = rustix::fs::fstat(&file)?;
        let mut given = (None, None);
        let is_set_id = stat.st_mode & (libc::S_ISUID | libc::S_ISGID) != 0
            && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && !rustix::fs::fstatvfs(&file)?.f_flag.contains(StatVfsMountFlags::NOSUID)
            && view::status(call.thread, "NoNewPrivs:").is_some_and(|flag| flag == "0");
        let seen = self.look(&file)?;
        if is_set_id && seen.is_ours() {
            let (uid, gid) = seen.owner();
            given.0 = (stat.st_mode & libc::S_ISUID != 0).then_some(uid);
            given.1 =
                (stat.st_mode & (libc::S_ISGID | GROUP_EXECUTES) == libc::S_ISGID | GROUP_EXECUTES).then_some(gid);
        }
        let creds = self.creds(call.thread);
        let changed = creds.execute(given.0, given.1);
        if changed != *creds {
            self.still(call)?;
            self.become_other(call, changed)?;
        }
        Err(Stop::Continue)
    }

    /// `setxattr(2)`: records are not the program's to set, and capabilities that the file system does not take are
    /// recorded.
    pub(super) fn set_attribute(&mut self, call: &Call, kind: Kind) -> Verdict {
        let attribute = path(call, 1)?;
        if is_record(&attribute) {
            return Ok(0);
        }
        if attribute.to_bytes() != SECURITY_CAPABILITY {
            return Err(Stop::Continue);
        }
        if !self.creds(call.thread).is_root() {
            return Err(Stop::Errno(libc::EPERM));
        }
        let [place, _, value, size, ..] = call.arguments;
        let file = match kind {
            Kind::Fsetxattr => view::descriptor(call.thread, descriptor(place))?,
            _ => self.named(call, (libc::AT_FDCWD, place), false, kind == Kind::Setxattr)?,
        };
        if self.look(&file)?.kind != FileType::RegularFile {
            // There it would say whose it is.
            return Ok(0);
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX).min(CAPABILITIES)];
        let count = sys::read_memory(call.thread, value, &mut bytes).map_err(|_| Stop::Continue)?;
        self.still(call)?;
        let flags = rustix::fs::XattrFlags::from_bits_retain(low(call.arguments[4]));
        match rustix::fs::setxattr(name(&file), c"security.capability", &bytes[..count], flags) {
            Err(Errno::PERM | Errno::OPNOTSUPP) => ownership::record_capability(name(&file), &bytes[..count])?,
            other => other?,
        }
        Ok(0)
    }
}

/// Says which device `mknod(2)` is to make; `None` for what is none, and for overlayfs's whiteout.
pub(super) fn special(mode: u32, device: u32) -> Option<Special> {
    // `new_decode_dev` of the kernel.
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    match FileType::from_raw_mode(mode) {
        FileType::CharacterDevice if (major, minor) != (0, 0) => Some(Special::Character(major, minor)),
        FileType::BlockDevice => Some(Special::Block(major, minor)),
        _ => None,
    }
}

/// Makes a file that stands for a device, with our umask.
pub(super) fn make_device(spot: &Spot, mode: Mode, special: Special) -> Result<OwnedFd, Stop> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&spot.parent, &*spot.leaf, flags, mode)?;
    if let Err(errno) = ownership::record_node(name(&file), special) {
        // Without its record it would be a plain file, which it is not.
        let _ = rustix::fs::unlinkat(&spot.parent, &*spot.leaf, AtFlags::empty());
        return Err(if errno == Errno::OPNOTSUPP { Stop::Errno(libc::EPERM) } else { errno.into() });
    }
    Ok(file)
}
