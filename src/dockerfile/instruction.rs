//! The instructions, typed (`frontend/dockerfile/instructions/commands.go`).

use super::heredoc::Heredoc;
use super::lines::Lines;
use super::words::Pair;

/// One instruction of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instruction {
    /// The first word, as written.
    pub(super) keyword: String,
    /// All of it, on one line.
    pub(super) code: String,
    pub(super) lines: Lines,
    pub(super) kind: Kind,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Add(Files),
    Arg(Vec<Argument>),
    Cmd(CommandLine),
    Copy(Files),
    Entrypoint(CommandLine),
    Env(Vec<Pair>),
    Expose(Vec<String>),
    From(From),
    Healthcheck(Healthcheck),
    Label(Vec<Pair>),
    Maintainer(String),
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    Stopsignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// All keywords, for those who misspell one.
pub(super) const KEYWORDS: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// `FROM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    /// A stage, an image or `scratch`, with variables.
    pub(super) base: String,
    /// Its own name, in lower case; empty where it has none.
    pub(super) name: String,
    /// With variables; empty where none is asked for.
    pub(super) platform: String,
}

/// `ARG`: a name and perhaps a default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// A command for the shell, or one that is executed as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CommandLine {
    pub(super) args: Vec<String>,
    pub(super) heredocs: Vec<Heredoc>,
    pub(super) shell: bool,
}

/// `RUN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) command: CommandLine,
    /// As written, since variables in them are expanded when they are used.
    pub(super) mounts: Vec<String>,
    pub(super) network: Network,
    pub(super) insecure: bool,
    pub(super) devices: Vec<Device>,
}

/// `--network` of `RUN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    Default,
    None,
    Host,
}

/// `--device` of `RUN`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) required: bool,
}

/// `ADD` and `COPY`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Files {
    pub(super) sources: Vec<String>,
    pub(super) documents: Vec<Heredoc>,
    pub(super) dest: String,
    pub(super) from: String,
    pub(super) chown: String,
    pub(super) chmod: String,
    pub(super) link: bool,
    pub(super) parents: bool,
    pub(super) exclude: Vec<String>,
    pub(super) keep_git_dir: Option<bool>,
    pub(super) checksum: String,
    pub(super) unpack: Option<bool>,
}

/// `HEALTHCHECK` (docker-image-spec `HealthcheckConfig`); durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Healthcheck {
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "super::image::or_default")]
    pub(super) test: Vec<String>,
    #[serde(skip_serializing_if = "super::image::is_default")]
    pub(super) interval: i64,
    #[serde(skip_serializing_if = "super::image::is_default")]
    pub(super) timeout: i64,
    #[serde(skip_serializing_if = "super::image::is_default")]
    pub(super) start_period: i64,
    #[serde(skip_serializing_if = "super::image::is_default")]
    pub(super) start_interval: i64,
    #[serde(skip_serializing_if = "super::image::is_default")]
    pub(super) retries: i64,
}
