//! One issue a failing variant (`docs.github.com rest/issues`, `docs.gitlab.com api/issues`).
//!
//! An issue is found again by a mark in its text, whatever people made of its title; what was said of a run by a mark in
//! the text or in a comment. What people closed stays closed: the next failure opens a new one.

use std::fmt::Write as _;

use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use super::message::{Message, Variant};
use crate::dist::VariantOutcome;
use crate::forge::{Api, Content, ForgeError};
use crate::progress::{Event, Progress};

/// The label of our issues.
const LABEL: &str = "dockless";

/// Pages of issues and of comments.
const PAGES: u32 = 5;

/// The most characters of an error in an issue.
const LONGEST: usize = 8000;

/// Where issues are kept.
#[derive(Debug, Clone, Copy)]
pub enum Tracker<'a> {
    /// GitHub's: owner and name of a repository.
    GitHub(&'a str, &'a str),
    /// GitLab's: number or path of a project.
    GitLab(&'a str),
}

#[derive(Debug, Deserialize)]
struct Issue {
    /// GitHub's number, GitLab's `iid`.
    #[serde(alias = "iid")]
    number: u64,
    #[serde(default, alias = "description")]
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Comment {
    #[serde(default)]
    body: Option<String>,
}

/// Opens, comments and closes the issues of all variants. Every variant is tried; the first failure is returned.
///
/// # Errors
/// Those of a request.
pub fn keep_issues(
    api: &Api,
    tracker: Tracker<'_>,
    message: &Message,
    progress: &dyn Progress,
) -> Result<(), ForgeError> {
    let what = format!("issues at {}", api.host());
    let mut failed = None;
    for variant in &message.variants {
        let said = api.patiently(&what, progress, || tracker.keep(api, &what, message, variant));
        match said {
            Ok(Some(said)) => progress.event(&Event::Note { message: &said }),
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

impl Tracker<'_> {
    /// Looks what there is, and does what is missing; returns what was done.
    fn keep(self, api: &Api, what: &str, message: &Message, variant: &Variant) -> Result<Option<String>, ForgeError> {
        let mark = mark("variant", &variant.name);
        let open = self.open(api, what)?;
        let issue = open.iter().find(|issue| issue.body.as_deref().is_some_and(|body| body.contains(&mark)));
        match (variant.outcome, issue) {
            (VariantOutcome::Failed, None) => {
                let title = format!("Build failed: {}", variant.name);
                let body = format!("{}\n\n{mark}", text(message, variant));
                let document = match self {
                    Self::GitHub(..) => json!({ "title": title, "body": body, "labels": [LABEL] }),
                    Self::GitLab(_) => json!({ "title": title, "description": body, "labels": LABEL }),
                };
                let made: Issue = ask(api, what, &Method::POST, &self.url(api, &[]), &document)?;
                Ok(Some(format!("issue {} was opened for {}", made.number, variant.name)))
            }
            (VariantOutcome::Failed, Some(issue)) => {
                let said = self.say(api, what, issue, message, &text(message, variant))?;
                Ok(said.then(|| format!("issue {} of {} was updated", issue.number, variant.name)))
            }
            (VariantOutcome::Passed, Some(issue)) => {
                self.say(api, what, issue, message, &text(message, variant))?;
                let url = self.url(api, &[&issue.number.to_string()]);
                let (method, document) = match self {
                    Self::GitHub(..) => (Method::PATCH, json!({ "state": "closed", "state_reason": "completed" })),
                    Self::GitLab(_) => (Method::PUT, json!({ "state_event": "close" })),
                };
                let _: Value = ask(api, what, &method, &url, &document)?;
                Ok(Some(format!("issue {} was closed: {} passes again", issue.number, variant.name)))
            }
            _ => Ok(None),
        }
    }

    fn url(self, api: &Api, rest: &[&str]) -> Url {
        let front: Vec<&str> = match self {
            Self::GitHub(owner, name) => vec!["repos", owner, name, "issues"],
            Self::GitLab(project) => vec!["projects", project, "issues"],
        };
        api.url(&[&front[..], rest].concat())
    }

    fn open(self, api: &Api, what: &str) -> Result<Vec<Issue>, ForgeError> {
        let mut url = self.url(api, &[]);
        let state = if matches!(self, Self::GitHub(..)) { "open" } else { "opened" };
        url.query_pairs_mut().append_pair("state", state).append_pair("labels", LABEL);
        api.list(what, &url, PAGES)
    }

    /// Comments, unless this run was told of already; tells whether it did.
    fn say(self, api: &Api, what: &str, issue: &Issue, message: &Message, text: &str) -> Result<bool, ForgeError> {
        let comments = if matches!(self, Self::GitHub(..)) { "comments" } else { "notes" };
        let url = self.url(api, &[&issue.number.to_string(), comments]);
        if let Some(run) = &message.run {
            let mark = mark("run", run);
            let has = |text: &Option<String>| text.as_deref().is_some_and(|text| text.contains(&mark));
            if has(&issue.body) || api.list::<Comment>(what, &url, PAGES)?.iter().any(|comment| has(&comment.body)) {
                return Ok(false);
            }
        }
        let _: Value = ask(api, what, &Method::POST, &url, &json!({ "body": text }))?;
        Ok(true)
    }
}

fn ask<T: serde::de::DeserializeOwned>(
    api: &Api,
    what: &str,
    method: &Method,
    url: &Url,
    document: &Value,
) -> Result<T, ForgeError> {
    api.ask(what, method, url, Content::Json(document))?.json()
}

/// A comment of HTML, which people do not see.
fn mark(kind: &str, value: &str) -> String {
    let plain = |letter: char| if letter.is_alphanumeric() || "._:/?=&%+".contains(letter) { letter } else { '_' };
    // Two hyphens would end it.
    let value: String = value.chars().map(|letter| if letter == '-' { '~' } else { plain(letter) }).collect();
    format!("<!-- dockless-{kind}: {value} -->")
}

fn text(message: &Message, variant: &Variant) -> String {
    let mut text = match variant.outcome {
        VariantOutcome::Passed => format!("{} passes again.", variant.name),
        _ => format!("{} could not be built, or did not pass its tests.", variant.name),
    };
    if let Some(tag) = &message.tag {
        let _ = write!(text, "\n\nRelease: `{}`", tag.replace('`', ""));
    }
    if let Some(run) = &message.run {
        let _ = write!(text, "\n\nRun: {run}\n\n{}", mark("run", run));
    }
    if let Some(error) = variant.error.as_ref().filter(|_| variant.outcome == VariantOutcome::Failed) {
        let error: String = error.chars().take(LONGEST).collect();
        // Indented, so that nothing in it is Markdown.
        let lines: Vec<String> = error.lines().map(|line| format!("    {line}")).collect();
        let _ = write!(text, "\n\n{}", lines.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_comment_whatever_is_in_it() {
        let text = mark("run", "https://ci.test/-->/a b");
        assert_eq!(text, "<!-- dockless-run: https://ci.test/~~_/a_b -->");
        assert_ne!(mark("variant", "3.1-x86"), mark("variant", "3.11-x86"));
        assert!(!mark("variant", "3.12-x86_64").contains(&mark("variant", "3.12-x86")));
    }
}
