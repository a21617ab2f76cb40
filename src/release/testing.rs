//! A product is tested: each of its tarballs, once for all runs that share a store.

use std::time::Instant;

use super::product::Product;
use super::prove::{Outcome, Row};
use super::proven::{prove_and_remember, proven, tests};
use super::variant::VariantError;
use crate::build::BuildError;
use crate::dist;
use crate::progress::{Event, Phase, Progress};
use crate::sandbox::{Cancel, Launcher};
use crate::solver::{Jobs, SolveError};
use crate::store::Store;

/// What tests work with.
#[derive(Debug, Clone, Copy)]
pub struct Tester<'a> {
    /// Remembers what passed.
    pub store: &'a Store,
    /// Runs what is tested.
    pub launcher: &'a Launcher,
    /// The jobs of the whole run: a tarball that is tested has one.
    pub jobs: &'a Jobs,
    /// When the run began.
    pub began: Instant,
}

impl Tester<'_> {
    /// Tests all tarballs of a product, which is called `title`, and puts into its facts what they showed.
    ///
    /// # Errors
    /// `Unproven`, `Proof`, `Store`, `Build` where `cancel` ends it.
    pub fn test(
        &self,
        title: &str,
        product: &mut Product,
        cancel: &Cancel,
        told: &dyn Progress,
    ) -> Result<(), VariantError> {
        let note = |message: String| told.event(&Event::Note { message: &message });
        told.event(&Event::Variant { name: title, phase: Phase::Testing });
        let (since, started) = (Instant::now(), self.began.elapsed().as_secs_f64());
        let mut all = Vec::new();
        let tarballs: Vec<_> =
            product.tarballs().map(|(name, path, digest)| (name.to_owned(), path.clone(), *digest)).collect();
        for (name, path, digest) in tarballs {
            let rows = if let Some(rows) = proven(self.store, &digest)? {
                note(format!("{name} passed its tests before"));
                rows
            } else {
                let token = self.jobs.take(|| cancel.is_cancelled())?;
                let _token = token.ok_or_else(|| BuildError::from(SolveError::Cancelled))?;
                note(format!("testing {name}"));
                let proof = prove_and_remember(self.store, &path, self.launcher, cancel)?;
                if cancel.is_cancelled() {
                    return Err(BuildError::from(SolveError::Cancelled).into());
                }
                if !proof.passed() {
                    return Err(VariantError::Unproven { name, proof: Box::new(proof) });
                }
                proof.rows
            };
            note(format!("{name}: {}", summed_up(&rows)));
            let found = tests(self.store, &digest, &rows)?;
            for test in found.iter().filter(|test| test.outcome == "skipped") {
                note(format!("{name}: {} skipped: {}", test.name, test.note.as_deref().unwrap_or_default()));
            }
            let is_main = product.facts.tarball.as_ref() == Some(&name);
            let named = |test: dist::Test| {
                if is_main { test } else { dist::Test { name: format!("{name}: {}", test.name), ..test } }
            };
            all.extend(found.into_iter().map(named));
        }
        let facts = &mut product.facts;
        let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
        let seconds = round(since.elapsed().as_secs_f64());
        let name = "testing".to_owned();
        facts.steps.push(dist::Step { name, started: round(started), seconds, cached: false });
        facts.seconds = Some(round(facts.seconds.unwrap_or_default() + seconds));
        facts.tests = all;
        Ok(())
    }
}

fn summed_up(rows: &[Row]) -> String {
    let count = |outcome| rows.iter().filter(|row| row.outcome == outcome).count();
    let passed = count(Outcome::Passed) + count(Outcome::Noticed);
    match count(Outcome::Skipped) {
        0 => format!("{passed} checks passed"),
        skipped => format!("{passed} checks passed, {skipped} skipped"),
    }
}
