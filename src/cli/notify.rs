//! `dockless notify`. What was asked for wrongly is an error; what could not be told is only said: it fails no release.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::describe::description;
use super::failure::Failure;
use super::forge::{ForgeArgs, read, settings, trust};
use super::progress::View;
use super::session::{Session, variable};
use crate::dist::{Description, Dist, VariantFacts, VariantOutcome};
use crate::forge::{Api, Dialect, ForgeError, Server};
use crate::notify::{self, Message, Tracker, Variant};
use crate::progress::{Event, Progress};
use crate::publish::PublishError;
use crate::sandbox::Cancel;
use crate::summary;

pub(super) const EXAMPLES: &str = "Examples:
  dockless notify dist --slack \"$SLACK_WEBHOOK\"
  dockless notify --failed 3.12-x86_64 --passed 3.11-x86 --issues github --dest owner/name
  dockless notify 3.12-x86/release.json 3.12-x86_64.failed/release.json --issues github
  dockless notify dist --pushgateway http://127.0.0.1:9091

Whoever cannot be told is named on standard error; the exit code is 0 all the same.";

/// Forges with issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Issues {
    /// Issues of a repository at GitHub
    Github,
    /// Issues of a project at GitLab
    Gitlab,
}

/// Arguments of `notify`.
#[derive(Debug, Args)]
pub(crate) struct Notify {
    /// What `dockless release` made, or a release.json; of several, all variants are told at once
    #[arg(value_name = "DIST|FILE")]
    releases: Vec<PathBuf>,
    /// A variant that failed, such as 3.12-x86_64, with what is to be said of it; may be repeated
    #[arg(long, value_name = "VARIANT[=WHY]")]
    failed: Vec<String>,
    /// A variant that passed; may be repeated
    #[arg(long, value_name = "VARIANT")]
    passed: Vec<String>,
    /// The tag of the release
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// Where people find the release
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Where people see the run [default: that of the CI job]
    #[arg(long, value_name = "URL")]
    run: Option<String>,
    /// Incoming webhook of Slack or a chat that takes the same [default: `SLACK_WEBHOOK`]
    #[arg(long, value_name = "URL", env = "DOCKLESS_SLACK_WEBHOOK", hide_env_values = true)]
    slack: Option<String>,
    /// Webhook of a program
    #[arg(long, value_name = "URL", env = "DOCKLESS_WEBHOOK", hide_env_values = true)]
    webhook: Option<String>,
    /// Keep an issue for each failing variant
    #[arg(long, value_enum, value_name = "FORGE")]
    issues: Option<Issues>,
    /// Whose issues: OWNER/NAME, GROUP/NAME or number [default: `GITHUB_REPOSITORY`, `CI_PROJECT_ID`]
    #[arg(long, value_name = "DEST")]
    dest: Option<String>,
    /// Pushgateway that gets the metrics
    #[arg(long, value_name = "URL", env = "DOCKLESS_PUSHGATEWAY", hide_env_values = true)]
    pushgateway: Option<String>,
    /// The job that the metrics are of
    #[arg(long, value_name = "NAME", default_value = "dockless")]
    job: String,
    #[command(flatten)]
    forge: ForgeArgs,
}

/// Runs the command.
pub(super) fn notify(session: &Session<'_>, args: &Notify, cancel: &Cancel, view: &View) -> Result<ExitCode, Failure> {
    let release = args.description()?;
    let message = args.message(release.as_ref());
    if message.variants.is_empty() && release.is_none() {
        let message = "nothing to tell: name a release, or variants with --failed and --passed".to_owned();
        return Err(Failure::Usage { message });
    }
    let mut told = 0;
    let mut say = |who: &str, result: Result<(), ForgeError>| match result {
        Ok(()) => told += 1,
        Err(error) => view.event(&Event::Note { message: &format!("{who} was not told: {error}") }),
    };
    let hook = |address: &str| -> Result<Api, ForgeError> {
        let trust = trust(args.forge.ca.as_deref()).unwrap_or_default();
        let server = Server { address: address.to_owned(), dialect: Dialect::Plain, trust };
        Api::new(&settings(session, cancel), &server, None)
    };
    // A secret that nobody has set is an empty variable in a CI job.
    let given = |address: &Option<String>| address.clone().filter(|address| !address.is_empty());
    if let Some(address) = given(&args.slack).or_else(|| variable("SLACK_WEBHOOK")) {
        say("the chat", hook(&address).map_err(unnamed).and_then(|hook| notify::to_slack(&hook, &message, view)));
    }
    if let Some(address) = given(&args.webhook) {
        say("the webhook", hook(&address).map_err(unnamed).and_then(|hook| notify::to_webhook(&hook, &message, view)));
    }
    if let Some(address) = given(&args.pushgateway) {
        let metrics = release.as_ref().map(summary::metrics).unwrap_or_default();
        let pushed =
            hook(&address).map_err(unnamed).and_then(|api| notify::push_metrics(&api, &args.job, &metrics, view));
        say("the Pushgateway", pushed);
    }
    if let Some(forge) = args.issues {
        let dest = args.dest(forge)?;
        let dialect = if forge == Issues::Github { Dialect::GitHub } else { Dialect::GitLab };
        match args.forge.api(session, dialect, cancel) {
            Ok(api) => {
                let tracker = match (forge, dest.split_once('/')) {
                    (Issues::Github, Some((owner, name))) => Tracker::GitHub(owner, name),
                    _ => Tracker::GitLab(&dest),
                };
                say("the tracker", notify::keep_issues(&api, tracker, &message, view));
            }
            Err(failure) => {
                view.event(&Event::Note { message: &format!("the tracker was not told: {failure}") });
            }
        }
    }
    let message = format!("{}; {told} told", message.line());
    view.event(&Event::Note { message: &message });
    Ok(ExitCode::SUCCESS)
}

/// Adds what another directory says; of one variant a failure counts more than what other jobs made of it.
fn join(all: &mut Description, one: Description) {
    all.tag = all.tag.take().or(one.tag);
    for variant in one.variants {
        let same = |known: &&mut VariantFacts| known.version == variant.version && known.arch == variant.arch;
        match all.variants.iter_mut().find(same) {
            None => all.variants.push(variant),
            Some(known) if variant.outcome == VariantOutcome::Failed => *known = variant,
            Some(_) => {}
        }
    }
}

/// An address of a hook that makes no sense is a secret all the same.
fn unnamed(error: ForgeError) -> ForgeError {
    match error {
        ForgeError::Address { reason, .. } => ForgeError::Address { text: "…".to_owned(), reason },
        other => other,
    }
}

impl Notify {
    fn description(&self) -> Result<Option<Description>, Failure> {
        let mut all: Option<Description> = None;
        for path in &self.releases {
            let one = if path.is_dir() {
                description(&Dist::open(path).map_err(PublishError::from)?)
            } else {
                let parsed = Description::parse(&read(path)?);
                parsed.map_err(|reason| Failure::Usage { message: format!("`{}`: {reason}", path.display()) })?
            };
            match &mut all {
                None => all = Some(one),
                Some(all) => join(all, one),
            }
        }
        Ok(all)
    }

    fn message(&self, release: Option<&Description>) -> Message {
        let mut message = release.map(Message::of).unwrap_or_default();
        let variant = |text: &str, outcome| {
            let (name, error) = match text.split_once('=') {
                Some((name, error)) => (name, Some(error.to_owned())),
                None => (text, None),
            };
            Variant { name: name.to_owned(), outcome, error }
        };
        let failed = self.failed.iter().map(|text| variant(text, VariantOutcome::Failed));
        let given: Vec<Variant> =
            failed.chain(self.passed.iter().map(|text| variant(text, VariantOutcome::Passed))).collect();
        // What is said by hand is newer.
        message.variants.retain(|known| given.iter().all(|it| it.name != known.name));
        message.variants.extend(given);
        message.tag = self.tag.clone().or(message.tag);
        message.address.clone_from(&self.address);
        message.run = self.run.clone().or_else(run_of_job);
        message
    }

    fn dest(&self, forge: Issues) -> Result<String, Failure> {
        let usual = match forge {
            Issues::Github => variable("GITHUB_REPOSITORY"),
            Issues::Gitlab => variable("CI_PROJECT_ID"),
        };
        let dest = self.dest.clone().or(usual);
        let fits = |dest: &String| forge == Issues::Gitlab || dest.matches('/').count() == 1;
        let message = "whose issues? write --dest OWNER/NAME, or GROUP/NAME".to_owned();
        dest.filter(fits).ok_or(Failure::Usage { message })
    }
}

/// Where people see the CI job that we run in.
fn run_of_job() -> Option<String> {
    let github = || {
        let (server, repository) = (variable("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?);
        Some(format!("{server}/{repository}/actions/runs/{}", variable("GITHUB_RUN_ID")?))
    };
    github().or_else(|| variable("CI_PIPELINE_URL"))
}
