//! Why one origin did not serve, in words.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::http::{Attempts, Last};

/// An origin that was tried in vain.
#[derive(Debug)]
pub struct Tried {
    /// The origin, without credentials.
    pub origin: String,
    /// Why it did not serve.
    pub reason: Reason,
}

/// Why one origin did not serve.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// The server said no.
    #[error("the server answered {status}{}", Attempts(*.attempts))]
    Status {
        /// HTTP status.
        status: reqwest::StatusCode,
        /// How often it was asked.
        attempts: usize,
    },
    /// No connection came about.
    #[error("no connection: {}{}", Last(source), Attempts(*.attempts))]
    Connect {
        /// What the client said.
        source: reqwest::Error,
        /// How often it was tried.
        attempts: usize,
    },
    /// The server's certificate is not one that this machine trusts.
    #[error("the server is not trusted: {}", Last(source))]
    Certificate {
        /// What the client said.
        source: reqwest::Error,
    },
    /// A broken connection, or an answer that is not HTTP.
    #[error("{}{}", Last(source), Attempts(*.attempts))]
    Request {
        /// What the client said.
        source: reqwest::Error,
        /// How often it was tried.
        attempts: usize,
    },
    /// The connection ended early.
    #[error("the connection ended after {received} of {expected} bytes{}", Attempts(*.attempts))]
    Cut {
        /// Bytes that came.
        received: u64,
        /// Bytes in all.
        expected: u64,
        /// How often it was tried.
        attempts: usize,
    },
    /// Nothing, or next to nothing, came for too long.
    #[error("nothing came for {} s{}", .waited.as_secs_f32(), Attempts(*.attempts))]
    Stalled {
        /// For how long.
        waited: Duration,
        /// How often it was tried.
        attempts: usize,
    },
    /// A range of bytes that was not asked for.
    #[error("the server sent other bytes of the file than were asked for")]
    Range,
    /// `debian:` without a mirror.
    #[error("no Debian mirror is known (apt's configuration on this machine names none): pass --debian-mirror URL")]
    NoMirror,
    /// An address that we cannot fetch from.
    #[error("not an address that can be fetched: use https:, http:, file: or debian:pool/…")]
    Address,
    /// A local file that cannot be read.
    #[error("{source}")]
    File {
        /// What the kernel said.
        source: io::Error,
    },
}

pub(super) struct Lines<'a>(pub(super) &'a [Tried]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|tried| write!(f, "\n  {}: {}", tried.origin, tried.reason))
    }
}

pub(super) struct Known<'a>(pub(super) &'a [String]);

impl fmt::Display for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|origin| write!(f, "\n  {origin}"))
    }
}
