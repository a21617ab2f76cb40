//! The files of a project: `recipes/`, `rootfs/`, `scripts/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::BuildError;
use crate::oci::Digest;
use crate::recipe::{BaseRoot, Matrix, PROFILES, Recipe, RecipeError, Recipes, SourceLock, TrainedProfile};
use crate::rootfs::{BaseImage, Rootfs};
use crate::source;

/// Source sets in order of preference, unless the user says otherwise.
///
/// Debian's pool first: it answers wherever any Debian mirror does, also behind a proxy that lets nothing else through.
/// What it does not have comes from upstream.
pub const SETS: [&str; 2] = ["debian", "upstream"];

/// A project that was read.
#[derive(Debug)]
pub struct Project {
    /// Its directory.
    pub root: PathBuf,
    /// Recipes and locks.
    pub recipes: Recipes,
    /// Locked root filesystems made of packages, by `<name>-<arch>`.
    pub rootfs: BTreeMap<String, Rootfs>,
    /// Root filesystems that are images of registries, by name.
    pub bases: BTreeMap<String, BaseImage>,
}

impl Project {
    /// Reads the project at `root`, with the source sets `sets` in order of preference.
    pub fn open(root: &Path, sets: &[String]) -> Result<Self, BuildError> {
        let recipes_directory = root.join("recipes");
        if !recipes_directory.is_dir() {
            return Err(BuildError::NoProject { path: root.to_owned() });
        }
        let mut recipes = BTreeMap::new();
        let mut matrix = None;
        for path in files(&recipes_directory, "toml")? {
            let text = read(&path)?;
            if path.file_stem().is_some_and(|stem| stem == "release") {
                matrix = Some(Matrix::parse(&text, &path)?);
            } else {
                let recipe = Recipe::parse(&text, &path)?;
                recipes.insert(recipe.name.clone(), recipe);
            }
        }
        let Some(matrix) = matrix else {
            let path = recipes_directory.join("release.toml");
            return Err(BuildError::Io { action: "read", path, source: std::io::ErrorKind::NotFound.into() });
        };
        let locks = locks(&recipes_directory.join("locks"), sets)?;
        let profiles = profiles(&recipes_directory.join(PROFILES))?;
        let (rootfs, bases) = roots(&root.join("rootfs"))?;
        let images: BTreeMap<String, Digest> =
            rootfs.iter().map(|(name, rootfs)| (name.clone(), rootfs.lock.manifest)).collect();
        let images_of = bases.iter().map(|(name, base)| {
            let pins = base.pins().iter().map(|(arch, pin)| (*arch, pin.to_string())).collect();
            (name.clone(), BaseRoot { image: base.base.image.to_string(), pins })
        });
        let recipes = Recipes { recipes, locks, images, bases: images_of.collect(), profiles, matrix };
        Ok(Self { root: root.to_owned(), recipes, rootfs, bases })
    }
}

type Roots = (BTreeMap<String, Rootfs>, BTreeMap<String, BaseImage>);

/// Reads root filesystems: those of packages that have a lock, and images with or without one.
fn roots(directory: &Path) -> Result<Roots, BuildError> {
    let (mut rootfs, mut bases) = Roots::default();
    if !directory.is_dir() {
        return Ok((rootfs, bases));
    }
    let stem = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    for path in files(directory, "toml")? {
        let name = stem(&path);
        if let Some(base) = source::read_base(directory, &name)? {
            bases.insert(name, base);
        }
    }
    for path in files(directory, "lock")? {
        let name = stem(&path);
        if !bases.contains_key(&name) {
            let read = source::read_rootfs(directory, &name)?;
            rootfs.insert(name, read);
        }
    }
    Ok((rootfs, bases))
}

/// Reads what was trained; a project may have none.
fn profiles(directory: &Path) -> Result<Vec<TrainedProfile>, BuildError> {
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    files(directory, "toml")?.iter().map(|path| Ok(TrainedProfile::parse(&read(path)?, path)?)).collect()
}

fn locks(directory: &Path, sets: &[String]) -> Result<Vec<SourceLock>, BuildError> {
    let mut known = BTreeMap::new();
    for path in files(directory, "lock")? {
        let lock = SourceLock::parse(&read(&path)?, &path)?;
        known.insert(lock.set.clone(), lock);
    }
    let names: Vec<String> = known.keys().cloned().collect();
    sets.iter()
        .map(|set| {
            let unknown = || RecipeError::UnknownSet { set: set.clone(), known: names.clone() };
            known.get(set).cloned().ok_or_else(unknown).map_err(BuildError::from)
        })
        .collect()
}

/// The files of `directory` with an ending, sorted.
fn files(directory: &Path, extension: &str) -> Result<Vec<PathBuf>, BuildError> {
    let error = |source| BuildError::Io { action: "list", path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|ext| ext == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: &Path) -> Result<String, BuildError> {
    fs::read_to_string(path).map_err(|source| BuildError::Io { action: "read", path: path.to_owned(), source })
}
