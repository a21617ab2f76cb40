//! The command line, as clap sees it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::oci::Arch;

/// Builds OCI layers and release tarballs from recipes, without Docker, a daemon or root.
#[derive(Debug, Parser)]
#[command(name = "dockless", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Directory with recipes/, rootfs/ and scripts/ [default: the nearest one upwards]
    #[arg(long, global = true, value_name = "DIR", env = "DOCKLESS_PROJECT")]
    pub(crate) project: Option<PathBuf>,
    /// Where blobs, trees and records are kept [default: `$XDG_DATA_HOME/dockless`]
    #[arg(long, global = true, value_name = "DIR", env = "DOCKLESS_STORE")]
    pub(crate) store: Option<PathBuf>,
    /// How progress is shown
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, env = "DOCKLESS_PROGRESS")]
    pub(crate) progress: ProgressMode,
    /// Say why each step was not taken from the cache, in plain progress
    #[arg(short, long, global = true, env = "DOCKLESS_VERBOSE")]
    pub(crate) verbose: bool,
    /// Jobs in all: steps and the compilers inside them share them [default: the cores this process may use]
    #[arg(short, long, global = true, value_name = "N", env = "DOCKLESS_JOBS")]
    pub(crate) jobs: Option<NonZeroUsize>,
    /// How steps are kept from harm: in namespaces, or for root in a container that has none in a changed root
    #[arg(long, global = true, value_enum, default_value_t = IsolationArg::Auto, env = "DOCKLESS_ISOLATION")]
    pub(crate) isolation: IsolationArg,
    #[command(flatten)]
    pub(crate) engine: super::engine::EngineArgs,
    /// Source sets in order of preference; what the first does not have comes from the next
    #[arg(long, global = true, value_name = "SET", value_delimiter = ',', default_values_t = crate::build::SETS.map(str::to_owned), env = "DOCKLESS_SOURCES")]
    pub(crate) sources: Vec<String>,
    /// How much a build may cost [default: release for `release`, quick for all else]
    #[arg(long, global = true, value_enum, env = "DOCKLESS_PROFILE")]
    pub(crate) profile: Option<ProfileArg>,
    /// Debian mirror to fetch from instead of the host's apt configuration; may be repeated
    #[arg(long, global = true, value_name = "URL", env = "DOCKLESS_DEBIAN_MIRROR", value_delimiter = ',')]
    pub(crate) debian_mirror: Vec<String>,
    /// Directory to look for source files in before fetching; may be repeated
    #[arg(long, global = true, value_name = "DIR", env = "DOCKLESS_SOURCE_DIR", value_delimiter = ':')]
    pub(crate) source_dir: Vec<PathBuf>,
    /// Credentials of registries: a file like docker's config.json, or its directory [default: `$DOCKER_CONFIG`,
    /// `$REGISTRY_AUTH_FILE`, or those of podman and docker]
    #[arg(long, global = true, value_name = "FILE|DIR", env = "DOCKLESS_REGISTRY_CONFIG")]
    pub(crate) registry_config: Option<PathBuf>,
    /// Directory with HOST/hosts.toml or HOST/ca.crt, like /etc/containerd/certs.d; may be repeated
    #[arg(long, global = true, value_name = "DIR", env = "DOCKLESS_REGISTRY_HOSTS", value_delimiter = ':')]
    pub(crate) registry_hosts: Vec<PathBuf>,
    /// Mirror that is asked before a registry, e.g. docker.io=https://mirror.example; may be repeated
    #[arg(long, global = true, value_name = "HOST=URL", env = "DOCKLESS_REGISTRY_MIRROR", value_delimiter = ',', value_parser = mirror)]
    pub(crate) registry_mirror: Vec<(String, String)>,
    /// Registry that may lack encryption or a certificate to believe; may be repeated
    #[arg(long, global = true, value_name = "HOST[:PORT]", env = "DOCKLESS_INSECURE_REGISTRY", value_delimiter = ',')]
    pub(crate) insecure_registry: Vec<String>,
    /// Never use the network; say what is missing
    #[arg(long, global = true, env = "DOCKLESS_OFFLINE")]
    pub(crate) offline: bool,
    /// Run every step, whatever the cache has
    #[arg(long, global = true, env = "DOCKLESS_NO_CACHE")]
    pub(crate) no_cache: bool,
    /// Time of every file we make, seconds since 1970 [default: recipes/release.toml]
    #[arg(long, global = true, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env_values = true)]
    pub(crate) epoch: Option<u64>,
}

/// Views of a solve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A live view on a terminal, plain lines elsewhere
    Auto,
    /// The live view
    Tty,
    /// One line an event
    Plain,
    /// One JSON object a line
    Json,
    /// Errors only
    Quiet,
}

/// Ways of running steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationArg {
    /// The best that works here
    Auto,
    /// Namespaces, or an error
    Userns,
    /// A root of copies that the step is locked into; only for root
    Chroot,
}

/// Profiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileArg {
    /// Plain optimisation
    Quick,
    /// Optimised by trained profiles (recipes/profiles/), and at link time
    Release,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Builds recipes such as python@3.11, or the Dockerfile of a directory such as `.`
    #[command(after_help = super::dockerfile::EXAMPLES)]
    Build(Box<Build>),
    /// Builds, tests, packs and describes standalone Python: the whole matrix into dist/
    #[command(after_help = super::release::EXAMPLES)]
    Release(Box<super::release::Release>),
    /// Proves release tarballs: empty root, moved, venv, pip, ELF checks
    Test(Test),
    /// Signs a release directory by gpg, and by cosign
    #[command(after_help = super::sign::EXAMPLES)]
    Sign(super::sign::Sign),
    /// Verifies a release: sums, signatures, provenance and bills of materials against the tarballs
    #[command(after_help = super::verify::EXAMPLES)]
    Verify(Box<super::verify::Verify>),
    /// Publishes a release directory at GitHub, GitLab, in a registry or in a directory
    #[command(after_help = super::publish::EXAMPLES)]
    Publish(Box<super::publish::Publish>),
    /// Lists releases that are older than their channel keeps them, and removes them when asked
    #[command(after_help = super::expire::EXAMPLES)]
    Expire(super::expire::Expire),
    /// Prints release.json of the newest release, for the notes of the next one
    #[command(after_help = super::previous::EXAMPLES)]
    Previous(super::previous::Previous),
    /// Prints the tag of the next release
    Tag(super::tag::Tag),
    /// Writes notes, metrics and report into a release directory
    #[command(after_help = super::describe::EXAMPLES)]
    Describe(super::describe::Describe),
    /// Tells chats, webhooks, issues and a Pushgateway what became of a release
    #[command(after_help = super::notify::EXAMPLES)]
    Notify(Box<super::notify::Notify>),
    /// Has installed scanners look at a release
    #[command(after_help = super::scan::EXAMPLES)]
    Scan(super::scan::Scan),
    /// Prints the LLB graph of recipes or of a Dockerfile
    Graph(Graph),
    /// Solves an LLB definition read from standard input
    Solve(Solve),
    /// Pulls, pushes, loads, saves, unpacks and lists images
    #[command(subcommand)]
    Image(crate::cli::image::ImageCommand),
    /// Says what takes room in the store, and removes what may go
    #[command(subcommand)]
    Cache(crate::cli::cache::CacheCommand),
    /// Trains, lists and compares the profiles that releases are optimised by
    #[command(subcommand)]
    Profile(ProfileCommand),
    /// Checks the locks, or resolves root filesystems anew
    Lock(Lock),
    /// Downloads and verifies everything that a build needs
    Fetch(Fetch),
    /// Says what this machine can do, and how to mend what it cannot
    Doctor(Doctor),
    /// Prints shell completions
    Completions {
        /// Shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page
    Man,
}

/// Arguments of `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// Recipes, python with a version or series; or the directory (written with a `/` or as `.`) or repository that a
    /// Dockerfile takes its files from
    #[arg(required_unless_present = "file", value_name = "RECIPE[@VERSION]|DIR|URL")]
    pub(crate) recipes: Vec<String>,
    /// Architectures of recipes [default: `x86_64`]
    #[arg(long, value_delimiter = ',')]
    pub(crate) arch: Vec<Arch>,
    #[command(flatten)]
    pub(crate) dockerfile: super::dockerfile::DockerfileArgs,
    #[command(flatten)]
    pub(crate) grants: super::grant::GrantArgs,
    #[command(flatten)]
    pub(crate) outputs: super::output::OutputArgs,
    #[command(flatten)]
    pub(crate) attest: super::attest::AttestArgs,
    #[command(flatten)]
    pub(crate) caches: super::caches::CacheArgs,
    #[command(flatten)]
    pub(crate) limits: super::limit::LimitArgs,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Release tarballs
    #[arg(required = true, value_name = "TARBALL")]
    pub(crate) tarballs: Vec<PathBuf>,
    /// Also prints what they consist of: parts of the tree, and components of the interpreter
    #[arg(long)]
    pub(crate) sizes: bool,
    #[command(flatten)]
    pub(crate) suite: super::suite::SuiteArgs,
    #[command(flatten)]
    pub(crate) trials: super::trials::TrialArgs,
}

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub(crate) struct Graph {
    /// Recipes, or the directory or repository of a Dockerfile as with `build`
    #[arg(required_unless_present_any = ["llb", "file"], value_name = "RECIPE[@VERSION]|DIR|URL")]
    pub(crate) recipes: Vec<String>,
    #[command(flatten)]
    pub(crate) dockerfile: super::dockerfile::DockerfileArgs,
    /// Shows this definition instead of recipes: the protobuf bytes of LLB, `-` for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recipes", "file"])]
    pub(crate) llb: Option<PathBuf>,
    /// Architecture of recipes [default: `x86_64`]
    #[arg(long)]
    pub(crate) arch: Option<Arch>,
    /// Form
    #[arg(long, value_enum, default_value_t = GraphFormat::Tree)]
    pub(crate) format: GraphFormat,
}

/// Forms of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// An indented tree
    Tree,
    /// One JSON object a line, as `buildctl debug dump-llb` prints them
    Json,
    /// The protobuf bytes that BuildKit reads
    Pb,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

/// Arguments of `solve`.
#[derive(Debug, Args)]
pub(crate) struct Solve {
    /// Directory for `local://NAME`; may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = named_path)]
    pub(crate) local: Vec<(String, PathBuf)>,
    /// OCI image layout for `oci-layout://NAME`; may be repeated
    #[arg(long, value_name = "NAME=DIR", value_parser = named_path)]
    pub(crate) oci_layout: Vec<(String, PathBuf)>,
    #[command(flatten)]
    pub(crate) grants: super::grant::GrantArgs,
    /// Config of the image that is exported, as front ends make it (`image-spec config.md`)
    #[arg(long, value_name = "FILE")]
    pub(crate) image_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) outputs: super::output::OutputArgs,
    #[command(flatten)]
    pub(crate) attest: super::attest::AttestArgs,
    #[command(flatten)]
    pub(crate) caches: super::caches::CacheArgs,
    #[command(flatten)]
    pub(crate) limits: super::limit::LimitArgs,
}

/// Parses `HOST=URL`.
fn mirror(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((host, url)) if !host.is_empty() && !url.is_empty() => Ok((host.to_owned(), url.to_owned())),
        _ => Err("write HOST=URL, e.g. docker.io=https://mirror.example".to_owned()),
    }
}

/// Parses `NAME=DIR`.
fn named_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, directory)) if !name.is_empty() && !directory.is_empty() => Ok((name.to_owned(), directory.into())),
        _ => Err("write NAME=DIR".to_owned()),
    }
}

/// What `profile` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileCommand {
    /// Builds with counters, runs the training load, and pins what was counted in recipes/profiles/
    ///
    /// What the same inputs have counted before is taken from the store; --no-cache trains again.
    Train(ProfileTrain),
    /// Lists the trained profiles
    Ls,
    /// Says what one archive of counts has otherwise than another
    Diff {
        /// Older archive
        #[arg(value_name = "OLD.tar.xz")]
        old: PathBuf,
        /// Newer archive
        #[arg(value_name = "NEW.tar.xz")]
        new: PathBuf,
    },
}

/// Arguments of `profile train`.
#[derive(Debug, Args)]
pub(crate) struct ProfileTrain {
    /// What to train: every package of these recipes that can be
    #[arg(required = true, value_name = "RECIPE[@VERSION]")]
    pub(crate) recipes: Vec<String>,
    /// Architectures
    #[arg(long, value_delimiter = ',', default_value = "x86_64")]
    pub(crate) arch: Vec<Arch>,
    #[command(flatten)]
    pub(crate) limits: super::limit::LimitArgs,
}

/// Arguments of `lock`.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// Only check that the locks are complete and agree
    #[arg(long, conflicts_with = "update")]
    pub(crate) check: bool,
    /// Resolve these root filesystems anew, e.g. rootfs/bookworm-x86_64; needs apt, or the image's registry
    #[arg(long, value_name = "ROOTFS", num_args = 1..)]
    pub(crate) update: Vec<String>,
}

/// Arguments of `fetch`.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Recipes
    #[arg(required = true, value_name = "NAME[@VERSION]")]
    pub(crate) recipes: Vec<String>,
    /// Architectures
    #[arg(long, value_delimiter = ',', default_value = "x86_64")]
    pub(crate) arch: Vec<Arch>,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Form
    #[arg(long, value_enum, default_value_t = DoctorFormat::Table)]
    pub(crate) format: DoctorFormat,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
}

/// Forms of a diagnosis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    /// For people
    Table,
    /// For programs
    Json,
}
