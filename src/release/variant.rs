//! One variant: built, packed, described.

use std::path::Path;
use std::time::Instant;

use super::facts;
use super::package::{Artifact, ReleaseError, Variant, package};
use super::product::{Bytes, Product};
use super::proven::ProveError;
use super::recorder::Recorder;
use super::{Proof, ProofError};
use crate::attest::{self, Asked, AttestError, Document, Format, Input, Kind};
use crate::build::{BuildError, Corridor, Project, inputs};
use crate::engine::{Daemons, Embedded, Engine};
use crate::llb::Graph;
use crate::oci::Digest;
use crate::progress::{Event, Phase, Progress};
use crate::recipe::{Lowered, Profile, Request};
use crate::sandbox::Cancel;
use crate::snapshot::SnapshotError;
use crate::solver::{JobsError, SolveError, Solved};
use crate::store::StoreError;

/// One cell of the matrix and how it is built.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Which one.
    pub variant: Variant,
    /// What its files are called, without their endings.
    pub name: String,
    /// How much its build may cost.
    pub profile: Profile,
}

impl Cell {
    /// Returns its name for people: `3.12-x86_64`.
    pub fn title(&self) -> String {
        self.variant.to_string()
    }
}

/// Why a variant failed.
#[derive(Debug, thiserror::Error)]
pub enum VariantError {
    /// It could not be built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It could not be packed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// Its tree could not be read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// It could not be described.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// It could not be tested.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// It was tested and did not pass.
    #[error("`{name}` did not pass its tests")]
    Unproven {
        /// The tarball.
        name: String,
        /// What it showed.
        proof: Box<Proof>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<JobsError> for VariantError {
    fn from(error: JobsError) -> Self {
        Self::Build(SolveError::from(error).into())
    }
}

impl From<ProveError> for VariantError {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Proof(error) => error.into(),
            ProveError::Store(error) => error.into(),
        }
    }
}

/// What all variants of a run share.
#[derive(Debug)]
pub struct Maker<'a> {
    /// The recipes.
    pub project: &'a Project,
    /// Who builds; its jobs are those of everything.
    pub engine: &'a Embedded,
    /// Who solves in its place.
    pub daemons: Option<&'a Daemons>,
    /// `SOURCE_DATE_EPOCH` in seconds since 1970.
    pub epoch: u64,
    /// The commit that the recipes are of, where git knows it, and whether they differ from it.
    pub checkout: Option<(String, bool)>,
    /// The `-full` tree, too.
    pub full: bool,
    /// When the run began.
    pub began: Instant,
    /// Several variants are worked on: what is told of one says which.
    pub several: bool,
}

/// A variant that was built, or what is known of one that was not.
#[derive(Debug)]
pub struct Built {
    /// Its files.
    pub product: Product,
    /// What was solved for it.
    pub solved: Vec<Solved>,
    /// Why there is no tarball.
    pub failure: Option<VariantError>,
    /// Steps that failed or were stopped.
    pub unfinished: Vec<String>,
}

/// A tree of a variant, lowered.
struct Tree {
    request: Request,
    lowered: Lowered,
}

impl Maker<'_> {
    /// Builds a variant, until `cancel` says so. What failed still tells what was done until then.
    pub fn build(&self, cell: &Cell, cancel: &Cancel, told: &dyn Progress) -> Built {
        let recorder = Recorder::new(told, self.several.then(|| cell.title()), self.began);
        let since = Instant::now();
        let mut product = Product::default();
        product.facts.version.clone_from(&cell.variant.version);
        cell.variant.arch.name().clone_into(&mut product.facts.arch);
        product.facts.profile = Some(cell.profile.name().to_owned());
        let mut solved = Vec::new();
        let made = self.make(cell, cancel, &recorder, (&mut product, &mut solved));
        product.facts.seconds = Some((since.elapsed().as_secs_f64() * 1000.0).round() / 1000.0);
        Built { product, solved, failure: made.err(), unfinished: recorder.unfinished() }
    }

    fn make(
        &self,
        cell: &Cell,
        cancel: &Cancel,
        recorder: &Recorder<'_>,
        (product, solved): (&mut Product, &mut Vec<Solved>),
    ) -> Result<(), VariantError> {
        recorder.event(&Event::Variant { name: &cell.title(), phase: Phase::Building });
        let corridor =
            Corridor { project: self.project, engine: self.engine, profile: cell.profile, epoch: self.epoch };
        for name in self.trees() {
            let request = Request { name: (*name).to_owned(), version: Some(cell.variant.version.clone()) };
            let lowered = corridor.lower(std::slice::from_ref(&request), cell.variant.arch)?;
            let file = name.replacen("python", &cell.name, 1);
            let tree = Tree { request, lowered };
            let made = self.tree(cell, (&file, &tree), cancel, recorder, product);
            // Also of what failed.
            self.log(cell, (&file, &tree.lowered.graph), recorder, product);
            solved.push(made?);
        }
        Ok(())
    }

    /// The recipes whose trees are packed.
    pub(super) const fn trees(&self) -> &'static [&'static str] {
        if self.full { &["python", "python-full"] } else { &["python"] }
    }

    /// Builds one tree, packs and describes it.
    fn tree(
        &self,
        cell: &Cell,
        (name, tree): (&str, &Tree),
        cancel: &Cancel,
        recorder: &Recorder<'_>,
        product: &mut Product,
    ) -> Result<Solved, VariantError> {
        let Tree { request, lowered } = tree;
        crate::build::say(lowered, std::slice::from_ref(request), cell.variant.arch, recorder);
        let part: Box<dyn Engine + '_> = match self.daemons {
            Some(daemons) => Box::new(daemons.engine(self.engine, cancel.clone())),
            None => Box::new(self.engine.part(cancel.clone())),
        };
        let solved = part.solve(&lowered.graph, &inputs(self.project, lowered), recorder).map_err(BuildError::from)?;
        recorder.event(&Event::Variant { name: &cell.title(), phase: Phase::Packing });
        let artifact = recorder.during(&format!("packing {name}"), || self.pack(&solved, cancel))?;
        let file = format!("{name}.tar.gz");
        let readable = self.engine.snapshots.read(&solved.snapshot)?;
        let asked = Asked {
            requests: std::slice::from_ref(request),
            arch: cell.variant.arch,
            profile: cell.profile,
            epoch: self.epoch,
            scripts: Some(attest::directory(&self.project.root.join("scripts"), &attest::scripts(&lowered.graph))?),
        };
        let documents = self.describe(readable.path(), (lowered, &asked), (&file, &artifact.digest))?;
        if request.name == "python" {
            facts::of_tree(&mut product.facts, readable.path(), &documents.components);
            product.facts.python = lowered.versions.get("python").cloned();
            product.facts.tarball = Some(file.clone());
            product.facts.sha256 = Some(artifact.digest);
            product.facts.size = Some(artifact.size);
        }
        let bytes = Bytes::File { path: artifact.blob, digest: artifact.digest };
        product.files.push((file, bytes));
        for document in documents.all {
            product.files.push((format!("{name}.{}", document.ending()), Bytes::Here(document.bytes)));
        }
        Ok(solved)
    }

    /// Packs with the jobs that are free.
    fn pack(&self, solved: &Solved, cancel: &Cancel) -> Result<Artifact, VariantError> {
        let Some(_token) = self.engine.jobs.take(|| cancel.is_cancelled())? else {
            return Err(BuildError::from(SolveError::Cancelled).into());
        };
        Ok(package(&self.engine.store, &solved.snapshot, self.epoch)?)
    }

    fn describe(
        &self,
        tree: &Path,
        (lowered, asked): (&Lowered, &Asked<'_>),
        (file, digest): (&str, &Digest),
    ) -> Result<Documents, VariantError> {
        let mut materials = attest::of_lowered(lowered, &self.project.recipes, &self.project.rootfs, asked);
        let checkout = self.checkout.as_ref();
        materials.inputs.extend(checkout.map(|(commit, modified)| Input::checkout(commit, *modified)));
        let inventory = attest::of_tree(tree)?;
        let result = (Kind::Archive, file, digest);
        let of = |format| Document::of(format, &materials, &inventory.components, result, self.epoch);
        let all = [Format::Spdx, Format::CycloneDx, Format::Provenance].map(of).into();
        let components = materials.components.iter().chain(&inventory.components).cloned().collect();
        Ok(Documents { all, components })
    }

    fn log(&self, cell: &Cell, (name, graph): (&str, &Graph), recorder: &Recorder<'_>, product: &mut Product) {
        let title =
            format!("{name}: {} for {}, profile {}", cell.variant.version, cell.variant.arch, cell.profile.name());
        let (logs, text) = recorder.logs(&title, graph);
        product.files.push((format!("{name}.log"), Bytes::Here(text)));
        let there = logs.into_iter().filter_map(|(file, log)| Some((format!("{name}/{file}"), log?)));
        product.logs.extend(there);
        if product.facts.steps.is_empty() || self.full {
            product.facts.steps = recorder.steps(graph);
        }
    }
}

/// What says what is in a tarball.
struct Documents {
    all: Vec<Document>,
    components: Vec<attest::Component>,
}
