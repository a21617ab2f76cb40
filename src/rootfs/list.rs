//! `rootfs/<name>.toml`: which packages make a root filesystem, and what is done to them.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::RootfsError;
use crate::oci::{Arch, Digest};

/// A list as people write it. Unknown keys are errors.
///
/// ```toml
/// suite = "bookworm"
/// arch = "x86_64"                         # left out where the list serves both ([`List::parse_for`])
/// packages = ["base-files", "gcc"]        # resolved with dependencies, without Recommends
/// remove = ["usr/share/doc"]              # left out, with everything below
///
/// [merge]                                 # links made before any package is unpacked: what a package has below
/// bin = "usr/bin"                         # `bin` lands in `usr/bin`, as on any Debian since usr-merge
///
/// [links]                                 # links made after all packages (what maintainer scripts would do)
/// "usr/bin/cc" = "gcc"
///
/// [directories]                           # and directories, with their mode in octal digits
/// tmp = "1777"
///
/// [files]                                 # and small files, mode 644
/// "etc/passwd" = "root:x:0:0:root:/root:/bin/sh\n"
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Debian suite, e.g. `bookworm`.
    pub suite: String,
    /// Architecture under one of our names.
    #[serde(deserialize_with = "arch", serialize_with = "arch_name")]
    pub arch: Arch,
    /// Packages asked for; their dependencies are the lock's business.
    pub packages: Vec<String>,
    /// Paths that are left out.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Links made first: path to target.
    #[serde(default)]
    pub merge: BTreeMap<String, String>,
    /// Links made last: path to target.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
    /// Directories made last: path to mode in octal digits.
    #[serde(default)]
    pub directories: BTreeMap<String, Mode>,
    /// Files made last: path to content.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
}

/// Permission bits, written as octal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl TryFrom<String> for Mode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o7777 && text.len() >= 3 => Ok(Self(mode)),
            _ => Err("a mode is written as three or four octal digits, like \"755\" or \"1777\""),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:03o}", mode.0)
    }
}

impl List {
    /// Reads a list; `origin` is the file for messages.
    ///
    /// # Errors
    /// `Toml`, `Value`.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RootfsError> {
        toml::from_str(text)
            .map_err(|source| RootfsError::Toml { path: origin.to_owned(), source: Box::new(source) })
            .and_then(|list: Self| list.checked(origin))
    }

    /// Reads a list without `arch`, which serves both, for one of them.
    ///
    /// # Errors
    /// `Toml`, `Value`.
    pub fn parse_for(text: &str, origin: &Path, arch: Arch) -> Result<Self, RootfsError> {
        let malformed = |source| RootfsError::Toml { path: origin.to_owned(), source: Box::new(source) };
        let mut table: toml::Table = toml::from_str(text).map_err(malformed)?;
        if let Some(own) = table.insert("arch".to_owned(), arch.name().into()) {
            return Err(RootfsError::Value {
                path: origin.to_owned(),
                what: "arch",
                value: own.to_string(),
                why: "a list that serves both architectures names none",
            });
        }
        table.try_into().map_err(malformed).and_then(|list: Self| list.checked(origin))
    }

    fn checked(self, origin: &Path) -> Result<Self, RootfsError> {
        let list = self;
        let wrong =
            |what, value: &str, why| RootfsError::Value { path: origin.to_owned(), what, value: value.to_owned(), why };
        if !is_word(&list.suite) {
            return Err(wrong("suite", &list.suite, "a suite is one word of letters, digits and `-`"));
        }
        if let Some(bad) = list.packages.iter().find(|name| !is_package(name)) {
            return Err(wrong("package", bad, "a package's name is lower-case letters, digits and `+-.`"));
        }
        if list.packages.is_empty() {
            return Err(wrong("packages", "[]", "an empty list makes no root filesystem"));
        }
        let paths = list.remove.iter().chain(list.merge.keys()).chain(list.links.keys());
        for path in paths.chain(list.directories.keys()).chain(list.files.keys()) {
            if !is_path(path) {
                return Err(wrong("path", path, "a path is relative to the root, without `.`, `..` or empty parts"));
            }
        }
        if let Some(bad) = list.merge.values().chain(list.links.values()).find(|t| t.is_empty() || t.contains('\0')) {
            return Err(wrong("link target", bad, "a link points somewhere"));
        }
        Ok(list)
    }

    /// Returns the digest of what the list says, which its lock names: comments and layout do not count.
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).expect("strings, maps of strings and modes are JSON"))
    }
}

fn arch<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Arch, D::Error> {
    Arch::from_str(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn arch_name<S: serde::Serializer>(arch: &Arch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(arch.name())
}

pub(super) fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Tells whether `name` is a package's (Debian Policy section 5.6.1); it then cannot be taken for an option either.
pub(super) fn is_package(name: &str) -> bool {
    name.len() >= 2
        && name.as_bytes()[0].is_ascii_alphanumeric()
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
}

fn is_path(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
