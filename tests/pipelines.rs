//! The pipelines that we ship: they lead from recipes to a release, tell of failures, and use what commands have.
//!
//! `.gitlab-ci.yml` runs here whole, by gitlab-ci-local with the shell executor, against a server that speaks GitLab's
//! interface. Building Python is not its point and takes many minutes: stages that build and test hand over small files
//! in the form of theirs; everything else is the real command.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::fetching_server::Server;
use crate::support::forge::{Hub, Odd, State, TOKEN, date};
use crate::support::skip;

/// Takes the place of the compiler: there is a command already.
const CARGO: &str = "#!/bin/sh
mkdir -p target/release && cp \"$SUBSTITUTE\" target/release/dockless
";

/// `dockless release` with small files; a version that is called broken fails.
const SUBSTITUTE: &str = r#"#!/bin/sh
set -eu
[ "$1 ${2-}" = "release --stage" ] || exec "$REAL" "$@"
stage=$3
shift 3
given='' out=dist arch='' tag='' previous=''
while [ $# -gt 0 ]; do
    case $1 in
    --out) out=$2 && shift ;;
    --arch) arch=$2 && shift ;;
    --tag) tag=$2 && shift ;;
    --previous) previous=$2 && shift ;;
    --timeout | --cache-from | --cache-to) shift ;;
    -*) echo "unknown option $1" >&2 && exit 2 ;;
    *) given="$given $1" ;;
    esac
    shift
done
mkdir -p "$out"
case $stage in
build)
    name=$(echo "release-$given-$arch" | tr -d ' ')
    [ "$given$arch" != " ${BROKEN:-}" ] || { echo "no compiler" >&2 && exit 1; }
    echo "tarball $name" >"$out/$name.tar.gz"
    ;;
test) cp $given/* "$out" ;;
package)
    cp $given/* "$out"
    (cd "$out" && for file in *.tar.gz; do sha256sum "$file" >"$file.sha256"; done)
    ;;
release)
    for place in $given; do cp "$place"/* "$out"; done
    (cd "$out" && sha256sum ./*.tar.gz | sed 's| \./| |' >SHA256SUMS)
    "$REAL" describe "$out" --tag "$tag" --previous "$previous"
    ;;
esac
"#;

/// A checkout in which the pipeline runs, and the programs around it.
struct Checkout {
    place: TempDir,
}

impl Checkout {
    /// `None`, said aloud, where a program is missing.
    fn new() -> Option<Self> {
        for program in ["gitlab-ci-local", "rsync", "git"] {
            if !installed(program) {
                skip("gitlab-ci-local", &format!("{program} is not on this machine (npm install -g gitlab-ci-local)"));
                return None;
            }
        }
        let place = TempDir::new().expect("a place");
        let root = place.path();
        fs::create_dir_all(root.join("project/recipes")).expect("made");
        fs::create_dir_all(root.join("bin")).expect("made");
        let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in [".gitlab-ci.yml", "recipes/release.toml", "Cargo.lock"] {
            fs::copy(ours.join(file), root.join("project").join(file)).expect("copied");
        }
        for (name, text) in [("bin/cargo", CARGO), ("substitute", SUBSTITUTE)] {
            fs::write(root.join(name), text).expect("written");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("set");
        }
        let checkout = Self { place };
        checkout.git(&["init", "-q", "-b", "release"]);
        checkout.git(&["add", "-A"]);
        checkout.git(&["commit", "-q", "-m", "a"]);
        checkout.git(&["remote", "add", "origin", "https://gitlab.test/g/p.git"]);
        Some(checkout)
    }

    fn project(&self) -> PathBuf {
        self.place.path().join("project")
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments).current_dir(self.project());
        assert!(command.env("HOME", self.place.path()).status().expect("git runs").success(), "{arguments:?}");
    }

    #[expect(clippy::disallowed_methods, reason = "programs are looked for where the tests find theirs")]
    fn run(&self, variables: &[(&str, &str)]) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("gitlab-ci-local");
        command.args(["--force-shell-executor", "--home"]).arg(self.place.path()).current_dir(self.project());
        command.env("PATH", format!("{}:{path}", self.place.path().join("bin").display()));
        command.env("HOME", self.place.path()).env("NO_COLOR", "1");
        command.env("SUBSTITUTE", self.place.path().join("substitute")).env("REAL", env!("CARGO_BIN_EXE_dockless"));
        for name in ["DOCKLESS_STORE", "SLACK_WEBHOOK", "GITLAB_TOKEN"] {
            command.env_remove(name);
        }
        // What gitlab-ci-local calls the job's directory is none that an ordinary user can make.
        let store = format!("DOCKLESS_STORE={}", self.place.path().join("store").display());
        command.args(["--variable", &store]);
        for (name, value) in variables {
            command.arg("--variable").arg(format!("{name}={value}"));
        }
        command.output().expect("gitlab-ci-local runs")
    }
}

#[expect(clippy::disallowed_methods, reason = "programs are looked for where the tests find theirs")]
fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_pipeline_of_gitlab_leads_from_the_matrix_to_a_release() {
    let Some(checkout) = Checkout::new() else { return };
    let hub = Hub::gitlab(State { date: Some(date()), ..State::default() }, |_| Odd::No);
    let address = hub.server.url("api/v4");
    let variables = [("CI_API_V4_URL", address.as_str()), ("CI_PROJECT_ID", "g/p"), ("CI_JOB_TOKEN", TOKEN)];
    let run = checkout.run(&variables);
    let said = said(&run);
    assert!(run.status.success() && !said.contains(TOKEN), "{said}");
    assert!(said.contains("there is no release before") && said.contains("nothing has expired"), "{said}");
    let state = hub.state();
    let tarballs: Vec<String> = state.names().into_iter().filter(|name| name.ends_with(".tar.gz")).collect();
    let expected: Vec<String> = ["3.10", "3.11", "3.12"]
        .iter()
        .flat_map(|version| ["x86", "x86_64"].map(|arch| format!("release-{version}-{arch}.tar.gz")))
        .collect();
    assert_eq!(tarballs, expected);
    let [release] = &state.releases[..] else { panic!("{} releases", state.releases.len()) };
    assert!(release.tag.starts_with("release-2"), "{}", release.tag);
    assert!(release.document["description"].as_str().is_some_and(|notes| notes.contains("release-3.12-x86.tar.gz")));
    let dist = checkout.project().join("dist");
    assert!(dist.join("RELEASE_NOTES.md").is_file() && dist.join("report.html").is_file());
    // Everything was uploaded before there was a release, by the job before it.
    let requests = hub.server.requests();
    let at = |method: &str| requests.iter().rposition(|request| request.method == method).expect("there");
    assert!(at("PUT") < at("POST"));
}

#[test]
fn one_version_can_be_asked_for_and_a_failure_is_told_and_publishes_nothing() {
    let Some(checkout) = Checkout::new() else { return };
    let (hub, hook) = (Hub::gitlab(State { date: Some(date()), ..State::default() }, |_| Odd::No), Server::of(b"ok"));
    let (address, slack) = (hub.server.url("api/v4"), hook.url("services/T0/B0/secret"));
    let variables = [
        ("VERSION", "3.11"),
        ("BROKEN", "3.11x86"),
        ("CI_API_V4_URL", &address),
        ("CI_PROJECT_ID", "g/p"),
        ("CI_JOB_TOKEN", TOKEN),
        ("SLACK_WEBHOOK", &slack),
    ];
    let run = checkout.run(&variables);
    let said = said(&run);
    assert!(!run.status.success() && said.contains("no compiler"), "{said}");
    assert!(said.contains("build: [3.11,x86_64]") && !said.contains("build: [3.12"), "{said}");
    assert!(hub.writes() == 0 && hub.state().releases.is_empty(), "{said}");
    let told: Vec<String> =
        hook.requests().iter().map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect();
    assert!(told.len() == 1 && told[0].contains("3.11-x86"), "{told:?}");
}

/// Returns the commands of dockless in a text with their long options, and the line of each.
fn commands(text: &str) -> BTreeMap<(String, String), String> {
    let mut found = BTreeMap::new();
    let mut command: Option<String> = None;
    for line in text.lines() {
        // Lines that begin with an option go on with the command above.
        if !line.trim_start().starts_with("--") {
            command = None;
        }
        let parted = line.replace(['`', ')', ';'], " ; ");
        let mut words = parted.split(|letter: char| letter.is_whitespace() || "\"'({}:+".contains(letter)).peekable();
        while let Some(word) = words.next() {
            if matches!(word, ";" | "|" | "&&" | "||" | "#") {
                command = None;
            } else if matches!(word, "dockless" | "$DOCKLESS") || word.ends_with("/dockless") {
                let is_command = |next: &&str| !next.is_empty() && next.bytes().all(|byte| byte.is_ascii_lowercase());
                command = words.next_if(is_command).map(str::to_owned);
                // These have commands of their own.
                if let Some(group) = command.as_mut().filter(|it| ["cache", "image", "profile"].contains(&it.as_str()))
                    && let Some(word) = words.next_if(is_command)
                {
                    group.push(' ');
                    group.push_str(word);
                }
            } else if let (Some(option), Some(command)) = (word.strip_prefix("--"), &command) {
                let end = option.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
                let option = option[..end.unwrap_or(option.len())].to_owned();
                found.insert((command.clone(), option), line.trim().to_owned());
            }
        }
    }
    found
}

#[test]
fn every_option_in_pipelines_and_their_documentation_is_one_that_commands_have() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for file in [".github/workflows/build.yml", ".gitlab-ci.yml", "docs/ci.md", "docs/publishing.md"] {
        let text = fs::read_to_string(ours.join(file)).expect("read");
        for ((command, option), line) in commands(&text) {
            let help = helps.entry(command.clone()).or_insert_with(|| {
                let mut help = Command::new(env!("CARGO_BIN_EXE_dockless"));
                let output = help.args(command.split(' ')).arg("--help").output().expect("the binary runs");
                assert!(output.status.success(), "{file}: `{line}`: there is no command `{command}`");
                String::from_utf8_lossy(&output.stdout).into_owned()
            });
            let is_there = help
                .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
                .any(|word| word.strip_prefix("--") == Some(option.as_str()));
            assert!(is_there, "{file}: `{line}`: `dockless {command}` has no --{option}");
            count += 1;
        }
    }
    assert!(count > 30, "only {count} options were found: how they are looked for is wrong");
}

#[test]
fn actions_are_pinned_and_documented_variables_are_those_that_pipelines_use() {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| fs::read_to_string(ours.join(file)).expect("read");
    let (github, gitlab, docs) = (read(".github/workflows/build.yml"), read(".gitlab-ci.yml"), read("docs/ci.md"));
    let mut pinned = 0;
    for line in github.lines().filter_map(|line| line.split("uses: ").nth(1)) {
        let (action, version) = line.split_once(" # v").unwrap_or_else(|| panic!("`{line}` names no version"));
        let (_, commit) = action.split_once('@').expect("a commit");
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        assert!(version.split('.').count() == 3, "{line}");
        pinned += 1;
    }
    assert!(pinned > 5);
    let secrets: Vec<&str> =
        github.split("secrets.").skip(1).filter_map(|rest| rest.split([' ', '}']).next()).collect();
    assert!(!secrets.is_empty());
    for name in secrets.into_iter().chain(["SLACK_WEBHOOK", "DOCKLESS_WEBHOOK", "VERSION", "IMAGE"]) {
        assert!(docs.contains(&format!("`{name}`")), "docs/ci.md does not tell of `{name}`");
    }
    for name in ["VERSION", "IMAGE"] {
        assert!(gitlab.contains(&format!("  {name}:")), "{name}");
    }
    for (text, word) in [(&github, "docker"), (&gitlab, "docker build"), (&gitlab, "docker:")] {
        assert!(!text.contains(word), "a pipeline uses {word}");
    }
}
