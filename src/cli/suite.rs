//! `dockless test --suite`: its options, and where its report goes.

use std::path::PathBuf;

use super::args;
use super::command::println;
use super::failure::Failure;
use super::progress::View;
use super::proof;
use super::session::{Inside, Session, stop};
use crate::release::{self, Place};
use crate::sandbox::Launcher;
use crate::source::Origins;

/// The test suite of CPython.
#[derive(Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    /// Runs CPython's own test suite instead, with -j files at once: for -full tarballs; wants the project for its root
    /// filesystem and for `tests/cpython/`, the lists of what is expected to fail; takes a quarter of an hour and more
    #[arg(long)]
    pub(super) suite: bool,
    /// Only these files of the suite, such as `test_ssl`
    #[arg(long, value_name = "TEST", requires = "suite", value_delimiter = ',')]
    only: Vec<String>,
    /// Writes what each file of the suite did, one JSON object a line
    #[arg(long, value_name = "FILE", requires = "suite")]
    suite_report: Option<PathBuf>,
}

/// Runs the suite of each tarball; tells whether all passed.
pub(super) fn try_all(
    session: &Session<'_>,
    args: &args::Test,
    (inside, launcher): (&Inside, &Launcher),
    view: &View,
) -> Result<bool, Failure> {
    let project = session.project()?;
    let store = session.store()?;
    let origins = Origins { stop: stop(&inside.cancel), ..session.origins()? };
    let place = Place {
        lists: &project.root.join("tests/cpython"),
        rootfs: &project.rootfs,
        store: &store,
        origins: &origins,
        jobs: session.jobs(),
        single_id: inside.single_id,
    };
    let mut passed = true;
    let mut lines = String::new();
    for tarball in &args.tarballs {
        let suite = release::suite(tarball, &args.suite.only, &place, (launcher, &inside.cancel), view)?;
        for file in &suite.report.files {
            lines.push_str(&serde_json::to_string(file).expect("a report is JSON"));
            lines.push('\n');
        }
        view.suspend(|| println(&proof::render(tarball, &suite.proof)))?;
        passed &= suite.proof.passed();
        if args.suite.only.is_empty() && suite.proof.passed() {
            for digest in &suite.of {
                release::remember_suite(&store, digest, &suite.proof.rows)?;
            }
        }
    }
    if let Some(path) = &args.suite.suite_report {
        std::fs::write(path, lines).map_err(|source| Failure::Io { action: "write", path: path.clone(), source })?;
    }
    Ok(passed)
}
