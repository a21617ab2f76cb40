//! Gitea's REST interface for releases, as Gitea 1.26 was seen to speak it: GitHub's but for tags, the places of assets,
//! what is said of them, and the size of pages.

use serde_json::{Value, json};

use super::forge::{State, TOKEN, missing, target};
use crate::fetching_server::Request;

type Answered = (&'static str, Value);

pub(crate) fn answer(state: &mut State, request: &Request, half: bool) -> Answered {
    if request.headers.get("authorization").is_none_or(|it| *it != format!("Bearer {TOKEN}")) {
        return ("401 Unauthorized", json!({ "message": "invalid username, password or token" }));
    }
    let (segments, query) = target(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let host = request.headers.get("host").cloned().unwrap_or_default();
    assert!(!query.contains_key("per_page"), "Gitea calls it limit: {}", request.target);
    let rest = match &segments[..] {
        ["attachments", id] => return super::forge_github::answer(state, &at(request, "GET", &["assets", id]), half),
        ["api", "v1", "repos", "o", "r", rest @ ..] => rest,
        _ => return missing(),
    };
    let there = match (request.method.as_str(), rest) {
        ("GET", ["tags", tag]) => {
            return match state.tags.get(*tag) {
                Some(commit) => ("200 OK", json!({ "name": tag, "commit": { "sha": commit } })),
                None => missing(),
            };
        }
        (_, ["git", ..] | ["releases", "assets", ..]) => return missing(),
        // What breaks off leaves nothing.
        ("POST", ["releases", _, "assets"]) if half => return ("500 Internal Server Error", json!({})),
        (method, ["releases", _, "assets", id]) => at(request, method, &["assets", id]),
        _ => Request { target: request.target.replace("/api/v1/", "/"), ..request.clone() },
    };
    let (status, mut body) = super::forge_github::answer(state, &there, half);
    gitea(&mut body, &host);
    (status, body)
}

/// The request as it would be below GitHub's releases.
fn at(request: &Request, method: &str, rest: &[&str]) -> Request {
    let target = format!("/repos/o/r/releases/{}", rest.join("/"));
    Request { method: method.to_owned(), target, ..request.clone() }
}

/// Says of assets what Gitea says, and of releases not more.
fn gitea(body: &mut Value, host: &str) {
    match body {
        Value::Array(items) => items.iter_mut().for_each(|item| gitea(item, host)),
        Value::Object(fields) => {
            if fields.remove("state").is_some() {
                fields.remove("digest");
                let address = format!("http://{host}/attachments/{}", fields["id"]);
                fields.insert("browser_download_url".to_owned(), address.into());
            }
            for name in ["upload_url", "immutable", "make_latest"] {
                fields.remove(name);
            }
            fields.values_mut().for_each(|field| gitea(field, host));
        }
        _ => {}
    }
}
