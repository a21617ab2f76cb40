//! Why a solve ended early.

use std::path::PathBuf;

use super::JobsError;
use super::disk::Low;
use crate::cache::CacheError;
use crate::cgroup::CgroupError;
use crate::file::FileError;
use crate::llb::{GraphError, Refusal};
use crate::oci::Digest;
use crate::sandbox::{Exit, SandboxError};
use crate::snapshot::SnapshotError;
use crate::source::SourceError;
use crate::store::StoreError;

/// A program of a step that failed, as both engines report it.
#[derive(Debug)]
pub struct Failure {
    /// Digest of the vertex.
    pub vertex: Digest,
    /// Its name for people.
    pub name: String,
    /// How the program ended.
    pub exit: Exit,
    /// The last lines of its output.
    pub tail: Vec<String>,
    /// The whole output.
    pub log: PathBuf,
}

/// Why a graph was not solved.
#[derive(Debug, thiserror::Error)]
pub enum SolveError {
    /// A step's program failed.
    #[error("step `{}` failed: {}", .0.name, .0.exit)]
    Step(Box<Failure>),
    /// Somebody asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The graph is not one.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph asks for what it may not have, or what this machine cannot give.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An operation that this engine does not do.
    #[error("`{name}` cannot be solved here: {what} is not supported by the embedded engine yet")]
    Unsupported {
        /// The vertex.
        name: String,
        /// What it asks for.
        what: String,
    },
    /// The graph names an input that the caller did not provide.
    #[error("`{name}` needs {what}, which was not given")]
    MissingInput {
        /// The vertex.
        name: String,
        /// What is missing.
        what: String,
    },
    /// A step could not be set up.
    #[error("step `{name}` could not be run")]
    Sandbox {
        /// The vertex.
        name: String,
        /// Why.
        source: Box<SandboxError>,
    },
    /// The disk ran full.
    #[error(
        "the file system of the store `{}` has {low}: {} ended and left nothing",
        place.display(), names(running)
    )]
    Low {
        /// The store.
        place: PathBuf,
        /// What fell below what.
        low: Low,
        /// What was being made.
        running: Vec<String>,
    },
    /// The disk would run full.
    #[error(
        "the file system of `{}` has {free} free, but what is still to be done needs about {need} there, and {kept} stay free",
        place.display()
    )]
    Room {
        /// Where.
        place: PathBuf,
        /// Bytes that are free.
        free: String,
        /// Bytes that are needed.
        need: String,
        /// Bytes that stay free.
        kept: String,
    },
    /// A step could not be given its limits.
    #[error("step `{name}` could not be given its limits")]
    Limits {
        /// The vertex.
        name: String,
        /// Why.
        source: CgroupError,
    },
    /// A source could not be had.
    #[error("`{name}` could not be fetched")]
    Source {
        /// The vertex.
        name: String,
        /// Why.
        source: Box<SourceError>,
    },
    /// A tree could not be made or kept.
    #[error("`{name}`: the snapshot could not be made")]
    Snapshot {
        /// The vertex.
        name: String,
        /// Why.
        source: Box<SnapshotError>,
    },
    /// A file operation failed.
    #[error("`{name}`")]
    File {
        /// The vertex.
        name: String,
        /// Why.
        source: Box<FileError>,
    },
    /// A result from a cache elsewhere cannot be had after all; the graph is solved again without it.
    #[error("`{name}` is not in any cache")]
    Lost {
        /// The vertex.
        name: String,
    },
    /// A cache elsewhere failed.
    #[error(transparent)]
    Cache(CacheError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The jobserver failed.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// A file could not be used.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
}

fn names(running: &[String]) -> String {
    let names: Vec<String> = running.iter().map(|name| format!("`{name}`")).collect();
    let verb = if running.len() == 1 { "was" } else { "were" };
    format!("{} {verb}", names.join(", "))
}
