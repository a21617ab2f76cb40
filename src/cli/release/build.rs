//! The matrix: built, packed and tested, as many variants at a time as there are jobs.

use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::args::{Release, StageArg};
use super::finish::{Done, Finish};
use super::plan::{cells, check_place};
use crate::cli::engine::Solvers;
use crate::cli::failure::Failure;
use crate::cli::forge::now;
use crate::cli::progress::View;
use crate::cli::session::{Inside, Session};
use crate::cli::tag::{checkout, commit_of_recipes};
use crate::dist::{Description, FORMAT, VariantFacts, VariantOutcome};
use crate::progress::{Event, Phase, Progress as _};
use crate::recipe::Profile;
use crate::release::{self, Built, Cell, Ended, Maker, Pace, Product, Tester, VariantError};
use crate::sandbox::Cancel;

/// What is released.
const NAME: &str = "standalone-python";

/// Builds the matrix, tests it unless only the first stage is asked for, and leaves a directory.
pub(in crate::cli) fn build(
    session: &Session<'_>,
    args: &Release,
    inside: Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    args.check()?;
    let (began, started) = (Instant::now(), now());
    let project = session.project()?;
    check_place(&args.place())?;
    let solvers = Solvers::open(session, inside, (&args.caches, &args.limits), view)?;
    let (engine, daemons) = (&solvers.local, solvers.daemons.as_ref());
    let epoch = session.epoch(&project);
    let cells = cells(session, args, &project, view)?;
    let finish = Finish::new(session, args, view)?;
    let checkout = checkout(&project.root)?;
    let commit = commit_of_recipes(checkout.as_ref(), view);
    let maker =
        Maker { checkout, project: &project, engine, daemons, epoch, full: args.full, began, several: cells.len() > 1 };
    // Steps of daemons take their room.
    if daemons.is_none() {
        maker.check_room(&cells, &args.place())?;
    }
    let tester = Tester { store: &engine.store, launcher: &engine.launcher, jobs: &engine.jobs, began };
    let tester = (args.stage != Some(StageArg::Build)).then_some(tester);
    let made: Vec<Mutex<Option<Built>>> = cells.iter().map(|_| Mutex::new(None)).collect();
    for cell in &cells {
        view.event(&Event::Variant { name: &cell.title(), phase: Phase::Waiting });
    }
    let act = |index: usize, switch: &Cancel| {
        let cell = &cells[index];
        let mut built = maker.build(cell, switch, view);
        let result = match built.failure.take() {
            Some(failure) => Err(failure),
            None => tester.map_or(Ok(()), |tester| tester.test(&cell.title(), &mut built.product, switch, view)),
        };
        *made[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(built);
        result
    };
    let ended = |index: usize, end: &Ended<_, _>| {
        view.event(&Event::Variant { name: &cells[index].title(), phase: end.phase() });
    };
    // A variant at each daemon costs nothing here while it is built.
    let lanes = daemons
        .and_then(|daemons| NonZeroUsize::new(daemons.count()))
        .map_or(session.jobs(), |at_least| session.jobs().max(at_least));
    let pace = Pace { lanes, keep_going: args.keep_going, timeout: args.timeout };
    let ends = release::each(cells.len(), pace, &engine.cancel, act, ended)?;
    let made = made.into_iter().map(|built| built.into_inner().unwrap_or_else(PoisonError::into_inner));
    let (mut all, mut solved) = (Vec::new(), Vec::new());
    for ((cell, end), built) in cells.iter().zip(ends).zip(made) {
        let (done, of) = one(cell, end, built, args);
        all.push(done);
        solved.extend(of);
    }
    // Also of what failed: the next job begins where this one ended.
    solvers.leave(session, &args.caches, &solved.iter().collect::<Vec<_>>(), view);
    let first = cells.first().map(|cell| cell.profile);
    let same = first.filter(|first| cells.iter().all(|cell| cell.profile == *first));
    let description = Description {
        format: FORMAT,
        name: Some(NAME.to_owned()),
        commit,
        started: jiff::Timestamp::from_second(started).ok().map(|time| time.to_string()),
        seconds: Some((began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0),
        profile: same.map(|profile: Profile| profile.name().to_owned()),
        ..Description::default()
    };
    finish.directory(&description, all, &engine.cancel)
}

/// Returns what became of one cell, and what was solved for it.
fn one(
    cell: &Cell,
    end: Ended<(), VariantError>,
    built: Option<Built>,
    args: &Release,
) -> (Done, Vec<crate::solver::Solved>) {
    let title = cell.title();
    let facts = VariantFacts {
        version: cell.variant.version.clone(),
        arch: cell.variant.arch.name().to_owned(),
        outcome: VariantOutcome::Skipped,
        ..VariantFacts::default()
    };
    let not_begun = Product { facts: facts.clone(), ..Product::default() };
    let (product, solved, unfinished) = built
        .map_or_else(|| (not_begun, Vec::new(), Vec::new()), |built| (built.product, built.solved, built.unfinished));
    let done = match end {
        Ended::Passed(()) => Done { title, product, failure: None },
        // What was done for it is in the store, and is told when it is done.
        Ended::Skipped => Done { title, product: Product { facts, ..Product::default() }, failure: None },
        Ended::Failed(error) => Done::failed(title, product, Failure::from(error)),
        Ended::TimedOut(_) => {
            let failure = Failure::VariantTime { timeout: args.timeout, running: unfinished };
            Done::failed(title, product, failure)
        }
    };
    (done, solved)
}
