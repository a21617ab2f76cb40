//! `tests/cpython/expected-3.X.toml`: which tests fail, for which versions and architectures, and why.
//!
//! ```toml
//! [[expected]]
//! test = "test_os"                                  # the file, as `python -m test` calls it
//! cases = ["test.test_os.FileTests.test_x"]         # without: the file as a whole
//! arch = ["x86"]                                    # without: both
//! versions = ["3.11.2"]                             # without: every version of the series
//! free_threaded = true                              # of free-threaded builds, or of the others; without: both
//! unsteady = true                                   # passes at times
//! reason = "why it fails, and why that does no harm"
//! ```

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::error::SuiteError;
use crate::oci::Arch;

/// Tests of one file that fail for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The file.
    pub test: String,
    /// Its methods; none means the file as a whole: it crashes, hangs or cannot start.
    #[serde(default)]
    pub cases: Vec<String>,
    /// Architectures; none means all.
    #[serde(default)]
    pub arch: Vec<String>,
    /// Versions; none means all of the series.
    #[serde(default)]
    pub versions: Vec<String>,
    /// Of free-threaded builds only, or of the others only; none means both.
    pub free_threaded: Option<bool>,
    /// It passes at times, on some machines: passing is nothing to notice.
    #[serde(default)]
    pub unsteady: bool,
    /// Why.
    pub reason: String,
}

/// The list of a series.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// In the order of the file.
    #[serde(default)]
    pub expected: Vec<Expectation>,
}

impl Expectations {
    /// Reads a list; strict, for an entry that means nothing hides a failure.
    ///
    /// # Errors
    /// `List`: no TOML, an unknown key, an entry without a reason, an unknown architecture, a test that is named twice.
    pub fn parse(text: &str, path: &Path) -> Result<Self, SuiteError> {
        let wrong = |message: String| SuiteError::List { path: path.to_owned(), message };
        let list: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let mut seen = BTreeSet::new();
        for entry in &list.expected {
            let Expectation { test, cases, arch, versions, free_threaded, reason, .. } = entry;
            if reason.trim().is_empty() {
                return Err(wrong(format!("`{test}` has no reason")));
            }
            if let Some(name) = arch.iter().find(|name| name.parse::<Arch>().is_err()) {
                return Err(wrong(format!("`{test}`: `{name}` is no architecture")));
            }
            let whole = [String::new()];
            for case in if cases.is_empty() { &whole[..] } else { cases } {
                if !seen.insert((test, case.clone(), arch, versions, free_threaded)) {
                    return Err(wrong(format!("`{test}` {case} is there twice")));
                }
            }
        }
        Ok(list)
    }

    /// Returns what concerns one build: its version, its architecture, and whether it is free-threaded.
    pub fn of(&self, version: &str, arch: Arch, free_threaded: bool) -> Vec<&Expectation> {
        let concerns = |entry: &&Expectation| {
            (entry.arch.is_empty() || entry.arch.iter().any(|name| name.parse() == Ok(arch)))
                && (entry.versions.is_empty() || entry.versions.iter().any(|name| name == version))
                && entry.free_threaded.is_none_or(|build| build == free_threaded)
        };
        self.expected.iter().filter(concerns).collect()
    }
}
