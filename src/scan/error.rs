//! What keeps a scan from being one.

use std::io;
use std::path::PathBuf;

/// Why a scanner said nothing that counts.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The machine refused.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was being done, after `failed to`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It ended badly.
    #[error("{scanner} failed on {subject} ({status}){}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Failed {
        /// Which one.
        scanner: &'static str,
        /// On what.
        subject: String,
        /// How it ended.
        status: String,
        /// Its last words.
        said: String,
    },
    /// It took too long.
    #[error("{scanner} was not done with {subject} after {seconds} s")]
    Late {
        /// Which one.
        scanner: &'static str,
        /// On what.
        subject: String,
        /// How long it was given.
        seconds: u64,
    },
    /// What it wrote is no SARIF.
    #[error("what {scanner} says of {subject} is no SARIF: {reason}")]
    Sarif {
        /// Which one.
        scanner: &'static str,
        /// Of what.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The run was interrupted.
    #[error("interrupted while {scanner} looked at {subject}")]
    Stopped {
        /// Which one.
        scanner: &'static str,
        /// At what.
        subject: String,
    },
}
