//! How a step ends, and how it is made to.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustix::event::{EventfdFlags, eventfd};

use super::error::SandboxError;
use crate::cgroup::Met;

/// How the program of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It ran longer than [`super::Step::timeout`] and was killed with all it had started.
    TimedOut,
    /// [`Cancel::cancel`] was called and it was killed with all it had started.
    Cancelled,
}

/// The end of a step whose program ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// How.
    pub outcome: Outcome,
    /// Most memory in bytes that one of its processes had resident; 0 where it was killed before that was known.
    pub max_rss: u64,
    /// Limits of its group that it ran into; a program may fail of that or not.
    pub met: Met,
}

impl Exit {
    /// Tells whether the program exited with code 0.
    pub fn success(&self) -> bool {
        self.outcome == Outcome::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.outcome {
            Outcome::Code(code) => write!(f, "exit code {code}")?,
            Outcome::Signal(signal) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(name) => write!(f, "killed by {name}")?,
                Err(_) => write!(f, "killed by signal {signal}")?,
            },
            Outcome::TimedOut => f.write_str("timed out")?,
            Outcome::Cancelled => f.write_str("cancelled")?,
        }
        self.met.fmt(f)
    }
}

/// Stops running steps, from any thread. Clones stop together.
#[derive(Debug, Clone)]
pub struct Cancel(Arc<Switch>);

#[derive(Debug)]
struct Switch {
    on: AtomicBool,
    /// Readable for ever once the switch is on, so that sleepers wake.
    event: OwnedFd,
    /// Those that stop when this one does.
    below: Mutex<Vec<Weak<Switch>>>,
}

impl Switch {
    fn pull(&self) {
        self.on.store(true, Ordering::SeqCst);
        // Fails only where the counter is full, and then it is readable already.
        let _: io::Result<usize> = rustix::io::write(&self.event, &1_u64.to_ne_bytes()).map_err(io::Error::from);
        let below = std::mem::take(&mut *self.below.lock().unwrap_or_else(PoisonError::into_inner));
        for switch in below.iter().filter_map(Weak::upgrade) {
            switch.pull();
        }
    }
}

impl Cancel {
    /// Makes one that nobody has pulled yet.
    ///
    /// # Errors
    /// `Io` when the process has no descriptor left.
    pub fn new() -> Result<Self, SandboxError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| SandboxError::io("make an event", Path::new("eventfd"), errno.into()))?;
        Ok(Self(Arc::new(Switch { on: AtomicBool::new(false), event, below: Mutex::default() })))
    }

    /// Makes one for a part of what this one stops: it stops with this one, and alone without it.
    ///
    /// # Errors
    /// As `new`.
    pub fn part(&self) -> Result<Self, SandboxError> {
        let part = Self::new()?;
        self.0.below.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&part.0));
        // Pulled meanwhile, it would not have been found.
        if self.is_cancelled() {
            part.cancel();
        }
        Ok(part)
    }

    /// Stops every step that runs with this or a clone, and every one that would.
    pub fn cancel(&self) {
        self.0.pull();
    }

    /// Tells whether [`Cancel::cancel`] has been called.
    pub fn is_cancelled(&self) -> bool {
        self.0.on.load(Ordering::SeqCst)
    }

    pub(super) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_alone_without_it() {
        let whole = Cancel::new().expect("a descriptor");
        let (one, other) = (whole.part().expect("a descriptor"), whole.part().expect("a descriptor"));
        one.cancel();
        assert!(one.is_cancelled() && !other.is_cancelled() && !whole.is_cancelled());
        whole.cancel();
        assert!(other.is_cancelled() && whole.part().expect("a descriptor").is_cancelled());
    }
}
