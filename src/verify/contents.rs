//! What is in a tarball, as far as documents speak of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::error::VerifyError;
use crate::layer::{LayerError, Limits, MemberKind, Members};

/// Where a tree describes itself.
const DESCRIPTION: &str = "opt/python/PYTHON.json";
/// Where it has the licences of its components, a directory each.
const LICENCES: &str = "opt/python/share/licenses/";
/// Bytes of a file that is read: `PYTHON.json`, or the metadata of a Python package.
const MOST: u64 = 4 << 20;

/// Names and what some files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// Every entry, without a slash at its end.
    pub(super) paths: BTreeSet<String>,
    /// What `PYTHON.json` says; `None` where there is none.
    pub(super) description: Option<Description>,
    /// Components with licences: names of directories.
    pub(super) licensed: BTreeSet<String>,
    /// Installed Python packages by the path of their metadata: name and version.
    pub(super) packages: BTreeMap<String, (String, String)>,
}

/// `PYTHON.json` (`scripts/python/finish.py`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) version: String,
    pub(super) architecture: String,
    pub(super) profile: String,
    /// Versions by component.
    pub(super) components: BTreeMap<String, String>,
    /// Files of licences by component, relative to the tree.
    pub(super) licences: BTreeMap<String, Vec<String>>,
}

/// Reads a tarball to its end.
///
/// # Errors
/// `Archive`, `Io`.
pub(super) fn read(tarball: &Path) -> Result<Contents, VerifyError> {
    let unreadable = |source: LayerError| VerifyError::Archive { path: tarball.to_owned(), source: Box::new(source) };
    let file = File::open(tarball).map_err(VerifyError::io("open", tarball))?;
    let limits = Limits::default();
    let mut members = Members::new(file, &limits).map_err(unreadable)?;
    let mut contents = Contents::default();
    while let Some(member) = members.next().map_err(unreadable)? {
        let path = String::from_utf8_lossy(&member.path).into_owned();
        let path = path.trim_start_matches("./").trim_end_matches('/').to_owned();
        if let Some(name) = path.strip_prefix(LICENCES).and_then(|rest| rest.split('/').next()) {
            contents.licensed.insert(name.to_owned());
        }
        let is_metadata = path.ends_with(".dist-info/METADATA");
        if member.kind == MemberKind::File && (path == DESCRIPTION || is_metadata) {
            let mut bytes = Vec::new();
            let read = (&mut members).take(MOST).read_to_end(&mut bytes);
            read.map_err(|source| unreadable(LayerError::Read { source }))?;
            if is_metadata {
                if let Some(package) = package(&bytes) {
                    contents.packages.insert(path.clone(), package);
                }
            } else {
                contents.description =
                    Some(describe(&bytes).map_err(|why| VerifyError::Description { path: tarball.to_owned(), why })?);
            }
        }
        contents.paths.insert(path);
    }
    Ok(contents)
}

fn describe(bytes: &[u8]) -> Result<Description, String> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let listed = value["components"].as_object().ok_or("it names no components")?;
    let mut components = BTreeMap::new();
    let mut licences = BTreeMap::new();
    for (name, component) in listed {
        let version = component["version"].as_str().ok_or_else(|| format!("`{name}` has no version"))?;
        components.insert(name.clone(), version.to_owned());
        let files = component["licences"].as_array().into_iter().flatten();
        licences.insert(name.clone(), files.filter_map(|file| file.as_str().map(str::to_owned)).collect());
    }
    let (version, architecture, profile) = (text("version"), text("architecture"), text("profile"));
    Ok(Description { version, architecture, profile, components, licences })
}

/// Name and version of a Python package (`packaging.python.org core-metadata`).
fn package(metadata: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(metadata);
    let field = |key: &str| {
        let lines = text.lines().take_while(|line| !line.is_empty());
        lines.filter_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned()).next()
    };
    Some((field("Name:")?, field("Version:")?))
}

impl Contents {
    /// What the tree itself says against itself: components without licence, licences that are not there.
    pub(super) fn faults(&self) -> Vec<String> {
        let Some(description) = &self.description else { return Vec::new() };
        let mut faults = Vec::new();
        for (name, files) in &description.licences {
            if files.is_empty() {
                faults.push(format!("PYTHON.json names no licence of {name}"));
            }
            let missing = files.iter().filter(|file| !self.paths.contains(&format!("opt/python/{file}")));
            faults.extend(missing.map(|file| format!("PYTHON.json names {file}, which is not there")));
        }
        let strange = self.licensed.iter().filter(|name| !description.components.contains_key(*name));
        faults.extend(strange.map(|name| format!("there are licences of {name}, which PYTHON.json does not name")));
        faults
    }
}
