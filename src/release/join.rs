//! Directories of a stage, read and put together.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::product::{Bytes, Product};
use crate::dist::{Asset, Description, Dist, DistError, FORMAT, Kind, Stage, VariantOutcome};
use crate::oci::Arch;
use crate::recipe::Version;

/// Why directories do not go together.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// One of them is not what a stage made.
    #[error(transparent)]
    Dist(#[from] DistError),
    /// Two of them have the same.
    #[error("`{what}` is in `{}` and in `{}`", one.display(), other.display())]
    Twice {
        /// A variant or a file.
        what: String,
        /// A directory.
        one: PathBuf,
        /// Another.
        other: PathBuf,
    },
    /// They were made of different recipes.
    #[error("`{}` was made of commit {commit}, `{}` of {other_commit}", root.display(), other.display())]
    Commits {
        /// A directory.
        root: PathBuf,
        /// Its commit.
        commit: String,
        /// Another.
        other: PathBuf,
        /// The commit of that.
        other_commit: String,
    },
    /// A tarball that release.json does not speak of.
    #[error("`{name}` in `{}` is no variant of its release.json", root.display())]
    Unknown {
        /// The tarball.
        name: String,
        /// The directory.
        root: PathBuf,
    },
    /// A tarball that did not pass its tests, or was not tested.
    #[error("`{name}` did not pass tests")]
    Untested {
        /// The tarball.
        name: String,
    },
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Reads directories of a stage; returns what they say together, without variants, and what is in them.
///
/// # Errors
/// `Dist` for one that was changed or is of another stage, `Twice`, `Commits`, `Unknown`, `Io`.
pub fn join(roots: &[PathBuf], stage: Stage) -> Result<(Description, Vec<Product>), JoinError> {
    let mut all: Vec<(PathBuf, Description)> = Vec::new();
    let mut products: Vec<Product> = Vec::new();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for root in roots {
        let dist = Dist::open_of(root, Some(stage))?;
        let description = dist.description().cloned().unwrap_or_default();
        let own = products_of(&dist, &description)?;
        let variants = description.variants.iter().map(|it| format!("{}-{}", it.version, it.arch));
        for what in variants.chain(own.iter().flat_map(|it| it.files.iter().map(|(name, _)| name.clone()))) {
            if let Some(one) = seen.insert(what.clone(), root.clone()) {
                return Err(JoinError::Twice { what, one, other: root.clone() });
            }
        }
        products.extend(own);
        all.push((root.clone(), description));
    }
    let known = |it: &(PathBuf, Description)| Some((it.0.clone(), it.1.commit.clone()?));
    let mut commits = all.iter().filter_map(known);
    if let Some((root, commit)) = commits.next()
        && let Some((other, other_commit)) = commits.find(|(_, other)| *other != commit)
    {
        return Err(JoinError::Commits { root, commit, other, other_commit });
    }
    products.sort_by_key(|product| {
        let arch = Arch::ALL.iter().position(|arch| arch.name() == product.facts.arch);
        (Reverse(Version::new(&product.facts.version)), arch)
    });
    let descriptions: Vec<Description> = all.into_iter().map(|(_, description)| description).collect();
    Ok((together(&descriptions), products))
}

/// Returns what several descriptions say as one, without variants.
fn together(all: &[Description]) -> Description {
    let same = |of: fn(&Description) -> &Option<String>| {
        let first = of(all.first()?);
        first.clone().filter(|_| all.iter().all(|it| of(it) == first))
    };
    let times = all.iter().filter_map(|it| Some((it.started.as_ref()?.parse::<jiff::Timestamp>().ok()?, it.seconds?)));
    let begin = times.clone().map(|(started, _)| started).min();
    let end = times.map(|(started, seconds)| started.as_duration().as_secs_f64() + seconds).fold(0.0, f64::max);
    Description {
        format: FORMAT,
        name: same(|it| &it.name),
        tag: same(|it| &it.tag),
        commit: all.iter().find_map(|it| it.commit.clone()),
        started: begin.map(|begin| begin.to_string()),
        seconds: begin.map(|begin| ((end - begin.as_duration().as_secs_f64()) * 1000.0).round() / 1000.0),
        profile: same(|it| &it.profile),
        ..Description::default()
    }
}

/// Takes a directory apart into its variants; what belongs to none goes along with the first.
fn products_of(dist: &Dist, description: &Description) -> Result<Vec<Product>, JoinError> {
    let stem = |name: &String| name.strip_suffix(".tar.gz").unwrap_or(name).to_owned();
    let stems: Vec<Option<String>> = description.variants.iter().map(|it| it.tarball.as_ref().map(stem)).collect();
    let facts = description.variants.iter().cloned();
    let mut products: Vec<Product> = facts.map(|facts| Product { facts, ..Product::default() }).collect();
    for asset in dist.assets().iter().filter(|asset| !is_of_the_whole(asset)) {
        let of = |stem: &Option<String>| {
            let (Some(stem), Some(own)) = (stem, asset.stem()) else { return false };
            own == stem || own.strip_prefix(stem.as_str()) == Some("-full")
        };
        let at = match stems.iter().position(of) {
            Some(at) => at,
            None if asset.kind == Kind::Tarball => {
                return Err(JoinError::Unknown { name: asset.name.clone(), root: dist.root().to_owned() });
            }
            None => 0,
        };
        let bytes = Bytes::File { path: dist.path(asset), digest: asset.digest };
        if let Some(product) = products.get_mut(at) {
            product.files.push((asset.name.clone(), bytes));
        }
    }
    if let Some(first) = products.first_mut() {
        first.logs = logs(&dist.root().join("logs"))?;
    }
    Ok(products)
}

/// What is made anew for each directory.
const fn is_of_the_whole(asset: &Asset) -> bool {
    matches!(asset.kind, Kind::Sums | Kind::Description | Kind::Notes | Kind::Metrics | Kind::Report)
}

/// Returns the files two levels below `root`; nothing vouches for them, and links and the like are left out.
fn logs(root: &Path) -> Result<Vec<(String, PathBuf)>, JoinError> {
    let list = |path: &Path| -> Result<Vec<(String, PathBuf, fs::FileType)>, JoinError> {
        let failed = |source| JoinError::Io { action: "read directory", path: path.to_owned(), source };
        let mut found = Vec::new();
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            found.push((entry.file_name().to_string_lossy().into_owned(), entry.path(), kind));
        }
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    };
    if !root.is_dir() {
        return Ok(Vec::new());
    }
    let mut logs = Vec::new();
    for (above, path, _) in list(root)?.into_iter().filter(|(_, _, kind)| kind.is_dir()) {
        let files = list(&path)?.into_iter().filter(|(_, _, kind)| kind.is_file());
        logs.extend(files.map(|(name, path, _)| (format!("{above}/{name}"), path)));
    }
    Ok(logs)
}

/// Refuses products whose tarballs were not tested, or did not pass.
///
/// # Errors
/// `Untested`.
pub fn all_tested(products: &[Product]) -> Result<(), JoinError> {
    for product in products.iter().filter(|product| product.facts.outcome == VariantOutcome::Passed) {
        let tests = &product.facts.tests;
        if !tests.iter().any(|test| test.outcome == "passed") || tests.iter().any(|test| test.outcome == "failed") {
            return Err(JoinError::Untested { name: product.facts.tarball.clone().unwrap_or_default() });
        }
    }
    Ok(())
}
