//! What publishing does at GitLab only: files first, then a release with links to all of them; by every kind of token. What
//! holds at every forge is in `publishing_forges.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dockless::dist::Dist;
use dockless::forge::{Dialect, Header};
use dockless::progress::Silent;
use dockless::publish::{Package, Publication, PublishError, Published, to_gitlab};
use serde_json::json;

use crate::support::forge::{COMMIT, Hub, OTHER, Odd, State, TAG, TOKEN, api, dist, publication};

const PACKAGE: Package<'_> = Package { project: "g/p", name: "standalone-python" };

fn publish_as(hub: &Hub, header: Header, publication: &Publication<'_>) -> Result<Published, PublishError> {
    to_gitlab(&api(&hub.server, Dialect::GitLab, header, TOKEN), PACKAGE, publication, &Silent)
}

fn publish(hub: &Hub, publication: &Publication<'_>) -> Result<Published, PublishError> {
    publish_as(hub, Header::Private, publication)
}

fn names(dist: &Dist) -> Vec<String> {
    dist.assets().iter().map(|asset| asset.name.clone()).collect()
}

/// Checks that all files and a link to each are there, once.
fn check(hub: &Hub, dist: &Dist, why: &str) {
    let state = hub.state();
    assert_eq!(state.names(), names(dist), "{why}");
    let mut links: Vec<String> =
        state.links.iter().map(|(_, link)| link["name"].as_str().expect("a name").to_owned()).collect();
    links.sort();
    assert_eq!(links, names(dist), "{why}");
    for (_, link) in &state.links {
        let name = link["name"].as_str().expect("a name");
        let url = hub.server.url(&format!("api/v4/projects/g%2Fp/packages/generic/standalone-python/{TAG}/{name}"));
        assert_eq!(link["url"], url.as_str(), "{why}");
    }
    assert_eq!((state.releases.len(), state.tags[TAG].as_str()), (1, COMMIT), "{why}");
}

#[test]
fn a_release_has_a_link_to_each_file_by_every_kind_of_token() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    for header in [Header::Private, Header::Job] {
        let hub = Hub::gitlab(State::default(), |_| Odd::No);
        let published = publish_as(&hub, header, &publication(&dist)).expect("published");
        assert_eq!(published.address, format!("https://lab.test/g/p/-/releases/{TAG}"));
        check(&hub, &dist, "published");
        let requests = hub.server.requests();
        let at = |method: &str| requests.iter().rposition(|request| request.method == method).expect("there");
        assert!(at("PUT") < at("POST"), "a release before its files");
        let before = hub.writes();
        assert_eq!(publish_as(&hub, header, &publication(&dist)).expect("published").acts, 0);
        assert_eq!(hub.writes(), before);
    }
}

#[test]
fn what_was_interrupted_is_told_and_goes_on() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let broken = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&broken);
    let hub = Hub::gitlab(State::default(), move |request| {
        let odd = request.method == "POST" && switch.load(Ordering::SeqCst);
        if odd { Odd::Status("502 Bad Gateway") } else { Odd::No }
    });
    let error = publish(&hub, &publication(&dist)).expect_err("unfinished");
    assert!(error.to_string().contains("there is no release yet"), "{error}");
    broken.store(false, Ordering::SeqCst);
    let uploads = || hub.server.requests().iter().filter(|request| request.method == "PUT").count();
    let before = uploads();
    publish(&hub, &publication(&dist)).expect("published");
    assert_eq!(uploads(), before, "files were sent again");
    check(&hub, &dist, "went on");
}

#[test]
fn files_can_go_first_and_the_release_later() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::gitlab(State::default(), |_| Odd::No);
    let files = publish(&hub, &Publication { draft: true, ..publication(&dist) }).expect("uploaded");
    assert!(files.address.ends_with(&format!("standalone-python/{TAG}")), "{}", files.address);
    assert_eq!(hub.state().names(), names(&dist));
    assert!(hub.state().releases.is_empty());
    assert_eq!(publish(&hub, &publication(&dist)).expect("published").acts, 1);
    check(&hub, &dist, "released");
}

#[test]
fn a_release_that_lacks_files_and_links_is_completed() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::gitlab(State::default(), |_| Odd::No);
    publish(&hub, &publication(&dist)).expect("published");
    hub.state().links.drain(2..);
    hub.state().packages.pop();
    publish(&hub, &publication(&dist)).expect("completed");
    check(&hub, &dist, "completed");
    hub.state().links[0].1["url"] = json!("https://elsewhere.test/x");
    let error = publish(&hub, &publication(&dist)).expect_err("another link");
    assert!(matches!(error, PublishError::Different { .. }), "{error}");
    publish(&hub, &Publication { replace: true, ..publication(&dist) }).expect("replaced");
    check(&hub, &dist, "replaced");
}

#[test]
fn a_tag_on_another_commit_is_refused_as_early_as_the_token_lets_us_see_it() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let tags = || State { tags: [(TAG.to_owned(), OTHER.to_owned())].into(), ..State::default() };
    let hub = Hub::gitlab(tags(), |_| Odd::No);
    let error = publish(&hub, &publication(&dist)).expect_err("refused");
    assert!(matches!(error, PublishError::TagElsewhere { .. }) && hub.writes() == 0, "{error}");
    // A job token may not ask for tags: the release itself says it.
    let hub = Hub::gitlab(tags(), |_| Odd::No);
    let error = publish_as(&hub, Header::Job, &publication(&dist)).expect_err("told");
    assert!(format!("{error:?}").contains("Unlike") && error.help().is_some(), "{error}");
    let error = publish_as(&hub, Header::Job, &publication(&dist)).expect_err("refused");
    assert!(matches!(error, PublishError::TagElsewhere { .. }), "{error}");
}

#[test]
fn an_expired_token_is_told_in_the_servers_words() {
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let hub = Hub::gitlab(State::default(), |_| Odd::No);
    let expired = "exp1red-token";
    let api = api(&hub.server, Dialect::GitLab, Header::Private, expired);
    let error = to_gitlab(&api, PACKAGE, &publication(&dist), &Silent).expect_err("refused");
    let said = format!("{error} {error:?} {api:?}");
    assert!(said.contains("Token is expired") && !said.contains(expired), "{said}");
    assert_eq!(hub.writes(), 0);
}
