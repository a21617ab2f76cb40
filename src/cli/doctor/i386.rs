//! Executing a program of 32-bit x86.
//!
//! Whether the kernel can is a question of how it was built and started, which no file tells everybody. The program is
//! the smallest that ends well; the bytes are written here because no compiler that makes them may be around.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the program is loaded.
const ADDRESS: u32 = 0x0804_8000;
/// Sizes of the headers (`elf(5)`, `Elf32_Ehdr`, `Elf32_Phdr`).
const HEADER: u16 = 52;
const SEGMENT: u16 = 32;
/// `xor ebx, ebx; xor eax, eax; inc eax; int 0x80`: `_exit(0)`.
const CODE: [u8; 7] = [0x31, 0xdb, 0x31, 0xc0, 0x40, 0xcd, 0x80];

/// Executes the program from a file in `place`.
///
/// # Errors
/// What the kernel said, e.g. `ENOEXEC` where it knows no such programs.
pub(super) fn execute(place: &Path) -> io::Result<()> {
    let directory = tempfile::Builder::new().prefix("i386-").tempdir_in(place)?;
    let path = directory.path().join("program");
    fs::write(&path, program())?;
    fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    let status = Command::new(&path).env_clear().stdin(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(status.to_string())) }
}

/// Returns a static executable for `EM_386`: a header, one segment that is read and executed, and the code.
fn program() -> Vec<u8> {
    let start = HEADER + SEGMENT;
    let size = u32::from(start) + u32::try_from(CODE.len()).expect("a few bytes");
    let mut bytes = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut half = |value: u16| bytes.extend(value.to_le_bytes());
    // ET_EXEC, EM_386.
    half(2);
    half(3);
    // Version, entry, place of the segment's header, no sections, no flags.
    for word in [1, ADDRESS + u32::from(start), u32::from(HEADER), 0, 0] {
        bytes.extend(u32::to_le_bytes(word));
    }
    for value in [HEADER, SEGMENT, 1, 0, 0, 0] {
        bytes.extend(value.to_le_bytes());
    }
    // PT_LOAD from the start of the file, PF_R | PF_X, in pages of 4 KiB.
    for word in [1, 0, ADDRESS, ADDRESS, size, size, 5, 0x1000] {
        bytes.extend(u32::to_le_bytes(word));
    }
    bytes.extend(CODE);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_have_their_sizes() {
        let bytes = program();
        assert_eq!(bytes.len(), usize::from(HEADER + SEGMENT) + CODE.len());
        assert_eq!(bytes[24..28], (ADDRESS + 84).to_le_bytes());
        assert_eq!(bytes[84..], CODE);
    }

    #[test]
    fn a_place_that_is_not_there_is_told() {
        assert_eq!(execute(Path::new("/nowhere/at/all")).expect_err("no place").kind(), io::ErrorKind::NotFound);
    }
}
