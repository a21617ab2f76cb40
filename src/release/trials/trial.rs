//! One cell of a table: a subject (a root, a package) by an aspect, and how a script of ours reported it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::error::TrialError;
use super::tree::Tree;
use crate::oci::{Arch, Digest};
use crate::sandbox::{Cancel, Launcher, Step};

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it must be.
    Works,
    /// There is nothing to try, and whoever was asked for it said so: no wheel of a package for an architecture.
    Absent,
    /// Not as it must be.
    Failed,
    /// It could not be tried here; the detail says why.
    Skipped,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What it is about: a root, a package. The table's rows.
    pub subject: String,
    /// Which side of it. The table's columns.
    pub aspect: String,
    /// How it ended.
    pub verdict: Verdict,
    /// A version, a place, or what went wrong.
    pub detail: String,
}

/// A table of trials of one tarball.
#[derive(Debug, Clone)]
pub struct Trials {
    /// What the table is of: `roots`, `packages`.
    pub of: &'static str,
    /// SHA-256 of the tarball.
    pub digest: Digest,
    /// Version of the Python in it, `3.11.2`.
    pub version: String,
    /// Architecture of the Python in it.
    pub arch: Arch,
    /// Every trial, in order.
    pub trials: Vec<Trial>,
    /// Wall time of all.
    pub elapsed: Duration,
}

impl Trials {
    /// Starts an empty table about the Python in `tree`.
    pub(super) fn new(of: &'static str, tree: &Tree) -> Self {
        let (digest, version, arch) = (tree.digest, tree.version.clone(), tree.arch);
        Self { of, digest, version, arch, trials: Vec::new(), elapsed: Duration::ZERO }
    }

    /// Returns how many ended in a way.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.trials.iter().filter(|trial| trial.verdict == verdict).count()
    }

    /// Tells whether none failed.
    pub fn passed(&self) -> bool {
        self.count(Verdict::Failed) == 0
    }
}

impl Trial {
    pub(super) fn new(subject: &str, aspect: &str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { subject: subject.to_owned(), aspect: aspect.to_owned(), verdict, detail: detail.into() }
    }
}

/// What a script reported of one thing: `WORD<TAB>name<TAB>detail`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) word: Word,
    pub(super) detail: String,
}

/// First words of a script's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// `ok`
    Ok,
    /// `FAIL`
    Fail,
    /// `skip`: this place lacks what it is about.
    Skip,
    /// `none`: the index has nothing that fits.
    None,
    /// `offline`: no index answered.
    Offline,
}

/// What a script reported, by name, and what ended it where it did not end well.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) told: BTreeMap<String, Told>,
    /// Set when the script did not end with code 0: how it ended and its last lines.
    pub(super) broken: Option<String>,
}

/// Runs a script that reports and reads what it says.
pub(super) fn report(step: &Step, launcher: &Launcher, cancel: &Cancel) -> Result<Reported, TrialError> {
    let mut output = Vec::new();
    let exit = launcher.run(step, cancel, &mut |data| output.extend_from_slice(data))?;
    let text = String::from_utf8_lossy(&output);
    let told: BTreeMap<String, Told> = text.lines().filter_map(line).collect();
    let broken = (!exit.success()).then(|| {
        let rest: Vec<&str> = text.lines().filter(|text| line(text).is_none()).collect();
        format!("{exit}: {}", rest[rest.len().saturating_sub(3)..].join(" / "))
    });
    Ok(Reported { told, broken })
}

/// Reads a line of a script; other output is no report.
fn line(text: &str) -> Option<(String, Told)> {
    let mut fields = text.splitn(3, '\t');
    let word = match fields.next()? {
        "ok" => Word::Ok,
        "FAIL" => Word::Fail,
        "skip" => Word::Skip,
        "none" => Word::None,
        "offline" => Word::Offline,
        _ => return None,
    };
    let name = fields.next()?.to_owned();
    Some((name, Told { word, detail: fields.next()?.trim().to_owned() }))
}

/// Sets the time that a table took.
pub(super) fn timed(trials: Trials, start: Instant) -> Trials {
    Trials { elapsed: start.elapsed(), ..trials }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_s_lines_are_read_and_other_output_is_not() {
        let told = |word, detail: &str| Told { word, detail: detail.to_owned() };
        assert_eq!(line("ok\tTLS\t"), Some(("TLS".to_owned(), told(Word::Ok, ""))));
        assert_eq!(line("none\tnumpy\tERROR: a\tb"), Some(("numpy".to_owned(), told(Word::None, "ERROR: a\tb"))));
        for other in ["", "ok", "ok\tname", "okay\ta\tb", "WARNING: ok\ta\tb", "OK\ta\tb"] {
            assert_eq!(line(other), None, "{other:?}");
        }
    }
}
