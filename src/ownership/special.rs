//! Owners of links, FIFOs, devices and sockets, in the shape of file capabilities (`capabilities(7)`,
//! `linux/capability.h` `vfs_cap_data`).

use std::os::fd::{AsRawFd as _, BorrowedFd};

/// File capabilities.
pub const SECURITY_CAPABILITY: &[u8] = b"security.capability";

/// `VFS_CAP_REVISION_2`, and `_3` as it is read outside of the namespace whose root set it.
const REVISIONS: [u32; 2] = [0x0200_0000, 0x0300_0000];

/// What stands where capabilities from the 33rd on would: no kernel has so many.
const WORDS: [u32; 2] = [0xd0c4_1e55, 0x0aed_0f0f];

/// The value that says whose a special file is.
pub(super) fn encode((uid, gid): (u32, u32)) -> Vec<u8> {
    [REVISIONS[0], uid, gid, WORDS[0], WORDS[1]].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Whose a special file is; `None` for what was not written by [`encode`].
pub(super) fn decode(value: &[u8]) -> Option<(u32, u32)> {
    let words: Vec<u32> =
        value.chunks_exact(4).filter_map(|word| word.try_into().ok()).map(u32::from_le_bytes).collect();
    let [revision, uid, gid, first, second, ..] = words[..] else { return None };
    (REVISIONS.contains(&revision) && [first, second] == WORDS).then_some((uid, gid))
}

/// The name that the kernel has for an open file, also one that is held without being open for reading (`O_PATH`).
pub fn held(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_the_shape_of_capabilities_and_capabilities_are_no_owner() {
        let owner = (1000, u32::MAX - 1);
        let mut value = encode(owner);
        assert_eq!(decode(&value), Some(owner));
        // As it is read from outside: the root of the namespace behind it.
        value[3] = 3;
        value.extend(999_u32.to_le_bytes());
        assert_eq!(decode(&value), Some(owner));
        let mut ping = encode(owner);
        ping[12..].fill(0);
        assert_eq!((decode(&ping), decode(b""), decode(&value[..16])), (None, None, None));
    }
}
