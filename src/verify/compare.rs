//! What two tarballs have otherwise.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use super::error::VerifyError;
use crate::layer::{self, LayerError};
use crate::oci::{Digest, Hasher};

/// Facts of an entry that can differ, as people read them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    content: Option<(Digest, u64)>,
    rest: String,
}

/// Returns the entries that two tarballs have otherwise, each with what differs, in the order of their names. `old` is what
/// was given, `new` what was made of it again.
///
/// # Errors
/// `Archive`, `Io`.
pub fn differences(old: &Path, new: &Path) -> Result<BTreeMap<String, String>, VerifyError> {
    let (before, after) = (entries(old)?, entries(new)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut differences = BTreeMap::new();
    for name in names {
        let what = match (before.get(name), after.get(name)) {
            (Some(_), None) => "is not made again".to_owned(),
            (None, _) => "is made now and was not there".to_owned(),
            (Some(before), Some(after)) if before == after => continue,
            (Some(before), Some(after)) => match (before.content, after.content) {
                (Some((was, from)), Some((is, to))) if was != is => {
                    format!("{from} bytes, {was}; again {to} bytes, {is}")
                }
                _ => format!("{}; again {}", before.rest, after.rest),
            },
        };
        differences.insert(name.clone(), what);
    }
    Ok(differences)
}

fn entries(tarball: &Path) -> Result<BTreeMap<String, Entry>, VerifyError> {
    let unreadable =
        |source| VerifyError::Archive { path: tarball.to_owned(), source: Box::new(LayerError::Read { source }) };
    let file = File::open(tarball).map_err(VerifyError::io("open", tarball))?;
    let tar = layer::decompress(file, &layer::Limits::default()).map_err(unreadable)?;
    let mut archive = tar::Archive::new(tar);
    let mut entries = BTreeMap::new();
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
        let header = entry.header();
        let fact = |value: std::io::Result<u64>| value.map_err(unreadable);
        let (uid, gid, time) = (fact(header.uid())?, fact(header.gid())?, fact(header.mtime())?);
        let mode = header.mode().map_err(unreadable)?;
        let kind = header.entry_type();
        let target = entry.link_name_bytes().map(|it| String::from_utf8_lossy(&it).into_owned()).unwrap_or_default();
        let rest = format!("{kind:?} {mode:o} {uid}:{gid} {time} {target}").trim_end().to_owned();
        let mut hasher = Hasher::default();
        std::io::copy(&mut entry, &mut hasher).map_err(unreadable)?;
        let size = hasher.size();
        let content = kind.is_file().then(|| (hasher.finish(), size));
        entries.insert(name, Entry { content, rest });
    }
    Ok(entries)
}
