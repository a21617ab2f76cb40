//! Proofs that are remembered: the same bytes are not tested twice by the same tests.

use std::path::Path;

use super::prove::{Outcome, Proof, ProofError, Row, edition, prove};
use crate::dist::Test;
use crate::oci::Digest;
use crate::sandbox::{Cancel, Launcher};
use crate::store::{Store, StoreError};

/// Room of the store that remembers which tarballs passed.
const RECORDS: &str = "proofs";

/// Room of the store that remembers which tarballs passed CPython's test suite, with the rows.
const SUITES: &str = "suites";

fn key(digest: &Digest) -> String {
    format!("{}-{}", digest.hex(), edition().hex())
}

/// Returns what a tarball of these bytes showed when it passed before; `None` where it did not.
///
/// # Errors
/// `Io`.
pub fn proven(store: &Store, digest: &Digest) -> Result<Option<Vec<Row>>, StoreError> {
    let record = store.get_record(RECORDS, &key(digest))?;
    Ok(record.and_then(|record| serde_json::from_slice(&record).ok()))
}

/// Why a tarball is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// It could not be tried.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Proves a tarball, and remembers it where it passes.
///
/// # Errors
/// `Proof`, `Store`; a check that fails is a row.
pub fn prove_and_remember(
    store: &Store,
    tarball: &Path,
    launcher: &Launcher,
    cancel: &Cancel,
) -> Result<Proof, ProveError> {
    let proof = prove(tarball, launcher, cancel)?;
    if proof.passed() && !cancel.is_cancelled() {
        let rows = serde_json::to_vec(&proof.rows).expect("rows are JSON");
        store.put_record(RECORDS, &key(&proof.digest), &rows)?;
    }
    Ok(proof)
}

/// Remembers that a tarball passed CPython's own test suite.
///
/// # Errors
/// `Io`.
pub fn remember_suite(store: &Store, digest: &Digest, rows: &[Row]) -> Result<(), StoreError> {
    store.put_record(SUITES, &digest.hex(), &serde_json::to_vec(rows).expect("rows are JSON"))
}

/// What CPython's own test suite is called in release.json.
const SUITE: &str = "CPython's test suite";

/// The gates that are not part of every proof: what they are called, and how they are run.
const GATES: [(&str, &str); 3] = [
    (SUITE, "dockless test --suite, on the -full tarball"),
    ("other systems", "dockless test --roots"),
    ("real packages", "dockless test --packages"),
];

/// Returns what release.json says of the tests of a tarball: every check, and the gates that were not run.
///
/// # Errors
/// `Io`.
pub fn tests(store: &Store, digest: &Digest, rows: &[Row]) -> Result<Vec<Test>, StoreError> {
    let outcome = |outcome: Outcome| match outcome {
        Outcome::Passed | Outcome::Noticed => "passed",
        Outcome::Failed => "failed",
        Outcome::Skipped => "skipped",
    };
    let test = |row: &Row| Test {
        name: format!("{}: {}", row.group, row.name),
        outcome: outcome(row.outcome).to_owned(),
        note: Some(row.detail.clone()).filter(|detail| !detail.is_empty()),
    };
    let mut tests: Vec<Test> = rows.iter().map(test).collect();
    let suite = store.get_record(SUITES, &digest.hex())?;
    let suite: Option<Vec<Row>> = suite.and_then(|rows| serde_json::from_slice(&rows).ok());
    for (name, how) in GATES {
        let counted = suite.as_ref().filter(|_| name == SUITE).map(|rows| {
            let told = rows.iter().filter(|row| matches!(row.name.as_str(), "files" | "cases" | "expected failures"));
            told.map(|row| format!("{} {}", row.name, row.detail)).collect::<Vec<_>>().join("; ")
        });
        tests.push(match counted {
            Some(note) => Test { name: name.to_owned(), outcome: "passed".to_owned(), note: Some(note) },
            None => {
                Test { name: name.to_owned(), outcome: "skipped".to_owned(), note: Some(format!("not run: {how}")) }
            }
        });
    }
    Ok(tests)
}
