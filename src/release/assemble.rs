//! Products become a directory: of a stage, of a release, or of what failed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::join::{JoinError, all_tested};
use super::output::{Output, OutputError};
use super::product::{Bytes, Product};
use crate::dist::{self, Asset, Description, Dist, Kind, SUMS, Stage, VariantOutcome};
use crate::oci::Digest;
use crate::summary::{self, NotesError, Previous};

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// It could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// What goes into it does not belong there.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The template of the notes is wrong.
    #[error(transparent)]
    Notes(#[from] NotesError),
}

/// What a release says beside its files.
#[derive(Debug, Default)]
pub struct Words {
    /// The release before.
    pub previous: Option<Previous>,
    /// A template of the notes.
    pub template: Option<String>,
    /// Tarballs will have detached `OpenPGP` signatures, which the notes tell how to check.
    pub signed: bool,
}

/// Writes the directory of a stage, to take the place of one that is there.
///
/// # Errors
/// `Output`, `Join` for what is not tested.
pub fn stage(place: &Path, stage: Stage, release: &Description, products: &[Product]) -> Result<(), AssembleError> {
    let output = Output::begin(place)?;
    let mut sums = files(&output, products)?;
    if stage == Stage::Package {
        all_tested(products)?;
        checksums(&output, &mut sums)?;
    }
    describe(&output, &Description { stage: Some(stage), ..of(release, products) }, &mut sums)?;
    put_sums(&output, &sums)?;
    Dist::open_of(output.path(), Some(stage)).map_err(OutputError::from)?;
    Ok(output.publish()?)
}

/// Writes the directory of a release, to take the place of one that is there.
///
/// `seal` is given the directory when everything is in it but signatures, and `SHA256SUMS` vouches for all of it; what it
/// adds is checked with the rest, and nobody has seen any of it if it fails.
///
/// # Errors
/// `Output`, `Join` for what is not tested, `Notes`, and those of `seal`.
pub fn release<E: From<AssembleError>>(
    place: &Path,
    release: &Description,
    products: &[Product],
    words: &Words,
    seal: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Dist, E> {
    let output = make(place, release, products, words)?;
    seal(output.path())?;
    let check = || -> Result<(), AssembleError> {
        Dist::open(output.path()).map_err(OutputError::from)?;
        output.publish()?;
        Ok(())
    };
    check()?;
    Ok(Dist::open(place).map_err(OutputError::from).map_err(AssembleError::from)?)
}

fn make(place: &Path, release: &Description, products: &[Product], words: &Words) -> Result<Output, AssembleError> {
    all_tested(products)?;
    let output = Output::begin(place)?;
    let mut sums = files(&output, products)?;
    checksums(&output, &mut sums)?;
    let release = Description { stage: None, ..of(release, products) };
    describe(&output, &release, &mut sums)?;
    let asset = |(name, (digest, size)): (&String, &(Digest, u64))| Asset {
        name: name.clone(),
        size: *size,
        digest: *digest,
        kind: Kind::of(name),
    };
    let mut assets: Vec<Asset> = sums.iter().map(asset).collect();
    if words.signed {
        // Not there yet: they are made of the whole.
        let tarballs = sums.keys().filter(|name| Kind::of(name) == Kind::Tarball);
        let signature = |name: &String| Asset {
            name: format!("{name}.asc"),
            size: 0,
            digest: Digest::of(b""),
            kind: Kind::Signature,
        };
        assets.extend(tarballs.map(signature));
    }
    let notes = summary::notes(&release, &assets, words.previous.as_ref(), words.template.as_deref())?;
    put(&output, "RELEASE_NOTES.md", notes, &mut sums)?;
    put(&output, "metrics.prom", summary::metrics(&release), &mut sums)?;
    put(&output, "report.html", summary::report(&release), &mut sums)?;
    put_sums(&output, &sums)?;
    Ok(output)
}

/// Returns where what failed is told of.
fn failed_place(place: &Path) -> PathBuf {
    let mut name = place.file_name().unwrap_or_default().to_owned();
    name.push(".failed");
    place.with_file_name(name)
}

/// Writes what there is to tell of a run that made no directory beside where that would be: logs, and what they are about.
///
/// # Errors
/// `Output`.
pub fn failed(place: &Path, release: &Description, products: &[Product]) -> Result<PathBuf, AssembleError> {
    let place = failed_place(place);
    let output = Output::begin(&place)?;
    let mut release = of(release, products);
    for variant in &mut release.variants {
        (variant.tarball, variant.sha256) = (None, None);
    }
    let logs = products.iter().map(|product| {
        let files = product.files.iter().filter(|(name, _)| Kind::of(name) == Kind::Log).cloned().collect();
        Product { files, ..product.clone() }
    });
    let mut sums = files(&output, &logs.collect::<Vec<_>>())?;
    describe(&output, &release, &mut sums)?;
    put(&output, "metrics.prom", summary::metrics(&release), &mut sums)?;
    put(&output, "report.html", summary::report(&release), &mut sums)?;
    output.publish()?;
    Ok(place)
}

/// Removes what an earlier run that failed left.
///
/// # Errors
/// `Output`.
pub fn forget_failed(place: &Path) -> Result<(), AssembleError> {
    let place = failed_place(place);
    // What is somebody else's stays.
    if dist::release_at(&place).is_ok_and(|is_there| is_there) {
        std::fs::remove_dir_all(&place).map_err(|source| OutputError::Io { action: "remove", path: place, source })?;
    }
    Ok(())
}

type Sums = BTreeMap<String, (Digest, u64)>;

fn of(release: &Description, products: &[Product]) -> Description {
    let variants = products.iter().map(|product| product.facts.clone()).collect();
    Description { variants, ..release.clone() }
}

fn files(output: &Output, products: &[Product]) -> Result<Sums, AssembleError> {
    let mut sums = Sums::new();
    for product in products {
        for (name, bytes) in &product.files {
            sums.insert(name.clone(), output.put(name, bytes)?);
        }
        for (name, log) in &product.logs {
            output.copy(&format!("logs/{name}"), log)?;
        }
    }
    Ok(sums)
}

/// Writes a checksum beside each tarball.
fn checksums(output: &Output, sums: &mut Sums) -> Result<(), AssembleError> {
    let tarballs: Vec<(String, Digest)> = sums
        .iter()
        .filter(|(name, _)| Kind::of(name) == Kind::Tarball)
        .map(|(name, (digest, _))| (name.clone(), *digest))
        .collect();
    for (name, digest) in tarballs {
        let text = dist::render(&[(name.clone(), digest)].into());
        put(output, &format!("{name}.sha256"), text, sums)?;
    }
    Ok(())
}

fn describe(output: &Output, release: &Description, sums: &mut Sums) -> Result<(), AssembleError> {
    put(output, "release.json", release.render(), sums)
}

fn put(output: &Output, name: &str, text: String, sums: &mut Sums) -> Result<(), AssembleError> {
    sums.insert(name.to_owned(), output.put(name, &Bytes::Here(text.into_bytes()))?);
    Ok(())
}

/// Writes `SHA256SUMS`, of everything that does not say itself what it vouches for.
fn put_sums(output: &Output, sums: &Sums) -> Result<(), AssembleError> {
    let listed = sums.iter().filter(|(name, _)| !Kind::of(name).vouches());
    let listed = listed.map(|(name, (digest, _))| (name.clone(), *digest)).collect();
    output.put(SUMS, &Bytes::Here(dist::render(&listed).into_bytes()))?;
    Ok(())
}

impl Product {
    /// Makes it one that failed: nothing of it goes into a release but its log.
    pub fn fail(&mut self, why: String) {
        let facts = &mut self.facts;
        (facts.outcome, facts.error) = (VariantOutcome::Failed, Some(why));
        (facts.tarball, facts.sha256, facts.size) = (None, None, None);
        self.files.retain(|(name, _)| Kind::of(name) == Kind::Log);
    }
}
