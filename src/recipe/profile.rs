//! How much a build may cost, and what training brought for those that may cost most.
//!
//! `recipes/profiles/<package>-<version>-<arch>.toml` describes one trained profile: the counts of one training run, kept
//! in an archive beside it. A build never trains, it takes what is pinned there; so it comes out the same each time.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::lock::is_plain_name;
use super::{RecipeError, Version};
use crate::oci::{Arch, Digest};

/// How much a build may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Plain optimisation: minutes.
    Quick,
    /// Optimised by a trained profile, and at link time.
    Release,
    /// With counters, to train a profile: what comes out is the profile.
    Train,
}

impl Profile {
    /// Returns the name that flags, steps and file names use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Release => "release",
            Self::Train => "train",
        }
    }
}

/// One file of `recipes/profiles/`: where the counts are, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrainedProfile {
    /// The package that was trained.
    pub package: String,
    /// Its version; with a `t` at its end where it was the free-threaded build.
    pub version: String,
    /// Architecture.
    pub arch: String,
    /// SHA-256 of the source that it was trained on, in hexadecimal digits.
    pub source: String,
    /// Archive of counts, beside this file.
    pub archive: String,
    /// SHA-256 of the archive, in hexadecimal digits.
    pub sha256: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Release of gcc whose counters these are.
    pub compiler: String,
    /// Level of optimisation that was counted with, `-O3`: the one that a build takes.
    pub level: String,
    /// Object files with counts.
    pub objects: u64,
    /// Functions of these.
    pub functions: u64,
    /// Functions that the training ran.
    pub executed: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    package: String,
    version: String,
    arch: Spanned<String>,
    source: Spanned<String>,
    archive: Spanned<String>,
    sha256: Spanned<String>,
    size: u64,
    compiler: String,
    level: String,
    objects: u64,
    functions: u64,
    executed: u64,
}

/// A trained profile that was chosen for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trained {
    /// The profile.
    pub profile: TrainedProfile,
    /// Version of what is built with it.
    pub version: String,
    /// Whether it was trained on the very source that is built.
    pub exact: bool,
}

impl TrainedProfile {
    /// Parses a file of `recipes/profiles/`; `path` is for messages and has the name that [`Self::stem`] gives.
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let file: File = toml::from_str(text).map_err(|error| RecipeError::toml(path, text, &error))?;
        let fail =
            |span, message: String, help: &str| Err(RecipeError::at(path, text, span, message, Some(help.to_owned())));
        if let Err(error) = file.arch.get_ref().parse::<Arch>() {
            return fail(file.arch.span(), error.to_string(), "x86_64 or x86");
        }
        for digest in [&file.source, &file.sha256] {
            if Digest::from_hex(digest.get_ref()).is_err() {
                let message = format!("`{}` is not a sha256", digest.get_ref());
                return fail(digest.span(), message, "64 lower-case hexadecimal digits, as `sha256sum FILE` prints");
            }
        }
        if !is_plain_name(file.archive.get_ref()) {
            let message = format!("`{}` is not a plain file name", file.archive.get_ref());
            return fail(file.archive.span(), message, "the archive lies beside this file");
        }
        let profile = Self {
            package: file.package,
            version: file.version,
            arch: file.arch.into_inner(),
            source: file.source.into_inner(),
            archive: file.archive.get_ref().clone(),
            sha256: file.sha256.into_inner(),
            size: file.size,
            compiler: file.compiler,
            level: file.level,
            objects: file.objects,
            functions: file.functions,
            executed: file.executed,
        };
        if path.file_stem().is_none_or(|stem| stem.to_string_lossy() != profile.stem()) {
            let message = format!("this profile lives in a file called `{}.toml`", profile.stem());
            return fail(file.archive.span(), message, "package, version and architecture are its name");
        }
        Ok(profile)
    }

    /// Returns the name of its files, without ending.
    pub fn stem(&self) -> String {
        format!("{}-{}-{}", self.package, self.version, self.arch)
    }

    /// Returns the file's text.
    pub fn to_toml(&self) -> String {
        let fields = toml::to_string(self).expect("strings and numbers are TOML");
        format!("# Written by `dockless profile train`; docs/profiles.md says what it is for.\n{fields}")
    }
}

/// What a package is built of, for the choice of its profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) package: &'a str,
    /// With a `t` at its end for the free-threaded build.
    pub(super) version: &'a str,
    pub(super) source: &'a Digest,
    pub(super) arch: Arch,
}

/// Chooses the profile that was trained on the very source, or on the nearest release of its series.
pub(super) fn choose(profiles: &[TrainedProfile], wanted: Wanted<'_>) -> Result<Trained, RecipeError> {
    let kind = |version: &str| (Version::new(version).series(), version.ends_with('t'));
    let fits = |profile: &&TrainedProfile| {
        profile.package == wanted.package
            && profile.arch == wanted.arch.name()
            && kind(&profile.version) == kind(wanted.version)
    };
    let fitting: Vec<&TrainedProfile> = profiles.iter().filter(fits).collect();
    let exact = fitting.iter().find(|profile| profile.source == wanted.source.hex());
    let nearest = || fitting.iter().min_by_key(|profile| distance(&profile.version, wanted.version));
    let Some(profile) = exact.or_else(nearest) else {
        let mut known: Vec<String> = profiles.iter().map(TrainedProfile::stem).collect();
        known.sort();
        return Err(RecipeError::Untrained {
            package: wanted.package.to_owned(),
            version: wanted.version.to_owned(),
            arch: wanted.arch,
            known,
        });
    };
    Ok(Trained { profile: (*profile).clone(), version: wanted.version.to_owned(), exact: exact.is_some() })
}

/// How far two releases of one series are apart; of two equally far ones the newer is nearer, and names settle the rest.
fn distance(version: &str, wanted: &str) -> (u64, bool, String) {
    let release = |version: &str| {
        let last = version.splitn(3, '.').nth(2).unwrap_or_default();
        let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
        last[..end].parse::<u64>().unwrap_or(0)
    };
    let (of, to) = (release(version), release(wanted));
    (of.abs_diff(to), of < to, version.to_owned())
}
