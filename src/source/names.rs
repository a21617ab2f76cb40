//! The names in a directory, in the order in which everything here walks them.

use std::ffi::CString;
use std::os::fd::AsFd;

use rustix::fs::Dir;
use rustix::io::Errno;

/// Returns the names in a directory but `.` and `..`, sorted by their bytes.
///
/// # Errors
/// What `getdents64(2)` says.
pub(super) fn names(directory: impl AsFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.as_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
