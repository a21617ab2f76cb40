//! What is published, and the checks that need no server.

use std::time::{Duration, SystemTime};

use super::error::PublishError;
use crate::dist::{Asset, Dist};
use crate::oci::Digest;

/// What GitHub takes as notes, in characters; it refuses more.
const LONGEST_NOTES: usize = 125_000;

/// How much later than now a file may be: clocks of file servers differ.
const AHEAD: Duration = Duration::from_mins(10);

/// One release on its way out.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Publication<'a> {
    /// Its files.
    pub dist: &'a Dist,
    /// Its tag.
    pub tag: String,
    /// The commit that the tag is on, or is to be made on.
    pub commit: Option<String>,
    /// Its title.
    pub title: String,
    /// Its notes, Markdown.
    pub notes: String,
    /// It is not for everybody.
    pub prerelease: bool,
    /// Every tarball needs a signature beside it.
    pub signed: bool,
    /// What is there with other content gives way.
    pub replace: bool,
    /// It stays a draft, where there are drafts.
    pub draft: bool,
    /// This machine's time, seconds since 1970.
    pub now: i64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Where people find it.
    pub address: String,
    /// Steps that changed something; none where all was there.
    pub acts: usize,
}

impl Publication<'_> {
    /// Refuses what cannot be right wherever it goes.
    pub(super) fn check(&self) -> Result<(), PublishError> {
        if self.signed {
            let names: Vec<String> = self.dist.unsigned().into_iter().map(str::to_owned).collect();
            if !names.is_empty() {
                return Err(PublishError::Unsigned { names });
            }
        }
        let latest = u64::try_from(self.now).map(Duration::from_secs).unwrap_or_default() + AHEAD;
        let latest = SystemTime::UNIX_EPOCH + latest;
        for asset in self.dist.assets() {
            let path = self.dist.path(asset);
            let written = path.metadata().and_then(|it| it.modified()).map_err(PublishError::io("examine", &path))?;
            if written > latest {
                let seconds = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
                let shown = |seconds: i64| {
                    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
                };
                let written = shown(i64::try_from(seconds).unwrap_or(i64::MAX));
                return Err(PublishError::Future { path, now: shown(self.now), written });
            }
        }
        Ok(())
    }

    /// Returns the notes, cut to what every forge takes.
    pub(super) fn short_notes(&self) -> String {
        if self.notes.chars().count() <= LONGEST_NOTES {
            return self.notes.clone();
        }
        let end = "\n\n… (all of it is in RELEASE_NOTES.md)\n";
        let kept: String = self.notes.chars().take(LONGEST_NOTES - end.chars().count()).collect();
        kept + end
    }

    /// Returns the commit for comparing with `theirs`, if it is known and another one.
    pub(super) fn other_commit(&self, theirs: &str) -> Option<&str> {
        let ours = self.commit.as_deref()?;
        // A short name is given by hand.
        (!theirs.starts_with(ours)).then_some(ours)
    }

    /// Refuses a tag that is on another commit, and one that is nowhere and has nothing to be on.
    pub(super) fn check_tag(&self, place: &str, theirs: Option<&str>) -> Result<(), PublishError> {
        let (tag, place) = (self.tag.clone(), place.to_owned());
        match theirs {
            Some(theirs) => match self.other_commit(theirs) {
                Some(ours) => {
                    let (theirs, ours) = (theirs.to_owned(), ours.to_owned());
                    Err(PublishError::TagElsewhere { tag, place, theirs, ours })
                }
                None => Ok(()),
            },
            None if self.commit.is_none() => Err(PublishError::NoCommit { tag, place }),
            None => Ok(()),
        }
    }
}

/// A file as a forge lists it.
#[derive(Debug, Clone)]
pub(super) struct There<T> {
    pub(super) id: T,
    pub(super) name: String,
    pub(super) size: u64,
    /// Not all of it came.
    pub(super) partial: bool,
    pub(super) digest: Option<Digest>,
}

impl<T> There<T> {
    /// Tells whether it is this file; `hash` reads it where the forge does not know its digest.
    pub(super) fn is<E>(
        &self,
        asset: &Asset,
        hash: impl FnOnce(&Self) -> Result<Option<Digest>, E>,
    ) -> Result<bool, E> {
        if self.partial || self.size != asset.size {
            return Ok(false);
        }
        let digest = match self.digest {
            Some(digest) => Some(digest),
            None => hash(self)?,
        };
        Ok(digest == Some(asset.digest))
    }
}
