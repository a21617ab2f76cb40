//! What a build says beside its Dockerfile (`frontend/dockerui/config.go`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::error::{DockerfileError, ResolveError};
use super::platform::{self, Platform};
use crate::llb::pb;
use crate::oci::Digest;

/// A Dockerfile.
#[derive(Debug, Clone, Copy)]
pub struct Dockerfile<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
}

/// Where files of a context come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Context {
    /// The client's directory `local://NAME`, without what its `.dockerignore` excludes.
    Local {
        /// Its name.
        name: String,
        /// Patterns of what stays away.
        excludes: Vec<String>,
    },
    /// An image of a registry.
    Image(String),
    /// An image of the client's layout `oci-layout://STORE`.
    Layout {
        /// Name of the layout.
        store: String,
        /// Digest of the manifest or index.
        digest: Digest,
    },
    /// A repository.
    Git(String),
}

/// The network of steps that say nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NetworkMode {
    /// One of their own.
    #[default]
    Sandbox,
    /// None.
    None,
    /// The host's.
    Host,
}

/// An image whose config is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// `docker.io/library/debian:bookworm`, always with a tag or a digest.
    Image(String),
    /// An image of a layout.
    Layout {
        /// Name of the layout.
        store: String,
        /// Digest of the manifest or index.
        digest: Digest,
    },
}

/// Returns the digest that a reference means (of the index where there is one) and the config for a platform.
pub type Resolver<'a> = &'a dyn Fn(&Wanted, &Platform) -> Result<(Digest, Vec<u8>), ResolveError>;

/// Options of a build; the default is a build of the last stage for this machine, from `local://context`.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`: a stage.
    pub target: Option<String>,
    /// `--platform`; the build platform where it is not said.
    pub platform: Option<Platform>,
    /// The platform of this machine.
    pub build_platform: Platform,
    /// Whether names of vertices say their platform.
    pub multi_platform: bool,
    /// The build context.
    pub context: Context,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, Context>,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--add-host`.
    pub hosts: Vec<(String, IpAddr)>,
    /// The host name of steps.
    pub hostname: String,
    /// `--shm-size` in bytes.
    pub shm_size: i64,
    /// `--ulimit`.
    pub ulimits: Vec<pb::Ulimit>,
    /// `--cgroup-parent`.
    pub cgroup_parent: String,
    /// `--network`.
    pub network: NetworkMode,
    /// `--no-cache-filter`: stages that are always built; an empty list means all.
    pub no_cache: Option<Vec<String>>,
    /// What all local sources of a build have in common (`local.unique`).
    pub unique: String,
}

impl Default for Options {
    fn default() -> Self {
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        Self {
            build_args: BTreeMap::new(),
            target: None,
            platform: None,
            build_platform: Platform {
                os: "linux".to_owned(),
                architecture: architecture.to_owned(),
                ..Platform::default()
            },
            multi_platform: false,
            context: Context::Local { name: "context".to_owned(), excludes: Vec::new() },
            contexts: BTreeMap::new(),
            labels: BTreeMap::new(),
            hosts: Vec::new(),
            hostname: String::new(),
            shm_size: 0,
            ulimits: Vec::new(),
            cgroup_parent: String::new(),
            network: NetworkMode::Sandbox,
            no_cache: None,
            unique: "dockless".to_owned(),
        }
    }
}

impl Options {
    /// The platform that is built for.
    pub(super) fn target_platform(&self) -> &Platform {
        self.platform.as_ref().unwrap_or(&self.build_platform)
    }

    /// Tells whether steps of a stage are never taken from a cache.
    pub(super) fn ignores_cache(&self, stage: &str) -> bool {
        self.no_cache
            .as_ref()
            .is_some_and(|stages| stages.is_empty() || stages.iter().any(|name| name.eq_ignore_ascii_case(stage)))
    }
}

/// Parses `linux/amd64` and the like.
///
/// # Errors
/// `Option`.
pub fn parse_platform(text: &str) -> Result<Platform, DockerfileError> {
    platform::parse(text).map_err(|fault| DockerfileError::Option {
        what: "platform",
        value: text.to_owned(),
        reason: fault.help.unwrap_or(fault.message),
    })
}
