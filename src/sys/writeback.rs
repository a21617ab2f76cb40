//! Bringing what was written to disk while more comes (`sync_file_range(2)`).

#![expect(unsafe_code, reason = "neither nix nor rustix wraps sync_file_range")]

use std::fs::File;
use std::os::fd::AsRawFd as _;

/// Has the kernel begin to write a part of a file to disk, and does not wait for it. A hint: whoever needs the bytes to
/// be there syncs the file in the end, and a file system that knows nothing of it is none the worse.
pub fn begin_writeback(file: &File, offset: u64, length: u64) {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: the descriptor is open for the whole call, which touches no memory of ours.
    let _ = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}
