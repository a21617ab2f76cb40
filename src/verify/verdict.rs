//! What was found out.

use std::fmt;

use serde::Serialize;

/// How one check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not hold.
    Failed,
    /// There is nothing to check: no signature, no document.
    Missing,
    /// It is there, but nobody said whom to believe, or what checks it is not installed.
    Unchecked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Missing => "missing",
            Self::Unchecked => "unchecked",
        })
    }
}

/// One check of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which file.
    pub file: String,
    /// What was checked: `sum`, `openpgp`, `sigstore`, `spdx`, `cyclonedx`, `provenance`, `tree`, `rebuild`.
    pub check: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// A digest, who signed, or what is wrong.
    pub detail: String,
}

/// Everything that was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// In the order in which it was checked.
    pub rows: Vec<Row>,
}

impl Verdict {
    /// Tells whether nothing failed.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.outcome != Outcome::Failed)
    }

    /// Returns how many checks ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.rows.iter().filter(|row| row.outcome == outcome).count()
    }

    pub(super) fn add(&mut self, file: &str, check: &'static str, outcome: Outcome, detail: impl Into<String>) {
        self.rows.push(Row { file: file.to_owned(), check, outcome, detail: detail.into() });
    }

    /// Adds one row of what is wrong, or `holds` where nothing is.
    pub(super) fn judge(&mut self, file: &str, check: &'static str, wrong: &[String], holds: impl Into<String>) {
        if wrong.is_empty() {
            return self.add(file, check, Outcome::Passed, holds);
        }
        for wrong in wrong {
            self.add(file, check, Outcome::Failed, wrong.clone());
        }
    }
}
