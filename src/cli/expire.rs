//! `dockless expire`: what is older than its channel keeps it, and its removal when that is asked for.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::forge::{ForgeArgs, channels, now};
use super::progress::View;
use super::publish::{Place, repository};
use super::session::Session;
use crate::forge::Dialect;
use crate::progress::{Event, Progress};
use crate::publish::{self, Package, Retention, Shelf};
use crate::sandbox::Cancel;

pub(super) const EXAMPLES: &str = "Examples:
  dockless expire --to github --dest owner/name
  dockless expire --to gitlab --channel dev --delete
  dockless expire --to dir --dest /srv/www/releases --delete

Prints the tags of releases that are older than `keep-days` of their channel in recipes/release.toml, the oldest first, and
removes nothing without --delete. The newest release of a channel stays however old it is; tags of git stay, too.";

/// Arguments of `expire`.
#[derive(Debug, Args)]
pub(crate) struct Expire {
    /// Where: github, gitlab, gitea or dir
    #[arg(long, value_enum, value_name = "PLACE")]
    to: Place,
    /// OWNER/NAME, GROUP/NAME or number, DIR [default: `GITHUB_REPOSITORY`; `CI_PROJECT_ID`]
    #[arg(long, value_name = "DEST")]
    dest: Option<String>,
    /// Only the releases of this channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Remove them
    #[arg(long)]
    delete: bool,
    /// The name of the package (GitLab)
    #[arg(long, value_name = "NAME", default_value = "standalone-python")]
    package: String,
    #[command(flatten)]
    forge: ForgeArgs,
}

/// Runs the command.
pub(super) fn expire(session: &Session<'_>, args: &Expire, cancel: &Cancel, view: &View) -> Result<ExitCode, Failure> {
    let channels = channels(session)?;
    if let Some(name) = args.channel.as_deref().filter(|name| channels.named(name).is_none()) {
        let names: Vec<&str> = channels.all().iter().map(|channel| channel.name.as_str()).collect();
        return Err(Failure::Usage { message: format!("no channel `{name}`, only {}", names.join(", ")) });
    }
    let retention = Retention { channels: &channels, only: args.channel.as_deref(), keep: None, now: now() };
    refuse_registry(args.to)?;
    let dest = args.to.dest(args.dest.as_deref())?;
    let shelves = Shelves { place: args.to, dest: &dest, package: &args.package, forge: &args.forge };
    for tag in shelves.expire(session, &retention, args.delete, (cancel, view))? {
        view.suspend(|| println(&tag))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A registry has retention rules of its own, and of many no tag can be removed from outside.
pub(super) fn refuse_registry(place: Place) -> Result<(), Failure> {
    if place == Place::Registry {
        let message =
            "releases in registries expire by the registry's own rules: set them there, for the tags of a channel";
        return Err(Failure::Usage { message: message.to_owned() });
    }
    Ok(())
}

/// Where releases are looked for.
pub(super) struct Shelves<'a> {
    pub(super) place: Place,
    pub(super) dest: &'a str,
    pub(super) package: &'a str,
    pub(super) forge: &'a ForgeArgs,
}

impl Shelves<'_> {
    /// Finds what has expired, removes it if asked, and returns its tags.
    pub(super) fn expire(
        &self,
        session: &Session<'_>,
        retention: &Retention<'_>,
        delete: bool,
        (cancel, view): (&Cancel, &View),
    ) -> Result<Vec<String>, Failure> {
        self.open(session, cancel, |whose| {
            let expired = publish::expired(whose, retention, view)?;
            for one in &expired {
                let published = jiff::Timestamp::from_second(one.published).unwrap_or_default();
                let message = format!("{} of the channel {} was published {published}", one.tag, one.channel);
                view.event(&Event::Note { message: &message });
            }
            let removed = if delete { publish::remove(whose, &expired, view)? } else { 0 };
            let message = match (expired.len(), removed) {
                (0, _) => "nothing has expired".to_owned(),
                (found, 0) => format!("{found} expired; --delete removes them"),
                (_, removed) => format!("{removed} expired and removed; their tags of git stay"),
            };
            view.event(&Event::Note { message: &message });
            Ok(expired.into_iter().map(|it| it.tag).collect())
        })
    }

    /// Finds the way there.
    pub(super) fn open<T>(
        &self,
        session: &Session<'_>,
        cancel: &Cancel,
        act: impl FnOnce(&Shelf<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let api = match self.place {
            Place::Github => Some(self.forge.api(session, Dialect::GitHub, cancel)?),
            Place::Gitlab => Some(self.forge.api(session, Dialect::GitLab, cancel)?),
            Place::Gitea => Some(self.forge.api(session, Dialect::Gitea, cancel)?),
            Place::Registry | Place::Dir => None,
        };
        let whose = match (&api, self.place) {
            (Some(api), Place::Github | Place::Gitea) => {
                repository(self.dest)?;
                Shelf::GitHub(api, self.dest)
            }
            (Some(api), _) => Shelf::GitLab(api, Package { project: self.dest, name: self.package }),
            (None, _) => Shelf::Directory(Path::new(self.dest)),
        };
        act(&whose)
    }
}
