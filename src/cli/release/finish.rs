//! What came of the matrix becomes a directory, a report and an exit code.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::{Release, StageArg};
use crate::build::BuildError;
use crate::cli::command::{columns, println};
use crate::cli::describe::previous;
use crate::cli::failure::Failure;
use crate::cli::forge::read;
use crate::cli::progress::{Style, View};
use crate::cli::report::{Exit, Report};
use crate::cli::session::{Session, variable};
use crate::cli::sign::Signing;
use crate::dist::{Description, Stage, VariantOutcome};
use crate::progress::{Event, Progress as _};
use crate::release::{self, AssembleError, Product, Words};
use crate::sandbox::Cancel;
use crate::solver::SolveError;
use crate::summary::NotesError;

/// What became of one variant.
pub(super) struct Done {
    /// Its name for people.
    pub(super) title: String,
    /// Its facts and files.
    pub(super) product: Product,
    /// Why it failed, if it did.
    pub(super) failure: Option<Failure>,
}

impl Done {
    /// A variant that failed: its facts say why.
    pub(super) fn failed(title: String, mut product: Product, failure: Failure) -> Self {
        product.fail(failure.line());
        Self { title, product, failure: Some(failure) }
    }
}

/// Leaves the directory of a run.
pub(super) struct Finish<'a> {
    session: &'a Session<'a>,
    args: &'a Release,
    view: &'a View,
    place: PathBuf,
    /// The text of the template, read before anything is built.
    template: Option<String>,
    /// What signs, tried before anything is built.
    signing: Signing,
}

impl<'a> Finish<'a> {
    pub(super) fn new(session: &'a Session<'a>, args: &'a Release, view: &'a View) -> Result<Self, Failure> {
        let template = args.template.as_deref().map(read).transpose()?;
        if let Some(template) = &template {
            // A mistake in it is told now, not after hours.
            crate::summary::notes(&Description::default(), &[], None, Some(template))
                .map_err(|error| wrong_template(&error))?;
        }
        let signing = if args.ends() { args.signing.check(view)? } else { Signing::default() };
        let finish = Self { session, args, view, place: args.place(), template, signing };
        finish.previous(&Description::default())?;
        Ok(finish)
    }

    fn previous(&self, release: &Description) -> Result<Option<crate::summary::Previous>, Failure> {
        Ok(self.args.previous.as_deref().map(|path| previous(self.session, path, release)).transpose()?.flatten())
    }

    /// Leaves what can be left of `all`, and tells the rest.
    pub(super) fn directory(
        &self,
        description: &Description,
        all: Vec<Done>,
        cancel: &Cancel,
    ) -> Result<ExitCode, Failure> {
        let mut failures: Vec<(String, Failure)> = Vec::new();
        let mut products = Vec::new();
        for Done { title, product, failure } in all {
            failures.extend(failure.map(|failure| (title, failure)));
            products.push(product);
        }
        // Whoever interrupts wants no directory of what was done until then, but to go on later.
        if cancel.is_cancelled() {
            return Err(BuildError::from(SolveError::Cancelled).into());
        }
        let passed = products.iter().filter(|product| product.facts.outcome == VariantOutcome::Passed).count();
        if !failures.is_empty() && (!self.args.keep_going || passed == 0) {
            // That logs cannot be left must not hide what they are about.
            let logs = release::failed(&self.place, description, &products);
            if let Err(error) = &logs {
                let message = format!("logs could not be left: {}", Report::of(Exit::Machine, error).line());
                self.view.event(&Event::Note { message: &message });
            }
            return Err(self.end(failures, products.len(), logs.ok().as_deref(), true));
        }
        let stage = match self.args.stage {
            None | Some(StageArg::Release) => None,
            Some(StageArg::Build) => Some(Stage::Build),
            Some(StageArg::Test) => Some(Stage::Test),
            Some(StageArg::Package) => Some(Stage::Package),
        };
        match stage {
            Some(stage) => release::stage(&self.place, stage, description, &products)?,
            None => self.release(description, &products)?,
        }
        release::forget_failed(&self.place)?;
        for (name, digest, size) in products.iter().filter_map(tarball) {
            self.view.event(&Event::Note { message: &format!("{name}: {size} bytes, {digest}") });
        }
        let tarballs = products.iter().flat_map(Product::tarballs);
        let paths: Vec<String> = tarballs.map(|(name, _, _)| self.place.join(name).display().to_string()).collect();
        self.view.suspend(|| paths.iter().try_for_each(|path| println(path)))?;
        if failures.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        Err(self.end(failures, products.len(), None, false))
    }

    fn release(&self, description: &Description, products: &[Product]) -> Result<(), Failure> {
        let tag = self.args.tag.clone().or_else(|| description.tag.clone());
        let description = Description { tag, ..description.clone() };
        let previous = self.previous(&description)?;
        let words = Words { previous, template: self.template.clone(), signed: self.signing.by_gpg() };
        if !self.signing.is_asked() && crate::sign::is_signed(&self.place) {
            let place = self.place.display();
            let message =
                format!("`{place}` was signed, and what replaces it is not: `dockless sign {place}` signs it");
            self.view.event(&Event::Note { message: &message });
        }
        // Of everything that is in the directory, before anybody sees it.
        let seal = |staged: &Path| -> Result<(), Failure> {
            if self.signing.is_asked() {
                self.signing.sign(staged, false, self.view)?;
            }
            Ok(())
        };
        release::release(&self.place, &description, products, &words, seal)?;
        Ok(())
    }

    /// Returns how a run ends in which some failed; all but the last that is told of are told here.
    fn end(&self, mut failures: Vec<(String, Failure)>, all: usize, logs: Option<&Path>, nothing: bool) -> Failure {
        let mut rest = Vec::new();
        if let Some(logs) = logs {
            rest.push(format!("logs and a report are in `{}`; run the same command again to go on", logs.display()));
        }
        if failures.len() == 1 && nothing {
            let (title, failure) = failures.remove(0);
            let title = (all > 1).then_some(title);
            return Failure::Variant { title, failure: Box::new(failure), rest };
        }
        let titles: Vec<String> = failures.iter().map(|(title, _)| title.clone()).collect();
        for (title, failure) in failures {
            let failure = Failure::Variant { title: Some(title), failure: Box::new(failure), rest: Vec::new() };
            let report = failure.report();
            let style = Style::of(variable);
            self.view.suspend(|| report.show(style, columns()));
        }
        if !nothing {
            rest.push(format!("`{}` has the others; run the same command again to go on", self.place.display()));
        }
        Failure::Variants { failed: titles, all, rest }
    }
}

fn tarball(product: &Product) -> Option<(&String, crate::oci::Digest, u64)> {
    let facts = &product.facts;
    Some((facts.tarball.as_ref()?, facts.sha256?, facts.size?))
}

fn wrong_template(error: &NotesError) -> Failure {
    Failure::Usage { message: error.to_string() }
}

impl From<AssembleError> for Failure {
    fn from(error: AssembleError) -> Self {
        match error {
            AssembleError::Notes(error) => wrong_template(&error),
            error => Self::Assemble(error),
        }
    }
}
