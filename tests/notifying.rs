//! Who is told what became of a release: once, in the words of each, and without failing anything.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use dockless::dist::VariantOutcome;
use dockless::forge::{Dialect, Header};
use dockless::notify::{Message, Tracker, Variant, keep_issues};
use dockless::progress::Silent;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fetching_server::{Request, Server, respond};
use crate::support::forge::{TOKEN, api, target};

/// An issue of a tracker: number, open, text, comments.
#[derive(Debug, Clone)]
struct Issue {
    number: usize,
    open: bool,
    title: String,
    text: String,
    comments: Vec<String>,
}

/// A tracker in the shape of GitHub's (`docs.github.com rest/issues`) or GitLab's (`docs.gitlab.com api/issues`).
fn tracker(gitlab: bool) -> (Server, Arc<Mutex<Vec<Issue>>>) {
    let issues = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&issues);
    let server = Server::start(move |request, stream| {
        let said = act(&mut shared.lock().expect("no panic"), request, gitlab);
        let (status, body) = said.map_or(("404 Not Found", json!({})), |body| ("200 OK", body));
        let body = body.to_string();
        respond(stream, status, &[&format!("Content-Length: {}", body.len())], body.as_bytes());
    });
    (server, issues)
}

fn act(issues: &mut Vec<Issue>, request: &Request, gitlab: bool) -> Option<Value> {
    let (segments, query) = target(request);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let rest = if gitlab {
        segments.strip_prefix(&["api", "v4", "projects", "g/p", "issues"])?
    } else {
        segments.strip_prefix(&["repos", "o", "r", "issues"])?
    };
    let (number, text) = if gitlab { ("iid", "description") } else { ("number", "body") };
    let document: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let word = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
    let shown = |issue: &Issue| json!({ number: issue.number, text: issue.text });
    let comments = if gitlab { "notes" } else { "comments" };
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            assert_eq!(query["state"], if gitlab { "opened" } else { "open" });
            assert_eq!(query["labels"], "dockless");
            let open = issues.iter().filter(|issue| issue.open && query["page"] == "1").map(shown);
            Some(json!(open.collect::<Vec<_>>()))
        }
        ("POST", []) => {
            assert_eq!(document["labels"], if gitlab { json!("dockless") } else { json!(["dockless"]) });
            let issue = Issue {
                number: issues.len() + 1,
                open: true,
                title: word("title"),
                text: word(text),
                comments: Vec::new(),
            };
            issues.push(issue.clone());
            Some(shown(&issue))
        }
        (method, [id, rest @ ..]) => {
            let issue = issues.iter_mut().find(|issue| issue.number.to_string() == *id)?;
            match (method, rest) {
                ("GET", [list]) if *list == comments => {
                    let first = query["page"] == "1";
                    let all = issue.comments.iter().filter(|_| first).map(|text| json!({ "body": text }));
                    Some(json!(all.collect::<Vec<_>>()))
                }
                ("POST", [list]) if *list == comments => {
                    issue.comments.push(word("body"));
                    Some(json!({}))
                }
                ("PATCH", []) if !gitlab && word("state") == "closed" => {
                    issue.open = false;
                    Some(json!({}))
                }
                ("PUT", []) if gitlab && word("state_event") == "close" => {
                    issue.open = false;
                    Some(json!({}))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn message(run: &str, outcomes: &[(&str, VariantOutcome)]) -> Message {
    let variant = |(name, outcome): &(&str, VariantOutcome)| Variant {
        name: (*name).to_owned(),
        outcome: *outcome,
        error: Some("make: *** [all] Error 2\n# not a title".to_owned()),
    };
    Message { run: Some(run.to_owned()), variants: outcomes.iter().map(variant).collect(), ..Message::default() }
}

#[test]
fn each_failing_variant_has_one_issue_which_is_updated_and_closed_when_green() {
    use VariantOutcome::{Failed, Passed, Skipped};
    for gitlab in [false, true] {
        let (server, issues) = tracker(gitlab);
        let (dialect, header, tracker) = if gitlab {
            (Dialect::GitLab, Header::Private, Tracker::GitLab("g/p"))
        } else {
            (Dialect::GitHub, Header::Bearer, Tracker::GitHub("o", "r"))
        };
        let api = api(&server, dialect, header, TOKEN);
        let tell = |run: &str, outcomes: &[(&str, VariantOutcome)]| {
            keep_issues(&api, tracker, &message(run, outcomes), &Silent).expect("told");
            issues.lock().expect("no panic").clone()
        };
        let now = tell("https://ci.test/1", &[("3.12-x86", Failed), ("3.12-x86_64", Failed), ("3.11-x86", Passed)]);
        assert_eq!(
            now.iter().map(|it| it.title.as_str()).collect::<Vec<_>>(),
            ["Build failed: 3.12-x86", "Build failed: 3.12-x86_64"]
        );
        assert!(
            now[0].text.contains("https://ci.test/1") && now[0].text.contains("\n    # not a title"),
            "{}",
            now[0].text
        );
        // The same run again says nothing new; another one comments.
        let now = tell("https://ci.test/1", &[("3.12-x86", Failed)]);
        assert_eq!((now.len(), now[0].comments.len()), (2, 0));
        let now = tell("https://ci.test/2", &[("3.12-x86", Failed), ("3.12-x86_64", Skipped)]);
        assert_eq!((now.len(), now[0].comments.len(), now[1].comments.len()), (2, 1, 0));
        let now = tell("https://ci.test/3", &[("3.12-x86", Passed), ("3.12-x86_64", Skipped)]);
        assert_eq!((now[0].open, now[1].open, now[0].comments.len()), (false, true, 2));
        // What was closed stays so: the next failure is a new one.
        let now = tell("https://ci.test/4", &[("3.12-x86", Failed)]);
        assert_eq!((now.len(), now[0].open, now[2].open), (3, false, true));
    }
}

fn run(arguments: &[&str], variables: &[(&str, &str)], here: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.arg("notify").args(arguments).env_clear().env("HOME", here).current_dir(here);
    command.env("DOCKLESS_PROGRESS", "plain").envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

#[test]
fn chats_and_programs_are_told_in_their_own_words() {
    let here = TempDir::new().expect("a place");
    let server = Server::of(b"ok");
    let (slack, hook) = (server.url("services/T0/B0/secret"), server.url("hook?key=1"));
    let run = run(
        &["--failed", "3.12-x86=no <room>", "--passed", "3.11-x86", "--tag", "v1", "--webhook", &hook],
        &[("SLACK_WEBHOOK", &slack), ("CI_PIPELINE_URL", "https://ci.test/7")],
        here.path(),
    );
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && stderr.contains("2 told") && !stderr.contains("secret"), "{stderr}");
    let requests = server.requests();
    let body = |at: usize| serde_json::from_slice::<Value>(&requests[at].body).expect("JSON");
    assert_eq!(requests[0].target, "/services/T0/B0/secret");
    let text = body(0)["text"].as_str().expect("text").to_owned();
    assert!(text.contains("release v1: 1 of 2 failed: 3.12-x86") && text.contains("no &lt;room&gt;"), "{text}");
    assert_eq!(requests[1].target, "/hook?key=1");
    assert_eq!(body(1)["run"], "https://ci.test/7");
    assert_eq!(body(1)["variants"][0], json!({ "name": "3.12-x86", "outcome": "failed", "error": "no <room>" }));
}

#[test]
fn jobs_of_one_variant_each_are_told_of_at_once() {
    let here = TempDir::new().expect("a place");
    let server = Server::of(b"ok");
    let one = |name: &str, arch: &str, outcome: &str, tag: Option<&str>| {
        let variant = json!({ "version": "3.12", "arch": arch, "outcome": outcome });
        let document = json!({ "format": 1, "name": "standalone-python", "tag": tag, "variants": [variant] });
        std::fs::write(here.path().join(name), document.to_string()).expect("written");
    };
    one("a.json", "x86", "passed", None);
    one("b.json", "x86_64", "failed", None);
    // What later jobs made of one of them.
    one("c.json", "x86_64", "passed", Some("v1"));
    // Secrets that nobody has set are empty variables.
    let (hook, empty) = (server.url("hook"), [("SLACK_WEBHOOK", ""), ("DOCKLESS_PUSHGATEWAY", "")]);
    let run = run(&["a.json", "b.json", "c.json", "--webhook", &hook], &empty, here.path());
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success() && stderr.contains("python v1: 1 of 2 failed: 3.12-x86_64; 1 told"), "{stderr}");
    let body = serde_json::from_slice::<Value>(&server.requests()[0].body).expect("JSON");
    assert_eq!(body["variants"].as_array().map(Vec::len), Some(2));
}

#[test]
fn who_cannot_be_told_fails_nothing_and_no_secret_is_shown() {
    let here = TempDir::new().expect("a place");
    let server = Server::start(|_, stream| {
        let body = b"no such hook: services/T0/B0/secret";
        respond(stream, "404 Not Found", &[&format!("Content-Length: {}", body.len())], body);
    });
    let slack = server.url("services/T0/B0/secret");
    let variables = [("DOCKLESS_SLACK_WEBHOOK", slack.as_str()), ("DOCKLESS_WEBHOOK", "not an address: secret")];
    let issues = ["--failed", "3.12-x86", "--issues", "github", "--dest", "o/r"];
    let run = run(&issues, &variables, here.path());
    let stderr = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{stderr}");
    for who in ["the chat was not told", "the webhook was not told", "the tracker was not told", "0 told"] {
        assert!(stderr.contains(who), "{who}: {stderr}");
    }
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[test]
fn what_is_asked_for_wrongly_is_an_error() {
    let here = TempDir::new().expect("a place");
    assert_eq!(run(&[], &[], here.path()).status.code(), Some(2));
    assert_eq!(run(&["--failed", "3.12-x86", "--issues", "github"], &[], here.path()).status.code(), Some(2));
    assert_eq!(run(&["absent.json"], &[], here.path()).status.code(), Some(3));
}

#[test]
fn a_pushgateway_gets_the_metrics_of_the_release() {
    let place = crate::support::forge::dist();
    let server = Server::of(b"");
    let run = run(
        &[place.path().to_str().expect("text"), "--pushgateway", &server.url(""), "--job", "nightly/x"],
        &[],
        place.path(),
    );
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let request = &server.requests()[0];
    assert_eq!((request.method.as_str(), request.target.as_str()), ("PUT", "/metrics/job/nightly%2Fx"));
    let text = String::from_utf8_lossy(&request.body).into_owned();
    assert!(text.contains("artifact_size_bytes{version=\"3.12\",arch=\"x86\"} "), "{text}");
}
