//! apt on this machine: which mirrors it knows, and its resolver.
//!
//! The resolver runs as whoever runs us, in directories of its own: apt's own state, cache, locks and hooks are not
//! touched. What it answers is believed as far as apt believes it: indices are verified with the keys that the
//! machine's configuration names.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::SourceError;
use crate::oci::{Arch, Digest};
use crate::rootfs::{AptSource, List, Package, debian_sources, parse_list, parse_mirror_list, parse_sources};

/// The last lines of a failed program that an error shows.
const LINES: usize = 12;

/// Where Debian keeps the keys of its archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Reads the entries of apt's configuration below `root` (`/` for this machine's) that are mirrors of Debian's archive.
///
/// # Errors
/// `Io` when a file that exists cannot be read.
pub fn host_sources(root: &Path) -> Result<Vec<AptSource>, SourceError> {
    let etc = root.join("etc/apt");
    let mut files = vec![etc.join("sources.list")];
    let parts = etc.join("sources.list.d");
    match fs::read_dir(&parts) {
        Ok(entries) => {
            let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            found.sort();
            files.extend(found);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(SourceError::io("read", &parts)(error)),
    }
    let mut sources = Vec::new();
    for file in files {
        let parse = match file.extension().and_then(|extension| extension.to_str()) {
            Some("list") => parse_list,
            Some("sources") => parse_sources,
            _ => continue,
        };
        match fs::read(&file) {
            Ok(bytes) => sources.extend(parse(&String::from_utf8_lossy(&bytes))),
            // Entries with passwords in them may be for root's eyes only; the others serve.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {}
            Err(error) => return Err(SourceError::io("read", &file)(error)),
        }
    }
    Ok(debian_sources(sources))
}

/// Returns the Debian mirrors that apt below `root` is configured with, each once, best first.
///
/// # Errors
/// As `host_sources`.
pub fn host_mirrors(root: &Path) -> Result<Vec<String>, SourceError> {
    let mut mirrors: Vec<String> = Vec::new();
    for uri in host_sources(root)?.iter().flat_map(AptSource::mirrors) {
        let found = match uri.strip_prefix("mirror+file:") {
            Some(path) => {
                let path = root.join(path.trim_start_matches('/'));
                parse_mirror_list(&fs::read_to_string(&path).map_err(SourceError::io("read", &path))?)
            }
            None => vec![uri],
        };
        for mirror in found {
            if !mirrors.contains(&mirror) {
                mirrors.push(mirror);
            }
        }
    }
    Ok(mirrors)
}

/// apt's resolver with everything of its own in one directory.
#[derive(Debug)]
pub(super) struct Resolver {
    config: PathBuf,
}

impl Resolver {
    /// Sets apt up in `place` for a suite of `mirror`, and downloads the index.
    pub(super) fn new(place: &Path, list: &List, mirror: &str, sources: &[AptSource]) -> Result<Self, SourceError> {
        for directory in ["state/lists/partial", "cache/archives/partial", "sources", "preferences"] {
            let path = place.join(directory);
            fs::create_dir_all(&path).map_err(SourceError::io("create", &path))?;
        }
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            fs::write(&path, text).map_err(SourceError::io("write", &path))
        };
        write("status", "")?;
        write("sources/debian.sources", &entry(list, mirror, sources))?;
        write("apt.conf", &config(place, list.arch))?;
        let resolver = Self { config: place.join("apt.conf") };
        resolver.run("apt-get", &["update"])?;
        Ok(resolver)
    }

    /// Returns the packages that `list` needs, in the order of their names.
    pub(super) fn resolve(&self, list: &List) -> Result<Vec<Package>, SourceError> {
        let mut arguments = vec!["install", "--yes", "--print-uris"];
        arguments.extend(list.packages.iter().map(String::as_str));
        let names = installed(&self.run("apt-get", &arguments)?);
        let mut arguments = vec!["show", "--no-all-versions"];
        arguments.extend(names.iter().map(String::as_str));
        packages(&self.run("apt-cache", &arguments)?, &names)
    }

    fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, SourceError> {
        let mut command = Command::new(program);
        command.arg("--config-file").arg(&self.config).arg("--quiet=2").args(arguments).env("LC_ALL", "C");
        let output = command.output().map_err(SourceError::io("run", Path::new(program)))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        Err(SourceError::Apt {
            command: format!("{program} {}", arguments.join(" ")),
            status: output.status.to_string(),
            output: lines[lines.len().saturating_sub(LINES)..].join("\n"),
        })
    }
}

/// Returns the only entry of the resolver's sources: `main` of one suite, with the keys that the machine names for it.
fn entry(list: &List, mirror: &str, sources: &[AptSource]) -> String {
    let same = |source: &&AptSource| source.mirrors().any(|uri| uri == mirror);
    let signed_by = sources
        .iter()
        .find(same)
        .or_else(|| sources.first())
        .and_then(|source| source.signed_by.clone())
        .or_else(|| Path::new(KEYRING).exists().then(|| KEYRING.to_owned()));
    let signed_by = signed_by.map(|keys| format!("Signed-By: {keys}\n")).unwrap_or_default();
    format!("Types: deb\nURIs: {mirror}\nSuites: {}\nComponents: main\n{signed_by}", list.suite)
}

/// Returns the configuration that comes after the machine's own: proxies and the like stay, directories and hooks not.
fn config(place: &Path, arch: Arch) -> String {
    let place = place.display();
    let arch = arch.debian();
    format!(
        "#clear APT::Update::Pre-Invoke;\n#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n\
         #clear APT::Architectures;\n#clear Acquire::IndexTargets::deb::DEP-11;\n\
         APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n\
         Dir::State \"{place}/state\";\nDir::State::lists \"{place}/state/lists\";\n\
         Dir::State::status \"{place}/status\";\nDir::State::extended_states \"{place}/state/extended_states\";\n\
         Dir::Cache \"{place}/cache\";\nDir::Cache::archives \"{place}/cache/archives\";\n\
         Dir::Etc::sourcelist \"/dev/null\";\nDir::Etc::sourceparts \"{place}/sources\";\n\
         Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"{place}/preferences\";\n\
         Debug::NoLocking \"true\";\nAPT::Sandbox::User \"root\";\nAPT::Update::Error-Mode \"any\";\n\
         APT::Install-Recommends \"false\";\nAPT::Install-Suggests \"false\";\nAPT::Default-Release \"\";\n\
         Acquire::Languages \"none\";\nAcquire::PDiffs \"false\";\n"
    )
}

/// Reads `apt-get --print-uris`: the names of the packages that would be installed, sorted.
fn installed(output: &str) -> Vec<String> {
    // 'http://…/hello_2.10-3_amd64.deb' hello_2.10-3_amd64.deb 53060 SHA256:…
    let file =
        |line: &str| line.strip_prefix('\'')?.split_once("' ")?.1.split_once('_').map(|(name, _)| name.to_owned());
    let mut names: Vec<String> = output.lines().filter_map(file).collect();
    names.sort();
    names.dedup();
    names
}

/// Reads `apt-cache show`: one stanza a package, which must be exactly those named.
fn packages(output: &str, names: &[String]) -> Result<Vec<Package>, SourceError> {
    let mut found: BTreeMap<String, Package> = BTreeMap::new();
    for stanza in output.split("\n\n") {
        let fields: BTreeMap<&str, &str> = stanza
            .lines()
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name, value.trim()))
            .collect();
        let Some(name) = fields.get("Package") else { continue };
        let lacks = |what| SourceError::AptAnswer { package: (*name).to_owned(), what };
        let field = |key: &'static str| fields.get(key).copied().ok_or_else(|| lacks(key));
        let package = Package {
            name: (*name).to_owned(),
            version: field("Version")?.to_owned(),
            path: field("Filename")?.to_owned(),
            digest: Digest::from_hex(field("SHA256")?).map_err(|_| lacks("a SHA256 that is one"))?,
            size: field("Size")?.parse().map_err(|_| lacks("a Size that is a number"))?,
        };
        found.insert((*name).to_owned(), package);
    }
    let one = |name: &String| {
        found.remove(name).ok_or_else(|| SourceError::AptAnswer { package: name.clone(), what: "a stanza" })
    };
    names.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apts_answers_are_read() {
        let uris = "'http://m.test/g/gcc_4%253a12_i386.deb' gcc_4%3a12_i386.deb 5 SHA256:0\n\
                    'http://m.test/b/bash_5_i386.deb' bash_5_i386.deb 7 SHA256:0\nNOTE: nothing\n";
        let names = installed(uris);
        assert_eq!(names, ["bash", "gcc"]);
        let hex = Digest::of(b"x").hex();
        let stanza = |name: &str| {
            format!(
                "Package: {name}\nVersion: 1\nDescription: d\n Version: 9\nFilename: pool/{name}.deb\nSize: 5\nSHA256: {hex}\n"
            )
        };
        let shown = format!("{}\n{}", stanza("gcc"), stanza("bash"));
        let found = packages(&shown, &names).expect("both");
        assert_eq!((found[0].name.as_str(), found[1].version.as_str(), found[1].size), ("bash", "1", 5));
        assert!(packages(&stanza("gcc"), &names).is_err());
        assert!(packages(&shown.replace("SHA256: ", "SHA1: "), &names).is_err());
    }
}
