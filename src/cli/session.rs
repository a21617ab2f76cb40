//! What a command works with, made from the global options and the environment.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::args::{Global, ProfileArg, ProgressMode};
use super::failure::Failure;
use super::progress::{Mode, Style, View};
use crate::build::Project;
use crate::cache::Caches;
use crate::engine::Embedded;
use crate::llb::Executor;
use crate::recipe::Profile;
use crate::registry::{Credentials, Registry};
use crate::sandbox::Cancel;
use crate::snapshot::Snapshots;
use crate::solver::Jobs;
use crate::source::{self, Origins, Proxies, Stop};
use crate::store::Store;

/// Reads a variable of the environment; empty counts as unset.
#[expect(clippy::disallowed_methods, reason = "the environment enters here")]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What a command knows once it is in its own user namespace.
#[derive(Debug)]
pub(super) struct Inside {
    /// Stops everything.
    pub(super) cancel: Cancel,
    /// Files can belong to one user only.
    pub(super) single_id: bool,
}

/// Options and defaults, resolved once.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) global: &'a Global,
}

impl Session<'_> {
    /// Returns the project's directory: as given, or the nearest one upwards with `recipes/`.
    pub(super) fn project_root(&self) -> Result<PathBuf, Failure> {
        if let Some(root) = &self.global.project {
            return Ok(root.clone());
        }
        let here = std::env::current_dir().map_err(|source| Failure::Io {
            action: "find",
            path: PathBuf::from("."),
            source,
        })?;
        let found = here.ancestors().find(|directory| directory.join("recipes").is_dir());
        Ok(found.map_or_else(|| here.clone(), Path::to_owned))
    }

    /// Reads the project.
    pub(super) fn project(&self) -> Result<Project, Failure> {
        Ok(Project::open(&self.project_root()?, &self.global.sources)?)
    }

    /// Returns the store's directory.
    pub(super) fn store_root(&self) -> Result<PathBuf, Failure> {
        if let Some(root) = &self.global.store {
            return std::path::absolute(root).map_err(|source| Failure::Io {
                action: "find",
                path: root.clone(),
                source,
            });
        }
        if let Some(data) = variable("XDG_DATA_HOME") {
            return Ok(PathBuf::from(data).join("dockless"));
        }
        variable("HOME").map(|home| PathBuf::from(home).join(".local/share/dockless")).ok_or(Failure::NoHome)
    }

    /// Opens the store.
    pub(super) fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.store_root()?)?)
    }

    /// Returns the number of jobs: as given, or the cores that this process may use.
    pub(super) fn jobs(&self) -> NonZeroUsize {
        self.global.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// Returns where files may be fetched from.
    pub(super) fn origins(&self) -> Result<Origins, Failure> {
        let mirrors = if self.global.debian_mirror.is_empty() {
            source::host_mirrors(Path::new("/")).map_err(crate::build::BuildError::from)?
        } else {
            self.global.debian_mirror.clone()
        };
        Ok(Origins {
            mirrors,
            directories: self.global.source_dir.clone(),
            offline: self.global.offline,
            proxies: Proxies::from_variables(variable),
            ..Origins::default()
        })
    }

    /// Returns the engine over the store.
    pub(super) fn engine(&self, Inside { cancel, single_id }: Inside) -> Result<Embedded, Failure> {
        let store = self.store()?;
        let snapshots = Snapshots::open(&store, single_id)?;
        let jobs =
            Jobs::new(self.jobs()).map_err(crate::solver::SolveError::from).map_err(crate::build::BuildError::from)?;
        let asked = cancel.clone();
        let origins = Origins { stop: Stop::new(move || asked.is_cancelled()), ..self.origins()? };
        let executor = Executor::embedded();
        let registry = registry(&origins)?;
        Ok(Embedded {
            store,
            snapshots,
            caches: Caches::default(),
            origins,
            registry,
            jobs,
            executor,
            cancel,
            ignore_cache: self.global.no_cache,
        })
    }

    /// Returns the profile.
    pub(super) const fn profile(&self) -> Profile {
        match self.global.profile {
            ProfileArg::Quick => Profile::Quick,
        }
    }

    /// Returns `SOURCE_DATE_EPOCH`.
    pub(super) fn epoch(&self, project: &Project) -> u64 {
        self.global.epoch.unwrap_or(project.recipes.matrix.epoch)
    }

    /// Returns the view of the solve.
    pub(super) fn view(&self) -> View {
        let mode = match self.global.progress {
            ProgressMode::Auto => Mode::Auto,
            ProgressMode::Tty => Mode::Tty,
            ProgressMode::Plain => Mode::Plain,
            ProgressMode::Json => Mode::Json,
            ProgressMode::Quiet => Mode::Quiet,
        };
        View::open(mode, Style::of(variable), self.global.verbose)
    }
}

/// Returns registries, spoken to as these origins say.
pub(super) fn registry(origins: &Origins) -> Result<Registry, Failure> {
    Ok(Registry::new(origins.settings(), credentials()?))
}

/// Returns what the user has logged in to with docker's or podman's clients; nothing where there is no such file.
fn credentials() -> Result<Credentials, Failure> {
    let own = || variable("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let directory = variable("DOCKER_CONFIG").map(PathBuf::from).or_else(own);
    let read = directory.map_or(Ok(Credentials::default()), |directory| Credentials::read(&directory));
    Ok(read.map_err(source::SourceError::from)?)
}
