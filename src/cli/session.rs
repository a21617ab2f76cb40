//! What a command works with, made from the global options and the environment.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::args::{Global, IsolationArg, ProfileArg, ProgressMode};
use super::failure::Failure;
use super::progress::{Mode, Style, View};
use super::signals;
use crate::build::Project;
use crate::cache::Caches;
use crate::engine::Embedded;
use crate::llb::Executor;
use crate::recipe::Profile;
use crate::registry::{Credentials, Hosts, Registry};
use crate::sandbox::{self, Cancel, Ids, Isolation, Launcher, Rung, Settled};
use crate::snapshot::{Snapshots, copy_tree};
use crate::solver::{Bounds, Jobs};
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
    /// Which ids there are.
    pub(super) ids: Ids,
    /// Why there are not more.
    pub(super) note: Option<String>,
    /// How steps run.
    rung: Rung,
}

impl Inside {
    /// Takes over signals; called before other threads exist.
    pub(super) fn new(Settled { entered, rung }: Settled) -> Result<Self, Failure> {
        let cancel = Cancel::new()?;
        signals::cancel_on_signals(&cancel)?;
        Ok(Self { cancel, single_id: entered.single_id(), ids: entered.ids, note: entered.note, rung })
    }

    /// Returns what runs steps; `place` makes an empty directory for the roots of those that have no mounts.
    pub(super) fn launcher(&self, place: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<Launcher, Failure> {
        let launcher = Launcher::default();
        match self.rung {
            Rung::Userns => Ok(launcher),
            Rung::Chroot { .. } => Ok(launcher.in_chroot(&place()?, copy_tree)),
        }
    }
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

    /// Moves this process to where it can run steps.
    pub(super) fn settle(&self) -> Result<Settled, Failure> {
        let isolation = match self.global.isolation {
            IsolationArg::Auto => Isolation::Auto,
            IsolationArg::Userns => Isolation::Userns,
            IsolationArg::Chroot => Isolation::Chroot,
        };
        let store = self.store_root()?;
        // The first run makes the store, and tells of what keeps it from that.
        let place = store.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"));
        Ok(sandbox::settle(isolation, place)?)
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
    pub(super) fn engine(&self, inside: Inside) -> Result<Embedded, Failure> {
        let store = self.store()?;
        let launcher = inside.launcher(|| Ok(store.temporary_directory()?.keep()))?;
        let Inside { cancel, single_id, .. } = inside;
        let mut snapshots = Snapshots::open(&store, single_id)?;
        if launcher.is_chroot() {
            snapshots = snapshots.without_overlay();
        }
        let jobs =
            Jobs::new(self.jobs()).map_err(crate::solver::SolveError::from).map_err(crate::build::BuildError::from)?;
        let origins = Origins { stop: stop(&cancel), ..self.origins()? };
        let executor = Executor::embedded();
        let registry = self.registry(&cancel)?;
        Ok(Embedded {
            store,
            snapshots,
            caches: Caches::default(),
            origins,
            registry,
            jobs,
            executor,
            launcher,
            cancel,
            bounds: Bounds::default(),
            ignore_cache: self.global.no_cache,
        })
    }

    /// Returns registries as the user has configured them.
    pub(super) fn registry(&self, cancel: &Cancel) -> Result<Registry, Failure> {
        self.registry_by(&Origins { stop: stop(cancel), ..self.origins()? })
    }

    /// As `registry`, in the way that files are fetched.
    pub(super) fn registry_by(&self, origins: &Origins) -> Result<Registry, Failure> {
        let credentials = credentials(self.global.registry_config.as_deref())?;
        Ok(Registry::new(origins.settings(), credentials).with_hosts(hosts(self.global)))
    }

    /// Returns the profile: as asked for, or `usual`.
    pub(super) fn profile(&self, usual: Profile) -> Profile {
        self.global.profile.map_or(usual, |profile| match profile {
            ProfileArg::Quick => Profile::Quick,
            ProfileArg::Release => Profile::Release,
        })
    }

    /// Tells whether a profile was asked for, by flag or environment.
    pub(super) fn asks_for_profile(&self) -> bool {
        self.global.profile.is_some()
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

/// Returns what ends transfers when the run is interrupted.
pub(super) fn stop(cancel: &Cancel) -> Stop {
    let asked = cancel.clone();
    Stop::new(move || asked.is_cancelled())
}

/// Returns what the user has logged in to with docker's, podman's or skopeo's clients.
fn credentials(named: Option<&Path>) -> Result<Credentials, Failure> {
    let of_directory = |directory: PathBuf| directory.join("config.json");
    let files = if let Some(named) = named {
        let file = if named.is_dir() { of_directory(named.to_owned()) } else { named.to_owned() };
        if !file.is_file() {
            return Err(Failure::Usage { message: format!("--registry-config: `{}` is no file", file.display()) });
        }
        vec![file]
    } else if let Some(directory) = variable("DOCKER_CONFIG") {
        vec![of_directory(directory.into())]
    } else if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        vec![file.into()]
    } else {
        let podman = variable("XDG_RUNTIME_DIR").map(|run| PathBuf::from(run).join("containers/auth.json"));
        let home = variable("HOME").map(PathBuf::from);
        let others =
            home.iter().flat_map(|home| [home.join(".docker/config.json"), home.join(".config/containers/auth.json")]);
        podman.into_iter().chain(others).collect()
    };
    Ok(Credentials::read(&files).map_err(source::SourceError::from)?)
}

/// Returns where registries answer, as the flags and the usual directories say.
fn hosts(global: &Global) -> Hosts {
    let config = variable("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".config")));
    let own = config.map(|config| config.join("dockless/certs.d"));
    let others = ["/etc/dockless/certs.d", "/etc/containerd/certs.d", "/etc/docker/certs.d", "/etc/containers/certs.d"];
    let directories = global.registry_hosts.iter().cloned().chain(own).chain(others.map(PathBuf::from));
    Hosts {
        directories: directories.collect(),
        mirrors: global.registry_mirror.clone(),
        insecure: global.insecure_registry.clone(),
    }
}
