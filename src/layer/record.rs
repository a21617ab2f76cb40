//! What the machine did not allow, written beside the file that stands for it, so that packing gives it back.
//!
//! A user namespace makes no device nodes, has no users but those mapped into it, and some file systems take no file
//! capabilities. An extended attribute in the one namespace that everybody may write to keeps what was meant:
//!
//! ```text
//! user.dockless.node        `c 1 3`, `b 8 0` or `p`: the empty file is this device or FIFO
//! user.dockless.owner       `1000 100`: user and group of the file or directory
//! user.dockless.capability  value of security.capability
//! ```
//!
//! [`walk`](super::walk) reads them, so that digests and archives are those of a machine that allowed everything. They
//! are never content: no archive brings them and none carries them.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::XattrFlags;
use rustix::io::{Errno, Result};

/// What the names of all records begin with.
const PREFIX: &[u8] = b"user.dockless.";

const NODE: &[u8] = b"user.dockless.node";
const OWNER: &[u8] = b"user.dockless.owner";
const CAPABILITY: &[u8] = b"user.dockless.capability";

/// File capabilities (`capabilities(7)`).
pub(super) const SECURITY_CAPABILITY: &[u8] = b"security.capability";

/// Tells whether an extended attribute says what the machine did not allow: it goes with a file inside a store, and never
/// into an archive.
pub fn is_record(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// Tells whether a record is about the owner; a copy with an owner of its own leaves it behind.
pub fn is_owner_record(name: &[u8]) -> bool {
    name == OWNER
}

/// A file that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

/// What the records of one file say.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) node: Option<Special>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) capability: Option<Vec<u8>>,
}

impl Records {
    /// Takes one over; what makes no sense was written by somebody else and says nothing.
    pub(super) fn read(&mut self, name: &[u8], value: &[u8]) {
        let text = std::str::from_utf8(value).unwrap_or_default();
        let words: Vec<&str> = text.split(' ').collect();
        let number = |word: &str| word.parse::<u32>().ok();
        let pair = |words: &[&str]| match words {
            [one, two] => number(one).zip(number(two)),
            _ => None,
        };
        match name {
            NODE => {
                self.node = match (words[0], pair(&words[1..])) {
                    ("p", None) => Some(Special::Fifo),
                    // 0:0 is overlayfs's whiteout, which is never recorded.
                    ("c", Some((major, minor))) if (major, minor) != (0, 0) => Some(Special::Character(major, minor)),
                    ("b", Some((major, minor))) => Some(Special::Block(major, minor)),
                    _ => None,
                }
            }
            OWNER => self.owner = pair(&words),
            CAPABILITY => self.capability = Some(value.to_vec()),
            _ => {}
        }
    }
}

/// Notes that an empty file is really a device or FIFO.
pub(super) fn record_node(file: BorrowedFd<'_>, special: Special) -> Result<()> {
    let mut text = String::new();
    let _ = match special {
        Special::Character(major, minor) => write!(text, "c {major} {minor}"),
        Special::Block(major, minor) => write!(text, "b {major} {minor}"),
        Special::Fifo => write!(text, "p"),
    };
    set(file, NODE, text.as_bytes())
}

/// Notes whose a file should be; with `None` takes such a note back.
pub(super) fn record_owner(file: BorrowedFd<'_>, owner: Option<(u32, u32)>) -> Result<()> {
    match owner {
        Some((uid, gid)) => set(file, OWNER, format!("{uid} {gid}").as_bytes()),
        None => match rustix::fs::fremovexattr(file, OsStr::from_bytes(OWNER)) {
            // A file that is held without being open, as hard links are: by the name that the kernel has for it.
            Err(Errno::BADF) => rustix::fs::removexattr(held(file), OsStr::from_bytes(OWNER)),
            other => other,
        },
    }
}

/// Notes the capabilities that a file should have.
pub(super) fn record_capability(file: BorrowedFd<'_>, value: &[u8]) -> Result<()> {
    set(file, CAPABILITY, value)
}

fn set(file: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<()> {
    match rustix::fs::fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()) {
        Err(Errno::BADF) => rustix::fs::setxattr(held(file), OsStr::from_bytes(name), value, XattrFlags::empty()),
        other => other,
    }
}

fn held(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_make_no_sense_say_nothing() {
        let node = |value: &[u8]| {
            let mut records = Records::default();
            records.read(NODE, value);
            records.node
        };
        assert_eq!(node(b"c 1 3"), Some(Special::Character(1, 3)));
        assert_eq!(node(b"b 8 0"), Some(Special::Block(8, 0)));
        assert_eq!(node(b"p"), Some(Special::Fifo));
        for broken in [&b""[..], b"c", b"c 1", b"c 0 0", b"x 1 3", b"\xff\xfe", b"c -1 3"] {
            assert_eq!(node(broken), None, "{broken:?}");
        }
    }
}
