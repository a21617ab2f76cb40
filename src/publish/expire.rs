//! Releases that are older than their channel keeps them (`keep-days` in `recipes/release.toml`).
//!
//! What always holds: only what publishing made is touched, which is seen by its tag's channel and by the sums among its
//! files; the newest release of a channel stays, however old it is; tags stay, so that sources are found. A forge's age
//! of a release is reckoned by the forge's clock, for ours may be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::error::PublishError;
use super::gitlab::Package;
use super::steps::{Did, Steps};
use crate::forge::{Api, ForgeError};
use crate::progress::Progress;
use crate::recipe::Channels;

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// Where releases lie that expire.
#[derive(Debug, Clone, Copy)]
pub enum Shelf<'a> {
    /// A repository `OWNER/NAME` at GitHub or Gitea.
    GitHub(&'a Api, &'a str),
    /// A project at GitLab, with the package that has the files.
    GitLab(&'a Api, Package<'a>),
    /// A directory of directories.
    Directory(&'a Path),
}

/// What may stay.
#[derive(Debug, Clone, Copy)]
pub struct Retention<'a> {
    /// For how long.
    pub channels: &'a Channels,
    /// Only the releases of this channel are looked at.
    pub only: Option<&'a str>,
    /// A release that stays, for it has just been published.
    pub keep: Option<&'a str>,
    /// This machine's time, seconds since 1970; of directories only.
    pub now: i64,
}

/// A release that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expired {
    /// Its tag.
    pub tag: String,
    /// The channel of the tag.
    pub channel: String,
    /// When it was published, seconds since 1970.
    pub published: i64,
    pub(super) place: Place,
}

/// What there is of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The number of the release.
    GitHub(u64),
    /// Whether there is a release, and the numbers of its packages.
    GitLab(bool, Vec<u64>),
    /// Its directory.
    Directory(PathBuf),
}

/// A release that was found: when it was published, and what there is of it.
pub(super) type Found = BTreeMap<String, (i64, Place)>;

/// Returns the releases that are too old, the oldest first, and removes nothing.
///
/// # Errors
/// `Forge`, `Io`.
pub fn expired(
    shelf: &Shelf<'_>,
    retention: &Retention<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Expired>, PublishError> {
    let (found, now) = match shelf {
        Shelf::GitHub(api, repository) => super::github::published(api, repository, progress)?,
        Shelf::GitLab(api, package) => super::gitlab::published(api, *package, progress)?,
        Shelf::Directory(dest) => (super::directory::published(dest)?, Some(retention.now)),
    };
    let now = now.ok_or_else(|| ForgeError::Answer {
        what: "releases".to_owned(),
        reason: "the server does not say what time it is, so nothing is known to have expired".to_owned(),
    })?;
    Ok(choose(found, retention, now))
}

/// Removes releases, each shown as it goes, and returns how many went.
///
/// # Errors
/// `Forge`, `Io`; what was removed before stays removed.
pub fn remove(shelf: &Shelf<'_>, expired: &[Expired], progress: &dyn Progress) -> Result<usize, PublishError> {
    if expired.is_empty() {
        return Ok(0);
    }
    let mut steps = Steps::new(progress, "expired releases", "");
    steps.planned(expired.len());
    for one in expired {
        steps.step(&format!("remove {}", one.tag), || {
            match (shelf, &one.place) {
                (Shelf::GitHub(api, repository), Place::GitHub(id)) => {
                    super::github::remove(api, repository, *id, progress)?;
                }
                (Shelf::GitLab(api, package), Place::GitLab(release, packages)) => {
                    super::gitlab::remove(api, *package, release.then_some(one.tag.as_str()), packages, progress)?;
                }
                (Shelf::Directory(dest), Place::Directory(path)) => super::directory::remove(dest, &one.tag, path)?,
                _ => unreachable!("what was found on a shelf is of its kind"),
            }
            Ok(((), Did::Act))
        })?;
    }
    Ok(steps.acts())
}

fn choose(found: Found, retention: &Retention<'_>, now: i64) -> Vec<Expired> {
    let mut newest: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    for (tag, (published, _)) in &found {
        if let Some(channel) = retention.channels.of(tag) {
            let best = newest.entry(&channel.name).or_insert((*published, tag));
            *best = (*best).max((*published, tag));
        }
    }
    let newest: BTreeSet<String> = newest.into_values().map(|(_, tag)| tag.to_owned()).collect();
    let mut expired: Vec<Expired> = Vec::new();
    for (tag, (published, place)) in found {
        let Some(channel) = retention.channels.of(&tag) else { continue };
        let Some(days) = channel.keep_days else { continue };
        let asked = retention.only.is_none_or(|only| only == channel.name);
        let is_old = now.saturating_sub(published) > i64::from(days) * DAY;
        if asked && is_old && !newest.contains(&tag) && retention.keep != Some(tag.as_str()) {
            expired.push(Expired { tag, channel: channel.name.clone(), published, place });
        }
    }
    expired.sort_by(|one, other| (one.published, &one.tag).cmp(&(other.published, &other.tag)));
    expired
}

/// Reads the time of a release (RFC 3339), seconds since 1970.
pub(super) fn time(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(found: &[(&str, i64)], only: Option<&str>, keep: Option<&str>) -> Vec<String> {
        let now = 1000 * DAY;
        let found = found.iter().map(|(tag, age)| ((*tag).to_owned(), (now - age * DAY, Place::GitHub(1)))).collect();
        let channels = Channels::default();
        let retention = Retention { channels: &channels, only, keep, now };
        choose(found, &retention, now).into_iter().map(|it| it.tag).collect()
    }

    #[test]
    fn each_channel_has_its_own_time_and_keeps_its_newest() {
        let found = [("v1.0", 400), ("v1.1", 364), ("dev-1", 90), ("dev-2", 31), ("dev-3", 29), ("main", 900)];
        assert_eq!(tags(&found, None, None), ["v1.0", "dev-1", "dev-2"]);
        assert_eq!(tags(&found, Some("dev"), None), ["dev-1", "dev-2"]);
        assert_eq!(tags(&found, None, Some("v1.0")), ["dev-1", "dev-2"]);
        assert_eq!(tags(&[("v1.0", 400), ("v1.1", 390)], None, None), ["v1.0"]);
        assert_eq!(tags(&[("v1.0", 4000)], None, None), [""; 0]);
    }
}
