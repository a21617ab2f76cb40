//! Alpine's database of installed packages (`apk-v2(5) INSTALLED DATABASE`): one letter, a colon, a value.

use std::collections::BTreeMap;
use std::path::Path;

use super::tree::{Distribution, Found, bounded};
use super::{AttestError, Component, Kind, License, purl};

/// Reads the packages that are installed; `path` is where the text is from.
pub(super) fn parse(text: &[u8], path: &str, distribution: &Distribution) -> Result<Vec<Found>, AttestError> {
    let error = |line, why| AttestError::Database { path: Path::new(path).to_owned(), line, why };
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    let mut stanza: BTreeMap<char, &str> = BTreeMap::new();
    let mut start = 1;
    for (index, line) in text.lines().chain([""]).enumerate() {
        let number = index + 1;
        if line.is_empty() {
            if !stanza.is_empty() {
                found.push(package(&stanza, path, distribution).map_err(|why| error(start, why))?);
                bounded(found.len(), path)?;
            }
            stanza.clear();
            start = number + 1;
            continue;
        }
        let mut characters = line.chars();
        let (Some(key), Some(':')) = (characters.next(), characters.next()) else {
            return Err(error(number, "a field is a letter and a colon"));
        };
        if !key.is_ascii_alphabetic() {
            return Err(error(number, "a field is a letter and a colon"));
        }
        // Files and their owners come often, everything about the package once.
        let is_ours = matches!(key, 'P' | 'V' | 'A' | 'L' | 'o' | 'D' | 'p');
        if is_ours && stanza.insert(key, &line[2..]).is_some() {
            return Err(error(number, "a field is there twice"));
        }
    }
    Ok(found)
}

fn package(stanza: &BTreeMap<char, &str>, path: &str, distribution: &Distribution) -> Result<Found, &'static str> {
    let field = |key: char| stanza.get(&key).copied().unwrap_or_default();
    let (name, version, arch, origin) = (field('P'), field('V'), field('A'), field('o'));
    if !is_word(name) || name.is_empty() {
        return Err("a package has a name");
    }
    if !is_word(version) || version.is_empty() {
        return Err("a package has a version");
    }
    if !is_word(arch) || !is_word(origin) {
        return Err("architecture and origin are words");
    }
    let license = field('L');
    if license.contains(|c: char| c.is_control()) {
        return Err("a licence is of printable characters");
    }
    let id = if distribution.id.is_empty() { "alpine" } else { &distribution.id };
    let distro = format!("{id}-{}", distribution.version);
    let upstream = if origin == name { "" } else { origin };
    let qualifiers = [("arch", arch), ("distro", distro.trim_end_matches('-')), ("upstream", upstream)];
    let (namespace, lower) = (id.to_ascii_lowercase(), name.to_ascii_lowercase());
    let component = Component {
        license: License::of(license),
        purl: Some(purl("apk", &namespace, &lower, version, &qualifiers)),
        supplier: Some(distribution.name.clone()).filter(|name| !name.is_empty()),
        evidence: Some(path.to_owned()),
        ..Component::new(Kind::Library, name, version)
    };
    // `so:libc.musl-x86_64.so.1=1` is provided, `so:libc.musl-x86_64.so.1>=1` wanted; `!name` is a conflict.
    let bare = |text: &str| text.split(['=', '<', '>', '~', '@']).next().unwrap_or_default().to_owned();
    let provides = field('p').split_whitespace().map(bare).chain([name.to_owned()]).collect();
    let wanted = field('D').split_whitespace().filter(|text| !text.starts_with('!'));
    Ok(Found { component, provides, wants: wanted.map(|text| vec![bare(text)]).collect() })
}

fn is_word(text: &str) -> bool {
    text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-:~".contains(&b))
}
