//! The records: their names, what they say, and how to read and write them.
//!
//! A file is named by a path that is followed to its end, such as [`held`](super::held); so nobody can put another file
//! in its place meanwhile.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{FileType, XattrFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

use super::special::{SECURITY_CAPABILITY, decode, encode};

/// What the names of all records begin with.
const PREFIX: &[u8] = b"user.dockless.";

const NODE: &[u8] = b"user.dockless.node";
const OWNER: &[u8] = b"user.dockless.owner";
const CAPABILITY: &[u8] = b"user.dockless.capability";

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
pub enum Special {
    /// A character device: major and minor number.
    Character(u32, u32),
    /// A block device.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// What the records of one file say.
#[derive(Debug, Default)]
pub struct Records {
    /// What the file is.
    pub node: Option<Special>,
    /// Its user and group.
    pub owner: Option<(u32, u32)>,
    /// Its capabilities.
    pub capability: Option<Vec<u8>>,
}

impl Records {
    /// Takes one of a file or directory over; what makes no sense was written by somebody else and says nothing.
    pub fn read(&mut self, name: &[u8], value: &[u8]) {
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

/// Tells whether records of the file itself are attributes of users.
fn is_plain(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// Longest record, and more.
const ROOM: usize = 64;

fn get(path: impl Arg, name: &[u8]) -> Option<Vec<u8>> {
    let mut value = [0; ROOM];
    let length = rustix::fs::getxattr(path, OsStr::from_bytes(name), &mut value[..]).ok()?;
    Some(value[..length].to_vec())
}

/// Returns the recorded owner of the file `path`, which is of this kind on disk.
pub fn owner(path: impl Arg, kind: FileType) -> Option<(u32, u32)> {
    if !is_plain(kind) {
        return get(path, SECURITY_CAPABILITY).and_then(|value| decode(&value));
    }
    let mut records = Records::default();
    records.read(OWNER, &get(path, OWNER)?);
    records.owner
}

/// As [`owner`], of the file `path` itself where that is a link.
pub fn owner_of(path: &Path, kind: FileType) -> Option<(u32, u32)> {
    let is_plain = is_plain(kind);
    let name = if is_plain { OWNER } else { SECURITY_CAPABILITY };
    let mut value = [0; ROOM];
    let length = rustix::fs::lgetxattr(path, OsStr::from_bytes(name), &mut value[..]).ok()?;
    if !is_plain {
        return decode(&value[..length]);
    }
    let mut records = Records::default();
    records.read(name, &value[..length]);
    records.owner
}

/// Returns what the empty regular file `path` is.
pub fn node(path: impl Arg) -> Option<Special> {
    let mut records = Records::default();
    records.read(NODE, &get(path, NODE)?);
    records.node
}

/// Notes that an empty file is really a device or FIFO.
///
/// # Errors
/// `EOPNOTSUPP` where the file system has no such attributes, `ENOSPC`, `EROFS`.
pub fn record_node(path: impl Arg, special: Special) -> Result<()> {
    let mut text = String::new();
    let _ = match special {
        Special::Character(major, minor) => write!(text, "c {major} {minor}"),
        Special::Block(major, minor) => write!(text, "b {major} {minor}"),
        Special::Fifo => write!(text, "p"),
    };
    set(path, NODE, text.as_bytes())
}

/// Notes whose a file should be, which is of this kind on disk; with `None` takes such a note back.
///
/// # Errors
/// As [`record_node`]; `EPERM` for links, FIFOs and devices without privilege.
pub fn record_owner(path: impl Arg, kind: FileType, owner: Option<(u32, u32)>) -> Result<()> {
    let name = if is_plain(kind) { OWNER } else { SECURITY_CAPABILITY };
    match owner {
        Some(owner) if !is_plain(kind) => set(path, name, &encode(owner)),
        Some((uid, gid)) => set(path, name, format!("{uid} {gid}").as_bytes()),
        None => match rustix::fs::removexattr(path, OsStr::from_bytes(name)) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            other => other,
        },
    }
}

/// Notes whose the link, FIFO, device or socket `path` itself should be.
///
/// # Errors
/// As [`record_owner`].
pub fn record_owner_of(path: &Path, owner: (u32, u32)) -> Result<()> {
    rustix::fs::lsetxattr(path, OsStr::from_bytes(SECURITY_CAPABILITY), &encode(owner), XattrFlags::empty())
}

/// Notes the capabilities that a file should have.
///
/// # Errors
/// As [`record_node`].
pub fn record_capability(path: impl Arg, value: &[u8]) -> Result<()> {
    set(path, CAPABILITY, value)
}

fn set(path: impl Arg, name: &[u8], value: &[u8]) -> Result<()> {
    rustix::fs::setxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty())
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
