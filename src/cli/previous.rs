//! `dockless previous`: what the release before said of itself, for the notes of the next one.

use std::process::ExitCode;

use clap::Args;

use super::command::print;
use super::expire::{Shelves, refuse_registry};
use super::failure::Failure;
use super::forge::{ForgeArgs, channels};
use super::progress::View;
use super::publish::Place;
use super::session::Session;
use crate::progress::{Event, Progress};
use crate::publish;
use crate::sandbox::Cancel;

pub(super) const EXAMPLES: &str = "Examples:
  dockless previous --to github --dest owner/name --tag \"$(dockless tag)\" >previous.json
  dockless release --stage release package/* --previous previous.json

Prints release.json of the newest release in the tag's channel, the tag itself left out; nothing where there is none. An empty
file is no release to `--previous`, so that the first one needs no other command.";

/// Arguments of `previous`.
#[derive(Debug, Args)]
pub(crate) struct Previous {
    /// Where: github, gitlab, gitea or dir
    #[arg(long, value_enum, value_name = "PLACE")]
    to: Place,
    /// OWNER/NAME, GROUP/NAME or number, DIR [default: `GITHUB_REPOSITORY`; `CI_PROJECT_ID`]
    #[arg(long, value_name = "DEST")]
    dest: Option<String>,
    /// The tag that is to be released
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// The channel, where no tag says it
    #[arg(long, value_name = "NAME", default_value = "production")]
    channel: String,
    /// The name of the package (GitLab)
    #[arg(long, value_name = "NAME", default_value = "standalone-python")]
    package: String,
    #[command(flatten)]
    forge: ForgeArgs,
}

/// Runs the command.
pub(super) fn previous(
    session: &Session<'_>,
    args: &Previous,
    cancel: &Cancel,
    view: &View,
) -> Result<ExitCode, Failure> {
    let channels = channels(session)?;
    channels
        .named(&args.channel)
        .ok_or_else(|| Failure::Usage { message: format!("no channel `{}`", args.channel) })?;
    refuse_registry(args.to)?;
    let dest = args.to.dest(args.dest.as_deref())?;
    let shelves = Shelves { place: args.to, dest: &dest, package: &args.package, forge: &args.forge };
    let asked = (args.tag.as_deref(), args.channel.as_str());
    let found = shelves.open(session, cancel, |shelf| Ok(publish::previous(shelf, &channels, asked, view)?))?;
    let Some((tag, bytes)) = found else {
        view.event(&Event::Note { message: "there is no release before" });
        return Ok(ExitCode::SUCCESS);
    };
    view.event(&Event::Note { message: &format!("the release before is {tag}") });
    view.suspend(|| print(&bytes))?;
    Ok(ExitCode::SUCCESS)
}
