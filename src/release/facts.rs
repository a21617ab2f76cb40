//! What release.json says of a tree: components and sizes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::sizes::Sizes;
use crate::attest;
use crate::dist::{Component, VariantFacts};

/// What a tree says of itself.
const DESCRIPTION: &str = "opt/python/PYTHON.json";

/// The recipe whose files are all that belong to no other.
const REST: &str = "cpython";

/// Parts of a tree that are one component's, by its name.
const PARTS: [(&str, &str); 8] = [
    ("libc", "musl"),
    ("shared libraries", "zlib"),
    ("tcl", "tcl"),
    ("tk", "tk"),
    ("pip", "pip"),
    ("pip (byte code)", "pip"),
    ("site-packages", "setuptools"),
    ("site-packages (byte code)", "setuptools"),
];

/// Fills in what the tree at `root` consists of: each component once, with the bytes that came of it where the tree says so.
pub(super) fn of_tree(facts: &mut VariantFacts, root: &Path, components: &[attest::Component]) {
    // A tree that says nothing of its sizes does not pass its tests; that is told there.
    let described = fs::read(root.join(DESCRIPTION)).ok();
    let sizes = described.as_ref().and_then(|text| Sizes::of(text).ok());
    facts.unpacked = described.as_ref().zip(sizes.as_ref()).map(|(text, sizes)| sizes.tree + text.len() as u64);
    let mut all: BTreeMap<&str, Component> = BTreeMap::new();
    for component in components.iter().filter(|component| is_own(component)) {
        let once = all.entry(&component.name).or_insert_with(|| Component {
            name: component.name.clone(),
            version: component.version.clone(),
            license: component.license.expression.clone(),
            size: None,
        });
        // The same code twice, in versions of its own.
        if once.version.split(", ").all(|version| version != component.version) {
            once.version = format!("{}, {}", once.version, component.version);
        }
    }
    let shares = sizes.map(|sizes| shares(&sizes, |name| all.contains_key(name))).unwrap_or_default();
    for (name, bytes) in shares {
        if let Some(component) = all.get_mut(name.as_str()) {
            component.size = Some(bytes);
        }
    }
    facts.components = all.into_values().collect();
}

/// Tells whether a component counts as one of the tree: what pip and its kin carry within themselves is in the SBOMs.
fn is_own(component: &attest::Component) -> bool {
    let is_carried = |path: &String| path.split('/').any(|part| matches!(part, "_vendor" | "_bundled"));
    component.kind != attest::Kind::OperatingSystem && !component.evidence.as_ref().is_some_and(is_carried)
}

/// Returns the bytes of each component that is known; what belongs to none of them is the interpreter's own.
fn shares(sizes: &Sizes, is_known: impl Fn(&str) -> bool) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    let mut add = |name: &str, bytes: u64| {
        let name = if is_known(name) { name } else { REST };
        *shares.entry(name.to_owned()).or_insert(0) += bytes;
    };
    for (name, bytes) in &sizes.inside {
        add(name, *bytes);
    }
    for (name, part) in sizes.parts.iter().filter(|(name, _)| *name != "interpreter") {
        let owner = PARTS.iter().find(|(part, _)| part == name).map_or(REST, |(_, owner)| owner);
        add(owner, part.bytes);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Part;

    #[test]
    fn what_pip_carries_within_itself_is_no_component_of_the_tree() {
        let component = |name: &str, version: &str, path: &str| attest::Component {
            evidence: Some(path.to_owned()),
            ..attest::Component::new(attest::Kind::Library, name, version)
        };
        let all = [
            component("setuptools", "44.0.0", "lib/site-packages/pip/_vendor/vendor.txt"),
            component("pip", "22.3.1", "lib/ensurepip/_bundled/pip-22.3.1-py3-none-any.whl"),
            component("pip", "22.3.2", "lib/site-packages/pip-22.3.2.dist-info/METADATA"),
            component("setuptools", "65.5.0", "lib/site-packages/setuptools-65.5.0.dist-info/METADATA"),
        ];
        let mut facts = VariantFacts::default();
        of_tree(&mut facts, Path::new("/nowhere"), &all);
        let said: Vec<_> = facts.components.iter().map(|it| (it.name.as_str(), it.version.as_str())).collect();
        assert_eq!(said, [("pip", "22.3.2"), ("setuptools", "65.5.0")]);
    }

    #[test]
    fn every_byte_of_a_tree_is_some_components() {
        let part = |bytes| Part { files: 1, bytes, compressed: 1 };
        let parts = [("interpreter", 20), ("libc", 5), ("tcl", 7), ("pip", 3), ("headers", 2)];
        let sizes = Sizes {
            tree: 37,
            parts: parts.map(|(name, bytes)| (name.to_owned(), part(bytes))).into(),
            inside: [("cpython", 12), ("openssl", 7), ("link", 1)].map(|(name, n)| (name.to_owned(), n)).into(),
            full: false,
        };
        let shares = shares(&sizes, |name| ["cpython", "openssl", "musl", "tcl"].contains(&name));
        let expected = [("cpython", 18), ("musl", 5), ("openssl", 7), ("tcl", 7)];
        assert_eq!(shares, expected.map(|(name, bytes)| (name.to_owned(), bytes)).into());
        assert_eq!(shares.values().sum::<u64>(), sizes.tree);
    }
}
