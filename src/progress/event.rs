//! What happens during a solve, as it happens.
//!
//! The shape follows BuildKit's `Vertex`, `VertexStatus` and `VertexLog` (`control.proto StatusResponse`), so that a
//! remote solve and the embedded one give the same view. Events are borrowed and handed over synchronously; a
//! receiver copies what it keeps and returns at once, because the caller may hold a step's output pipe.
//! Times are durations: the receiver owns the clock.

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
    /// Something a person should know: a choice that was made, a retry, a fallback.
    Note {
        /// One line.
        message: &'a str,
    },
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
