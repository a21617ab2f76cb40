//! What keeps a client from being made, or ends its work.

use std::io;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The machine refused.
    #[error("failed to {action}")]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The HTTP client could not be made.
    #[error("failed to set up the HTTP client")]
    Client {
        /// What it said.
        source: reqwest::Error,
    },
    /// A certificate or a key is none.
    #[error("not a certificate, or not a certificate and its key, in PEM")]
    Certificate {
        /// What is wrong with it.
        source: reqwest::Error,
    },
    /// A proxy's address makes no sense.
    #[error("proxy `{proxy}` is not an address like http://host:port")]
    Proxy {
        /// The address as given, without credentials.
        proxy: String,
        /// What is wrong with it.
        source: reqwest::Error,
    },
}

/// The run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Stopped;
