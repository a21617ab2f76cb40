//! Bills of materials against the tarball that they are about.

use std::collections::BTreeSet;

use serde_json::Value;

use super::contents::Contents;
use crate::oci::Digest;

/// What a bill of materials says, in whichever form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// SHA-256 of what it is about.
    pub(super) subject: Option<String>,
    /// What it says is in it.
    pub(super) components: Vec<Component>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Component {
    name: String,
    version: String,
    /// Where in the tree it was found.
    evidence: Option<String>,
}

/// Reads SPDX 2.3: the package that the document describes, and those that it contains.
///
/// # Errors
/// What it lacks of the form.
pub(super) fn spdx(text: &str) -> Result<Listed, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    if document["spdxVersion"] != "SPDX-2.3" || document["SPDXID"] != "SPDXRef-DOCUMENT" {
        return Err("no SPDX 2.3 document".to_owned());
    }
    for key in ["dataLicense", "name", "documentNamespace", "creationInfo"] {
        if document[key].is_null() {
            return Err(format!("no {key}, which SPDX 2.3 requires"));
        }
    }
    let all = |key: &str| document[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let related = |from: &str, kind: &str| -> BTreeSet<String> {
        let fits = |it: &&Value| it["spdxElementId"] == from && it["relationshipType"] == kind;
        all("relationships").iter().filter(fits).map(|it| text(&it["relatedSpdxElement"])).collect()
    };
    let described = related("SPDXRef-DOCUMENT", "DESCRIBES");
    let root = described.first().filter(|_| described.len() == 1).ok_or("it does not describe exactly one thing")?;
    let contained = related(root, "CONTAINS");
    let mut listed = Listed::default();
    let mut found = BTreeSet::new();
    for package in all("packages") {
        let id = text(&package["SPDXID"]);
        if id == *root {
            let sums = package["checksums"].as_array().into_iter().flatten();
            listed.subject =
                sums.filter(|sum| sum["algorithm"] == "SHA256").map(|sum| text(&sum["checksumValue"])).next();
        }
        if contained.contains(&id) {
            let evidence = package["sourceInfo"].as_str().unwrap_or_default();
            let evidence = evidence.split("; ").find_map(|part| part.strip_prefix("found in ")).map(str::to_owned);
            let (name, version) = (text(&package["name"]), text(&package["versionInfo"]));
            listed.components.push(Component { name, version, evidence });
            found.insert(id);
        }
    }
    match contained.difference(&found).next() {
        Some(absent) => Err(format!("it contains `{absent}`, of which it says nothing")),
        None => Ok(listed),
    }
}

/// Reads CycloneDX 1.6.
///
/// # Errors
/// What it lacks of the form.
pub(super) fn cyclonedx(text: &str) -> Result<Listed, String> {
    let document: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}"))?;
    if document["bomFormat"] != "CycloneDX" || document["specVersion"] != "1.6" {
        return Err("no CycloneDX 1.6 document".to_owned());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hashes = document["metadata"]["component"]["hashes"].as_array().into_iter().flatten();
    let subject = hashes.filter(|hash| hash["alg"] == "SHA-256").map(|hash| text(&hash["content"])).next();
    let components = document["components"].as_array().into_iter().flatten().map(|component| Component {
        name: text(&component["name"]),
        version: text(&component["version"]),
        evidence: component["evidence"]["occurrences"][0]["location"].as_str().map(str::to_owned),
    });
    Ok(Listed { subject, components: components.collect() })
}

impl Listed {
    /// Returns what does not agree: the digest, components that are not in the tarball, and what is in the tarball and not
    /// listed.
    pub(super) fn against(&self, contents: &Contents, digest: &Digest) -> Vec<String> {
        let mut wrong = Vec::new();
        match &self.subject {
            Some(subject) if *subject == digest.hex() => {}
            Some(subject) => wrong.push(format!("it is about sha256:{subject}, the tarball is {digest}")),
            None => wrong.push("it does not say which tarball it is about".to_owned()),
        }
        let known = contents.description.as_ref().map(|it| &it.components);
        for Component { name, version, evidence } in &self.components {
            if name.is_empty() || version.is_empty() {
                wrong.push(format!("a component lacks name or version: `{name}` `{version}`"));
            }
            match (evidence, known) {
                (Some(path), _) if !contents.paths.contains(path) => {
                    wrong.push(format!("it lists {name} {version} in {path}, which is not in the tarball"));
                }
                (None, Some(known)) if known.get(name) != Some(version) => {
                    wrong.push(format!("it lists {name} {version}, which is not in the tree by its PYTHON.json"));
                }
                _ => {}
            }
        }
        let lists =
            |name: &str, version: &str| self.components.iter().any(|it| it.name == name && it.version == version);
        let inside = known.into_iter().flatten().map(|(name, version)| (name.as_str(), version.as_str()));
        let installed = contents.packages.values().map(|(name, version)| (name.as_str(), version.as_str()));
        for (name, version) in inside.chain(installed).filter(|(name, version)| !lists(name, version)) {
            wrong.push(format!("{name} {version} is in the tree and not listed"));
        }
        wrong
    }

    pub(super) fn len(&self) -> usize {
        self.components.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::contents::Description;

    fn contents() -> Contents {
        let components = [("zlib".to_owned(), "1.3".to_owned())].into();
        Contents {
            paths: ["a/METADATA".to_owned()].into(),
            description: Some(Description { components, ..Description::default() }),
            packages: [("a/METADATA".to_owned(), ("pip".to_owned(), "22".to_owned()))].into(),
            ..Contents::default()
        }
    }

    fn listed(components: &[(&str, &str, Option<&str>)]) -> Listed {
        let component = |(name, version, evidence): &(&str, &str, Option<&str>)| Component {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            evidence: evidence.map(str::to_owned),
        };
        Listed { subject: Some(Digest::of(b"x").hex()), components: components.iter().map(component).collect() }
    }

    #[test]
    fn a_list_holds_only_if_both_sides_say_the_same() {
        let digest = Digest::of(b"x");
        let zlib = ("zlib", "1.3", None);
        let pip = ("pip", "22", Some("a/METADATA"));
        assert_eq!(listed(&[zlib, pip]).against(&contents(), &digest), Vec::<String>::new());
        for (components, word) in [
            (vec![zlib], "pip 22 is in the tree and not listed"),
            (vec![pip], "zlib 1.3 is in the tree and not listed"),
            (vec![zlib, pip, ("xz", "5", None)], "lists xz 5, which is not in the tree"),
            (vec![zlib, pip, ("six", "1", Some("b/METADATA"))], "b/METADATA, which is not in the tarball"),
            (vec![zlib, pip, ("six", "", Some("a/METADATA"))], "lacks name or version"),
        ] {
            let wrong = listed(&components).against(&contents(), &digest);
            assert!(wrong.len() == 1 && wrong[0].contains(word), "{wrong:?}");
        }
        assert!(listed(&[zlib, pip]).against(&contents(), &Digest::of(b"y"))[0].contains("it is about"));
        assert!(
            Listed { subject: None, ..listed(&[zlib, pip]) }.against(&contents(), &digest)[0].contains("which tarball")
        );
    }

    #[test]
    fn what_is_no_bill_of_materials_is_told() {
        for text in ["", "{}", "[]", r#"{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"}"#] {
            assert!(spdx(text).is_err(), "{text}");
        }
        for text in ["", "{}", r#"{"bomFormat":"CycloneDX","specVersion":"1.4"}"#] {
            assert!(cyclonedx(text).is_err(), "{text}");
        }
    }
}
