//! What holds at every forge: GitHub, Gitea, GitLab. What only one of them has is in a file of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use dockless::dist::Dist;
use dockless::forge::{Dialect, Header};
use dockless::progress::Silent;
use dockless::publish::{Package, Publication, PublishError, Published, to_github, to_gitlab};

use crate::fetching_server::Request;
use crate::support::forge::{COMMIT, File, Hub, OTHER, Odd, State, TAG, TOKEN, api, dist, publication};

/// All of them.
const FORGES: [Dialect; 3] = [Dialect::GitHub, Dialect::Gitea, Dialect::GitLab];

fn hub(forge: Dialect, state: State, odd: impl Fn(&Request) -> Odd + Send + Sync + 'static) -> Hub {
    match forge {
        Dialect::GitLab => Hub::gitlab(state, odd),
        Dialect::Gitea => Hub::gitea(state, odd),
        _ => Hub::github(state, odd),
    }
}

fn publish_as(
    forge: Dialect,
    hub: &Hub,
    token: &str,
    publication: &Publication<'_>,
) -> Result<Published, PublishError> {
    if forge == Dialect::GitLab {
        let package = Package { project: "g/p", name: "standalone-python" };
        return to_gitlab(&api(&hub.server, forge, Header::Private, token), package, publication, &Silent);
    }
    to_github(&api(&hub.server, forge, Header::Bearer, token), "o/r", publication, &Silent)
}

fn publish(forge: Dialect, hub: &Hub, publication: &Publication<'_>) -> Result<Published, PublishError> {
    publish_as(forge, hub, TOKEN, publication)
}

fn names(dist: &Dist) -> Vec<String> {
    dist.assets().iter().map(|asset| asset.name.clone()).collect()
}

/// Checks that all is there once, on its commit, and seen.
fn check(hub: &Hub, dist: &Dist, why: &str) {
    let state = hub.state();
    assert_eq!(state.names(), names(dist), "{why}");
    assert_eq!((state.releases.len(), state.tags[TAG].as_str()), (1, COMMIT), "{why}");
    assert!(!state.releases[0].draft, "{why}: still a draft");
}

fn is_upload(request: &Request) -> bool {
    request.method == "PUT" || request.target.contains("?name=")
}

#[test]
fn the_second_run_changes_nothing() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for forge in FORGES {
        let hub = hub(forge, State::default(), |_| Odd::No);
        let published = publish(forge, &hub, &publication(&dist)).expect("published");
        assert!(published.acts > dist.assets().len(), "{forge:?}");
        check(&hub, &dist, &format!("{forge:?}"));
        let before = hub.writes();
        let again = publish(forge, &hub, &publication(&dist)).expect("published");
        assert_eq!((again.acts, hub.writes(), again.address), (0, before, published.address), "{forge:?}");
    }
}

/// Trouble of every kind once at every request that writes: a run ends well.
#[test]
fn whatever_breaks_once_the_release_ends_up_whole() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let odds = [
        Odd::Status("500 Internal Server Error"),
        Odd::Status("408 Request Timeout"),
        Odd::Status("429 Too Many Requests"),
        Odd::Lost,
        Odd::Half,
        Odd::HangsUp,
    ];
    for (forge, odd) in FORGES.into_iter().flat_map(|forge| odds.map(|odd| (forge, odd))) {
        for mute in [false, true] {
            let writes = AtomicUsize::new(0);
            let hub = hub(forge, State { mute, ..State::default() }, move |request| {
                let odd = if odd == Odd::Half && !is_upload(request) { Odd::No } else { odd };
                let is_write = request.method != "GET" && request.method != "DELETE";
                // Each odd one is followed by a sound attempt.
                if is_write && writes.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { odd } else { Odd::No }
            });
            publish(forge, &hub, &publication(&dist)).unwrap_or_else(|error| panic!("{forge:?} {odd:?}: {error}"));
            check(&hub, &dist, &format!("{forge:?} {odd:?}"));
        }
    }
}

#[test]
fn what_was_interrupted_is_told_and_goes_on_where_it_was() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for forge in FORGES {
        let broken = Arc::new(AtomicBool::new(true));
        let switch = Arc::clone(&broken);
        let hub = hub(forge, State::default(), move |request| {
            let last = is_upload(request) && request.target.contains("release-3.12-x86_64.tar.gz");
            if last && switch.load(Ordering::SeqCst) { Odd::Status("503 Service Unavailable") } else { Odd::No }
        });
        let error = publish(forge, &hub, &publication(&dist)).expect_err("unfinished");
        let said = error.to_string();
        let state = if forge == Dialect::GitLab { "there is no release yet" } else { "only those who may write see" };
        assert!(said.contains("is unfinished") && said.contains(state), "{said}");
        assert!(error.help().expect("a way out").contains("the same command goes on from here"));
        assert!(!hub.state().tags.contains_key(TAG), "{forge:?}: people see it");
        broken.store(false, Ordering::SeqCst);
        let uploads = || hub.server.requests().iter().filter(|request| is_upload(request)).count();
        let before = uploads();
        publish(forge, &hub, &publication(&dist)).expect("published");
        assert!(uploads() - before < names(&dist).len(), "{forge:?}: everything was sent again");
        check(&hub, &dist, &format!("{forge:?}"));
    }
}

#[test]
fn a_file_that_is_there_with_other_content_is_refused_before_anything_changes() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    // The same size, so that only its digest tells.
    let other = std::fs::read(place.path().join("SHA256SUMS")).expect("read").to_ascii_uppercase();
    for (forge, mute) in FORGES.into_iter().flat_map(|forge| [(forge, false), (forge, true)]) {
        let hub = hub(forge, State { mute, ..State::default() }, |_| Odd::No);
        publish(forge, &hub, &publication(&dist)).expect("published");
        {
            let mut state = hub.state();
            let State { releases, packages, .. } = &mut *state;
            let files = releases.iter_mut().flat_map(|it| &mut it.files).chain(packages.iter_mut().map(|it| &mut it.1));
            let sums: Vec<&mut File> = files.filter(|file| file.name == "SHA256SUMS").collect();
            assert_eq!(sums.len(), 1);
            for file in sums {
                file.bytes.clone_from(&other);
            }
        }
        let before = hub.writes();
        let error = publish(forge, &hub, &publication(&dist)).expect_err("refused");
        assert!(matches!(&error, PublishError::Different { names, .. } if *names == ["SHA256SUMS"]), "{error}");
        assert!(error.is_input() && hub.writes() == before, "{forge:?}");
        publish(forge, &hub, &Publication { replace: true, ..publication(&dist) }).expect("replaced");
        check(&hub, &dist, &format!("{forge:?}"));
        assert_eq!(publish(forge, &hub, &publication(&dist)).expect("published").acts, 0, "{forge:?}");
    }
}

#[test]
fn a_tag_on_another_commit_or_on_none_is_refused_before_anything_changes() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for forge in FORGES {
        let elsewhere =
            hub(forge, State { tags: [(TAG.to_owned(), OTHER.to_owned())].into(), ..State::default() }, |_| Odd::No);
        let error = publish(forge, &elsewhere, &publication(&dist)).expect_err("refused");
        assert!(matches!(&error, PublishError::TagElsewhere { theirs, .. } if theirs == OTHER), "{forge:?}: {error}");
        let nowhere = hub(forge, State::default(), |_| Odd::No);
        let error = publish(forge, &nowhere, &Publication { commit: None, ..publication(&dist) }).expect_err("refused");
        assert!(matches!(error, PublishError::NoCommit { .. }), "{forge:?}: {error}");
        assert_eq!((elsewhere.writes(), nowhere.writes()), (0, 0), "{forge:?}");
    }
}

#[test]
fn a_wrong_token_is_refused_early_and_never_shown() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for forge in FORGES {
        let hub = hub(forge, State::default(), |_| Odd::No);
        let wrong = "wr0ng-token-value";
        let error = publish_as(forge, &hub, wrong, &publication(&dist)).expect_err("refused");
        let said = format!("{error} {error:?} {}", error.help().expect("a way out"));
        assert!(said.contains("401") && said.contains("the tests") && said.contains("expired"), "{said}");
        assert!(!said.contains(wrong) && hub.writes() == 0, "{said}");
    }
}

#[test]
fn a_clock_that_is_behind_is_refused_before_anything_changes() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for forge in FORGES {
        let date = Some("Wed, 21 Oct 2099 07:28:00 GMT".to_owned());
        let hub = hub(forge, State { date, ..State::default() }, |_| Odd::No);
        let error = publish(forge, &hub, &publication(&dist)).expect_err("refused");
        assert!(error.to_string().contains("clock is behind") && error.is_machine(), "{error}");
        assert_eq!(hub.writes(), 0);
    }
}
