//! The release before, as far as the notes of the next one want it: its `release.json`.

use std::fs;

use super::error::PublishError;
use super::expire::{Found, Place, Shelf};
use crate::progress::Progress;
use crate::recipe::Channels;

/// The file that is looked for.
pub(super) const DESCRIPTION: &str = "release.json";

/// The most bytes of it.
pub(super) const MOST: u64 = 16 << 20;

/// Returns the tag and the `release.json` of the newest release in the channel of `tag`, or in `channel`; `tag` itself is
/// not meant, for it may be published already. `None` where there is no other, or where the newest has no such file.
///
/// # Errors
/// `Forge`, `Io`.
pub fn previous(
    shelf: &Shelf<'_>,
    channels: &Channels,
    (tag, channel): (Option<&str>, &str),
    progress: &dyn Progress,
) -> Result<Option<(String, Vec<u8>)>, PublishError> {
    let found = match shelf {
        Shelf::GitHub(api, repository) => super::github::published(api, repository, progress)?.0,
        Shelf::GitLab(api, package) => super::gitlab::published(api, *package, progress)?.0,
        Shelf::Directory(dest) if dest.exists() => super::directory::published(dest)?,
        Shelf::Directory(_) => Found::new(),
    };
    let Some((name, place)) = newest(found, channels, tag, channel) else { return Ok(None) };
    let bytes = match (shelf, place) {
        (Shelf::GitHub(api, repository), Place::GitHub(id)) => {
            super::github::read(api, repository, (id, &name), progress)?
        }
        (Shelf::GitLab(api, package), Place::GitLab(..)) => super::gitlab::read(api, *package, &name, progress)?,
        (Shelf::Directory(_), Place::Directory(path)) => {
            let file = path.join(DESCRIPTION);
            match fs::read(&file) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                read => Some(read.map_err(PublishError::io("read", &file))?),
            }
        }
        _ => unreachable!("what was found on a shelf is of its kind"),
    };
    Ok(bytes.map(|bytes| (name, bytes)))
}

fn newest(found: Found, channels: &Channels, tag: Option<&str>, channel: &str) -> Option<(String, Place)> {
    let channel = tag.and_then(|tag| channels.of(tag)).map_or(channel, |it| &it.name);
    let mut ours: Vec<(i64, String, Place)> = found
        .into_iter()
        .filter(|(name, _)| Some(name.as_str()) != tag && channels.of(name).is_some_and(|it| it.name == channel))
        // Files whose release never came are no release.
        .filter(|(_, (_, place))| !matches!(place, Place::GitLab(false, _)))
        .map(|(name, (published, place))| (published, name, place))
        .collect();
    ours.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    ours.pop().map(|(_, name, place)| (name, place))
}
