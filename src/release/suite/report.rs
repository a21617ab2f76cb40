//! What `suite.py` says: a line of JSON with the files there are, and one for each file that has ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What one test file did.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileReport {
    /// Its name, `test_os`.
    pub test: String,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Test methods that passed.
    pub passed: BTreeSet<String>,
    /// Test methods that failed, with the end of their traces.
    pub failed: BTreeMap<String, String>,
    /// Test methods that were skipped, with the reason that CPython gives.
    pub skipped: BTreeMap<String, String>,
    /// Why none of it ran: what the file as a whole needs is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
    /// How the process ended where it did not end with code 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// The end of its output, then.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}

/// What the suite did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Every file that this version has.
    pub known: BTreeSet<String>,
    /// Those that ran, in the order of their ends.
    pub files: Vec<FileReport>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Known { known: BTreeSet<String> },
    File(FileReport),
}

impl Report {
    /// Adds a line of `suite.py`; tells whether it was one.
    pub fn read(&mut self, line: &str) -> bool {
        match serde_json::from_str(line) {
            Ok(Line::Known { known }) => self.known = known,
            Ok(Line::File(file)) => self.files.push(file),
            Err(_) => return false,
        }
        true
    }

    /// Takes over what a second run says of files that ran before.
    pub fn replace(&mut self, file: FileReport) {
        self.files.retain(|old| old.test != file.test);
        self.files.push(file);
    }
}

impl FileReport {
    /// Tells whether something in it failed, or it as a whole.
    pub fn is_failed(&self) -> bool {
        self.ended.is_some() || !self.failed.is_empty()
    }
}
