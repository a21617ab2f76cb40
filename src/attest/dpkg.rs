//! Debian's database of installed packages (`deb822(5)`, `dpkg(1) Package states`).

use std::collections::BTreeMap;
use std::path::Path;

use super::tree::{Distribution, Found, bounded};
use super::{AttestError, Component, Kind, purl};

/// Reads the packages that are installed; `path` is where the text is from.
pub(super) fn parse(text: &[u8], path: &str, distribution: &Distribution) -> Result<Vec<Found>, AttestError> {
    let error = |line, why| AttestError::Database { path: Path::new(path).to_owned(), line, why };
    // What is not UTF-8 becomes a character that no name may hold; in a description it is nothing to us.
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    let mut stanza: BTreeMap<String, String> = BTreeMap::new();
    let mut start = 1;
    let mut last: Option<String> = None;
    for (index, line) in text.lines().chain([""]).enumerate() {
        let number = index + 1;
        if line.trim_end().is_empty() {
            if !stanza.is_empty() {
                let package = package(&stanza, path, distribution).map_err(|why| error(start, why))?;
                found.extend(package);
                bounded(found.len(), path)?;
            }
            stanza.clear();
            last = None;
            start = number + 1;
            continue;
        }
        if line.starts_with([' ', '\t']) {
            let key = last.as_ref().ok_or_else(|| error(number, "a line goes on where none began"))?;
            if let Some(value) = stanza.get_mut(key)
                && key.ends_with("epends")
            {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        let (key, value) = line.split_once(':').ok_or_else(|| error(number, "a field has a name and a colon"))?;
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(error(number, "a field's name is of printable characters"));
        }
        let key = key.to_ascii_lowercase();
        if stanza.insert(key.clone(), value.trim().to_owned()).is_some() {
            return Err(error(number, "a field is there twice"));
        }
        last = Some(key);
    }
    Ok(found)
}

fn package(
    stanza: &BTreeMap<String, String>,
    path: &str,
    distribution: &Distribution,
) -> Result<Option<Found>, &'static str> {
    let field = |name: &str| stanza.get(name).map_or("", String::as_str);
    let name = field("package");
    if !is_name(name) {
        return Err("a package has a name of lower-case letters, digits and `+-.`");
    }
    // Files stay behind in every other state; where there is no state, dpkg is not there to change it.
    let state = field("status").split_whitespace().nth(2);
    if stanza.contains_key("status") && state.is_none() {
        return Err("a state is of three words");
    }
    if matches!(state, Some("not-installed" | "config-files")) {
        return Ok(None);
    }
    let (version, arch) = (field("version"), field("architecture"));
    if !is_version(version) {
        return Err("a package has a version of letters, digits and `.+-:~`");
    }
    if !arch.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err("an architecture is one word");
    }
    let id = if distribution.id.is_empty() { "debian" } else { &distribution.id };
    let distro = format!("{id}-{}", distribution.version);
    let upstream = source(field("source"), name, version)?;
    let qualifiers = [("arch", arch), ("distro", distro.trim_end_matches('-')), ("upstream", upstream.as_str())];
    let component = Component {
        purl: Some(purl("deb", &id.to_ascii_lowercase(), name, version, &qualifiers)),
        supplier: Some(distribution.name.clone()).filter(|name| !name.is_empty()),
        evidence: Some(path.to_owned()),
        ..Component::new(Kind::Library, name, version)
    };
    let virtual_names = field("provides").split(',').filter_map(|text| names(text).pop());
    let provides = virtual_names.chain([name.to_owned()]).collect();
    let wants = [field("pre-depends"), field("depends")].join(",").split(',').map(names).collect();
    Ok(Some(Found { component, provides, wants }))
}

/// The source package, which advisories speak of: `name` or `name (version)`; empty where it is called the same.
fn source(text: &str, name: &str, version: &str) -> Result<String, &'static str> {
    let (source, other) = text.split_once(' ').unwrap_or((text, ""));
    let other = other.trim().trim_start_matches('(').trim_end_matches(')');
    if !source.is_empty() && !is_name(source) || !other.is_empty() && !is_version(other) {
        return Err("a source is a package's name and perhaps a version in brackets");
    }
    Ok(match (source, other) {
        ("", _) => String::new(),
        (source, "") if source == name => String::new(),
        (source, "") => source.to_owned(),
        (source, other) if other == version => source.to_owned(),
        (source, other) => format!("{source}@{other}"),
    })
}

/// The names of alternatives: `a (>= 1) | b:any`.
fn names(text: &str) -> Vec<String> {
    let name = |text: &str| text.split(['(', '[', ':']).next().unwrap_or_default().trim().to_owned();
    text.split('|').map(name).filter(|name| is_name(name)).collect()
}

/// Debian Policy section 5.6.1.
fn is_name(name: &str) -> bool {
    (1..=256).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

/// Debian Policy section 5.6.12.
fn is_version(version: &str) -> bool {
    (1..=256).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-:~".contains(&b))
}
