//! `rootfs/<name>.lock`: exactly which packages, and the image that they make.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

use super::error::RootfsError;
use super::list::{List, is_package, is_word};
use crate::oci::{Arch, Digest};

/// A lock: written by `dockless lock --update rootfs/<name>`, read by everything else.
///
/// ```toml
/// suite = "bookworm"
/// arch = "x86_64"
/// list = "sha256:…"          # digest of what the list says
///
/// [image]
/// manifest = "sha256:…"      # the OCI image that comes out
///
/// [[package]]                # in the order of their names, which is the order in which they are merged
/// name = "base-files"
/// version = "12.4+deb12u12"
/// path = "pool/main/b/base-files/base-files_12.4+deb12u12_amd64.deb"
/// sha256 = "…"
/// size = 70932
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Debian suite.
    pub suite: String,
    /// Architecture.
    pub arch: Arch,
    /// Digest of the list that was resolved.
    pub list: Digest,
    /// Digest of the image's manifest; recipes name the root filesystem by it.
    pub manifest: Digest,
    /// Packages in the order in which they are merged.
    pub packages: Vec<Package>,
}

/// One package of a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Debian's name.
    pub name: String,
    /// Debian's version.
    pub version: String,
    /// Where a mirror has it, from `pool/` on.
    pub path: String,
    /// Digest of the .deb.
    pub digest: Digest,
    /// Size of the .deb in bytes.
    pub size: u64,
}

impl Package {
    /// Returns the file name of the .deb.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    suite: String,
    arch: String,
    list: Digest,
    image: RawImage,
    package: Vec<RawPackage>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawImage {
    manifest: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPackage {
    name: String,
    version: String,
    path: String,
    sha256: String,
    size: u64,
}

/// The largest .deb that a lock may name, in bytes; the largest of a toolchain is a tenth of it.
const LARGEST: u64 = 1 << 30;

impl Lock {
    /// Reads a lock; `origin` is the file for messages.
    ///
    /// # Errors
    /// `Toml`, `Value`.
    pub fn parse(text: &str, origin: &Path) -> Result<Self, RootfsError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|source| RootfsError::Toml { path: origin.to_owned(), source: Box::new(source) })?;
        let wrong =
            |what, value: &str, why| RootfsError::Value { path: origin.to_owned(), what, value: value.to_owned(), why };
        if !is_word(&raw.suite) {
            return Err(wrong("suite", &raw.suite, "a suite is one word of letters, digits and `-`"));
        }
        let arch = Arch::from_str(&raw.arch).map_err(|_| wrong("architecture", &raw.arch, "use x86_64 or x86"))?;
        let mut packages: Vec<Package> = Vec::with_capacity(raw.package.len());
        for package in raw.package {
            if !is_package(&package.name) {
                return Err(wrong("package", &package.name, "not a package's name"));
            }
            if packages.last().is_some_and(|last| last.name >= package.name) {
                return Err(wrong("package", &package.name, "packages stand in the order of their names, each once"));
            }
            if !is_pool_path(&package.path, arch) {
                return Err(wrong("path", &package.path, "a path is like pool/main/h/hello/hello_1_amd64.deb"));
            }
            if !(1..=LARGEST).contains(&package.size) {
                return Err(wrong("size of package", &package.name, "not the size of a .deb"));
            }
            let digest = Digest::from_hex(&package.sha256)
                .map_err(|_| wrong("sha256", &package.sha256, "64 lower-case hexadecimal digits"))?;
            packages.push(Package {
                name: package.name,
                version: package.version,
                path: package.path,
                digest,
                size: package.size,
            });
        }
        Ok(Self { suite: raw.suite, arch, list: raw.list, manifest: raw.image.manifest, packages })
    }

    /// Checks that this is the lock of `list`, which is called `name`: same suite and architecture, nothing changed
    /// since, every package asked for is there.
    ///
    /// # Errors
    /// `Stale`.
    pub fn check(&self, name: &str, list: &List) -> Result<(), RootfsError> {
        let stale = |why: String| RootfsError::Stale { name: name.to_owned(), why };
        if (&self.suite, self.arch) != (&list.suite, list.arch) {
            return Err(stale(format!(
                "it is for {} {}, the list for {} {}",
                self.suite, self.arch, list.suite, list.arch
            )));
        }
        let locked: BTreeMap<&str, &Package> = self.packages.iter().map(|p| (p.name.as_str(), p)).collect();
        if let Some(missing) = list.packages.iter().find(|package| !locked.contains_key(package.as_str())) {
            return Err(stale(format!("package `{missing}` is not in it")));
        }
        if self.list != list.digest() {
            return Err(stale("the list was changed after it was written".to_owned()));
        }
        Ok(())
    }

    /// Returns the lock as the text of its file; `name` is the root filesystem's.
    pub fn to_toml(&self, name: &str) -> String {
        let mut text = format!(
            "# Written by `dockless lock --update rootfs/{name}`; do not edit.\n\
             suite = {}\narch = {}\nlist = \"{}\"\n\n[image]\nmanifest = \"{}\"\n",
            quoted(&self.suite),
            quoted(self.arch.name()),
            self.list,
            self.manifest
        );
        for package in &self.packages {
            write!(
                text,
                "\n[[package]]\nname = {}\nversion = {}\npath = {}\nsha256 = \"{}\"\nsize = {}\n",
                quoted(&package.name),
                quoted(&package.version),
                quoted(&package.path),
                package.digest.hex(),
                package.size
            )
            .expect("a string takes everything");
        }
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn is_pool_path(path: &str, arch: Arch) -> bool {
    let ending = |arch: &str| path.strip_suffix(".deb").is_some_and(|path| path.ends_with(&format!("_{arch}")));
    path.starts_with("pool/")
        && (ending(arch.debian()) || ending("all"))
        && path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._+-~:".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let package = |name: &str, arch: &str| Package {
            name: name.to_owned(),
            version: "1:2.0~rc1+deb12u1".to_owned(),
            path: format!("pool/main/x/{name}/{name}_2.0~rc1+deb12u1_{arch}.deb"),
            digest: Digest::of(name.as_bytes()),
            size: 7,
        };
        Lock {
            suite: "bookworm".to_owned(),
            arch: Arch::X86,
            list: Digest::of(b"list"),
            manifest: Digest::of(b"manifest"),
            packages: vec![package("base-files", "i386"), package("libstdc++6", "i386"), package("perl-base", "all")],
        }
    }

    #[test]
    fn a_lock_reads_as_it_was_written() {
        let lock = lock();
        let text = lock.to_toml("bookworm-x86");
        assert_eq!(Lock::parse(&text, Path::new("l")).expect("its own text"), lock);
    }

    #[test]
    fn a_lock_with_anything_amiss_is_refused() {
        let text = lock().to_toml("x");
        for (from, to) in [
            ("name = \"libstdc++6\"", "name = \"base-files\""),
            ("name = \"libstdc++6\"", "name = \"--option\""),
            ("pool/main/x/base-files/", "pool/../../etc/"),
            ("_i386.deb", "_amd64.deb"),
            ("size = 7", "size = 0"),
            ("size = 7", "size = 7\nextra = 1"),
            ("sha256 = \"", "sha256 = \"0"),
            ("arch = \"x86\"", "arch = \"riscv\""),
            ("[image]", "[images]"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Lock::parse(&text.replacen(from, to, 1), Path::new("l")).is_err(), "{to}");
        }
    }

    #[test]
    fn a_lock_of_another_list_is_noticed() {
        let list = |text: &str| List::parse(text, Path::new("t")).expect("a list");
        let plain = list("suite = 'bookworm'\narch = 'i686'\npackages = ['base-files']\n");
        let commented = list("# why\narch = 'x86'\nsuite = 'bookworm'\npackages = ['base-files']\n");
        let other = list("suite = 'bookworm'\narch = 'x86'\npackages = ['base-files']\nremove = ['usr/share/doc']\n");
        let lock = Lock { list: plain.digest(), ..lock() };
        assert!(lock.check("n", &plain).is_ok());
        assert!(lock.check("n", &commented).is_ok());
        assert!(matches!(lock.check("n", &other), Err(RootfsError::Stale { .. })));
        let missing = list("suite = 'bookworm'\narch = 'x86'\npackages = ['base-files', 'gcc']\n");
        assert!(lock.check("n", &missing).is_err_and(|error| error.to_string().contains("`gcc`")));
    }
}
