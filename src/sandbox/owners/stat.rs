//! What `stat(2)` says of a file whose owner is recorded, in the shapes that programs want.

use rustix::fs::Stat;

use crate::ownership::Special;
use crate::sys::STATX;

/// What is different from what the kernel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) owner: (u32, u32),
    pub(super) node: Option<Special>,
}

impl Change {
    fn mode(&self, mode: u32) -> u32 {
        let kind = match self.node {
            None => return mode,
            Some(Special::Character(..)) => libc::S_IFCHR,
            Some(Special::Block(..)) => libc::S_IFBLK,
            Some(Special::Fifo) => libc::S_IFIFO,
        };
        mode & !libc::S_IFMT | kind
    }

    fn device(&self) -> Option<(u32, u32)> {
        match self.node {
            Some(Special::Character(major, minor) | Special::Block(major, minor)) => Some((major, minor)),
            _ => None,
        }
    }

    fn rdev(&self, rdev: u64) -> u64 {
        self.device().map_or(rdev, |(major, minor)| rustix::fs::makedev(major, minor))
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// The lower half, as the kernel itself cuts it for programs of 32 bits.
#[expect(clippy::cast_possible_truncation, reason = "what 32-bit programs cannot hold they do not get")]
const fn low(value: u64) -> u32 {
    value as u32
}

/// `struct stat` of x86-64 (`asm/stat.h`).
pub(super) fn native(stat: &Stat, change: &Change) -> Vec<u8> {
    let mut bytes = vec![0; 144];
    let words = [
        (0, stat.st_dev),
        (8, stat.st_ino),
        (16, stat.st_nlink),
        (40, change.rdev(stat.st_rdev)),
        (48, stat.st_size.cast_unsigned()),
        (56, stat.st_blksize.cast_unsigned()),
        (64, stat.st_blocks.cast_unsigned()),
        (72, stat.st_atime.cast_unsigned()),
        (80, stat.st_atime_nsec),
        (88, stat.st_mtime.cast_unsigned()),
        (96, stat.st_mtime_nsec),
        (104, stat.st_ctime.cast_unsigned()),
        (112, stat.st_ctime_nsec),
    ];
    for (at, value) in words {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    for (at, value) in [(24, change.mode(stat.st_mode)), (28, change.owner.0), (32, change.owner.1)] {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    bytes
}

/// `struct stat64` of i386 (`asm/stat.h`).
pub(super) fn compat(stat: &Stat, change: &Change) -> Vec<u8> {
    let mut bytes = vec![0; 96];
    let words = [
        (12, low(stat.st_ino)),
        (16, change.mode(stat.st_mode)),
        (20, low(stat.st_nlink)),
        (24, change.owner.0),
        (28, change.owner.1),
        (52, low(stat.st_blksize.cast_unsigned())),
        (64, low(stat.st_atime.cast_unsigned())),
        (68, low(stat.st_atime_nsec)),
        (72, low(stat.st_mtime.cast_unsigned())),
        (76, low(stat.st_mtime_nsec)),
        (80, low(stat.st_ctime.cast_unsigned())),
        (84, low(stat.st_ctime_nsec)),
    ];
    for (at, value) in words {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    let wide = [
        (0, stat.st_dev),
        (32, change.rdev(stat.st_rdev)),
        (44, stat.st_size.cast_unsigned()),
        (56, stat.st_blocks.cast_unsigned()),
        (88, stat.st_ino),
    ];
    for (at, value) in wide {
        put(&mut bytes, at, &value.to_le_bytes());
    }
    bytes
}

/// Changes a `struct statx` (`linux/stat.h`), the same on every machine.
pub(super) fn extended(mut bytes: [u8; STATX], change: &Change) -> Vec<u8> {
    put(&mut bytes, 20, &change.owner.0.to_le_bytes());
    put(&mut bytes, 24, &change.owner.1.to_le_bytes());
    let mode = u32::from(u16::from_le_bytes([bytes[28], bytes[29]]));
    put(&mut bytes, 28, &change.mode(mode).to_le_bytes()[..2]);
    if let Some((major, minor)) = change.device() {
        put(&mut bytes, 128, &major.to_le_bytes());
        put(&mut bytes, 132, &minor.to_le_bytes());
    }
    bytes.to_vec()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::mem::offset_of;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn only_owner_and_kind_differ_from_what_the_kernel_says() {
        let file = tempfile::tempfile().expect("a file");
        let stat = rustix::fs::fstat(&file).expect("examined");
        let change = Change { owner: (5, 7), node: Some(Special::Character(1, 3)) };
        let bytes = native(&stat, &change);
        assert_eq!(bytes.len(), size_of::<libc::stat>());
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        assert_eq!((word(offset_of!(libc::stat, st_uid)), word(offset_of!(libc::stat, st_gid))), (5, 7));
        assert_eq!(word(offset_of!(libc::stat, st_mode)) & libc::S_IFMT, libc::S_IFCHR);
        assert_eq!(bytes[offset_of!(libc::stat, st_ino)..][..8], stat.st_ino.to_le_bytes());
        assert_eq!(bytes[offset_of!(libc::stat, st_mtime)..][..8], stat.st_mtime.to_le_bytes());
        assert_eq!(bytes[offset_of!(libc::stat, st_rdev)..][..8], rustix::fs::makedev(1, 3).to_le_bytes());
        let told = extended(crate::sys::statx_bytes(File::as_fd(&file), 0, 0x7ff).expect("examined"), &change);
        assert_eq!(told[offset_of!(libc::statx, stx_uid)..][..4], 5_u32.to_le_bytes());
        assert_eq!(told[offset_of!(libc::statx, stx_rdev_minor)..][..4], 3_u32.to_le_bytes());
        assert_eq!(compat(&stat, &change).len(), 96);
    }
}
