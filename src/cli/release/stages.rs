//! Stages that take directories: test, package, release.

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::args::{Release, StageArg};
use super::finish::{Done, Finish};
use super::plan::check_place;
use crate::cli::failure::Failure;
use crate::cli::progress::View;
use crate::cli::session::{Inside, Session};
use crate::dist::{Stage, VariantOutcome};
use crate::progress::{Event, Progress as _};
use crate::release::{self, Ended, Pace, Product, Tester};
use crate::sandbox::Cancel;
use crate::solver::{Jobs, SolveError};

/// Tests what was built elsewhere.
pub(in crate::cli) fn test(
    session: &Session<'_>,
    args: &Release,
    inside: &Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    args.check()?;
    check_place(&args.place())?;
    let began = Instant::now();
    let finish = Finish::new(session, args, view)?;
    let (description, products) = release::join(&args.roots(Stage::Build), Stage::Build).map_err(join_error)?;
    let store = session.store()?;
    let launcher = inside.launcher(|| Ok(store.temporary_directory()?.keep()))?;
    let jobs = Jobs::new(session.jobs()).map_err(SolveError::from).map_err(crate::build::BuildError::from)?;
    let tester = Tester { store: &store, launcher: &launcher, jobs: &jobs, began };
    let products: Vec<Mutex<Product>> = products.into_iter().map(Mutex::new).collect();
    let titles: Vec<String> = products.iter().map(|product| title(&lock(product))).collect();
    let act = |index: usize, switch: &Cancel| {
        let mut product = lock(&products[index]);
        if product.facts.outcome != VariantOutcome::Passed {
            return Ok(());
        }
        tester.test(&titles[index], &mut product, switch, view)
    };
    let ended = |index: usize, end: &Ended<_, _>| {
        view.event(&Event::Variant { name: &titles[index], phase: end.phase() });
    };
    let pace = Pace { lanes: session.jobs(), keep_going: args.keep_going, timeout: args.timeout };
    let ends = release::each(products.len(), pace, &inside.cancel, act, ended)?;
    let products = products.into_iter().map(|product| product.into_inner().unwrap_or_else(PoisonError::into_inner));
    let all = products.zip(ends).map(|(mut product, end)| {
        let title = title(&product);
        match end {
            Ended::Passed(()) => Done { title, product, failure: None },
            Ended::Skipped => {
                product.fail("it was not tested, because another failed".to_owned());
                product.facts.outcome = VariantOutcome::Skipped;
                Done { title, product, failure: None }
            }
            Ended::Failed(error) => Done::failed(title, product, error.into()),
            Ended::TimedOut(_) => {
                let failure = Failure::VariantTime { timeout: args.timeout, running: vec!["its tests".to_owned()] };
                Done::failed(title, product, failure)
            }
        }
    });
    finish.directory(&description, all.collect(), &inside.cancel)
}

/// Takes tested variants on to a package, or packages to a release: nothing is run.
pub(in crate::cli) fn join(session: &Session<'_>, args: &Release, view: &View) -> Result<ExitCode, Failure> {
    args.check()?;
    check_place(&args.place())?;
    let finish = Finish::new(session, args, view)?;
    let takes = args.stage.and_then(StageArg::takes).unwrap_or(Stage::Package);
    let (description, products) = release::join(&args.roots(takes), takes).map_err(join_error)?;
    let done = |product| Done { title: title(&product), product, failure: None };
    finish.directory(&description, products.into_iter().map(done).collect(), &Cancel::new()?)
}

fn lock(product: &Mutex<Product>) -> std::sync::MutexGuard<'_, Product> {
    product.lock().unwrap_or_else(PoisonError::into_inner)
}

fn title(product: &Product) -> String {
    format!("{}-{}", product.facts.version, product.facts.arch)
}

fn join_error(error: release::JoinError) -> Failure {
    Failure::Assemble(error.into())
}
