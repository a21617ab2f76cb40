//! Ctrl-C: the first asks everything to stop in order, the second stops at once.

use std::thread;

use nix::sys::signal::{SigSet, Signal};

use super::failure::Failure;
use crate::sandbox::Cancel;

/// How a shell names a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Blocks SIGINT and SIGTERM in all threads and cancels when one comes. Called before other threads exist.
pub(super) fn cancel_on_signals(cancel: &Cancel) -> Result<(), Failure> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGHUP);
    signals.thread_block().map_err(|errno| Failure::Signals { source: errno.into() })?;
    let cancel = cancel.clone();
    thread::spawn(move || {
        let mut asked = false;
        while signals.wait().is_ok() {
            if asked {
                // Steps die with this process: they are killed when their builder is gone.
                std::process::exit(INTERRUPTED);
            }
            asked = true;
            cancel.cancel();
        }
    });
    Ok(())
}
