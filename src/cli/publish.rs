//! `dockless publish`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::command::println;
use super::expire::{Shelves, refuse_registry};
use super::failure::Failure;
use super::forge::{ForgeArgs, address, channels, now, read};
use super::progress::View;
use super::session::{Session, variable};
use super::tag::commit_here;
use crate::dist::Dist;
use crate::forge::Dialect;
use crate::progress::{Event, Progress};
use crate::publish::{self, Package, Publication, PublishError, Published, Retention};
use crate::recipe::Channels;
use crate::sandbox::Cancel;
use crate::store::Store;

pub(super) const EXAMPLES: &str = "Examples:
  dockless publish dist --to github --dest owner/name --tag \"$(dockless tag)\"
  dockless publish dist --to gitlab --server https://gitlab.example --dest group/name --tag v1.0
  dockless publish dist --to gitea --server https://codeberg.org --dest owner/name
  dockless publish dist --to registry --dest ghcr.io/owner/standalone-python --tag dev-2026-11-26
  dockless publish dist --to dir --dest /srv/www/releases --tag release-2026-11-26

The same command goes on where another one was interrupted, and changes nothing where all is there.
docs/publishing.md tells of tokens, channels and what each place gets.";

/// Where to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Place {
    /// A GitHub release with assets
    Github,
    /// GitLab's generic package registry, and a release with links
    Gitlab,
    /// A release with assets at Gitea or Forgejo
    #[value(alias = "forgejo")]
    Gitea,
    /// An OCI registry, as artifacts
    Registry,
    /// A directory of directories
    Dir,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Publish {
    /// What `dockless release` made
    #[arg(value_name = "DIST", default_value = "dist")]
    dist: PathBuf,
    /// Where to
    #[arg(long, value_enum, value_name = "PLACE")]
    to: Place,
    /// OWNER/NAME, GROUP/NAME or number, HOST/REPOSITORY, DIR [default: `GITHUB_REPOSITORY`; `CI_PROJECT_ID`;
    /// `CI_REGISTRY_IMAGE`]
    #[arg(long, value_name = "DEST")]
    dest: Option<String>,
    /// The tag [default: what release.json says, or the tag that the CI job is for]
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// The commit that the tag is on [default: what release.json, the CI job or git says]
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// The title of the release [default: the tag]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Its notes, Markdown [default: `RELEASE_NOTES.md` of the directory]
    #[arg(long, value_name = "FILE")]
    notes: Option<PathBuf>,
    /// Replace files, tags and notes that are there with other content
    #[arg(long)]
    replace: bool,
    /// Keep it from people's eyes: a draft at GitHub and Gitea, files without a release at GitLab
    #[arg(long)]
    draft: bool,
    /// Then remove releases that are older than their channel keeps them, as `dockless expire --delete` does
    #[arg(long, conflicts_with = "draft")]
    expire: bool,
    /// Refuse tarballs without a signature, also where the channel does not ask for one
    #[arg(long)]
    require_signatures: bool,
    /// The name of the package (GitLab)
    #[arg(long, value_name = "NAME", default_value = "standalone-python")]
    package: String,
    #[command(flatten)]
    forge: ForgeArgs,
}

/// Runs the command.
pub(super) fn publish(
    session: &Session<'_>,
    args: &Publish,
    cancel: &Cancel,
    view: &View,
) -> Result<ExitCode, Failure> {
    let channels = channels(session)?;
    if args.expire {
        refuse_registry(args.to)?;
    }
    let dist = Dist::open(&args.dist).map_err(PublishError::from)?;
    let publication = args.publication(session, &dist, &channels)?;
    let goal = args.to.dest(args.dest.as_deref())?;
    let published = args.give(session, &goal, &publication, (cancel, view))?;
    let said = match published.acts {
        0 => format!("{} was there already, nothing was changed", publication.tag),
        _ if args.draft && matches!(args.to, Place::Github | Place::Gitea) => format!("{} is a draft", publication.tag),
        _ if args.draft && args.to == Place::Gitlab => format!("the files of {} are uploaded", publication.tag),
        _ => format!("{} is published", publication.tag),
    };
    view.event(&Event::Note { message: &said });
    view.suspend(|| println(&published.address))?;
    if args.expire {
        let retention = Retention { channels: &channels, only: None, keep: Some(&publication.tag), now: now() };
        let shelves = Shelves { place: args.to, dest: &goal, package: &args.package, forge: &args.forge };
        shelves.expire(session, &retention, true, (cancel, view))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Place {
    /// Returns what is given, or what the CI job says.
    pub(super) fn dest(self, given: Option<&str>) -> Result<String, Failure> {
        let usual = match self {
            Self::Github | Self::Gitea => variable("GITHUB_REPOSITORY"),
            Self::Gitlab => variable("CI_PROJECT_ID"),
            Self::Registry => variable("CI_REGISTRY_IMAGE"),
            Self::Dir => None,
        };
        let dest = given.map(str::to_owned).or(usual).filter(|dest| !dest.is_empty());
        dest.ok_or_else(|| {
            let what = match self {
                Self::Github | Self::Gitea => "OWNER/NAME",
                Self::Gitlab => "GROUP/NAME",
                Self::Registry => "HOST/REPOSITORY",
                Self::Dir => "DIR",
            };
            Failure::Usage { message: format!("where to? write --dest {what}") }
        })
    }
}

/// Refuses what is no repository at GitHub.
pub(super) fn repository(dest: &str) -> Result<(), Failure> {
    if dest.split('/').filter(|part| !part.is_empty()).count() != 2 {
        return Err(address(dest, "a repository is OWNER/NAME"));
    }
    Ok(())
}

impl Publish {
    fn publication<'a>(
        &self,
        session: &Session<'_>,
        dist: &'a Dist,
        channels: &Channels,
    ) -> Result<Publication<'a>, Failure> {
        let refused = |message: String| Failure::Usage { message };
        let described = dist.description();
        let tag = self.tag.clone().or_else(|| described.and_then(|it| it.tag.clone())).or_else(tag_of_job);
        let Some(tag) = tag else {
            return Err(refused("which tag? write --tag \"$(dockless tag)\", or --tag v1.0".to_owned()));
        };
        let Some(channel) = channels.of(&tag) else {
            let names: Vec<String> =
                channels.all().iter().map(|it| format!("{} ({})", it.name, it.tags.join(", "))).collect();
            return Err(refused(format!("`{tag}` is no tag of a channel: {}", names.join("; "))));
        };
        let of_dist = described.and_then(|it| it.commit.clone());
        if let (Some(given), Some(of_dist)) = (&self.commit, &of_dist)
            && !of_dist.starts_with(given.as_str())
        {
            return Err(refused(format!("--commit {given}, but release.json says {of_dist}")));
        }
        let commit = of_dist.or_else(|| self.commit.clone()).or_else(commit_of_job);
        let commit = match commit {
            Some(commit) => Some(commit),
            None => commit_here(session)?,
        };
        let notes = match &self.notes {
            Some(path) => read(path)?,
            None => dist.notes().map_err(PublishError::from)?.unwrap_or_default(),
        };
        Ok(Publication {
            dist,
            title: self.title.clone().unwrap_or_else(|| tag.clone()),
            tag,
            commit,
            notes,
            prerelease: channel.prerelease,
            signed: channel.signed || self.require_signatures,
            replace: self.replace,
            draft: self.draft,
            now: now(),
        })
    }

    fn give(
        &self,
        session: &Session<'_>,
        dest: &str,
        publication: &Publication<'_>,
        (cancel, view): (&Cancel, &View),
    ) -> Result<Published, Failure> {
        Ok(match self.to {
            Place::Github | Place::Gitea => {
                repository(dest)?;
                let dialect = if self.to == Place::Gitea { Dialect::Gitea } else { Dialect::GitHub };
                let api = self.forge.api(session, dialect, cancel)?;
                publish::to_github(&api, dest, publication, view)?
            }
            Place::Gitlab => {
                let api = self.forge.api(session, Dialect::GitLab, cancel)?;
                let package = Package { project: dest, name: &self.package };
                publish::to_gitlab(&api, package, publication, view)?
            }
            Place::Registry => {
                let store = session.store()?;
                let place = store.temporary_directory()?;
                // Apart, so that nothing of it stays in the store.
                let aside = Store::open(&place.path().join("store"))?;
                publish::to_registry(&session.registry(cancel)?, dest, publication, &aside, view)?
            }
            Place::Dir => publish::to_directory(Path::new(dest), publication, view)?,
        })
    }
}

/// The tag that a CI job is for.
pub(super) fn tag_of_job() -> Option<String> {
    let github = variable("GITHUB_REF_TYPE").filter(|kind| kind == "tag").and_then(|_| variable("GITHUB_REF_NAME"));
    github.or_else(|| variable("CI_COMMIT_TAG"))
}

/// The commit that a CI job is for.
fn commit_of_job() -> Option<String> {
    variable("GITHUB_SHA").or_else(|| variable("CI_COMMIT_SHA"))
}
