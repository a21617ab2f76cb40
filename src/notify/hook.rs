//! Addresses that are told something.

use reqwest::Method;

use super::message::Message;
use crate::forge::{Api, Content, ForgeError};
use crate::progress::Progress;

/// What a Pushgateway takes (`prometheus.io exposition_formats`).
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Tells a webhook that speaks as Slack's do; so do those of Mattermost, Rocket.Chat, and Discord's below `/slack`.
///
/// # Errors
/// Those of a request.
pub fn to_slack(hook: &Api, message: &Message, progress: &dyn Progress) -> Result<(), ForgeError> {
    let (what, document) = (format!("chat at {}", hook.host()), message.slack());
    let post = || hook.ask(&what, &Method::POST, hook.given(), Content::Json(&document)).map(|_| ());
    hook.patiently(&what, progress, post)
}

/// Tells any program: the document is in docs/publishing.md.
///
/// # Errors
/// Those of a request.
pub fn to_webhook(hook: &Api, message: &Message, progress: &dyn Progress) -> Result<(), ForgeError> {
    let (what, document) = (format!("webhook at {}", hook.host()), message.document());
    let post = || hook.ask(&what, &Method::POST, hook.given(), Content::Json(&document)).map(|_| ());
    hook.patiently(&what, progress, post)
}

/// Replaces the metrics of `job` in a Pushgateway (`github.com/prometheus/pushgateway README.md#put-method`).
///
/// # Errors
/// Those of a request.
pub fn push_metrics(gateway: &Api, job: &str, metrics: &str, progress: &dyn Progress) -> Result<(), ForgeError> {
    let what = format!("Pushgateway at {}", gateway.host());
    let url = gateway.url(&["metrics", "job", job]);
    let put = || gateway.ask(&what, &Method::PUT, &url, Content::Text(metrics, METRICS)).map(|_| ());
    gateway.patiently(&what, progress, put)
}
