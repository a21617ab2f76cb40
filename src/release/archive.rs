//! The archive gate: what a release tarball must look like before anything of it runs.
//!
//! Owner 0:0, one time for all, sorted, everything under `opt/python/`, every ELF file sound, no build path in any file.

use std::collections::BTreeSet;
use std::io::Read;

use memchr::memmem;
use tar::EntryType;

use super::elf::{self, Kind, Role};
use crate::oci::Arch;

/// What was found in a tarball.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Architecture of its programs.
    pub(crate) arch: Option<Arch>,
    /// Number of entries.
    pub(crate) entries: usize,
    /// Number of ELF files.
    pub(crate) programs: usize,
    /// Entries out of shape: owner, time, order, place.
    pub(crate) shape: Vec<String>,
    /// ELF files that may not ship.
    pub(crate) elf: Vec<String>,
    /// Files that name a build path.
    pub(crate) paths: Vec<String>,
    /// Bytes of all files but `PYTHON.json`.
    pub(crate) bytes: u64,
    /// What the tree says of itself: `PYTHON.json`.
    pub(crate) description: Option<Vec<u8>>,
}

/// Places of a step (`docs/recipes.md`) that no file of a release may name.
const BUILD_PATHS: [&[u8]; 5] = [b"/build", b"/deps", b"/out", b"/scripts", b"/sources"];

/// Where a tree describes itself.
const DESCRIPTION: &str = "opt/python/PYTHON.json";

/// Where a tree has its C library.
const LIBC: &str = "opt/python/shared_libraries/lib/libc.so";

/// Where a `-full` tree has what debuggers read.
const DEBUG: &str = "opt/python/bin/.debug/";

/// Where a tree has its programs.
const PROGRAMS: &str = "opt/python/bin/";

/// A file larger than this is no part of Python; a bound for what is read into memory.
const LARGEST: u64 = 256 << 20;

/// Reads an uncompressed tar to its end.
pub(crate) fn inspect(reader: impl Read) -> std::io::Result<Findings> {
    let mut findings = Findings::default();
    let mut last: Option<Vec<u8>> = None;
    let mut times = BTreeSet::new();
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path_bytes().into_owned();
        let name = String::from_utf8_lossy(&path).into_owned();
        findings.entries += 1;
        let header = entry.header();
        let (uid, gid) = (header.uid()?, header.gid()?);
        if (uid, gid) != (0, 0) {
            findings.shape.push(format!("{name}: owner {uid}:{gid}"));
        }
        times.insert(header.mtime()?);
        let key = sort_key(&path);
        if last.as_ref().is_some_and(|last| *last >= key) {
            findings.shape.push(format!("{name}: out of order or twice"));
        }
        last = Some(key);
        let plain = name.trim_end_matches('/');
        if plain != "opt" && plain != "opt/python" && !plain.starts_with("opt/python/") {
            findings.shape.push(format!("{name}: outside opt/python"));
        }
        let mode = header.mode()?;
        if header.entry_type() != EntryType::Symlink && mode & 0o7022 != 0 {
            findings.shape.push(format!("{name}: mode {mode:o}"));
        }
        match header.entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            EntryType::Symlink | EntryType::Link => {
                let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                if !stays_inside(plain, &target, header.entry_type()) {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    findings.shape.push(format!("{name}: leads to {target}, outside the tree"));
                }
                continue;
            }
            kind => {
                findings.shape.push(format!("{name}: type {:?} has no place in a release", char::from(kind.as_byte())));
                continue;
            }
        }
        let size = header.size()?;
        if size > LARGEST {
            findings.shape.push(format!("{name}: {size} bytes"));
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        file(&name, &bytes, &mut findings);
        if name == DESCRIPTION {
            findings.description = Some(bytes);
        } else {
            findings.bytes += size;
        }
    }
    if times.len() > 1 {
        findings.shape.push(format!("{} different times", times.len()));
    }
    Ok(findings)
}

/// Sorted means by path components, so that a directory's content follows it.
fn sort_key(path: &[u8]) -> Vec<u8> {
    let trimmed = path.strip_suffix(b"/").unwrap_or(path);
    trimmed.iter().map(|byte| if *byte == b'/' { 0 } else { *byte }).collect()
}

/// Finds a path below `place` that begins there, and returns its beginning; `lib/build/x` or `$prefix/deps/` are none.
fn named<'a>(bytes: &'a [u8], place: &[u8]) -> Option<&'a [u8]> {
    let part_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._-~$@%+)}]>*?".contains(&byte) || byte >= 0x80;
    memmem::find_iter(bytes, place).find_map(|at| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        // A flag such as `-I/deps/include` names the place too.
        let flag =
            at.checked_sub(2).is_some_and(|before| bytes[before] == b'-' && bytes[before + 1].is_ascii_alphabetic());
        let begins = flag || before.is_none_or(|byte| !part_of_name(byte) && byte != b'/');
        let rest = &bytes[at + place.len()..];
        let name: usize =
            rest.iter().skip(1).take(40).take_while(|byte| part_of_name(**byte) || **byte == b'/').count();
        (begins && rest.first() == Some(&b'/') && name > 0).then(|| &bytes[at..at + place.len() + 1 + name])
    })
}

/// Tells whether a link of a release leads to a place under `opt/python`.
fn stays_inside(path: &str, target: &[u8], kind: EntryType) -> bool {
    let Ok(target) = std::str::from_utf8(target) else { return false };
    // A hard link names its target from the top of the archive, a symbolic link from its own directory.
    let mut parts: Vec<&str> = if kind == EntryType::Link { Vec::new() } else { path.split('/').collect() };
    parts.pop();
    if target.starts_with('/') {
        return false;
    }
    for part in target.split('/').filter(|part| !matches!(*part, "" | ".")) {
        match part {
            ".." if parts.pop().is_none() => return false,
            ".." => {}
            part => parts.push(part),
        }
    }
    parts.starts_with(&["opt", "python"])
}

fn file(name: &str, bytes: &[u8], findings: &mut Findings) {
    for path in BUILD_PATHS {
        if let Some(found) = named(bytes, path) {
            findings.paths.push(format!("{name} names {}", String::from_utf8_lossy(found)));
        }
    }
    match elf::kind(bytes) {
        Kind::Other => {}
        Kind::Foreign => findings.elf.push(format!("{name}: for another machine")),
        Kind::Ours(arch) => {
            findings.programs += 1;
            if *findings.arch.get_or_insert(arch) != arch {
                findings.elf.push(format!("{name}: {arch} among others"));
            }
            let role = match name {
                LIBC => Role::Libc,
                _ if name.starts_with(DEBUG) => Role::Debug,
                name if name.starts_with(PROGRAMS) => Role::Program,
                _ => Role::Ordinary,
            };
            findings.elf.extend(elf::faults(bytes, arch, role).into_iter().map(|fault| format!("{name} {fault}")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarball(entries: &[(&str, u64, u64, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, uid, mtime, data) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_uid(*uid);
            header.set_gid(*uid);
            header.set_mtime(*mtime);
            header.set_mode(0o644);
            builder.append_data(&mut header, path, *data).expect("append");
        }
        builder.into_inner().expect("tar")
    }

    #[test]
    fn a_tarball_in_shape_has_no_findings() {
        let bytes =
            tarball(&[("opt/python/a", 0, 1, b"x"), ("opt/python/b/c", 0, 1, b"y"), ("opt/python/b.c", 0, 1, b"")]);
        let findings = inspect(bytes.as_slice()).expect("readable");
        assert_eq!((findings.entries, findings.shape, findings.paths), (3, vec![], vec![]));
    }

    #[test]
    fn every_fault_of_shape_is_found() {
        let bytes = tarball(&[
            ("opt/python/b", 0, 1, b"cc -I/deps/include -L$HOME/deps/lib"),
            ("opt/python/a", 7, 2, b""),
            ("etc/passwd", 0, 1, b""),
        ]);
        let findings = inspect(bytes.as_slice()).expect("readable");
        let all = findings.shape.join("\n");
        for word in ["owner 7:7", "out of order", "outside opt/python", "2 different times"] {
            assert!(all.contains(word), "{word}: {all}");
        }
        assert_eq!(findings.paths, ["opt/python/b names /deps/include"]);
    }

    #[test]
    fn only_a_path_of_the_build_is_one() {
        for text in [
            "\0/build/x.c\0",
            "'/deps/lib'",
            "-L/deps/lib",
            "/sources/zlib/z.c",
            "=/out/opt/python",
            "//build",
            ":/scripts/step.sh",
        ] {
            let found = BUILD_PATHS.iter().any(|place| named(text.as_bytes(), place).is_some());
            assert_eq!(found, text != "//build", "{text}");
        }
        for text in [
            "lib/build/x",
            "distutils/command/build/py",
            "https://a.b/out/x",
            "../deps/x",
            "${prefix}/deps/lib",
            "/builder/x",
            "/buildings",
            "/build",
            "/build/ and",
            "~/build/x",
            "(opt)/build/x",
            "/usr/out/x",
        ] {
            assert!(BUILD_PATHS.iter().all(|place| named(text.as_bytes(), place).is_none()), "{text}");
        }
    }

    #[test]
    fn links_stay_in_the_tree() {
        let inside = |target: &str| stays_inside("opt/python/bin/python3", target.as_bytes(), EntryType::Symlink);
        assert!(inside("python3.11") && inside("../lib/x") && inside("./../../python/lib"));
        assert!(!inside("/opt/python/bin/python3.11") && !inside("../../other") && !inside("../../../../etc/passwd"));
        assert!(stays_inside("opt/python/a", b"opt/python/b", EntryType::Link));
        assert!(!stays_inside("opt/python/a", b"b", EntryType::Link));
    }

    #[test]
    fn one_wrong_bit_in_a_program_is_found() {
        let good = std::fs::read("/proc/self/exe").expect("own program");
        if elf::kind(&good) != Kind::Ours(Arch::X86_64) {
            return;
        }
        let number = |at: usize, size: usize| {
            good[at..at + size].iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
        };
        // ELF-64: e_phoff, e_phentsize, e_phnum; p_type and p_flags begin a program header.
        let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
        let faults = |bytes: &[u8]| elf::faults(bytes, Arch::X86_64, Role::Ordinary).join("\n");
        let before = faults(&good);
        for (kind, flags, fault) in [(0x6474_e551, 7, "executable stack"), (1, 7, "writable and executable")] {
            let header = (0..count).map(|n| table + n * size).find(|at| number(*at, 4) == kind).expect("a header");
            let mut bad = good.clone();
            bad[header + 4] = flags;
            assert!(!before.contains(fault) && faults(&bad).contains(fault), "{fault}: {}", faults(&bad));
        }
        for (kind, fault) in [(0x6474_e551, "no PT_GNU_STACK"), (0x6474_e552, "no RELRO")] {
            let header = (0..count).map(|n| table + n * size).find(|at| number(*at, 4) == kind).expect("a header");
            let mut bad = good.clone();
            bad[header..header + 4].copy_from_slice(&[0; 4]);
            assert!(faults(&bad).contains(fault), "{fault}: {}", faults(&bad));
        }
        let mut bad = good.clone();
        bad[24..32].copy_from_slice(&[0xff; 8]);
        assert!(faults(&bad).contains("has no code"), "{}", faults(&bad));
        assert!(!elf::faults(&good[..200], Arch::X86_64, Role::Ordinary).is_empty(), "a cut file passes");
    }

    #[test]
    fn a_program_is_no_debug_file() {
        let bytes = std::fs::read("/proc/self/exe").expect("own program");
        if let Kind::Ours(arch) = elf::kind(&bytes) {
            let faults = elf::faults(&bytes, arch, Role::Debug).join("\n");
            assert!(faults.contains("has code"), "{faults}");
        }
    }

    #[test]
    fn this_test_program_would_not_ship() {
        // A program of the host: it has an interpreter and needs more than libc.so.
        let bytes = std::fs::read("/proc/self/exe").expect("own program");
        if let Kind::Ours(arch) = elf::kind(&bytes) {
            let faults = elf::faults(&bytes, arch, Role::Ordinary).join("\n");
            assert!(faults.contains("PT_INTERP") && faults.contains("needs "), "{faults}");
        }
    }
}
