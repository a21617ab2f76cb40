//! `dockless tag`: which tag the next release gets. It reads the repository, and makes nothing there: tags are made by
//! `dockless publish`, when a release is seen, or by `git tag`. In a CI job that a tag has begun, it is that one.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::forge::{channels, now};
use super::publish::tag_of_job;
use super::session::Session;
use crate::progress::{Event, Progress};
use crate::recipe::NextTag;

/// Arguments of `tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Channel of the release [default: production]
    #[arg(long, value_name = "NAME", conflicts_with = "channel_of")]
    channel: Option<String>,
    /// Ask this remote for its tags too, e.g. origin
    #[arg(long, value_name = "NAME|URL")]
    remote: Option<String>,
    /// The commit that is released [default: the one that is checked out]
    #[arg(long, value_name = "COMMIT")]
    commit: Option<String>,
    /// The day of the release, UTC [default: today]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<jiff::civil::Date>,
    /// Print the channel that a tag belongs to instead
    #[arg(long, value_name = "TAG")]
    channel_of: Option<String>,
}

/// Runs the command.
pub(super) fn tag(session: &Session<'_>, args: &Tag) -> Result<ExitCode, Failure> {
    let channels = channels(session)?;
    let refused = |message: String| Failure::Usage { message };
    if let Some(tag) = &args.channel_of {
        let channel = channels.of(tag).ok_or_else(|| refused(format!("`{tag}` is no tag of a channel")))?;
        println(&channel.name)?;
        return Ok(ExitCode::SUCCESS);
    }
    if args.channel.is_none()
        && args.commit.is_none()
        && args.date.is_none()
        && let Some(tag) = tag_of_job()
    {
        channels.of(&tag).ok_or_else(|| refused(format!("this job is for `{tag}`, which is no tag of a channel")))?;
        println(&tag)?;
        return Ok(ExitCode::SUCCESS);
    }
    let asked = args.channel.as_deref().unwrap_or("production");
    let Some(channel) = channels.named(asked) else {
        let names: Vec<&str> = channels.all().iter().map(|channel| channel.name.as_str()).collect();
        return Err(refused(format!("no channel `{asked}`, only {}", names.join(", "))));
    };
    let root = session.project_root()?;
    let wanted = format!("{}^{{commit}}", args.commit.as_deref().unwrap_or("HEAD"));
    let commit = git(&root, &["rev-parse", "--verify", "--quiet", "--end-of-options", &wanted])?;
    let Some(commit) = commit.map(|commit| commit.trim().to_owned()).filter(|commit| !commit.is_empty()) else {
        let what = args.commit.as_deref().unwrap_or("HEAD");
        return Err(refused(format!(
            "`{}` has no commit `{what}`: it is no git repository, or that is misspelt",
            root.display()
        )));
    };
    let mut tags = local(&root)?;
    if let Some(remote) = &args.remote {
        let listed = git(&root, &["ls-remote", "--tags", "--end-of-options", remote])?;
        let listed = listed.ok_or_else(|| refused(format!("git cannot list the tags of `{remote}`")))?;
        tags.extend(of_remote(&listed));
    }
    let date = match args.date {
        Some(date) => date,
        None => jiff::Timestamp::from_second(now()).unwrap_or_default().to_zoned(jiff::tz::TimeZone::UTC).date(),
    };
    match channel.next_tag(&date.to_string(), &tags, &commit) {
        Some(NextTag::New(tag) | NextTag::Existing(tag)) => println(&tag)?,
        None => {
            return Err(refused(format!(
                "the channel `{}` makes no tags: none of its patterns has {{date}}",
                channel.name
            )));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the commit that is checked out where the project is; `None` where there is no repository or no git.
pub(super) fn commit_here(session: &Session<'_>) -> Result<Option<String>, Failure> {
    let head = git(&session.project_root()?, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    Ok(head.map(|head| head.trim().to_owned()).filter(|head| !head.is_empty()))
}

/// Returns the commit that the recipes at `root` are of, and whether what is built differs from it; `None` where they are in
/// no repository, or git does not say.
pub(super) fn checkout(root: &Path) -> Result<Option<(String, bool)>, Failure> {
    let head = git(root, &["rev-parse", "--verify", "--quiet", "HEAD"])?;
    // Another repository may be around a project that it does not have.
    let (Some(head), Some(_)) = (head, git(root, &["rev-parse", "--verify", "--quiet", "HEAD:./recipes"])?) else {
        return Ok(None);
    };
    let changed = git(root, &["status", "--porcelain", "--", "recipes", "rootfs", "scripts"])?;
    Ok(changed.map(|changed| (head.trim().to_owned(), !changed.trim().is_empty())))
}

/// Returns the commit of a checkout; none where what is built differs from it, which is said.
pub(super) fn commit_of_recipes(checkout: Option<&(String, bool)>, told: &dyn Progress) -> Option<String> {
    let (commit, modified) = checkout?;
    if *modified {
        let message =
            "warning: recipes, root filesystems or scripts differ from what git has: release.json names no commit";
        told.event(&Event::Note { message });
        return None;
    }
    Some(commit.clone())
}

/// Returns short names and subjects of the commits between two that changed what is built, newest first; none where git
/// does not know them.
pub(super) fn commits_since(
    session: &Session<'_>,
    before: &str,
    after: &str,
) -> Result<Vec<(String, String)>, Failure> {
    let range = format!("{before}..{after}");
    let arguments = [
        "log",
        "--no-merges",
        "--max-count=200",
        "--format=%h%x09%s",
        "--end-of-options",
        &range,
        "--",
        "recipes",
        "rootfs",
        "scripts",
    ];
    let listed = git(&session.project_root()?, &arguments)?.unwrap_or_default();
    let commit = |line: &str| line.split_once('\t').map(|(name, subject)| (name.to_owned(), subject.to_owned()));
    Ok(listed.lines().filter_map(commit).collect())
}

/// Returns what git prints, if it succeeds.
fn git(root: &Path, arguments: &[&str]) -> Result<Option<String>, Failure> {
    let mut command = Command::new("git");
    command.arg("-C").arg(root).args(arguments).env("GIT_TERMINAL_PROMPT", "0");
    match command.output() {
        Ok(output) if output.status.success() => Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned())),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Failure::Io { action: "run", path: "git".into(), source }),
    }
}

/// Returns all tags with their commits, also those of annotated tags.
fn local(root: &Path) -> Result<Vec<(String, String)>, Failure> {
    let format = "--format=%(refname:strip=2) %(objectname) %(*objectname)";
    let listed = git(root, &["for-each-ref", format, "refs/tags"])?.unwrap_or_default();
    let tag = |line: &str| {
        let mut words = line.split(' ');
        let (name, on) = (words.next()?, words.next()?);
        let commit = words.next().filter(|commit| !commit.is_empty()).unwrap_or(on);
        Some((name.to_owned(), commit.to_owned()))
    };
    Ok(listed.lines().filter_map(tag).collect())
}

/// Reads `git ls-remote --tags`: of an annotated tag, `^{}` comes after it and names the commit.
fn of_remote(listed: &str) -> Vec<(String, String)> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for line in listed.lines() {
        let Some((on, name)) = line.split_once('\t') else { continue };
        let Some(name) = name.strip_prefix("refs/tags/") else { continue };
        match name.strip_suffix("^{}") {
            Some(name) => tags.iter_mut().filter(|(tag, _)| tag == name).for_each(|(_, commit)| on.clone_into(commit)),
            None => tags.push((name.to_owned(), on.to_owned())),
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotated_tag_of_a_remote_is_on_its_commit() {
        let listed = "aa\trefs/tags/v1\nbb\trefs/tags/v1^{}\ncc\trefs/tags/v2\ndd\trefs/heads/x\n";
        let tag = |name: &str, on: &str| (name.to_owned(), on.to_owned());
        assert_eq!(of_remote(listed), [tag("v1", "bb"), tag("v2", "cc")]);
    }
}
