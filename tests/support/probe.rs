//! Programs that make one system call each, so that what a sandbox answers can be read from their exit codes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where a program finds the text `/proc/self/exe`.
pub(crate) const TEXT: u64 = BASE + 120;

const BASE: u64 = 0x40_0000;

/// Whose numbers and whose way into the kernel a call uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// `syscall`.
    X86_64,
    /// `int 0x80`, as 32-bit programs do it and others can.
    I386,
}

/// One system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    pub(crate) way: Way,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// One whose arguments are all nonsense.
    pub(crate) fn nonsense(way: Way, number: u32) -> Self {
        Self { way, number, arguments: [u64::MAX; 6] }
    }

    /// One with these first arguments; the others are 0.
    pub(crate) fn new(way: Way, number: u32, first: &[u64]) -> Self {
        let mut arguments = [0; 6];
        arguments[..first.len()].copy_from_slice(first);
        Self { way, number, arguments }
    }

    pub(crate) fn name(&self) -> String {
        let way = if self.way == Way::X86_64 { "x86-64" } else { "i386" };
        let arguments: Vec<String> = self.arguments.iter().map(|argument| format!("{argument:x}")).collect();
        format!("{way}.{:04}.{}", self.number, arguments.join("."))
    }

    /// Machine code: an alarm in a second, the call, and an end whose code is the error number, 0 for success.
    fn code(&self) -> Vec<u8> {
        let mut code = b"\xb8\x25\0\0\0\xbf\x01\0\0\0\x0f\x05".to_vec();
        for (at, argument) in self.arguments.iter().enumerate() {
            match self.way {
                Way::X86_64 => {
                    code.extend(
                        [[0x48, 0xbf], [0x48, 0xbe], [0x48, 0xba], [0x49, 0xba], [0x49, 0xb8], [0x49, 0xb9]][at],
                    );
                    code.extend(argument.to_le_bytes());
                }
                Way::I386 => {
                    code.push([0xbb, 0xb9, 0xba, 0xbe, 0xbf, 0xbd][at]);
                    code.extend(&argument.to_le_bytes()[..4]);
                }
            }
        }
        code.push(0xb8);
        code.extend(self.number.to_le_bytes());
        code.extend(if self.way == Way::X86_64 { b"\x0f\x05" } else { b"\xcd\x80" });
        code.extend(b"\x31\xff\x3d\x00\xf0\xff\xff\x76\x04\xf7\xd8\x89\xc7\xb8\xe7\0\0\0\x0f\x05");
        code
    }

    /// An ELF file of one segment (`elf(5)`).
    fn program(&self) -> Vec<u8> {
        const WORDS: &[u8; 16] = b"/proc/self/exe\0\0";
        let code = self.code();
        let size = 120 + (WORDS.len() + code.len()) as u64;
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
        file.extend([TEXT + WORDS.len() as u64, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(b"\0\0\0\0\x40\0\x38\0\x01\0\x40\0\0\0\0\0\x01\0\0\0\x05\0\0\0");
        file.extend([0, BASE, BASE, size, size, 0x1000].iter().flat_map(|word| word.to_le_bytes()));
        file.extend(WORDS);
        file.extend(code);
        file
    }
}

/// Writes a program for every call into `directory`.
pub(crate) fn write(directory: &Path, calls: &[Call]) {
    fs::create_dir_all(directory).expect("made");
    for call in calls {
        let path = directory.join(call.name());
        fs::write(&path, call.program()).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
    }
}

/// A shell script that runs all programs of `directory` and prints the name and exit code of each.
pub(crate) fn script(directory: &str) -> String {
    format!("exec 2>/dev/null; cd {directory}; for f in *; do \"./$f\"; echo \"$f $?\"; done")
}
