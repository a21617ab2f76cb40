//! `dockless scan`: what scanners find decides, a scanner that fails is no clean bill, and none at all says how to get one.
//!
//! The scanners here are scripts that answer as the real ones do; what those find depends on databases of the day.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

/// A scanner that writes `sarif` to where its arguments say (`after`), tells what it was called with, and ends with `code`.
fn scanner(place: &Path, name: &str, after: &str, sarif: &str, code: i32) {
    let text = format!(
        "#!/bin/sh\necho \"{name} $*\" >>\"$CALLS\"\nout=\nwhile [ $# -gt 0 ]; do [ \"$1\" = {after} ] && out=$2; shift; done\n\
         cat >\"$out\" <<'END'\n{sarif}\nEND\necho trouble >&2\nexit {code}\n"
    );
    let file = place.join(name);
    fs::write(&file, text).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("set");
}

fn sarif(tool: &str, rule: &str, score: &str) -> String {
    format!(
        r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"{tool}","rules":[{{"id":"{rule}","properties":{{"security-severity":"{score}"}}}}]}}}},"results":[{{"ruleId":"{rule}","message":{{"text":"openssl is old"}},"locations":[{{"physicalLocation":{{"artifactLocation":{{"uri":"a.cdx.json"}},"region":{{"startLine":3}}}}}}]}}]}}]}}"#
    )
}

/// A release with a bill of materials, scanners, and the end of a scan: code, standard output, standard error, calls.
struct Bed {
    dist: TempDir,
    tools: TempDir,
}

impl Bed {
    fn new() -> Self {
        Self { dist: crate::support::forge::dist(), tools: TempDir::new().expect("a place") }
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String, String) {
        let calls = self.tools.path().join("calls");
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.arg("scan").arg(self.dist.path()).args(arguments).env_clear().env("CALLS", &calls);
        command.env("PATH", format!("{}:/usr/bin:/bin", self.tools.path().join("bin").display()));
        let output = command.env("DOCKLESS_PROGRESS", "plain").current_dir(self.tools.path()).output();
        let output = output.expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let calls = fs::read_to_string(&calls).unwrap_or_default();
        (output.status.code(), text(&output.stdout), text(&output.stderr), calls)
    }

    fn scanner(&self, name: &str, after: &str, sarif: &str, code: i32) {
        let bin = self.tools.path().join("bin");
        fs::create_dir_all(&bin).expect("made");
        scanner(&bin, name, after, sarif, code);
    }
}

#[test]
fn findings_are_told_worst_first_collected_and_decide_by_their_severity() {
    let bed = Bed::new();
    bed.scanner("trivy", "--output", &sarif("Trivy", "CVE-1", "5.0"), 0);
    bed.scanner("grype", "--file", &sarif("Grype", "CVE-2", "7.5"), 0);
    bed.scanner("gitleaks", "--report-path", &sarif("gitleaks", "aws-key", "9.9"), 1);
    let (code, stdout, stderr, calls) = bed.run(&["--sarif", "all.sarif"]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("findings are at least high"), "{stderr}");
    let first = stdout.lines().next().expect("a finding");
    assert_eq!(first, "high CVE-2 a.cdx.json:3 (Grype) openssl is old");
    assert!(stdout.contains("medium CVE-1") && !stdout.contains("aws-key"), "{stdout}");
    // Both architectures have a bill; gitleaks looks at repositories only.
    assert_eq!(calls.lines().filter(|line| line.starts_with("trivy sbom ")).count(), 2, "{calls}");
    assert!(calls.contains("grype sbom:") && !calls.contains("gitleaks"), "{calls}");
    let merged: Value =
        serde_json::from_str(&fs::read_to_string(bed.tools.path().join("all.sarif")).expect("written")).expect("JSON");
    assert_eq!(merged["runs"].as_array().expect("runs").len(), 4);
    assert_eq!(bed.run(&["--fail-on", "critical"]).0, Some(0));
    let repository = bed.tools.path().to_str().expect("text");
    let (code, stdout, ..) = bed.run(&["--fail-on", "critical", "--repository", repository]);
    assert!(code == Some(1) && stdout.starts_with("critical aws-key"), "{stdout}");
}

#[test]
fn offline_each_scanner_is_kept_from_the_network_and_rules_are_local() {
    let bed = Bed::new();
    for (name, after) in
        [("trivy", "--output"), ("grype", "--file"), ("osv-scanner", "--output"), ("semgrep", "--output")]
    {
        bed.scanner(name, after, &sarif(name, "x", "1.0"), 0);
    }
    let here = bed.tools.path();
    let repository = here.to_str().expect("text");
    let (code, _, stderr, calls) = bed.run(&["--repository", repository]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(calls.contains("semgrep scan --config auto") && !calls.contains("--offline"), "{calls}");
    fs::create_dir(here.join(".semgrep")).expect("made");
    let (code, _, stderr, calls) = bed.run(&["--repository", repository, "--offline"]);
    assert_eq!(code, Some(0), "{stderr}");
    for call in [
        "trivy sbom --quiet --format sarif --output ",
        " --offline-scan --skip-db-update ",
        " --offline --lockfile=",
        &format!("semgrep scan --config {repository}/.semgrep "),
        &format!(" --metrics off --disable-version-check {repository}"),
    ] {
        assert!(calls.contains(call), "{call}: {calls}");
    }
}

#[test]
fn a_secret_is_no_small_matter_also_where_its_finder_says_nothing_of_it() {
    let bed = Bed::new();
    let plain = sarif("gitleaks", "aws-key", "0").replace(r#","properties":{"security-severity":"0"}"#, "");
    bed.scanner("gitleaks", "--report-path", &plain, 1);
    let (code, stdout, ..) = bed.run(&["--repository", bed.tools.path().to_str().expect("text"), "--sarif", "s"]);
    assert!(code == Some(1) && stdout.starts_with("high aws-key"), "{stdout}");
    let collected = fs::read_to_string(bed.tools.path().join("s")).expect("written");
    assert!(collected.contains(r#""level":"error""#), "{collected}");
}

/// The real programs, where they are: their arguments are right, and what they write is read.
#[test]
#[expect(clippy::disallowed_methods, reason = "programs are looked for where the tests find theirs")]
fn real_scanners_find_what_was_planted() {
    let path = std::env::var("PATH").unwrap_or_default();
    let repository = TempDir::new().expect("a place");
    let root = repository.path();
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(arguments).current_dir(root);
        command.env("HOME", root).output().is_ok_and(|output| output.status.success())
    };
    // Put together, so that nobody finds it here.
    let secret = ["ghp_", "Zx81Qw27Er63Ty54", "Ui09Op18As92Df37Gh46"].concat();
    fs::write(root.join("deploy.sh"), format!("#!/bin/sh\nexport GITHUB_TOKEN={secret}\neval \"$1\"\n"))
        .expect("written");
    let rules =
        "rules:\n- {id: no-eval, languages: [bash], severity: ERROR, message: eval of input, pattern: eval $X}\n";
    fs::write(root.join(".semgrep.yml"), rules).expect("written");
    assert!(git(&["init", "-q"]) && git(&["add", "-A"]) && git(&["commit", "-q", "-m", "a"]), "git");
    for (name, found) in [("gitleaks", "high github-pat"), ("semgrep", "high ")] {
        if dockless::scan::installed(name, &path).is_none() {
            crate::support::skip(name, "the program is not on this machine");
            continue;
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_dockless"));
        command.args(["scan", "--offline", "--with", name, "--repository"]).arg(root);
        let run = command.env("HOME", root).env("DOCKLESS_PROGRESS", "plain").output().expect("the binary runs");
        let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
        assert!(run.status.code() == Some(1) && said.starts_with(found), "{name}: {said}");
        assert!(said.contains("deploy.sh:") && !said.contains(&secret), "{name}: {said}");
    }
}

#[test]
fn a_scanner_that_fails_or_babbles_is_no_clean_bill() {
    for (sarif, code) in [("{}", 0), ("not JSON", 0), (r#"{"version":"2.1.0","runs":[]}"#, 2)] {
        let bed = Bed::new();
        bed.scanner("trivy", "--output", sarif, code);
        let (code, stdout, stderr, _) = bed.run(&[]);
        assert!(code == Some(1) && stdout.is_empty(), "{stderr}");
        assert!(stderr.contains("not known to be clean") && stderr.contains("trivy"), "{stderr}");
    }
}

#[test]
fn without_a_scanner_it_says_how_to_get_one() {
    let bed = Bed::new();
    let (code, _, stderr, _) = bed.run(&["--with", "trivy,grype"]);
    if stderr.contains("looked at") {
        return crate::support::skip("no-scanners", "this machine has some");
    }
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("https://github.com/anchore/grype#installation"), "{stderr}");
    bed.scanner("trivy", "--output", &sarif("Trivy", "CVE-1", "1.0"), 0);
    // Who asks for two gets two or nothing.
    assert_eq!(bed.run(&["--with", "trivy,grype"]).0, Some(3));
    assert_eq!(bed.run(&["--with", "trivy"]).0, Some(0));
    assert_eq!(bed.run(&["--with", "nmap"]).0, Some(2));
}
