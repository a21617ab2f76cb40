//! What builder and init say to each other over their socket, as JSON frames.
//!
//! ```text
//! builder                        init (outside)                 init (process 1)        program
//!   Plan + inherited descriptors ->
//!                                 leaves user and pid namespaces
//!                            <- Unshared
//!   writes the id maps
//!   (empty frame) ->              becomes uid 0, forks
//!                                                                setup, forks
//!                            <- Failed{..} ----------------------- or ------------------- or
//!                            <- Exited{..} -----------------------
//! ```
//! The end of the socket says the rest: init that finds the builder gone kills process 1 and waits for its end.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::chroot::Base;
use super::op::SetupOp;
use super::stub::Rule;
use crate::sys::{self, Program};

/// All that init must know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) ops: Vec<SetupOp>,
    /// The numbers of the descriptors that come with the plan, in their order.
    pub(super) inherit: Vec<i32>,
    /// The filter of system calls, where an act installs one.
    pub(super) filter: Option<Program>,
    /// What becomes of the mount points.
    pub(super) rule: Rule,
    /// Where a step without namespaces lives.
    pub(super) base: Option<Base>,
    /// What the kernel does not give a step is emulated: owners where one id only exists, and devices.
    pub(super) owners: bool,
    /// Overlays may be tried.
    pub(super) overlay: bool,
}

/// What init reports.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// It is in its namespaces and waits for its ids.
    Unshared,
    /// An act failed; the step is over.
    Failed { operation: String, operand: String, errno: Option<i32>, message: String },
    /// The program ended.
    Exited { code: Option<i32>, signal: Option<i32>, max_rss: u64 },
    /// Process 1 was killed from outside.
    Lost { status: String },
}

impl Report {
    pub(super) fn failed(operation: &str, operand: &str, error: &io::Error) -> Self {
        Self::Failed {
            operation: operation.to_owned(),
            operand: operand.to_owned(),
            errno: error.raw_os_error(),
            message: error.to_string(),
        }
    }
}

pub(super) fn send<T: Serialize>(socket: &UnixStream, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    sys::send_frame(socket, &serde_json::to_vec(message)?, descriptors)
}

/// Receives one message; `None` when the peer is gone.
pub(super) fn receive<T: DeserializeOwned>(socket: &UnixStream) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let Some((bytes, descriptors)) = sys::recv_frame(socket)? else { return Ok(None) };
    Ok(Some((serde_json::from_slice(&bytes)?, descriptors)))
}
