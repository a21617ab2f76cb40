//! Metadata of installed Python packages (`packaging.python.org core-metadata`).

use super::{Component, Kind, License, purl};

/// Reads the fields of one package; `path` is where the text is from. The error is why it is none.
pub(super) fn parse(text: &[u8], path: &str) -> Result<Component, &'static str> {
    // Fields end at the first empty line; what follows is a README in any encoding.
    let end = text.windows(2).position(|pair| pair == b"\n\n").unwrap_or(text.len());
    let end = text.windows(4).position(|four| four == b"\r\n\r\n").map_or(end, |other| other.min(end));
    let fields = std::str::from_utf8(&text[..end]).map_err(|_| "its metadata is not UTF-8")?;
    let (mut name, mut version, mut expression, mut license) = (None, None, None, None);
    let mut classifiers = Vec::new();
    let mut lines = fields.lines().peekable();
    while let Some(line) = lines.next() {
        let (key, value) = line.split_once(':').ok_or("a field of its metadata has no colon")?;
        let mut value = value.trim().to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(more.trim().trim_start_matches('|'));
        }
        let field = match key.to_ascii_lowercase().as_str() {
            "name" => &mut name,
            "version" => &mut version,
            "license-expression" => &mut expression,
            "license" => &mut license,
            "classifier" => {
                classifiers.extend(value.strip_prefix("License :: ").map(str::to_owned));
                continue;
            }
            _ => continue,
        };
        if field.replace(value).is_some() {
            return Err("a field of its metadata is there twice");
        }
    }
    let name = name.filter(|name| is_name(name)).ok_or("its metadata gives it no name")?;
    let version = version.filter(|version| is_version(version)).ok_or("its metadata gives it no version")?;
    let license = expression.or(license).filter(|text| !matches!(text.as_str(), "" | "UNKNOWN"));
    let license = license.unwrap_or_else(|| classified(&classifiers));
    let normal = normal(&name);
    Ok(Component {
        license: License::of(&license),
        purl: Some(purl("pypi", "", &normal, &version, &[])),
        evidence: Some(path.to_owned()),
        ..Component::new(Kind::Library, &name, &version)
    })
}

/// What classifiers say of a licence: those that mean exactly one are that one.
fn classified(classifiers: &[String]) -> String {
    match classifiers {
        [one] => match one.as_str() {
            "OSI Approved :: MIT License" => "MIT",
            "OSI Approved :: ISC License (ISCL)" => "ISC",
            "OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)" => "MPL-2.0",
            "OSI Approved :: Python Software Foundation License" => "PSF-2.0",
            other => other,
        }
        .to_owned(),
        several => several.join(", "),
    }
}

/// `name-normalization.md`: lower case, runs of `-_.` are one `-`.
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.push(c.to_ascii_lowercase()),
        }
    }
    normal
}

fn is_name(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    name.len() <= 256
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

/// `version-specifiers.md`, and what was before it: letters, digits and `.+-!_`.
fn is_version(version: &str) -> bool {
    (1..=256).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-!_".contains(&b))
}
