//! `RELEASE_NOTES.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::units::{bytes, change};
use crate::dist::{Asset, Component, Description, Kind, VariantFacts, VariantOutcome};

/// What a template may name, as `{name}`.
const PLACES: [&str; 7] = ["tag", "name", "commit", "components", "changes", "files", "verify"];

/// The template where none is given.
const TEMPLATE: &str = "# {name} {tag}

{components}

## What changed

{changes}

## Files

{files}

## How to verify

{verify}
";

/// The release before.
#[derive(Debug, Clone, Default)]
pub struct Previous {
    /// What its release.json says.
    pub release: Description,
    /// Commits since then, newest first: short name and subject.
    pub commits: Vec<(String, String)>,
}

/// Why there are no notes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotesError {
    /// A template names something that is not there.
    #[error("the template names `{{{name}}}`, but there are only {}", PLACES.map(|place| format!("{{{place}}}")).join(" "))]
    Place {
        /// What it names.
        name: String,
    },
}

/// Writes the notes of a release by a template; `{{` is a brace.
///
/// # Errors
/// `Place`.
pub fn notes(
    release: &Description,
    assets: &[Asset],
    previous: Option<&Previous>,
    template: Option<&str>,
) -> Result<String, NotesError> {
    let signed = assets.iter().any(|asset| asset.kind == Kind::Signature);
    let parts: BTreeMap<&str, String> = BTreeMap::from([
        ("tag", release.tag.clone().unwrap_or_default()),
        ("name", release.name.clone().unwrap_or_else(|| "Standalone Python".to_owned())),
        ("commit", release.commit.clone().unwrap_or_default()),
        ("components", components(release)),
        ("changes", previous.map_or_else(|| "This is the first release.".to_owned(), |it| changes(release, it))),
        ("files", files(assets)),
        ("verify", verify(assets, signed)),
    ]);
    let mut text = String::new();
    let mut rest = template.unwrap_or(TEMPLATE);
    while let Some(at) = rest.find('{') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('{') {
            text.push('{');
            rest = after;
            continue;
        }
        let name = rest.split('}').next().filter(|name| name.len() < rest.len());
        let Some(name) = name.filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())) else {
            text.push('{');
            continue;
        };
        let part = parts.get(name).ok_or_else(|| NotesError::Place { name: name.to_owned() })?;
        text.push_str(part.trim_end());
        rest = &rest[name.len() + 1..];
    }
    text.push_str(rest);
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n")
}

fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| escaped(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// Keeps a name from being Markdown.
fn escaped(cell: &str) -> String {
    let mut text = String::new();
    for letter in cell.chars() {
        match letter {
            '|' | '<' | '[' | ']' | '\\' | '*' | '#' => text.extend(['\\', letter]),
            letter if letter.is_control() => text.push(' '),
            letter => text.push(letter),
        }
    }
    text
}

/// A row for each component, a column for each variant that is there.
fn components(release: &Description) -> String {
    let there: Vec<&VariantFacts> =
        release.variants.iter().filter(|variant| variant.outcome == VariantOutcome::Passed).collect();
    if there.is_empty() {
        return "No variant was built.".to_owned();
    }
    let mut head = vec!["Component".to_owned()];
    head.extend(there.iter().map(|variant| format!("{} {}", variant.version, variant.arch)));
    let mut rows: Vec<Vec<String>> = Vec::new();
    if there.iter().any(|variant| variant.python.is_some()) {
        let python = there.iter().map(|variant| variant.python.clone().unwrap_or_default());
        rows.push(std::iter::once("CPython".to_owned()).chain(python).collect());
    }
    let mut names: Vec<&str> = there.iter().flat_map(|it| &it.components).map(|it| it.name.as_str()).collect();
    // The first row says it.
    names.retain(|name| rows.is_empty() || *name != "cpython");
    names.sort_unstable_by_key(|name| (name.to_lowercase(), *name));
    names.dedup();
    for name in names {
        let version = |variant: &&VariantFacts| {
            let found = variant.components.iter().find(|component| component.name == name);
            found.map_or_else(|| "—".to_owned(), |component| component.version.clone())
        };
        rows.push(std::iter::once(name.to_owned()).chain(there.iter().map(version)).collect());
    }
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    table(&head, &rows)
}

fn changes(release: &Description, previous: &Previous) -> String {
    let mut text = String::new();
    if let Some(tag) = &previous.release.tag {
        let _ = writeln!(text, "Since {}:\n", escaped(tag));
    }
    let mut lines = Vec::new();
    for variant in &release.variants {
        let name = format!("{} {}", variant.version, variant.arch);
        let same = |other: &&VariantFacts| (&other.version, &other.arch) == (&variant.version, &variant.arch);
        match previous.release.variants.iter().find(same) {
            None => lines.push(format!("- {name}: new")),
            Some(before) => lines.extend(variant_changes(&name, before, variant)),
        }
    }
    for before in &previous.release.variants {
        let same = |other: &VariantFacts| (&other.version, &other.arch) == (&before.version, &before.arch);
        if !release.variants.iter().any(same) {
            lines.push(format!("- {} {}: no longer part of the release", before.version, before.arch));
        }
    }
    if lines.is_empty() {
        lines.push("- The same bytes.".to_owned());
    }
    text += &lines.join("\n");
    if !previous.commits.is_empty() {
        text += "\n\nCommits:\n";
        for (commit, subject) in &previous.commits {
            let _ = write!(text, "\n- `{}` {}", commit.replace('`', ""), escaped(subject));
        }
    }
    text
}

fn variant_changes(name: &str, before: &VariantFacts, after: &VariantFacts) -> Option<String> {
    let mut parts = Vec::new();
    if let (Some(old), Some(new)) = (&before.python, &after.python)
        && old != new
    {
        parts.push(format!("CPython {old} → {new}"));
    }
    let find = |all: &[Component], name: &str| all.iter().find(|it| it.name == name).map(|it| it.version.clone());
    for component in &after.components {
        match find(&before.components, &component.name) {
            None => parts.push(format!("{} {} is new", component.name, component.version)),
            Some(old) if old != component.version => {
                parts.push(format!("{} {old} → {}", component.name, component.version));
            }
            Some(_) => {}
        }
    }
    for gone in before.components.iter().filter(|it| find(&after.components, &it.name).is_none()) {
        parts.push(format!("{} {} is gone", gone.name, gone.version));
    }
    let same_bytes = before.sha256.is_some() && before.sha256 == after.sha256;
    if let (Some(old), Some(new)) = (before.size, after.size)
        && !same_bytes
    {
        parts.push(change(old, new));
    }
    let parts: Vec<String> = parts.iter().map(|part| escaped(part)).collect();
    (!parts.is_empty()).then(|| format!("- {name}: {}", parts.join(", ")))
}

fn files(assets: &[Asset]) -> String {
    let shown = |asset: &&Asset| matches!(asset.kind, Kind::Tarball | Kind::Spdx | Kind::CycloneDx | Kind::Provenance);
    let rows: Vec<Vec<String>> = assets
        .iter()
        .filter(shown)
        .map(|asset| vec![asset.name.clone(), bytes(asset.size), format!("`{}`", asset.digest.hex())])
        .collect();
    table(&["File", "Size", "SHA-256"], &rows)
}

fn verify(assets: &[Asset], signed: bool) -> String {
    let mut text = "```sh\nsha256sum --check --ignore-missing SHA256SUMS\n".to_owned();
    let tarball = assets.iter().find(|asset| asset.kind == Kind::Tarball);
    if let Some(tarball) = tarball {
        if signed {
            let _ = writeln!(text, "gpg --verify {0}.asc {0}", tarball.name);
        }
        let _ = writeln!(text, "tar -xzf {} && ./opt/python/bin/python --version", tarball.name);
    }
    text + "```"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn variant(python: &str, openssl: &str, size: u64) -> VariantFacts {
        let component = Component { name: "openssl".to_owned(), version: openssl.to_owned(), ..Component::default() };
        VariantFacts {
            version: "3.12".to_owned(),
            arch: "x86".to_owned(),
            python: Some(python.to_owned()),
            size: Some(size),
            components: vec![component],
            ..VariantFacts::default()
        }
    }

    fn release(variants: Vec<VariantFacts>) -> Description {
        Description { format: 1, tag: Some("release-2".to_owned()), variants, ..Description::default() }
    }

    fn asset(name: &str) -> Asset {
        Asset { name: name.to_owned(), size: 34_500_000, digest: Digest::of(b""), kind: Kind::of(name) }
    }

    #[test]
    fn notes_tell_what_is_in_it_what_changed_and_how_to_verify() {
        let before = release(vec![variant("3.12.5", "3.0.1", 1_000_000)]);
        let commits = vec![("abc1234".to_owned(), "openssl: <b>3.0.2</b>".to_owned())];
        let previous = Previous { release: Description { tag: Some("release-1".to_owned()), ..before }, commits };
        let assets = [asset("a.tar.gz"), asset("a.tar.gz.asc")];
        let now = release(vec![variant("3.12.6", "3.0.2", 1_035_000)]);
        let text = notes(&now, &assets, Some(&previous), None).expect("notes");
        for line in [
            "# Standalone Python release-2",
            "| Component | 3.12 x86 |",
            "| CPython | 3.12.6 |",
            "| openssl | 3.0.2 |",
            "Since release-1:",
            "- 3.12 x86: CPython 3.12.5 → 3.12.6, openssl 3.0.1 → 3.0.2, +35.0 kB (+3.5 %)",
            "- `abc1234` openssl: \\<b>3.0.2\\</b>",
            "gpg --verify a.tar.gz.asc a.tar.gz",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.contains("| a.tar.gz | 34.5 MB | `e3b0c442"), "{text}");
        let first = notes(&now, &assets[..1], None, None).expect("notes");
        assert!(first.contains("This is the first release.") && !first.contains("gpg"), "{first}");
        let same = Previous { release: now.clone(), commits: Vec::new() };
        assert!(notes(&now, &[], Some(&same), None).expect("notes").contains("same size"));
    }

    #[test]
    fn a_template_takes_the_place_of_ours_and_its_mistakes_are_told() {
        let now = release(vec![]);
        let text = notes(&now, &[], None, Some("{tag}: {{not} {No} {\n{commit}")).expect("notes");
        assert_eq!(text, "release-2: {not} {No} {\n");
        let error = notes(&now, &[], None, Some("{tagg}")).expect_err("a mistake");
        assert!(error.to_string().contains("`{tagg}`") && error.to_string().contains("{changes}"), "{error}");
    }
}
