//! `dockless publish` and `dockless tag` of the real binary.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::support::forge::{Hub, Odd, State, TAG, TOKEN, dist};
use crate::support::skip;

fn run(arguments: &[&str], variables: &[(&str, &str)], here: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", here).current_dir(here);
    command.env("DOCKLESS_PROGRESS", "plain").envs(variables.iter().copied());
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_release_goes_out_by_a_token_from_the_environment_or_a_file_which_is_never_shown() {
    let (place, here) = (dist(), TempDir::new().expect("a place"));
    let file = here.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).expect("written");
    for by_file in [false, true] {
        let hub = Hub::github(State::default(), |_| Odd::No);
        let (dist, server) = (place.path().to_str().expect("text"), hub.server.url(""));
        let mut arguments = vec![
            "publish", dist, "--to", "github", "--dest", "o/r", "--server", &server, "--tag", TAG, "-v", "--commit",
        ];
        arguments.push(crate::support::forge::COMMIT);
        let mut variables = vec![("DOCKLESS_LOG", "trace")];
        if by_file {
            arguments.extend(["--token-file", file.to_str().expect("text")]);
        } else {
            variables.push(("GITHUB_TOKEN", TOKEN));
        }
        let run = run(&arguments, &variables, here.path());
        let (stdout, stderr) = (text(&run.stdout), text(&run.stderr));
        assert!(run.status.success(), "{stderr}");
        assert_eq!(stdout, "https://hub.test/o/r/releases/1\n");
        assert!(stderr.contains("release-3.12-x86.tar.gz") && !stderr.contains(TOKEN), "{stderr}");
    }
}

#[test]
fn what_cannot_be_published_is_told_with_the_way_out() {
    let (place, here) = (dist(), TempDir::new().expect("a place"));
    let dist = place.path().to_str().expect("text");
    let refused = |arguments: &[&str], variables: &[(&str, &str)], words: &str| {
        let all = [&["publish", dist], arguments].concat();
        let run = run(&all, variables, here.path());
        let stderr = text(&run.stderr);
        assert_eq!(run.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(words), "{arguments:?}: {stderr}");
    };
    let github = ["--to", "github", "--dest", "o/r", "--tag", TAG];
    refused(&github, &[], "GITHUB_TOKEN");
    refused(&github, &[("GITHUB_TOKEN", "two words")], "white space");
    refused(&["--to", "github", "--tag", TAG], &[("GITHUB_TOKEN", TOKEN)], "--dest OWNER/NAME");
    refused(&["--to", "gitlab", "--dest", "1", "--tag", TAG], &[], "CI_JOB_TOKEN");
    refused(&["--to", "dir", "--dest", "x"], &[], "which tag?");
    refused(&["--to", "dir", "--dest", "x", "--tag", "main"], &[], "no tag of a channel");
    refused(&["--to", "dir", "--dest", "x", "--tag", TAG, "--require-signatures"], &[], "dockless sign");
    let plain = ["--to", "github", "--dest", "o/r", "--tag", TAG, "--server", "http://h.test"];
    refused(&plain, &[("GITHUB_TOKEN", TOKEN)], "without encryption");
    fs::write(place.path().join("release-3.12-x86.tar.gz"), "other").expect("written");
    refused(&["--to", "dir", "--dest", "x", "--tag", TAG], &[], "was changed after it was made");
    assert!(!here.path().join("x").exists());
}

#[test]
fn the_next_tag_is_todays_and_that_of_a_commit_stays_its_own() {
    let here = TempDir::new().expect("a place");
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments).current_dir(here.path());
        command.env("HOME", here.path()).output().is_ok_and(|output| output.status.success())
    };
    if !git(&["init", "-q"]) {
        return skip("git", "the program is not on this machine");
    }
    let tag_in = |arguments: &[&str], job: &[(&str, &str)]| {
        let run = run(&[&["tag"], arguments].concat(), job, here.path());
        (run.status.code(), text(&run.stdout).trim().to_owned() + &text(&run.stderr))
    };
    let tag = |arguments: &[&str]| tag_in(arguments, &[]);
    let day = ["--date", "2026-11-26"];
    assert!(matches!(tag(&day), (Some(2), said) if said.contains("no commit `HEAD`")));
    assert!(git(&["commit", "-q", "--allow-empty", "-m", "a"]) && git(&["tag", "-a", "-m", "x", "release-2026-11-26"]));
    assert_eq!(tag(&day), (Some(0), "release-2026-11-26".to_owned()));
    assert_eq!(tag(&["--channel", "dev", "--date", "2026-11-26"]), (Some(0), "dev-2026-11-26".to_owned()));
    assert!(git(&["commit", "-q", "--allow-empty", "-m", "b"]));
    assert_eq!(tag(&day), (Some(0), "release-2026-11-26.2".to_owned()));
    let remote = here.path().to_str().expect("text");
    assert_eq!(tag(&["--date", "2026-11-26", "--remote", remote]), (Some(0), "release-2026-11-26.2".to_owned()));
    assert_eq!(tag(&["--channel-of", "v1.2"]), (Some(0), "production".to_owned()));
    assert_eq!(tag(&["--channel-of", "main"]).0, Some(2));
    // A job that a tag has begun is for that one, unless something else is asked for.
    let job = [("CI_COMMIT_TAG", "v2.0")];
    assert_eq!(tag_in(&[], &job), (Some(0), "v2.0".to_owned()));
    assert_eq!(tag_in(&[], &[("GITHUB_REF_TYPE", "tag"), ("GITHUB_REF_NAME", "dev-7")]), (Some(0), "dev-7".to_owned()));
    assert_eq!(tag_in(&day, &job), (Some(0), "release-2026-11-26.2".to_owned()));
    assert_eq!(tag_in(&[], &[("CI_COMMIT_TAG", "nightly")]).0, Some(2));
}
