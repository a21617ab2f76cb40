//! Python packages inside of others: what pip and its kin carry in `_vendor`, and the wheels of `ensurepip`.
//!
//! pip's list says names and versions (`pip/_vendor/vendor.txt`, lines as `pip freeze` prints them); licences are theirs as
//! the index has them, for the packages that pip and setuptools are known to carry. A package that is not in the table has no
//! licence that we know.

use super::{Component, Kind, License, purl};

/// SPDX expressions by normal name (`name-normalization.md`).
const LICENCES: [(&str, &str); 39] = [
    ("appdirs", "MIT"),
    ("cachecontrol", "Apache-2.0"),
    ("certifi", "MPL-2.0"),
    ("chardet", "LGPL-2.1-or-later"),
    ("colorama", "BSD-3-Clause"),
    ("dependency-groups", "MIT"),
    ("distlib", "PSF-2.0"),
    ("distro", "Apache-2.0"),
    ("html5lib", "MIT"),
    ("idna", "BSD-3-Clause"),
    ("importlib-metadata", "Apache-2.0"),
    ("importlib-resources", "Apache-2.0"),
    ("jaraco-context", "MIT"),
    ("jaraco-functools", "MIT"),
    ("jaraco-text", "MIT"),
    ("more-itertools", "MIT"),
    ("msgpack", "Apache-2.0"),
    ("ordered-set", "MIT"),
    ("packaging", "Apache-2.0 OR BSD-2-Clause"),
    ("pep517", "MIT"),
    ("pip", "MIT"),
    ("platformdirs", "MIT"),
    ("progress", "ISC"),
    ("pygments", "BSD-2-Clause"),
    ("pyparsing", "MIT"),
    ("pyproject-hooks", "MIT"),
    ("requests", "Apache-2.0"),
    ("resolvelib", "ISC"),
    ("rich", "MIT"),
    ("setuptools", "MIT"),
    ("six", "MIT"),
    ("tenacity", "Apache-2.0"),
    ("tomli", "MIT"),
    ("tomli-w", "MIT"),
    ("truststore", "MIT"),
    ("typing-extensions", "PSF-2.0"),
    ("urllib3", "MIT"),
    ("webencodings", "BSD-3-Clause"),
    ("zipp", "MIT"),
];

/// Reads a list of packages at `path`.
pub(super) fn parse(text: &[u8], path: &str) -> Vec<Component> {
    let text = String::from_utf8_lossy(text);
    let named = |line: &str| {
        let line = line.split(['#', ';']).next().unwrap_or_default().trim();
        let (name, version) = line.split_once("==")?;
        component(name.trim(), version.trim(), path)
    };
    text.lines().filter_map(named).collect()
}

/// Reads the name of a wheel (`binary-distribution-format.md`) at `path`.
pub(super) fn wheel(file: &str, path: &str) -> Option<Component> {
    let mut parts = file.strip_suffix(".whl")?.split('-');
    let (name, version) = (parts.next()?, parts.next()?);
    (parts.count() >= 3).then(|| component(name, version, path))?
}

fn component(name: &str, version: &str, path: &str) -> Option<Component> {
    let fine = |text: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-+!".contains(&b);
        (1..=128).contains(&text.len()) && text.bytes().all(plain)
    };
    if !fine(name) || !fine(version) {
        return None;
    }
    let normal = super::python::normal(name);
    let license = LICENCES.iter().find(|(known, _)| *known == normal).map_or("", |(_, license)| license);
    Some(Component {
        license: License::of(license),
        purl: Some(purl("pypi", "", &normal, version, &[])),
        evidence: Some(path.to_owned()),
        ..Component::new(Kind::Library, name, version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_vendored_packages_is_read_line_by_line() {
        let text = b"CacheControl==0.12.11  # a note\n    certifi==2022.09.24\n\n# six==1\ntyping_extensions==4.4.0\n../x==1\n";
        let found = parse(text, "p/_vendor/vendor.txt");
        let said: Vec<_> = found.iter().map(|it| (it.purl.as_deref(), it.license.expression.as_deref())).collect();
        assert_eq!(
            said,
            [
                (Some("pkg:pypi/cachecontrol@0.12.11"), Some("Apache-2.0")),
                (Some("pkg:pypi/certifi@2022.09.24"), Some("MPL-2.0")),
                (Some("pkg:pypi/typing-extensions@4.4.0"), Some("PSF-2.0")),
            ]
        );
        assert!(LICENCES.is_sorted());
    }

    #[test]
    fn a_wheel_is_what_its_name_says() {
        let found = wheel("pip-22.3.1-py3-none-any.whl", "e/pip.whl").expect("a wheel");
        assert_eq!((found.name.as_str(), found.version.as_str()), ("pip", "22.3.1"));
        assert!(wheel("pip-22.3.1.whl", "p").is_none() && wheel("readme.txt", "p").is_none());
    }
}
