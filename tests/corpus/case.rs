//! The recorded cases, unpacked, and what each of them is run with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use dockless::layer::{UnpackOptions, unpack as unpack_archive};

use super::listing::{Fields, records};

/// Definitions, contexts and expectations; made of the recorded corpus by leaving out what no test reads.
const ARCHIVE: &[u8] = include_bytes!("../fixtures/corpus/corpus.tar.gz");

/// Unpacks the corpus: modes, links and times of its contexts are part of it.
pub(crate) fn unpack(to: &Path) {
    // By our own, since the tar crate does not keep the times of directories.
    fs::create_dir_all(to).expect("a directory");
    let options = UnpackOptions { single_id: true, whiteouts: false, ..UnpackOptions::default() };
    unpack_archive(ARCHIVE, to, &options).expect("the corpus is unpacked");
}

/// What a definition is meant to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is built and compared.
    Runs,
    /// It is built and must fail.
    Fails,
    /// It was only converted when it was recorded.
    Converts,
}

/// `case.json`.
#[derive(Debug, Deserialize)]
struct Described {
    buildctl_extra_args: Vec<String>,
    entitlements: Vec<String>,
    runnable: Value,
    #[serde(default)]
    diff_against_base: bool,
}

/// One recorded case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) kind: Kind,
    /// Whether its listing is told as changes to the base.
    pub(crate) against_base: bool,
    described: Described,
}

/// Returns all cases below an unpacked corpus, sorted by name.
pub(crate) fn cases(corpus: &Path) -> Vec<Case> {
    let entries = fs::read_dir(corpus.join("dockerfiles")).expect("the corpus has cases");
    let mut directories: Vec<PathBuf> = entries.map(|entry| entry.expect("a directory").path()).collect();
    directories.sort();
    directories.into_iter().map(Case::read).collect()
}

impl Case {
    fn read(directory: PathBuf) -> Self {
        let text = fs::read_to_string(directory.join("case.json")).expect("case.json");
        let described: Described = serde_json::from_str(&text).expect("case.json is as agreed");
        let kind = match &described.runnable {
            Value::Bool(true) => Kind::Runs,
            Value::Bool(false) => Kind::Converts,
            _ => Kind::Fails,
        };
        let name = directory.file_name().expect("a name").to_string_lossy().into_owned();
        Self { name, kind, against_base: described.diff_against_base, directory, described }
    }

    fn text(&self, name: &str) -> String {
        let path = self.directory.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Returns the definition; a case that was only converted may have several.
    pub(crate) fn definitions(&self) -> Vec<(String, Vec<u8>)> {
        definitions(&self.directory)
    }

    /// Returns the recorded changes of the tree.
    pub(crate) fn tree(&self) -> BTreeMap<String, Fields> {
        records(&self.text("expected/fs.diff.jsonl"))
    }

    /// Returns the recorded image config.
    pub(crate) fn config(&self) -> Value {
        serde_json::from_str(&self.text("expected/config.json")).expect("JSON")
    }

    /// Returns the entries of every recorded layer above the base.
    pub(crate) fn layers(&self) -> Vec<BTreeMap<String, Fields>> {
        let layers: Vec<Value> = serde_json::from_str(&self.text("expected/layers.json")).expect("JSON");
        layers.iter().map(|layer| records(&layer["entries"].to_string())).collect()
    }

    /// Returns the arguments of `solve` that stand for those of the recording.
    pub(crate) fn arguments(&self, agent: &Path) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
        add("--local", format!("context={}", self.directory.join("context").display()));
        add("--local", format!("dockerfile={}", self.directory.display()));
        for entry in fs::read_dir(self.directory.join("named")).into_iter().flatten().flatten() {
            add("--local", format!("{}={}", entry.file_name().to_string_lossy(), entry.path().display()));
        }
        for name in &self.described.entitlements {
            add("--allow", name.clone());
        }
        let (case, agent) = (self.directory.display().to_string(), agent.display().to_string());
        let given = self.described.buildctl_extra_args.iter();
        arguments.extend(given.map(|argument| argument.replace("@CASE@", &case).replace("@AGENT@", &agent)));
        arguments
    }
}

/// Returns `*.pb` of a directory by name.
pub(crate) fn definitions(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .expect("a directory of the corpus")
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "pb"))
        .map(|entry| (entry.path().display().to_string(), fs::read(entry.path()).expect("a definition")))
        .collect();
    found.sort();
    found
}
