//! The tarball that people get beside the `-full` one. What the suite says of one holds for the other because they have
//! the same files; that is looked at, not believed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::super::prove::{Outcome, ProofError, Row, hash};
use super::error::SuiteError;
use super::judge::row;
use crate::layer;
use crate::oci::{Digest, Hasher};

/// End of a `-full` tarball's name, and of the name of the one beside it.
const ENDS: (&str, &str) = ("-full.tar.gz", ".tar.gz");

/// The only file that may differ: it says what is in the tree.
const DESCRIPTION: &str = "opt/python/PYTHON.json";

/// Content, mode and kind of an entry.
type Entry = (u8, u32, Digest);

/// Compares the `-full` tarball at `full` with the one beside it; returns that one's digest where it has the same files.
///
/// # Errors
/// `Proof` when one of them is no archive.
pub(super) fn compare(full: &Path) -> Result<(Vec<Row>, Option<Digest>), SuiteError> {
    const NAME: &str = "same files as without -full";
    let Some(sibling) = sibling(full) else {
        let why = format!("the name does not end with {}: unknown what to compare with", ENDS.0);
        return Ok((vec![row(NAME, Outcome::Skipped, &why)], None));
    };
    if !sibling.is_file() {
        return Ok((vec![row(NAME, Outcome::Skipped, &format!("there is no {}", sibling.display()))], None));
    }
    let (whole, small) = (entries(full)?, entries(&sibling)?);
    let mut faults = Vec::new();
    for (name, entry) in &small {
        match whole.get(name) {
            None => faults.push(format!("{name} is not in the -full tarball")),
            Some(other) if other != entry && name != DESCRIPTION => faults.push(format!("{name} differs")),
            Some(_) => {}
        }
    }
    let same = match faults.as_slice() {
        [] => {
            row(NAME, Outcome::Passed, &format!("{} entries, {} more in -full", small.len(), whole.len() - small.len()))
        }
        [first, rest @ ..] => row(NAME, Outcome::Failed, &format!("{first} (and {} more)", rest.len())),
    };
    let tests: Vec<&String> = small.keys().filter(|name| is_of_tests(name)).collect();
    let without = match tests.as_slice() {
        [] => row("no tests without -full", Outcome::Passed, ""),
        [first, rest @ ..] => {
            row("no tests without -full", Outcome::Failed, &format!("{first} (and {} more)", rest.len()))
        }
    };
    let holds = faults.is_empty() && tests.is_empty();
    let holds = if holds { Some(hash(&sibling)?) } else { None };
    Ok((vec![same, without], holds))
}

fn sibling(full: &Path) -> Option<PathBuf> {
    let name = full.file_name()?.to_str()?.strip_suffix(ENDS.0)?;
    Some(full.with_file_name(format!("{name}{}", ENDS.1)))
}

/// Tells whether an entry is one of those that only `-full` has.
fn is_of_tests(name: &str) -> bool {
    let parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    let ["opt", "python", "lib", _, inside @ ..] = parts.as_slice() else { return false };
    match inside {
        ["site-packages", ..] | [] => false,
        ["lib-dynload", module] => {
            ["_test", "_ctypes_test", "_xxtest", "xx"].iter().any(|start| module.starts_with(start))
        }
        [.., last] => {
            Path::new(last).extension().is_some_and(|end| end == "a")
                || inside.iter().any(|part| matches!(*part, "test" | "tests" | "idle_test"))
        }
    }
}

fn entries(path: &Path) -> Result<BTreeMap<String, Entry>, SuiteError> {
    let unreadable = |source| ProofError::Archive { path: path.to_owned(), source };
    let file = File::open(path).map_err(SuiteError::io("open", path))?;
    let tar = layer::decompress(file, &layer::Limits::default()).map_err(unreadable)?;
    read(tar).map_err(|error| unreadable(error).into())
}

fn read(tar: impl io::Read) -> io::Result<BTreeMap<String, Entry>> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (kind, mode) = (entry.header().entry_type().as_byte(), entry.header().mode()?);
        let mut hasher = Hasher::default();
        io::Write::write_all(&mut hasher, &entry.link_name_bytes().unwrap_or_default())?;
        io::copy(&mut entry, &mut hasher)?;
        found.insert(name, (kind, mode, hasher.finish()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_full_has_is_told_from_what_everybody_has() {
        for name in
            ["3.11/test/test_os.py", "3.11/ctypes/test/", "3.11/lib-dynload/_testcapi.x.so", "3.11/config-3.11/libz.a"]
        {
            assert!(is_of_tests(&format!("opt/python/lib/python{name}")), "{name}");
        }
        for name in [
            "3.11/unittest/case.py",
            "3.11/lib-dynload/",
            "3.11/site-packages/x/tests/a.py",
            "3.11/config-3.11/Makefile",
        ] {
            assert!(!is_of_tests(&format!("opt/python/lib/python{name}")), "{name}");
        }
    }
}
