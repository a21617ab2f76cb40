//! What can go wrong between us and a forge.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;

use crate::http::{Attempts, HttpError, Last, Said, Wait, is_transient};

/// Why something at a forge did not come about. `what` names it with its server.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// The file system refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no HTTP client.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An address makes no sense.
    #[error("`{text}` is not the address of a server: {reason}")]
    Address {
        /// As given, without credentials.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A token that cannot be one.
    #[error("the token from {origin} is none: {reason}")]
    Token {
        /// Where it comes from.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server does not know us, or no longer.
    #[error("{what}: the server answered {status}{}; {}", Said(said), As(origin.as_deref()))]
    Denied {
        /// What was asked for.
        what: String,
        /// HTTP status, 401 or 403.
        status: StatusCode,
        /// The server's own words.
        said: String,
        /// Where the token comes from that was shown.
        origin: Option<String>,
    },
    /// The server said no.
    #[error("{what}: the server answered {status}{}{}{}", Said(said), Wait(*.after), Attempts(*.attempts))]
    Status {
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: StatusCode,
        /// The server's own words, the first ones.
        said: String,
        /// How long it asks to wait.
        after: Option<Duration>,
        /// How often it was asked.
        attempts: usize,
    },
    /// No connection, a broken one, or an answer that is not HTTP.
    #[error("{what}: {}{}", Last(source), Attempts(*.attempts))]
    Request {
        /// What was asked for.
        what: String,
        /// What the client said.
        source: reqwest::Error,
        /// How often it was tried.
        attempts: usize,
    },
    /// Nothing came for too long, or went too slowly.
    #[error("{what}: no answer for {} s{}", waited.as_secs_f32(), Attempts(*.attempts))]
    Stalled {
        /// What was asked for.
        what: String,
        /// For how long.
        waited: Duration,
        /// How often it was tried.
        attempts: usize,
    },
    /// An answer that makes no sense.
    #[error("{what}: the answer makes no sense: {reason}")]
    Answer {
        /// What was asked for.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// This machine's clock is behind.
    #[error(
        "this machine's clock is behind: it says {} and {server} says {}", Time(*.ours), Time(*.theirs)
    )]
    Clock {
        /// Who knows better.
        server: String,
        /// Seconds since 1970 here.
        ours: i64,
        /// Seconds since 1970 there.
        theirs: i64,
    },
    /// The network must not be used.
    #[error("{what}: --offline forbids it")]
    Offline {
        /// What was asked for.
        what: String,
    },
    /// The run was interrupted.
    #[error("{what}: interrupted")]
    Stopped {
        /// What was asked for.
        what: String,
    },
}

impl ForgeError {
    /// Tells whether another attempt may help, and how long the server asks to wait at least.
    pub(super) fn again(&self) -> Option<Duration> {
        match self {
            Self::Status { status, after, .. } => {
                let transient = matches!(status.as_u16(), 408 | 423 | 425 | 429 | 500 | 502 | 503 | 504);
                // A limit of requests may come as 403, too (docs.github.com rate-limits-for-the-rest-api).
                (transient || (*status == StatusCode::FORBIDDEN && after.is_some()))
                    .then_some(after.unwrap_or_default())
            }
            Self::Request { source, .. } => is_transient(source).then_some(Duration::ZERO),
            Self::Stalled { .. } => Some(Duration::ZERO),
            _ => None,
        }
    }

    /// Tells whether no connection came about at all.
    pub(super) fn is_connect(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_connect())
    }

    /// Notes how often it was tried.
    pub(super) fn counted(mut self, count: usize) -> Self {
        if let Self::Status { attempts, .. } | Self::Request { attempts, .. } | Self::Stalled { attempts, .. } =
            &mut self
        {
            *attempts = count;
        }
        self
    }

    /// Returns the status that the server answered with, if it is what went wrong.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Denied { status, .. } | Self::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Tells whether what was asked for is not there, or not for us.
    pub fn is_missing(&self) -> bool {
        self.status() == Some(404)
    }

    /// Tells whether the run was interrupted.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, Self::Stopped { .. })
    }

    /// Tells whether what the user gave is wrong rather than the machine or the network.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Address { .. } | Self::Token { .. } | Self::Denied { .. } | Self::Offline { .. })
            || self.is_missing()
    }
}

struct As<'a>(Option<&'a str>);

impl fmt::Display for As<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(origin) => write!(f, "the token from {origin} was shown"),
            None => f.write_str("no token was shown"),
        }
    }
}

struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} seconds since 1970", self.0),
        }
    }
}
