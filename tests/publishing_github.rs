//! What publishing does at GitHub only; what holds at every forge is in `publishing_forges.rs`.

use dockless::dist::Dist;
use dockless::forge::{Dialect, Header};
use dockless::progress::Silent;
use dockless::publish::{Publication, PublishError, Published, to_github};

use crate::support::forge::{
    COMMIT, File, Hub, OTHER, Odd, READER, Release, State, TAG, TOKEN, api, dist, publication,
};

fn publish_as(hub: &Hub, token: &str, publication: &Publication<'_>) -> Result<Published, PublishError> {
    to_github(&api(&hub.server, Dialect::GitHub, Header::Bearer, token), "o/r", publication, &Silent)
}

fn publish(hub: &Hub, publication: &Publication<'_>) -> Result<Published, PublishError> {
    publish_as(hub, TOKEN, publication)
}

/// A public release on the tag with one file.
fn public(name: &str, bytes: &[u8]) -> State {
    let file = File { id: 8, name: name.to_owned(), bytes: bytes.to_vec(), whole: true };
    let document = serde_json::json!({ "name": TAG, "body": "by hand" });
    let release = Release { id: 7, tag: TAG.to_owned(), draft: false, document, files: vec![file] };
    State { next: 8, releases: vec![release], tags: [(TAG.to_owned(), COMMIT.to_owned())].into(), ..State::default() }
}

fn names(dist: &Dist) -> Vec<String> {
    dist.assets().iter().map(|asset| asset.name.clone()).collect()
}

#[test]
fn a_release_is_a_draft_until_it_has_all() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::github(State::default(), |_| Odd::No);
    let published = publish(&hub, &publication(&dist)).expect("published");
    assert_eq!(published.address, "https://hub.test/o/r/releases/1");
    assert_eq!(hub.state().names(), names(&dist));
    assert!(!hub.state().releases[0].draft && hub.state().tags[TAG] == COMMIT);
    let requests = hub.server.requests();
    let at = |method: &str| requests.iter().rposition(|request| request.method == method).expect("there");
    assert!(at("POST") < at("PATCH"), "published before all was there");
    let tarball = requests.iter().find(|it| it.target.ends_with("x86.tar.gz")).expect("uploaded");
    assert_eq!(tarball.headers["content-type"], "application/gzip");
    assert_eq!(tarball.headers["x-github-api-version"], "2022-11-28");
}

#[test]
fn a_dev_release_is_for_those_who_look_for_it() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::github(State::default(), |_| Odd::No);
    publish(&hub, &Publication { tag: "dev-1".to_owned(), prerelease: true, ..publication(&dist) }).expect("published");
    let document = hub.state().releases[0].document.clone();
    assert_eq!((document["prerelease"].as_bool(), document["make_latest"].as_str()), (Some(true), Some("false")));
}

#[test]
fn a_public_release_is_completed_and_its_notes_stay() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let same = std::fs::read(place.path().join("SHA256SUMS")).expect("read");
    for mute in [false, true] {
        let hub = Hub::github(State { mute, ..public("SHA256SUMS", &same) }, |_| Odd::No);
        publish(&hub, &publication(&dist)).expect("completed");
        assert_eq!(hub.state().names(), names(&dist));
        assert_eq!(hub.state().releases[0].document["body"], "by hand");
        assert!(hub.server.requests().iter().all(|request| request.method != "DELETE"));
    }
    let hub = Hub::github(State { immutable: true, ..public("SHA256SUMS", &same) }, |_| Odd::No);
    let error = publish(&hub, &publication(&dist)).expect_err("immutable");
    assert!(matches!(error, PublishError::Immutable { .. }) && hub.writes() == 0, "{error}");
}

#[test]
fn an_annotated_tag_is_on_the_commit_that_it_names() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    // The server makes annotated ones of those that begin with v.
    let tags = [("v1.0".to_owned(), OTHER.to_owned())].into();
    let hub = Hub::github(State { tags, ..State::default() }, |_| Odd::No);
    let error = publish(&hub, &Publication { tag: "v1.0".to_owned(), ..publication(&dist) }).expect_err("refused");
    assert!(matches!(&error, PublishError::TagElsewhere { theirs, .. } if theirs == OTHER), "{error}");
    assert_eq!(hub.writes(), 0);
}

#[test]
fn a_token_that_may_only_read_is_told_what_it_lacks() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::github(State::default(), |_| Odd::No);
    let error = publish_as(&hub, READER, &publication(&dist)).expect_err("refused");
    let said = format!("{error} {error:?} {}", error.help().expect("a way out"));
    assert!(said.contains("contents: write") && !said.contains(READER), "{said}");
    assert!(hub.state().releases.is_empty());
}

#[test]
fn a_limit_of_requests_that_lasts_is_told_at_once() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let server = crate::fetching_server::Server::start(|_, stream| {
        let headers = [
            "Content-Length: 2",
            "x-ratelimit-remaining: 0",
            "x-ratelimit-reset: 1792568880",
            "Date: Wed, 21 Oct 2026 07:28:00 GMT",
        ];
        crate::fetching_server::respond(stream, "403 Forbidden", &headers, b"{}");
    });
    let api = api(&server, Dialect::GitHub, Header::Bearer, TOKEN);
    let error = to_github(&api, "o/r", &publication(&dist), &Silent).expect_err("refused");
    assert!(error.to_string().contains("asks to wait"), "{error}");
    assert_eq!(server.requests().len(), 1);
}
