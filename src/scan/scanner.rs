//! The programs that we know.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A bill of materials: `.cdx.json` or `.spdx.json`.
    Sbom(PathBuf),
    /// An unpacked tree.
    Tree(PathBuf),
    /// The repository of the recipes.
    Repository(PathBuf),
}

impl Subject {
    /// Returns where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Sbom(path) | Self::Tree(path) | Self::Repository(path) => path,
        }
    }

    /// Returns what it is called, for people.
    pub fn name(&self) -> String {
        let kind = match self {
            Self::Sbom(_) => "the bill of materials",
            Self::Tree(_) => "the tree",
            Self::Repository(_) => "the repository",
        };
        format!("{kind} `{}`", self.path().display())
    }
}

/// A scanner: its program and how it is called.
#[derive(Debug, Clone, Copy)]
pub struct Scanner {
    /// Its program.
    pub name: &'static str,
    /// How to get it.
    pub get: &'static str,
    /// Its command line for a subject, SARIF to the file `{out}`; `None` for what it does not look at.
    arguments: fn(&Subject) -> Option<&'static [&'static str]>,
    /// What keeps it from the network: options, put before the path, and variables.
    offline: (&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// The level of findings of which it says none (`sarif-v2.1.0-os`, `level`), where that is not `warning`.
    pub(super) level: Option<&'static str>,
    /// Exit codes that say "done", whatever was found.
    pub(super) done: &'static [i32],
}

/// All of them, in the order in which they run.
pub const SCANNERS: [Scanner; 5] = [
    Scanner {
        name: "trivy",
        get: "https://trivy.dev/latest/getting-started/installation/",
        arguments: |subject| match subject {
            Subject::Sbom(_) => Some(&["sbom", "--quiet", "--format", "sarif", "--output", "{out}", "{path}"]),
            Subject::Tree(_) => Some(&["rootfs", "--quiet", "--format", "sarif", "--output", "{out}", "{path}"]),
            Subject::Repository(_) => Some(&["fs", "--quiet", "--format", "sarif", "--output", "{out}", "{path}"]),
        },
        offline: (&["--offline-scan", "--skip-db-update"], &[]),
        level: None,
        done: &[0],
    },
    Scanner {
        name: "grype",
        get: "https://github.com/anchore/grype#installation",
        arguments: |subject| match subject {
            Subject::Sbom(_) => Some(&["sbom:{path}", "--quiet", "--output", "sarif", "--file", "{out}"]),
            Subject::Tree(_) => Some(&["dir:{path}", "--quiet", "--output", "sarif", "--file", "{out}"]),
            Subject::Repository(_) => None,
        },
        offline: (&[], &[("GRYPE_DB_AUTO_UPDATE", "false"), ("GRYPE_CHECK_FOR_APP_UPDATE", "false")]),
        level: None,
        done: &[0],
    },
    Scanner {
        name: "osv-scanner",
        get: "https://google.github.io/osv-scanner/installation/",
        arguments: |subject| match subject {
            Subject::Sbom(_) => {
                Some(&["scan", "source", "--format", "sarif", "--output", "{out}", "--lockfile={path}"])
            }
            Subject::Tree(_) => None,
            Subject::Repository(_) => {
                Some(&["scan", "source", "--recursive", "--format", "sarif", "--output", "{out}", "{path}"])
            }
        },
        offline: (&["--offline"], &[]),
        level: None,
        // 1: something was found; 128: nothing to look at.
        done: &[0, 1, 128],
    },
    Scanner {
        name: "gitleaks",
        get: "https://github.com/gitleaks/gitleaks#installing",
        arguments: |subject| match subject {
            Subject::Repository(_) => Some(&[
                "detect",
                "--no-banner",
                "--redact",
                "--report-format",
                "sarif",
                "--report-path",
                "{out}",
                "--source",
                "{path}",
            ]),
            _ => None,
        },
        offline: (&[], &[]),
        // It knows no severities; a secret that got out is never a small matter.
        level: Some("error"),
        done: &[0, 1],
    },
    Scanner {
        name: "semgrep",
        get: "pipx install semgrep",
        arguments: |subject| match subject {
            Subject::Repository(_) => {
                // Not --quiet: then it does not even say why it failed.
                Some(&["scan", "{rules}", "--sarif", "--output", "{out}", "{path}"])
            }
            _ => None,
        },
        offline: (&["--metrics", "off", "--disable-version-check"], &[]),
        level: None,
        done: &[0, 1],
    },
];

/// What a scan is limited by.
#[derive(Debug, Clone, Default)]
pub struct Limits {
    /// How long each look may take.
    pub patience: Duration,
    /// Scanners are kept from the network, with what they have.
    pub offline: bool,
    /// Rules of semgrep; where none are named, those of the repository, else what it finds fit itself.
    pub rules: Vec<String>,
}

/// Files in which a repository keeps rules of semgrep.
const RULES: [&str; 3] = [".semgrep.yml", ".semgrep.yaml", ".semgrep"];

impl Scanner {
    /// Returns its command line; `None` for what it does not look at.
    pub(super) fn command(&self, subject: &Subject, out: &Path, limits: &Limits) -> Option<Vec<String>> {
        let path = subject.path().display().to_string();
        let out = out.display().to_string();
        let template = (self.arguments)(subject)?;
        let mut arguments: Vec<String> = Vec::new();
        for argument in template {
            if *argument == "{rules}" {
                let named = RULES.iter().map(|name| subject.path().join(name)).find(|file| file.exists());
                let own = named.map_or_else(|| "auto".to_owned(), |file| file.display().to_string());
                let rules = if limits.rules.is_empty() { vec![own] } else { limits.rules.clone() };
                arguments.extend(rules.into_iter().flat_map(|rules| ["--config".to_owned(), rules]));
                continue;
            }
            // Options go before what is looked at, after the command.
            if argument.contains("{path}") && limits.offline && !arguments.is_empty() {
                arguments.extend(self.offline.0.iter().map(|it| (*it).to_owned()));
            }
            arguments.push(argument.replace("{path}", &path).replace("{out}", &out));
        }
        Some(arguments)
    }

    /// Returns variables that it runs with.
    pub(super) fn variables(&self, limits: &Limits) -> &'static [(&'static str, &'static str)] {
        if limits.offline { self.offline.1 } else { &[] }
    }
}

/// Returns where a program is in `path`, a list of directories as in `PATH`.
pub fn installed(name: &str, path: &str) -> Option<PathBuf> {
    let places = path.split(':').filter(|directory| directory.starts_with('/'));
    places
        .map(|directory| Path::new(directory).join(name))
        .find(|file| fs::metadata(file).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0))
}
