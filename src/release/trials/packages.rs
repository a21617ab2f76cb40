//! Packages of real life, installed into a tree as wheels by pip and by uv, and used.
//!
//! `packages.toml` names them and pins every version for each series and architecture, those of dependencies too; what is
//! not pinned for an architecture has no wheel for it. Installing reaches the index that the machine's pip is configured with; what was installed is then
//! used in a step without network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::TrialError;
use super::tree::Tree;
use super::trial::{Reported, Told, Trial, Trials, Verdict, Word, report, timed};
use crate::oci::Arch;
use crate::progress::{Event, Progress};
use crate::sandbox::{Cancel, Launcher, Mount, Network, Step, StepMount};

const LIST: &str = include_str!("packages.toml");

/// How long all packages together may take to install in one environment, and to be used there.
const PATIENCE: Duration = Duration::from_mins(30);

/// Installers and environments: the columns of the table.
const COLUMNS: [(&str, &str, &str); 6] = [
    ("pip", "pip", "base"),
    ("pip venv", "pip", "venv"),
    ("pip --copies", "pip", "copies"),
    ("uv", "uv", "base"),
    ("uv venv", "uv", "venv"),
    ("uv --copies", "uv", "copies"),
];

/// What of the machine reaches an index: variables and files of pip's and uv's configuration, certificates, proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    /// Variables, `NAME=value`.
    pub variables: Vec<String>,
    /// Files and directories of the machine, and where the step sees them.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// The network must not be used.
    pub offline: bool,
}

/// Versions by name.
type Pins = BTreeMap<String, String>;

/// `packages.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    packages: Vec<String>,
    /// By series, then by architecture. A package that is not pinned for one of them has no wheel for it.
    pins: BTreeMap<String, BTreeMap<String, Pins>>,
}

/// What `packages.py` is told.
#[derive(Serialize)]
struct Order<'a> {
    environment: &'a str,
    installer: &'a str,
    packages: BTreeMap<&'a str, String>,
    pins: &'a Pins,
}

impl List {
    fn parse(text: &str) -> Result<Self, TrialError> {
        let wrong = |why: String| TrialError::List { why };
        let list: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        for (series, pins) in &list.pins {
            if let Some(bad) = pins.keys().find(|arch| arch.parse::<Arch>().is_err()) {
                return Err(wrong(format!("`{bad}` of {series} is no architecture: use x86_64 or x86")));
            }
            for name in &list.packages {
                if list.requirement(series, name).is_none() {
                    return Err(wrong(format!("`{name}` is not pinned for {series}")));
                }
            }
            if let Some(arch) = Arch::ALL.iter().find(|arch| !list.is_pinned(series, **arch, "uv")) {
                return Err(wrong(format!("uv is not pinned for {series} on {arch}")));
            }
        }
        Ok(list)
    }

    fn is_pinned(&self, series: &str, arch: Arch, name: &str) -> bool {
        self.pins.get(series).and_then(|pins| pins.get(arch.name())).is_some_and(|pins| pins.contains_key(name))
    }

    /// Returns `name==version`; where an architecture has none, that of the other.
    fn requirement(&self, series: &str, name: &str) -> Option<String> {
        let version = self.pins.get(series)?.values().find_map(|pins| pins.get(name))?;
        Some(format!("{name}=={version}"))
    }
}

/// Installs and uses all packages, or those that `names` names, with the Python of the tarball at `path`.
///
/// # Errors
/// `Unknown`, `Proof`, `Description`, `List`. What cannot be had here is skipped.
pub fn packages(
    path: &Path,
    names: &[String],
    machine: &Machine,
    (launcher, cancel): (&Launcher, &Cancel),
    view: &dyn Progress,
) -> Result<Trials, TrialError> {
    let start = Instant::now();
    let list = List::parse(LIST)?;
    if let Some(name) = names.iter().find(|name| !list.packages.contains(name)) {
        return Err(TrialError::Unknown { what: "package", name: name.clone(), known: list.packages });
    }
    let wanted: Vec<&String> =
        list.packages.iter().filter(|package| names.is_empty() || names.contains(package)).collect();
    let tree = Tree::unpack(path)?;
    let trials = Trials::new("packages", &tree);
    let skip = |why: &str| {
        let all = wanted
            .iter()
            .flat_map(|package| COLUMNS.iter().map(|(column, ..)| Trial::new(package, column, Verdict::Skipped, why)));
        Trials { trials: all.collect(), ..trials.clone() }
    };
    let Some(pins) = list.pins.get(&tree.series).and_then(|pins| pins.get(tree.arch.name())) else {
        return Ok(timed(skip(&format!("nothing is pinned for {} yet", tree.series)), start));
    };
    if machine.offline {
        return Ok(timed(skip("--offline forbids to ask an index"), start));
    }
    let crew = Crew { tree: &tree, machine, launcher, cancel };
    let uv = match crew.bootstrap(pins)? {
        Told { word: Word::Ok, detail } => detail,
        Told { word: Word::Offline, detail } => {
            return Ok(timed(skip(&format!("no index answers: {detail}")), start));
        }
        Told { detail, .. } => {
            let failed = Trial::new("uv", "pip", Verdict::Failed, detail);
            return Ok(timed(Trials { trials: vec![failed], ..trials }, start));
        }
    };
    let mut cells: BTreeMap<(usize, usize), Trial> = BTreeMap::new();
    for (column, (title, installer, environment)) in COLUMNS.iter().enumerate() {
        view.event(&Event::Note { message: &format!("installing {} packages: {title} ({uv})", wanted.len()) });
        let requirement = |name: &str| {
            let own = pins.get(name).map(|version| format!("{name}=={version}"));
            own.or_else(|| list.requirement(&tree.series, name)).unwrap_or_default()
        };
        let packages = wanted.iter().map(|name| (name.as_str(), requirement(name))).collect();
        let order = Order { environment, installer, packages, pins };
        let (installed, used) = crew.run(&order)?;
        for (row, package) in wanted.iter().enumerate() {
            let expected = list.is_pinned(&tree.series, tree.arch, package);
            let (verdict, detail) = judge(package, expected, &installed, used.as_ref());
            cells.insert((row, column), Trial::new(package, title, verdict, detail));
        }
    }
    Ok(timed(Trials { trials: cells.into_values().collect(), ..trials }, start))
}

/// Says how a package fared, from what was reported about installing and about using it.
fn judge(name: &str, expected: bool, installed: &Reported, used: Option<&Reported>) -> (Verdict, String) {
    let ended = |reported: &Reported| {
        let why = reported.broken.as_deref().unwrap_or("the script did not come to it");
        (Verdict::Failed, why.to_owned())
    };
    let Some(told) = installed.told.get(name) else { return ended(installed) };
    match (told.word, expected) {
        (Word::Ok, _) => match used.and_then(|used| used.told.get(name)) {
            Some(Told { word: Word::Ok, detail }) => (Verdict::Works, detail.clone()),
            Some(Told { detail, .. }) => (Verdict::Failed, detail.clone()),
            None => ended(used.unwrap_or(installed)),
        },
        (Word::None, false) => (Verdict::Absent, told.detail.clone()),
        (Word::Offline | Word::Skip, _) => (Verdict::Skipped, told.detail.clone()),
        (Word::None | Word::Fail, _) => (Verdict::Failed, told.detail.clone()),
    }
}

/// What all steps share.
struct Crew<'a> {
    tree: &'a Tree,
    machine: &'a Machine,
    launcher: &'a Launcher,
    cancel: &'a Cancel,
}

impl Crew<'_> {
    /// Brings uv.
    fn bootstrap(&self, pins: &Pins) -> Result<Told, TrialError> {
        let packages = pins.get_key_value("uv").map(|(name, version)| (name.as_str(), format!("uv=={version}")));
        let order = Order { environment: "base", installer: "pip", packages: packages.into_iter().collect(), pins };
        let python = Mount::Bind { source: self.tree.python(), readonly: true };
        let mut reported = report(&self.step("bootstrap", &order, python)?, self.launcher, self.cancel)?;
        let broken = || Told { word: Word::Fail, detail: reported.broken.clone().unwrap_or_default() };
        Ok(reported.told.remove("uv").unwrap_or_else(broken))
    }

    /// Installs, and uses what could be installed.
    fn run(&self, order: &Order<'_>) -> Result<(Reported, Option<Reported>), TrialError> {
        // A base environment is written to, so it is a tree of its own.
        let base = order.environment == "base";
        let source = if base { self.tree.copy(&format!("tree-{}", order.installer))? } else { self.tree.python() };
        let python = |readonly| Mount::Bind { source: source.clone(), readonly };
        let installed = report(&self.step("install", order, python(!base))?, self.launcher, self.cancel)?;
        let ok = |name: &str| installed.told.get(name).is_some_and(|told| told.word == Word::Ok);
        let packages: BTreeMap<&str, String> =
            order.packages.iter().filter(|(name, _)| ok(name)).map(|(name, pin)| (*name, pin.clone())).collect();
        if packages.is_empty() {
            return Ok((installed, None));
        }
        let order = Order { packages, ..*order };
        let used = report(&self.step("use", &order, python(true))?, self.launcher, self.cancel)?;
        Ok((installed, Some(used)))
    }

    fn step(&self, act: &str, order: &Order<'_>, python: Mount) -> Result<Step, TrialError> {
        let root = self.tree.directory("root")?;
        let work = self.tree.directory("work")?;
        let order = serde_json::to_string(order).expect("strings and maps of strings are JSON");
        let mut step = self.tree.step(&root, python, &["/trial/packages.py", act, &order], PATIENCE);
        // As a 64-bit machine shows itself to a 32-bit program: most that run one are, and installers must see through it.
        step.arch = Arch::X86_64;
        step.mounts.push(StepMount::new("/writable", Mount::Bind { source: work, readonly: false }));
        if act != "use" {
            step.network = Network::Host;
            step.env.retain(|variable| !variable.starts_with("HOME="));
            let own = [
                "HOME=/home",
                "PIP_CACHE_DIR=/writable/cache/pip",
                "PIP_NO_INPUT=1",
                "PIP_DISABLE_PIP_VERSION_CHECK=1",
            ];
            let uv = ["UV_CACHE_DIR=/writable/cache/uv", "UV_PYTHON_DOWNLOADS=never", "UV_NO_PROGRESS=1"];
            step.env.extend(own.into_iter().chain(uv).map(str::to_owned));
            step.env.extend(self.machine.variables.iter().cloned());
            step.mounts.extend(self.machine.files.iter().map(|(source, destination)| {
                StepMount::new(destination, Mount::Bind { source: source.clone(), readonly: true })
            }));
        }
        Ok(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(word: Word, detail: &str) -> Reported {
        let told = Told { word, detail: detail.to_owned() };
        Reported { told: [("numpy".to_owned(), told)].into(), broken: None }
    }

    #[test]
    fn the_list_is_pinned_for_every_series_that_it_knows() {
        let list = List::parse(LIST).expect("the list that is shipped");
        assert!(list.packages.len() >= 9 && list.pins.len() >= 4, "{list:?}");
        let requirements = |series| {
            list.packages.iter().map(|name| list.requirement(series, name).expect("pinned")).collect::<Vec<_>>()
        };
        assert!(requirements("3.11").contains(&"jinja2==3.1.6".to_owned()), "{:?}", requirements("3.11"));
        assert!(list.is_pinned("3.11", Arch::X86, "regex") && !list.is_pinned("3.11", Arch::X86, "numpy"));
        let refused = |text: &str, word: &str| {
            let why = List::parse(text).expect_err(word).to_string();
            assert!(why.contains(word), "{why}");
        };
        let pins = "uv = '1'\na = '1'\n";
        refused(&format!("packages = ['b']\n[pins.'3.11'.x86]\n{pins}"), "`b` is not pinned for 3.11");
        refused(&format!("packages = ['a']\n[pins.'3.11'.x86]\n{pins}"), "uv is not pinned for 3.11 on x86_64");
        refused(&format!("packages = ['a']\n[pins.'3.11'.arm]\n{pins}"), "`arm`");
        refused("package = ['a']\n[pins]\n", "unknown field");
    }

    #[test]
    fn no_wheel_is_a_failure_only_where_there_must_be_one() {
        let refused = reported(Word::None, "No matching distribution found");
        assert_eq!(judge("numpy", false, &refused, None).0, Verdict::Absent);
        assert_eq!(judge("numpy", true, &refused, None).0, Verdict::Failed);
        assert_eq!(judge("numpy", false, &reported(Word::Fail, "crashed"), None).0, Verdict::Failed);
        assert_eq!(judge("numpy", true, &reported(Word::Offline, "no route"), None).0, Verdict::Skipped);
    }

    #[test]
    fn what_is_installed_must_be_used_too() {
        let installed = reported(Word::Ok, "");
        assert_eq!(
            judge("numpy", true, &installed, Some(&reported(Word::Ok, "2.4"))),
            (Verdict::Works, "2.4".to_owned())
        );
        assert_eq!(judge("numpy", true, &installed, Some(&reported(Word::Fail, "no"))).0, Verdict::Failed);
        let crashed = Reported { told: BTreeMap::new(), broken: Some("signal 11".to_owned()) };
        assert_eq!(judge("numpy", true, &installed, Some(&crashed)), (Verdict::Failed, "signal 11".to_owned()));
        assert_eq!(judge("numpy", true, &installed, None).0, Verdict::Failed);
    }
}
