//! Publishing at GitHub: nothing is seen before it is whole, nothing is done twice, and nothing is replaced unasked.

use std::sync::atomic::{AtomicUsize, Ordering};

use dockless::dist::Dist;
use dockless::forge::{Dialect, Header};
use dockless::progress::Silent;
use dockless::publish::{Publication, PublishError, Published, to_github};

use crate::fetching_server::Request;
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
fn a_release_is_a_draft_until_it_has_all_and_the_second_run_changes_nothing() {
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
    let before = hub.writes();
    let again = publish(&hub, &publication(&dist)).expect("published");
    assert_eq!((again.acts, hub.writes()), (0, before));
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

/// Trouble of every kind once at every request that writes: a run ends well or goes on with the next.
#[test]
fn whatever_breaks_once_the_release_ends_up_whole() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for odd in [
        Odd::Status("500 Internal Server Error"),
        Odd::Status("429 Too Many Requests"),
        Odd::Lost,
        Odd::Half,
        Odd::HangsUp,
    ] {
        let writes = AtomicUsize::new(0);
        let hub = Hub::github(State::default(), move |request: &Request| {
            let is_write = request.method != "GET" && request.method != "DELETE";
            // Each odd one is followed by a sound attempt.
            let upload = request.target.contains("?name=");
            let odd = if odd == Odd::Half && !upload { Odd::No } else { odd };
            if is_write && writes.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { odd } else { Odd::No }
        });
        publish(&hub, &publication(&dist)).unwrap_or_else(|error| panic!("{odd:?}: {error}"));
        assert_eq!(hub.state().names(), names(&dist), "{odd:?}");
        assert_eq!(hub.state().releases.len(), 1, "{odd:?}: two releases");
        assert!(!hub.state().releases[0].draft, "{odd:?}: still a draft");
    }
}

#[test]
fn what_was_interrupted_is_a_draft_is_told_and_goes_on() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = std::sync::Arc::clone(&broken);
    let hub = Hub::github(State::default(), move |request| {
        let last = request.target.contains("name=release-3.12-x86_64.tar.gz");
        if last && switch.load(Ordering::SeqCst) { Odd::Status("503 Service Unavailable") } else { Odd::No }
    });
    let error = publish(&hub, &publication(&dist)).expect_err("unfinished");
    let said = error.to_string();
    assert!(said.contains("is unfinished") && said.contains("draft that only those who may write see"), "{said}");
    assert!(error.help().expect("a way out").contains("the same command goes on from here"));
    assert!(hub.state().releases[0].draft && !hub.state().tags.contains_key(TAG));
    broken.store(false, Ordering::SeqCst);
    let uploads = || hub.server.requests().iter().filter(|request| request.target.contains("?name=")).count();
    let before = uploads();
    publish(&hub, &publication(&dist)).expect("published");
    assert!(uploads() - before < names(&dist).len(), "everything was sent again");
    assert_eq!(hub.state().names(), names(&dist));
}

#[test]
fn a_file_that_is_there_with_other_content_is_refused_before_anything_changes() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for mute in [false, true] {
        // The same size, so that only its digest tells.
        let other = std::fs::read(place.path().join("SHA256SUMS")).expect("read").to_ascii_uppercase();
        let hub = Hub::github(State { mute, ..public("SHA256SUMS", &other) }, |_| Odd::No);
        let error = publish(&hub, &publication(&dist)).expect_err("refused");
        assert!(matches!(&error, PublishError::Different { names, .. } if *names == ["SHA256SUMS"]), "{error}");
        assert!(error.is_input() && hub.writes() == 0);
        publish(&hub, &Publication { replace: true, ..publication(&dist) }).expect("replaced");
        assert_eq!(hub.state().names(), names(&dist));
    }
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
fn a_tag_on_another_commit_is_refused_also_an_annotated_one() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for tag in [TAG, "v1.0"] {
        let hub =
            Hub::github(State { tags: [(tag.to_owned(), OTHER.to_owned())].into(), ..State::default() }, |_| Odd::No);
        let error = publish(&hub, &Publication { tag: tag.to_owned(), ..publication(&dist) }).expect_err("refused");
        assert!(matches!(&error, PublishError::TagElsewhere { theirs, .. } if theirs == OTHER), "{error}");
        assert_eq!(hub.writes(), 0);
    }
    let hub = Hub::github(State::default(), |_| Odd::No);
    let error = publish(&hub, &Publication { commit: None, ..publication(&dist) }).expect_err("refused");
    assert!(matches!(error, PublishError::NoCommit { .. }) && hub.writes() == 0, "{error}");
}

#[test]
fn a_wrong_token_is_refused_early_and_never_shown() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::github(State::default(), |_| Odd::No);
    let wrong = "wr0ng-token-value";
    let error = publish_as(&hub, wrong, &publication(&dist)).expect_err("refused");
    let said = format!("{error} {error:?} {}", error.help().expect("a way out"));
    assert!(said.contains("401") && said.contains("the tests") && said.contains("expired"), "{said}");
    assert!(!said.contains(wrong), "{said}");
    let error = publish_as(&hub, READER, &publication(&dist)).expect_err("refused");
    let said = format!("{error} {error:?} {}", error.help().expect("a way out"));
    assert!(said.contains("contents: write") && !said.contains(READER), "{said}");
    assert!(hub.state().releases.is_empty());
}

#[test]
fn a_clock_that_is_behind_is_refused_before_anything_changes() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let date = Some("Wed, 21 Oct 2099 07:28:00 GMT".to_owned());
    let hub = Hub::github(State { date, ..State::default() }, |_| Odd::No);
    let error = publish(&hub, &publication(&dist)).expect_err("refused");
    assert!(error.to_string().contains("clock is behind") && error.is_machine(), "{error}");
    assert_eq!(hub.writes(), 0);
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
