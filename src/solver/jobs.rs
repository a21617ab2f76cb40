//! One budget of jobs for all steps and the `make`s inside them: a GNU make jobserver.
//!
//! A pipe holds one byte for each job. A step takes one byte before it starts, the token that every `make` has
//! implicitly, and gives it back when it ends; the `make`s inside read and write the others (`make` manual, POSIX
//! Jobserver). Make 4.3, which bookworm has, knows the pipe form only.
//!
//! A step that is killed may take tokens of its `make` with it. They come back when no step is running: then the pipe
//! is drained and filled anew. Losing parallelism for a moment is the price of not sitting between make and the pipe.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

/// The pipe cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action} the jobserver pipe")]
pub struct JobsError {
    /// What was tried.
    action: &'static str,
    /// The kernel's answer.
    source: io::Error,
}

/// The budget.
#[derive(Debug)]
pub struct Jobs {
    read: OwnedFd,
    write: OwnedFd,
    total: NonZeroUsize,
    running: Mutex<usize>,
}

/// One job; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Token<'a> {
    jobs: &'a Jobs,
}

const TOKEN: u8 = b'+';

impl Jobs {
    /// Makes a budget of `total` jobs.
    pub fn new(total: NonZeroUsize) -> Result<Self, JobsError> {
        let error = |action| move |errno: Errno| JobsError { action, source: errno.into() };
        // Non-blocking: make polls before it reads, and another make may be quicker.
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(error("create"))?;
        let jobs = Self { read, write, total, running: Mutex::new(0) };
        jobs.fill().map_err(error("fill"))?;
        Ok(jobs)
    }

    /// Returns the number of jobs.
    pub const fn total(&self) -> NonZeroUsize {
        self.total
    }

    /// Returns the ends that a step inherits, read end first.
    pub(crate) fn ends(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.read.as_fd(), self.write.as_fd())
    }

    /// Takes a job, waiting for one; `None` when `cancelled` says so meanwhile.
    pub(crate) fn take(&self, mut cancelled: impl FnMut() -> bool) -> Result<Option<Token<'_>>, JobsError> {
        let error = |action, errno: Errno| JobsError { action, source: errno.into() };
        let tick =
            Timespec { tv_sec: 0, tv_nsec: i64::try_from(Duration::from_millis(200).as_nanos()).expect("small") };
        loop {
            if cancelled() {
                return Ok(None);
            }
            if let Some(token) = self.try_take()? {
                return Ok(Some(token));
            }
            match poll(&mut [PollFd::new(&self.read, PollFlags::IN)], Some(&tick)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(error("wait for", errno)),
            }
        }
    }

    fn try_take(&self) -> Result<Option<Token<'_>>, JobsError> {
        match rustix::io::read(&self.read, &mut [0_u8; 1]) {
            Ok(1) => {
                *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                Ok(Some(Token { jobs: self }))
            }
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(JobsError { action: "read from", source: errno.into() }),
        }
    }

    fn fill(&self) -> Result<(), Errno> {
        for _ in 0..self.total.get() {
            rustix::io::write(&self.write, &[TOKEN])?;
        }
        Ok(())
    }
}

impl Drop for Token<'_> {
    fn drop(&mut self) {
        let mut running = self.jobs.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running -= 1;
        if *running == 0 {
            // Nobody else holds a token now: whatever is missing was lost with a killed step.
            while rustix::io::read(&self.jobs.read, &mut [0_u8; 64]).is_ok_and(|count| count > 0) {}
            let _ = self.jobs.fill();
        } else {
            let _ = rustix::io::write(&self.jobs.write, &[TOKEN]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_budget_runs_and_lost_tokens_come_back() {
        let jobs = Jobs::new(NonZeroUsize::new(2).expect("two")).expect("pipe");
        let one = jobs.take(|| false).expect("pipe").expect("free");
        let two = jobs.take(|| false).expect("pipe").expect("free");
        let mut asked = 0;
        let third = jobs.take(|| std::mem::replace(&mut asked, 1) == 1);
        assert!(third.is_err() || third.expect("pipe").is_none());
        drop(one);
        // A make takes the free token and is killed with it.
        assert_eq!(rustix::io::read(&jobs.read, &mut [0_u8; 1]), Ok(1));
        drop(two);
        let again = [jobs.take(|| false), jobs.take(|| false)];
        assert!(again.into_iter().all(|token| token.expect("pipe").is_some()));
    }
}
