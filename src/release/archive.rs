//! The archive gate: what a release tarball must look like before anything of it runs.
//!
//! Owner 0:0, one time for all, sorted, everything under `opt/python/`, every ELF file sound, no build path in any file.

use std::collections::BTreeSet;
use std::io::Read;

use super::elf::{self, Kind};
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
}

/// Places of a step (`docs/recipes.md`) that no file of a release may name.
const BUILD_PATHS: [&[u8]; 3] = [b"/build/", b"/deps/", b"/sources/"];

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
        if header.entry_type().is_file() {
            let size = header.size()?;
            if size > LARGEST {
                findings.shape.push(format!("{name}: {size} bytes"));
                continue;
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            file(&name, &bytes, &mut findings);
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

fn file(name: &str, bytes: &[u8], findings: &mut Findings) {
    for path in BUILD_PATHS {
        if bytes.windows(path.len()).any(|window| window == path) {
            findings.paths.push(format!("{name} names {}", String::from_utf8_lossy(path)));
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
            findings.elf.extend(elf::faults(bytes, arch).into_iter().map(|fault| format!("{name} {fault}")));
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
            ("opt/python/b", 0, 1, b"cc -I/deps/include"),
            ("opt/python/a", 7, 2, b""),
            ("etc/passwd", 0, 1, b""),
        ]);
        let findings = inspect(bytes.as_slice()).expect("readable");
        let all = findings.shape.join("\n");
        for word in ["owner 7:7", "out of order", "outside opt/python", "2 different times"] {
            assert!(all.contains(word), "{word}: {all}");
        }
        assert_eq!(findings.paths, ["opt/python/b names /deps/"]);
    }

    #[test]
    fn this_test_program_would_not_ship() {
        // A program of the host: it has an interpreter and needs more than libc.so.
        let bytes = std::fs::read("/proc/self/exe").expect("own program");
        if let Kind::Ours(arch) = elf::kind(&bytes) {
            let faults = elf::faults(&bytes, arch).join("\n");
            assert!(faults.contains("PT_INTERP") && faults.contains("needs "), "{faults}");
        }
    }
}
