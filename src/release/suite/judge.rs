//! What ran, compared with what was expected.

use std::collections::BTreeMap;

use super::super::prove::{Outcome, Row};
use super::expected::Expectation;
use super::report::{FileReport, Report};

/// Group of all rows.
pub(super) const GROUP: &str = "suite";

/// Returns names of files in which something failed that no list has: methods, or the file as a whole.
pub fn unexpected(report: &Report, expected: &[&Expectation]) -> Vec<String> {
    let mut names: Vec<String> =
        report.files.iter().filter(|file| !faults(file, expected).is_empty()).map(|file| file.test.clone()).collect();
    names.sort();
    names
}

/// Judges a run. `complete` says that all files ran; else nothing is said of those that did not.
pub fn judge(report: &Report, expected: &[&Expectation], complete: bool) -> Vec<Row> {
    let files: BTreeMap<&str, &FileReport> = report.files.iter().map(|file| (file.test.as_str(), file)).collect();
    let mut rows = vec![files_row(report), cases_row(report)];
    let absent = report.files.iter().filter_map(|file| Some((file, file.absent.as_ref()?)));
    rows.extend(absent.map(|(file, why)| row(&file.test, Outcome::Skipped, why)));
    let mut held = 0;
    for entry in expected {
        match files.get(entry.test.as_str()) {
            Some(file) => {
                let (failed, told) = look(entry, file);
                held += failed;
                rows.extend(told);
            }
            None if !report.known.contains(&entry.test) => {
                rows.push(row(&entry.test, Outcome::Failed, "is expected to fail, but there is no such test file"));
            }
            None if complete => rows.push(row(&entry.test, Outcome::Failed, "is expected to fail, but did not run")),
            None => {}
        }
    }
    rows.push(row("expected failures", Outcome::Passed, &format!("{held}, from {} entries", expected.len())));
    if complete {
        let lost = report.known.iter().filter(|name| !files.contains_key(name.as_str()));
        rows.extend(lost.map(|name| row(name, Outcome::Failed, "did not run")));
    }
    let mut all: Vec<(String, String)> = files.values().flat_map(|file| faults(file, expected)).collect();
    all.sort();
    rows.extend(all.into_iter().map(|(name, why)| row(&name, Outcome::Failed, &why)));
    rows
}

/// What failed in a file against expectation: methods by their names, or the file by its own.
fn faults(file: &FileReport, expected: &[&Expectation]) -> Vec<(String, String)> {
    let of_file = || expected.iter().filter(|entry| entry.test == file.test);
    if of_file().any(|entry| entry.cases.is_empty()) {
        return Vec::new();
    }
    let known = |case: &String| of_file().any(|entry| entry.cases.contains(case));
    let mut faults: Vec<(String, String)> = file
        .failed
        .iter()
        .filter(|(case, _)| !known(case))
        .map(|(case, trace)| (case.clone(), error_line(trace).to_owned()))
        .collect();
    if let Some(ended) = &file.ended
        && (file.failed.is_empty() || died(ended))
    {
        faults.push((file.test.clone(), format!("{ended}: {}", last_lines(&file.said))));
    }
    faults
}

/// A process that was killed or that regrtest gave up has not run all its methods, whatever failed before.
fn died(ended: &str) -> bool {
    ended != "exit code 2"
}

/// Looks what became of an entry: how many of its methods failed as expected, and what there is to say.
fn look(entry: &Expectation, file: &FileReport) -> (usize, Vec<Row>) {
    if entry.cases.is_empty() {
        let passes = !file.is_failed() && file.absent.is_none() && !entry.unsteady;
        let notice = passes.then(|| row(&file.test, Outcome::Noticed, &format!("passes; expected: {}", entry.reason)));
        return (usize::from(file.is_failed()), notice.into_iter().collect());
    }
    let mut failed = 0;
    let mut rows = Vec::new();
    for case in &entry.cases {
        if file.failed.contains_key(case) {
            failed += 1;
        } else if file.passed.contains(case) {
            if !entry.unsteady {
                rows.push(row(case, Outcome::Noticed, &format!("passes; expected: {}", entry.reason)));
            }
        } else if !file.skipped.contains_key(case)
            && file.absent.is_none()
            && file.ended.as_deref().is_none_or(|ended| !died(ended))
        {
            rows.push(row(case, Outcome::Failed, "is expected to fail, but there is no such test"));
        }
    }
    (failed, rows)
}

fn files_row(report: &Report) -> Row {
    let count = |tell: fn(&FileReport) -> bool| report.files.iter().filter(|file| tell(file)).count();
    let absent = count(|file| file.absent.is_some());
    let failed = count(FileReport::is_failed);
    let ran = report.files.len() - absent;
    let detail = format!("{ran} ran, {} passed, {failed} failed, {absent} skipped", ran - failed);
    row("files", Outcome::Passed, &detail)
}

fn cases_row(report: &Report) -> Row {
    let sum = |count: fn(&FileReport) -> usize| report.files.iter().map(count).sum::<usize>();
    let (passed, failed) = (sum(|file| file.passed.len()), sum(|file| file.failed.len()));
    let skipped = sum(|file| file.skipped.len());
    let all = passed + failed + skipped;
    row("cases", Outcome::Passed, &format!("{all}: {passed} passed, {failed} failed, {skipped} skipped"))
}

pub(super) fn row(name: &str, outcome: Outcome, detail: &str) -> Row {
    let (group, name) = (GROUP.to_owned(), name.to_owned());
    Row { group, name, outcome, detail: detail.to_owned(), elapsed: None }
}

/// The line of a trace that names the error, or its last one.
fn error_line(trace: &str) -> &str {
    let names =
        |line: &&str| !line.starts_with(' ') && line.split(':').next().is_some_and(|name| name.ends_with("Error"));
    let lines = || trace.lines().rev().filter(|line| !line.trim().is_empty());
    lines().find(names).or_else(|| lines().next()).unwrap_or_default()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}
