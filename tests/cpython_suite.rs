//! The gate of CPython's test suite: what fails and is in no list fails it by name, and a list cannot hide more than it says.
//!
//! `cpython/sample.jsonl` is what the runner said of three files of 3.11.2, and of one that crashed.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use dockless::oci::Arch;
use dockless::progress::Silent;
use dockless::release::{Expectation, Expectations, Outcome, Place, Report, Row, SuiteError, judge, suite, unexpected};
use dockless::sandbox::{Cancel, Launcher};
use dockless::source::Origins;
use dockless::store::Store;
use serde_json::json;

use crate::support::release::pack;
use crate::support::skip;

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn sample() -> Report {
    let mut report = Report::default();
    for line in fs::read_to_string(here("tests/cpython/sample.jsonl")).expect("the sample").lines() {
        assert!(report.read(line), "{line}");
    }
    report
}

fn list(text: &str) -> Result<Expectations, SuiteError> {
    Expectations::parse(text, Path::new("expected.toml"))
}

/// The four methods of the sample that fail, and the file that crashes.
const ALL: &str = r#"
[[expected]]
test = "test_c_locale_coercion"
cases = [
    "test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_not_set",
    "test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_not_zero",
    "test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_set_to_warn",
    "test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_set_to_zero",
]
reason = "the C locale of musl is UTF-8"

[[expected]]
test = "test_crashed"
reason = "a crash"
"#;

fn judged(report: &Report, text: &str) -> Vec<Row> {
    let list = list(text).expect("a list");
    judge(report, &list.of("3.11.2", Arch::X86_64, false), true)
}

fn of(rows: &[Row], outcome: Outcome) -> Vec<&str> {
    rows.iter().filter(|row| row.outcome == outcome).map(|row| row.name.as_str()).collect()
}

#[test]
fn what_is_expected_to_fail_fails_nothing_and_is_counted() {
    let rows = judged(&sample(), ALL);
    assert_eq!(of(&rows, Outcome::Failed), [""; 0]);
    assert_eq!(of(&rows, Outcome::Skipped), ["test_winreg"], "a file that could not run says so");
    let detail = |name: &str| rows.iter().find(|row| row.name == name).map(|row| row.detail.as_str());
    assert_eq!(detail("expected failures"), Some("5, from 2 entries"));
    assert_eq!(detail("files"), Some("3 ran, 1 passed, 2 failed, 1 skipped"));
    assert_eq!(detail("cases"), Some("10: 5 passed, 4 failed, 1 skipped"));
}

#[test]
fn an_unexpected_failure_fails_by_its_name() {
    let rows = judged(
        &sample(),
        &ALL.replace("    \"test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_not_set\",\n", ""),
    );
    let name = "test.test_c_locale_coercion.LocaleCoercionTests.test_PYTHONCOERCECLOCALE_not_set";
    assert_eq!(of(&rows, Outcome::Failed), [name]);
    let why = &rows.iter().find(|row| row.name == name).expect("the row").detail;
    assert!(why.contains("AssertionError"), "{why}");
    let rows = judged(&sample(), &ALL[..ALL.find("[[expected]]\ntest = \"test_crashed\"").expect("the second")]);
    assert_eq!(of(&rows, Outcome::Failed), ["test_crashed"]);
    let none = list("").expect("a list");
    assert_eq!(
        unexpected(&sample(), &none.of("3.11.2", Arch::X86_64, false)),
        ["test_c_locale_coercion", "test_crashed"]
    );
}

#[test]
fn methods_in_a_list_do_not_excuse_a_crash_of_their_file() {
    let mut report = sample();
    for file in &mut report.files {
        if file.test == "test_c_locale_coercion" {
            file.ended = Some("signal 6".to_owned());
        }
    }
    assert_eq!(of(&judged(&report, ALL), Outcome::Failed), ["test_c_locale_coercion"]);
}

#[test]
fn what_is_expected_to_fail_and_passes_is_noticed() {
    let expected = |unsteady: &str| {
        format!(
            "{ALL}\n[[expected]]\ntest = \"test_wait3\"\ncases = [\"test.test_wait3.Wait3Test.test_wait\"]\n{unsteady}reason = \"a clock\"\n"
        )
    };
    let rows = judged(&sample(), &expected(""));
    assert_eq!(
        (of(&rows, Outcome::Failed), of(&rows, Outcome::Noticed)),
        (vec![], vec!["test.test_wait3.Wait3Test.test_wait"])
    );
    assert_eq!(of(&judged(&sample(), &expected("unsteady = true\n")), Outcome::Noticed), [""; 0]);
}

#[test]
fn a_list_cannot_name_what_does_not_exist() {
    let rows = judged(&sample(), &format!("{ALL}\n[[expected]]\ntest = \"test_nowhere\"\nreason = \"none\"\n"));
    assert_eq!(of(&rows, Outcome::Failed), ["test_nowhere"]);
    let rows = judged(
        &sample(),
        &format!(
            "{ALL}\n[[expected]]\ntest = \"test_wait3\"\ncases = [\"test.test_wait3.No.test_x\"]\nreason = \"none\"\n"
        ),
    );
    assert_eq!(of(&rows, Outcome::Failed), ["test.test_wait3.No.test_x"]);
}

#[test]
fn a_file_that_did_not_run_fails_a_whole_run() {
    let mut report = sample();
    report.known.insert("test_os".to_owned());
    assert_eq!(of(&judged(&report, ALL), Outcome::Failed), ["test_os"]);
    let list = list(ALL).expect("a list");
    assert_eq!(of(&judge(&report, &list.of("3.11.2", Arch::X86_64, false), false), Outcome::Failed), [""; 0]);
}

#[test]
fn an_entry_concerns_the_versions_and_architectures_that_it_names() {
    let text = "[[expected]]\ntest = \"test_os\"\narch = [\"x86\"]\nversions = [\"3.11.2\"]\nreason = \"r\"\n";
    let names = list(text).expect("a list");
    let count = |version, arch| names.of(version, arch, false).len();
    assert_eq!((count("3.11.2", Arch::X86), count("3.11.2", Arch::X86_64), count("3.11.9", Arch::X86)), (1, 0, 0));
    for (build, of_either) in [(true, [0, 1]), (false, [1, 0])] {
        let text = format!("[[expected]]\ntest = \"test_os\"\nfree_threaded = {build}\nreason = \"r\"\n");
        let names = list(&text).expect("a list");
        assert_eq!([false, true].map(|free_threaded| names.of("3.13.5", Arch::X86, free_threaded).len()), of_either);
    }
}

#[test]
fn a_wrong_list_is_refused() {
    for (text, why) in [
        ("[[expected]]\ntest = \"test_os\"\n", "reason"),
        ("[[expected]]\ntest = \"test_os\"\nreason = \" \"\n", "no reason"),
        ("[[expected]]\ntest = \"test_os\"\nreason = \"r\"\ncase = \"x\"\n", "unknown field"),
        ("[[expected]]\ntest = \"test_os\"\nreason = \"r\"\narch = [\"arm\"]\n", "no architecture"),
        ("[[expected]]\ntest = \"a\"\nreason = \"r\"\n[[expected]]\ntest = \"a\"\nreason = \"s\"\n", "twice"),
    ] {
        let error = list(text).expect_err(text).to_string();
        assert!(error.contains(why) && error.contains("expected.toml"), "{error}");
    }
}

#[test]
fn the_lists_of_this_project_are_sound() {
    let mut entries: Vec<Expectation> = Vec::new();
    for file in fs::read_dir(here("tests/cpython")).expect("lists").flatten() {
        let path = file.path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            let text = fs::read_to_string(&path).expect("readable");
            entries.extend(Expectations::parse(&text, &path).unwrap_or_else(|error| panic!("{error}")).expected);
        }
    }
    assert!(!entries.is_empty(), "no lists");
    for Expectation { test, reason, cases, .. } in entries {
        assert!(reason.len() > 20, "{test}: `{reason}` tells nobody why");
        assert!(
            test.starts_with("test") && cases.iter().all(|case| case.contains('.') || case.contains(' ')),
            "{test}"
        );
    }
}

/// Runs the suite of a tree that has nothing but `regrtest.py`, below `library`, and wants a root filesystem that is nowhere.
fn without_a_root(flags: &str, library: &str) -> SuiteError {
    let home = tempfile::tempdir().expect("a directory");
    let python = home.path().join("tree/opt/python");
    let tests = python.join(library).join("test");
    fs::create_dir_all(&tests).expect("made");
    fs::write(tests.join("regrtest.py"), "").expect("written");
    let told = json!({
        "version": "3.13.5", "series": "3.13", "architecture": "x86_64",
        "abi": { "flags": flags, "free_threaded": flags == "t" },
    });
    fs::write(python.join("PYTHON.json"), told.to_string()).expect("written");
    let tarball = home.path().join("a-full.tar.gz");
    pack(&home.path().join("tree"), &tarball);
    let store = Store::open(&home.path().join("store")).expect("a store");
    let (rootfs, origins, lists) = (BTreeMap::new(), Origins::default(), here("tests/cpython"));
    let place = Place {
        lists: &lists,
        rootfs: &rootfs,
        store: &store,
        origins: &origins,
        jobs: NonZeroUsize::MIN,
        single_id: true,
    };
    let (launcher, cancel) = (Launcher::default(), Cancel::new().expect("a switch"));
    suite(&tarball, &[], &place, (&launcher, &cancel), &Silent).expect_err("no root filesystem")
}

#[test]
fn each_build_has_its_tests_in_the_library_of_its_own_name() {
    for (flags, library) in [("", "lib/python3.13"), ("t", "lib/python3.13t")] {
        let error = without_a_root(flags, library);
        assert!(matches!(error, SuiteError::NoRoot { .. }), "{library}: {error}");
    }
    for (flags, library) in [("t", "lib/python3.13"), ("", "lib/python3.13t"), ("", "lib")] {
        let error = without_a_root(flags, library);
        assert!(matches!(error, SuiteError::NoTests { .. }), "{library}: {error}");
    }
}

/// The runner reads regrtest's report and output; here by the machine's own Python, for there is no tree in a quick test.
#[test]
fn the_runner_finds_failures_in_a_report_and_in_what_unittest_says() {
    let check = r#"
import sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
import suite
cases = suite.read_cases("""<testsuites><testsuite>
<testcase name="test.test_a.A.test_ok" status="run" result="completed"/>
<testcase name="test.test_a.A.test_skip"><skipped>no such machine</skipped></testcase>
<testcase name="test.test_a.A.test_bad"><failure type="AssertionError">AssertionError: \x01 != 2</failure></testcase>
<testcase name="test.test_a.A.test_sub (i=1)"><error type="OSError">OSError: no</error></testcase>
</testsuite></testsuites>""")
assert cases["passed"] == ["test.test_a.A.test_ok"], cases
assert cases["skipped"] == {"test.test_a.A.test_skip": "no such machine"}, cases
assert cases["failed"] == {"test.test_a.A.test_bad": "AssertionError: ? != 2", "test.test_a.A.test_sub": "OSError: no"}, cases
rule = "=" * 70
traces = suite.read_traces(f"""noise
{rule}
FAIL: test_new (test.test_b.B.test_new) [part] (i=2)
----
AssertionError: 1
{rule}
ERROR: test_old (test.test_b.B)
----
OSError: 2
{rule}
ERROR: setUpClass (test.test_b.C)
----
OSError: 3

Ran 3 tests in 0.1s
more noise
""")
assert list(traces) == ["test.test_b.B.test_new", "test.test_b.B.test_old", "setUpClass (test.test_b.C)"], traces
assert traces["test.test_b.B.test_new"].endswith("AssertionError: 1"), traces
assert traces["setUpClass (test.test_b.C)"].endswith("OSError: 3"), traces
"#;
    let ran = Command::new("python3").args(["-c", check]).arg(here("src/release/suite")).output();
    let Ok(ran) = ran else {
        return skip("python3", "the machine has none to try the runner with");
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}
