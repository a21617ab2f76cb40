//! Releases expire by their channel: nothing that is not ours, nothing unasked, and never a channel's newest.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;

use crate::support::forge::{COMMIT, File, Hub, Odd, Release, State, TAG, TOKEN, date, dist, now};

/// Of each release: its tag, its age in days, and a file that it has.
const RELEASES: [(&str, i64, &str); 7] = [
    ("v1.0", 400, "SHA256SUMS"),
    ("v1.1", 366, "program.zip"),
    ("v1.2", 364, "SHA256SUMS"),
    ("dev-1", 90, "SHA256SUMS"),
    ("dev-2", 29, "SHA256SUMS"),
    ("nightly", 900, "SHA256SUMS"),
    ("dev-0", 900, "SHA256SUMS"),
];

/// Those of them that are ours and too old, the oldest first.
const EXPIRED: [&str; 3] = ["dev-0", "v1.0", "dev-1"];

fn ago(days: i64) -> String {
    jiff::Timestamp::from_second(now() - days * 86_400 - 3600).expect("a time").to_string()
}

/// A server whose clock is right, with all of them.
fn state() -> State {
    let mut state = State { date: Some(date()), ..State::default() };
    for (tag, days, file) in RELEASES {
        let id = state.new_id();
        let file = File { id, name: file.to_owned(), bytes: b"x".to_vec(), whole: true };
        let links = json!([{ "id": id, "name": file.name, "url": "https://h.test/x" }]);
        let document =
            json!({ "published_at": ago(days), "released_at": ago(days), "assets": { "links": links }, "name": tag });
        state.packages.push((tag.to_owned(), file.clone()));
        state.releases.push(Release { id, tag: tag.to_owned(), draft: false, document, files: vec![file] });
    }
    state
}

fn tags(hub: &Hub) -> Vec<String> {
    hub.state().releases.iter().map(|release| release.tag.clone()).collect()
}

fn run(arguments: &[&str], here: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", here).current_dir(here);
    command.env("DOCKLESS_PROGRESS", "plain");
    command.env("GITHUB_TOKEN", TOKEN).env("GITLAB_TOKEN", TOKEN).env("GITEA_TOKEN", TOKEN);
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn left() -> Vec<&'static str> {
    RELEASES.iter().map(|it| it.0).filter(|tag| !EXPIRED.contains(tag)).collect()
}

#[test]
fn what_has_expired_is_listed_and_removed_only_when_asked() {
    let here = TempDir::new().expect("a place");
    for (place, dest) in [("github", "o/r"), ("gitea", "o/r"), ("gitlab", "g/p")] {
        let hub = match place {
            "github" => Hub::github(state(), |_| Odd::No),
            "gitea" => Hub::gitea(state(), |_| Odd::No),
            _ => Hub::gitlab(state(), |_| Odd::No),
        };
        let server = hub.server.url("");
        let arguments = ["expire", "--to", place, "--dest", dest, "--server", &server];
        let listed = run(&arguments, here.path());
        let stderr = text(&listed.stderr);
        assert_eq!(text(&listed.stdout), EXPIRED.join("\n") + "\n", "{place}: {stderr}");
        assert!(listed.status.success() && stderr.contains("--delete removes them"), "{place}: {stderr}");
        assert!(hub.writes() == 0 && tags(&hub).len() == RELEASES.len(), "{place}");

        let one = run(&[&arguments[..], &["--channel", "dev", "--delete"]].concat(), here.path());
        assert_eq!(text(&one.stdout), "dev-0\ndev-1\n", "{place}: {}", text(&one.stderr));
        let rest = run(&[&arguments[..], &["--delete"]].concat(), here.path());
        assert_eq!(text(&rest.stdout), "v1.0\n", "{place}: {}", text(&rest.stderr));
        assert_eq!(tags(&hub), left(), "{place}");
        let again = run(&[&arguments[..], &["--delete"]].concat(), here.path());
        assert!(text(&again.stderr).contains("nothing has expired") && again.stdout.is_empty(), "{place}");
    }
}

#[test]
fn files_of_gitlab_go_with_their_release_and_those_without_one_go_too() {
    let here = TempDir::new().expect("a place");
    let mut state = state();
    // A release that was removed by hand, and one that never came about.
    state.releases.retain(|release| release.tag != "v1.0");
    state.created.insert("v1.0".to_owned(), ago(400));
    state.created.insert("v1.2".to_owned(), ago(400));
    let hub = Hub::gitlab(state, |_| Odd::No);
    let server = hub.server.url("");
    let run = run(&["expire", "--to", "gitlab", "--dest", "g/p", "--server", &server, "--delete"], here.path());
    assert!(run.status.success(), "{}", text(&run.stderr));
    let mut versions: Vec<String> = hub.state().packages.iter().map(|it| it.0.clone()).collect();
    versions.sort();
    // Packages whose age nobody knows stay.
    assert!(!versions.contains(&"v1.0".to_owned()) && versions.contains(&"v1.2".to_owned()), "{versions:?}");
    assert_eq!(tags(&hub), left());
}

#[test]
fn what_breaks_off_is_told_and_found_again() {
    let here = TempDir::new().expect("a place");
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let switch = std::sync::Arc::clone(&broken);
    let hub = Hub::gitlab(state(), move |request| {
        let odd = request.method == "DELETE" && request.target.contains("releases/v1.0");
        let odd = odd && switch.load(std::sync::atomic::Ordering::SeqCst);
        if odd { Odd::Status("403 Forbidden") } else { Odd::No }
    });
    let server = hub.server.url("");
    let arguments = ["expire", "--to", "gitlab", "--dest", "g/p", "--server", &server, "--delete"];
    let failed = run(&arguments, here.path());
    let stderr = text(&failed.stderr);
    assert_eq!(failed.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("v1.0") && stderr.contains("scope `api`"), "{stderr}");
    broken.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(run(&arguments, here.path()).status.success());
    assert_eq!(tags(&hub), left());
}

#[test]
fn a_directory_loses_what_has_expired_and_nothing_else() {
    let (here, goal) = (TempDir::new().expect("a place"), TempDir::new().expect("a place"));
    #[expect(clippy::disallowed_methods, reason = "files of tests are of now")]
    let now = SystemTime::now();
    for (tag, days, file) in RELEASES {
        let directory = goal.path().join(tag);
        fs::create_dir(&directory).expect("made");
        let file = fs::File::create(directory.join(file)).expect("made");
        let age = Duration::from_secs(86_400 * days.unsigned_abs() + 3600);
        file.set_modified(now.checked_sub(age).expect("a time")).expect("set");
    }
    // Something of that name elsewhere, and what an interrupted run left.
    fs::create_dir(goal.path().join(".dev-00.expired")).expect("made");
    std::os::unix::fs::symlink(goal.path().join("nightly"), goal.path().join("dev-link")).expect("linked");
    let dest = goal.path().to_str().expect("text");
    let listed = run(&["expire", "--to", "dir", "--dest", dest], here.path());
    assert_eq!(text(&listed.stdout), EXPIRED.join("\n") + "\n", "{}", text(&listed.stderr));
    let removed = run(&["expire", "--to", "dir", "--dest", dest, "--delete"], here.path());
    assert!(removed.status.success(), "{}", text(&removed.stderr));
    let mut names: Vec<String> = fs::read_dir(goal.path())
        .expect("listed")
        .map(|entry| entry.expect("listed").file_name().into_string().expect("text"))
        .collect();
    names.sort();
    let mut expected = [left(), vec!["dev-link"]].concat();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(goal.path().join("nightly/SHA256SUMS").is_file());
}

#[test]
fn publishing_removes_what_has_expired_when_asked_and_only_when_it_succeeded() {
    let (place, here) = (dist(), TempDir::new().expect("a place"));
    let dist = place.path().to_str().expect("text");
    for (wanted, expire) in [(RELEASES.len() + 1, false), (RELEASES.len() + 1 - EXPIRED.len(), true)] {
        let hub = Hub::github(state(), |_| Odd::No);
        let server = hub.server.url("");
        let arguments = [
            "publish", dist, "--to", "github", "--dest", "o/r", "--server", &server, "--tag", TAG, "--commit", COMMIT,
            "--expire",
        ];
        let run = run(&arguments[..arguments.len() - usize::from(!expire)], here.path());
        assert!(run.status.success(), "{}", text(&run.stderr));
        assert_eq!(text(&run.stdout).lines().count(), 1, "more than the address");
        assert_eq!(tags(&hub).len(), wanted);
    }
    let hub = Hub::github(state(), |request| if request.method == "POST" { Odd::Status("422 x") } else { Odd::No });
    let server = hub.server.url("");
    let arguments =
        ["publish", dist, "--to", "github", "--dest", "o/r", "--server", &server, "--tag", TAG, "--commit", COMMIT];
    assert!(!run(&[&arguments[..], &["--expire"]].concat(), here.path()).status.success());
    assert_eq!(tags(&hub).len(), RELEASES.len());
}

#[test]
fn the_release_before_is_the_newest_of_the_channel_and_not_the_one_that_is_made() {
    let here = TempDir::new().expect("a place");
    // Of each release, its description says which one it is.
    let described = || {
        let mut state = state();
        let State { releases, packages, .. } = &mut state;
        for release in releases {
            let text = json!({ "format": 1, "tag": release.tag, "variants": [] }).to_string();
            let file =
                File { id: 100 + release.id, name: "release.json".to_owned(), bytes: text.into_bytes(), whole: true };
            packages.push((release.tag.clone(), file.clone()));
            release.files.push(file);
        }
        packages.sort_by(|one, other| one.0.cmp(&other.0));
        state
    };
    for (place, dest) in [("github", "o/r"), ("gitea", "o/r"), ("gitlab", "g/p")] {
        let hub = match place {
            "github" => Hub::github(described(), |_| Odd::No),
            "gitea" => Hub::gitea(described(), |_| Odd::No),
            _ => Hub::gitlab(described(), |_| Odd::No),
        };
        let server = hub.server.url("");
        let before = |tag: &[&str]| {
            let arguments = [&["previous", "--to", place, "--dest", dest, "--server", &server], tag].concat();
            let run = run(&arguments, here.path());
            assert!(run.status.success(), "{place}: {}", text(&run.stderr));
            (text(&run.stdout), text(&run.stderr))
        };
        assert!(before(&[]).1.contains("the release before is v1.2"), "{place}");
        // Its own is left out; what others made has no sums, and is none.
        assert!(before(&["--tag", "v1.2"]).0.contains(r#""tag":"v1.0""#), "{place}");
        assert!(before(&["--tag", "dev-2026-11-26"]).0.contains(r#""tag":"dev-2""#), "{place}");
        assert!(before(&["--channel", "dev"]).0.contains(r#""tag":"dev-2""#), "{place}");
    }
    let nothing = run(&["previous", "--to", "dir", "--dest", "absent"], here.path());
    assert!(nothing.status.success() && nothing.stdout.is_empty(), "{}", text(&nothing.stderr));
    // What a first release has before it, and `describe` takes.
    let place = dist();
    fs::write(here.path().join("previous.json"), "").expect("written");
    let directory = place.path().to_str().expect("text");
    assert!(run(&["describe", directory, "--previous", "previous.json"], here.path()).status.success());
}

#[test]
fn what_cannot_expire_is_refused() {
    let here = TempDir::new().expect("a place");
    let refused = |arguments: &[&str], words: &str| {
        let run = run(&[&["expire"], arguments].concat(), here.path());
        let stderr = text(&run.stderr);
        assert!(run.status.code() == Some(2) && stderr.contains(words), "{arguments:?}: {stderr}");
    };
    refused(&["--to", "registry", "--dest", "h.test/x"], "by the registry's own rules");
    refused(&["--to", "dir"], "--dest DIR");
    refused(&["--to", "github", "--dest", "o/r", "--channel", "beta"], "only production, dev");
    refused(&["--to", "github", "--dest", "only"], "OWNER/NAME");
}
