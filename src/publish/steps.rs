//! Each step, shown as it happens; and what is done when something fails.

use std::time::Instant;

use super::error::PublishError;
use crate::oci::Digest;
use crate::progress::{Event, Progress};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// Something changed.
    Act,
    /// All was there.
    Nothing,
}

/// The steps of one publication.
pub(super) struct Steps<'a> {
    progress: &'a dyn Progress,
    place: String,
    tag: String,
    /// Steps in all.
    all: usize,
    done: usize,
    acts: usize,
    failed: String,
    state: &'static str,
}

impl<'a> Steps<'a> {
    pub(super) fn new(progress: &'a dyn Progress, place: &str, tag: &str) -> Self {
        let (place, tag) = (place.to_owned(), tag.to_owned());
        Self { progress, place, tag, all: 0, done: 0, acts: 0, failed: String::new(), state: "nobody sees it yet" }
    }

    /// Says how many steps follow.
    pub(super) fn planned(&mut self, steps: usize) {
        self.all = steps;
        self.progress.event(&Event::Planned { vertices: steps });
    }

    /// Says what people see if the next step fails.
    pub(super) fn state(&mut self, state: &'static str) {
        self.state = state;
    }

    /// Does one step.
    pub(super) fn step<T>(
        &mut self,
        name: &str,
        act: impl FnOnce() -> Result<(T, Did), PublishError>,
    ) -> Result<T, PublishError> {
        let vertex = Digest::of(format!("publish {} {} {name}", self.place, self.tag).as_bytes());
        let since = Instant::now();
        self.progress.event(&Event::Started { vertex, name, reason: None });
        let result = act();
        let error = result.as_ref().err().map(ToString::to_string);
        match result {
            Ok((value, Did::Nothing)) => {
                self.progress.event(&Event::Cached { vertex, name });
                self.done += 1;
                Ok(value)
            }
            Ok((value, Did::Act)) => {
                self.progress.event(&Event::Finished { vertex, name, elapsed: since.elapsed(), error: None });
                self.done += 1;
                self.acts += 1;
                Ok(value)
            }
            Err(failure) => {
                self.progress.event(&Event::Finished {
                    vertex,
                    name,
                    elapsed: since.elapsed(),
                    error: error.as_deref(),
                });
                name.clone_into(&mut self.failed);
                Err(failure)
            }
        }
    }

    pub(super) fn note(&self, message: &str) {
        self.progress.event(&Event::Note { message });
    }

    /// Returns how many steps changed something.
    pub(super) const fn acts(&self) -> usize {
        self.acts
    }

    /// Says of a failure what was done before it, now or by an earlier run.
    pub(super) fn told<T>(self, result: Result<T, PublishError>) -> Result<T, PublishError> {
        match result {
            Err(source) if self.done > 0 && !self.failed.is_empty() => Err(PublishError::Unfinished {
                place: self.place,
                tag: self.tag,
                step: self.failed,
                done: self.done,
                steps: self.all,
                state: self.state,
                source: Box::new(source),
            }),
            other => other,
        }
    }
}
