//! What happens during a solve, as it happens.
//!
//! The shape follows BuildKit's `Vertex`, `VertexStatus` and `VertexLog` (`control.proto StatusResponse`), so that a
//! remote solve and the embedded one give the same view. Events are borrowed and handed over synchronously; a
//! receiver copies what it keeps and returns at once, because the caller may hold a step's output pipe.
//! Times are durations: the receiver owns the clock.

use std::path::Path;
use std::time::Duration;

use crate::oci::Digest;

/// One thing that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The whole graph is known: this many vertices will be looked at.
    Planned {
        /// Number of vertices.
        vertices: usize,
    },
    /// Work on a vertex began.
    Started {
        /// Its digest.
        vertex: Digest,
        /// Its name for people.
        name: &'a str,
        /// Why it was not taken from the cache, where that is known.
        reason: Option<&'a str>,
    },
    /// A vertex was answered from the cache.
    Cached {
        /// Its digest.
        vertex: Digest,
        /// Its name for people.
        name: &'a str,
    },
    /// Work on a vertex ended.
    Finished {
        /// Its digest.
        vertex: Digest,
        /// Its name for people.
        name: &'a str,
        /// Wall time since it started.
        elapsed: Duration,
        /// What went wrong; `None` on success.
        error: Option<&'a str>,
    },
    /// A part of a vertex moved on: bytes of one file fetched, packages unpacked.
    Status {
        /// Digest of the vertex.
        vertex: Digest,
        /// What moves, unique within the vertex, e.g. a file name.
        id: &'a str,
        /// Units done so far.
        current: u64,
        /// Units in all, where known.
        total: Option<u64>,
    },
    /// Output of a step, as it came (not cut at line ends).
    Log {
        /// Digest of the vertex.
        vertex: Digest,
        /// Its name for people.
        name: &'a str,
        /// The bytes.
        data: &'a [u8],
    },
    /// All that a step printed is in a file: in this run, or in the one that left its result.
    Output {
        /// Digest of the vertex.
        vertex: Digest,
        /// The file.
        log: &'a Path,
    },
    /// A variant of a release moved on.
    Variant {
        /// Its name for people, `3.12-x86_64`.
        name: &'a str,
        /// Where it is now.
        phase: Phase,
    },
    /// Something a person should know: a choice that was made, a retry, a fallback.
    Note {
        /// One line.
        message: &'a str,
    },
}

/// Where a variant of a release is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Others are worked on first.
    Waiting,
    /// Its tree is being built.
    Building,
    /// Its tarball is being packed.
    Packing,
    /// Its tarball is being tested.
    Testing,
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It was not tried, or not to its end, because another failed.
    Skipped,
}

impl Phase {
    /// Returns its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Building => "building",
            Self::Packing => "packing",
            Self::Testing => "testing",
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// Tells whether somebody works on it.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Building | Self::Packing | Self::Testing)
    }
}

/// Who is told. Implementations are shared by all worker threads.
pub trait Progress: Send + Sync {
    /// Takes one event; must not block for long.
    fn event(&self, event: &Event<'_>);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event<'_>) {}
}
