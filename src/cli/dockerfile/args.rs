//! Options of a Dockerfile build, as docker writes them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::session::variable;
use crate::dockerfile::{NetworkMode, Options, parse_platform};
use crate::llb::pb;

pub(crate) const EXAMPLES: &str = "Examples:
  dockless build python@3.11 -o type=oci-archive,dest=python.tar
  dockless build . -t localhost/mine:1
  dockless build -f docker/Dockerfile --build-arg VERSION=3 . -o type=registry,name=ghcr.io/owner/name:3
  dockless build https://example.org/repository.git#main:subdirectory";

/// What only Dockerfiles know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Dockerfiles")]
pub(crate) struct DockerfileArgs {
    /// The Dockerfile, `-` for standard input [default: DIR/Dockerfile]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Value of an `ARG`; NAME alone takes it from the environment; may be repeated
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = argument)]
    pub(crate) build_arg: Vec<(String, Option<String>)>,
    /// Stage to build [default: the last]
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// For which machine: linux/amd64 or linux/386 [default: this machine]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    pub(crate) platform: Option<pb::Platform>,
    /// Further place of files: NAME=DIR, NAME=docker-image://REF, NAME=oci-layout://DIR[:TAG|@DIGEST] or NAME=URL of a
    /// repository; may be repeated
    #[arg(long, value_name = "NAME=PLACE", value_parser = pair)]
    pub(crate) build_context: Vec<(String, String)>,
    /// Label of the image; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) label: Vec<(String, String)>,
    /// Line of `/etc/hosts` in steps; may be repeated
    #[arg(long, value_name = "HOST:IP", value_parser = host)]
    pub(crate) add_host: Vec<(String, IpAddr)>,
    /// Network of steps that say nothing of it
    #[arg(long, value_enum, value_name = "NETWORK", default_value_t)]
    pub(crate) network: NetworkArg,
    /// Stages whose steps are never taken from the cache; may be repeated
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    pub(crate) no_cache_filter: Vec<String>,
    /// Ask registries for base images even where the store has the name
    #[arg(long)]
    pub(crate) pull: bool,
    /// Size of `/dev/shm` in steps, such as 128m
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(crate) shm_size: Option<i64>,
    /// Limit of a resource in steps, such as nofile=1024:4096; may be repeated
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = ulimit)]
    pub(crate) ulimit: Vec<pb::Ulimit>,
}

/// Networks of steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// What the engine gives
    #[default]
    Default,
    /// None
    None,
    /// The host's, which this also allows
    Host,
}

/// Returns the place of the Dockerfile's files, where the arguments mean one.
pub(crate) fn place<'a>(names: &'a [String], args: &DockerfileArgs) -> Option<&'a str> {
    match names {
        [] if args.file.is_some() => Some("."),
        [name] if args.file.is_some() || name.contains('/') || matches!(name.as_str(), "." | ".." | "-") => Some(name),
        _ => None,
    }
}

impl DockerfileArgs {
    /// Returns them as lowering knows them, without places of files; `epoch` is `SOURCE_DATE_EPOCH`.
    pub(super) fn options(&self, epoch: Option<u64>) -> Options {
        let of_environment =
            |(name, value): &(String, Option<String>)| Some((name.clone(), value.clone().or_else(|| variable(name))?));
        let mut build_args: BTreeMap<String, String> = self.build_arg.iter().filter_map(of_environment).collect();
        // As docker's builder takes it from the environment of its client.
        if let Some(epoch) = epoch {
            build_args.entry("SOURCE_DATE_EPOCH".to_owned()).or_insert_with(|| epoch.to_string());
        }
        Options {
            build_args,
            target: self.target.clone(),
            platform: self.platform.clone(),
            labels: self.label.iter().cloned().collect(),
            hosts: self.add_host.clone(),
            shm_size: self.shm_size.unwrap_or(0),
            ulimits: self.ulimit.clone(),
            network: match self.network {
                NetworkArg::Default => NetworkMode::Sandbox,
                NetworkArg::None => NetworkMode::None,
                NetworkArg::Host => NetworkMode::Host,
            },
            no_cache: (!self.no_cache_filter.is_empty()).then(|| self.no_cache_filter.clone()),
            ..Options::default()
        }
    }
}

fn argument(text: &str) -> Result<(String, Option<String>), String> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value.to_owned())));
    if name.is_empty() { Err("write NAME=VALUE".to_owned()) } else { Ok((name.to_owned(), value)) }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

fn platform(text: &str) -> Result<pb::Platform, String> {
    if text.contains(',') {
        return Err("one build makes one platform: build them one after the other".to_owned());
    }
    parse_platform(match text {
        "x86" | "i686" => "386",
        other => other,
    })
    .map_err(|error| error.to_string())
}

fn host(text: &str) -> Result<(String, IpAddr), String> {
    let wrong = || "write HOST:IP, as db:10.0.0.1".to_owned();
    let (host, address) = text.split_once([':', '=']).ok_or_else(wrong)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Ok((host.to_owned(), address.parse().map_err(|_| wrong())?))
}

fn size(text: &str) -> Result<i64, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match text[number.len()..].to_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return Err("write bytes, or a number with k, m or g".to_owned()),
    };
    let number = number.parse::<i64>().ok().filter(|number| *number > 0);
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| format!("`{text}` is no size"))
}

fn ulimit(text: &str) -> Result<pb::Ulimit, String> {
    let wrong = || "write NAME=SOFT or NAME=SOFT:HARD, as nofile=1024:4096".to_owned();
    let (name, range) = text.split_once('=').ok_or_else(wrong)?;
    let (soft, hard) = range.split_once(':').unwrap_or((range, range));
    let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1).ok_or_else(wrong);
    Ok(pb::Ulimit { name: name.to_owned(), soft: number(soft)?, hard: number(hard)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_dockerfiles_are_told_from_recipes() {
        let with_file = DockerfileArgs { file: Some("x".into()), ..DockerfileArgs::default() };
        let is_place = |name: &str| place(&[name.to_owned()], &DockerfileArgs::default()).is_some();
        for name in [".", "..", "./a", "/a", "a/b", "https://h/r.git", "-"] {
            assert!(is_place(name), "{name}");
        }
        for name in ["python", "python@3.11", "zlib"] {
            assert!(!is_place(name), "{name}");
            assert!(place(&[name.to_owned()], &with_file).is_some());
        }
        assert_eq!(place(&[], &with_file), Some("."));
        assert_eq!(place(&["./a".to_owned(), "./b".to_owned()], &DockerfileArgs::default()), None);
    }

    #[test]
    fn values_are_read_as_docker_writes_them() {
        assert_eq!(size("64m"), Ok(64 << 20));
        assert_eq!(size("1gb"), Ok(1 << 30));
        assert!(["", "m", "-1", "9e9", "1t", "99999999999g"].iter().all(|text| size(text).is_err()));
        assert_eq!(host("db:10.0.0.1"), Ok(("db".to_owned(), [10, 0, 0, 1].into())));
        assert!(host("db=[::1]").is_ok_and(|(_, address)| address.is_ipv6()));
        assert!(host("db").is_err() && host("db:x").is_err());
        let limit = |soft, hard| Ok(pb::Ulimit { name: "nofile".to_owned(), soft, hard });
        assert_eq!(ulimit("nofile=1:2"), limit(1, 2));
        assert_eq!(ulimit("nofile=-1"), limit(-1, -1));
        assert!(ulimit("nofile").is_err() && ulimit("nofile=x").is_err());
        assert!(platform("linux/amd64,linux/386").is_err());
        assert_eq!(platform("x86").map(|platform| platform.architecture), Ok("386".to_owned()));
        assert_eq!(argument("A=b=c"), Ok(("A".to_owned(), Some("b=c".to_owned()))));
        assert!(argument("=x").is_err() && pair("x").is_err());
    }
}
