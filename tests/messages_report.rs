//! What a failure looks like, whole.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use dockless::cli::progress::Style;
use dockless::cli::report::{Exit, Report, SourcePicture, install_panic_report};

const UNICODE: Style = Style { unicode: true, ..Style::PLAIN };

/// Names what a process of this test program is to do instead of testing.
const DEED: &str = "DOCKLESS_TEST_DEED";

fn recipe_error() -> Report {
    let text = "name = \"zlib\"\nsummary = \"compression\"\nscrpt = \"zlib.sh\"\nsources = [\"zlib\"]\n";
    let span = text.find("scrpt").map(|at| at..at + 5).expect("it is there");
    Report::new(Exit::Input, "unknown key `scrpt`").help("did you mean `script`?").source(SourcePicture {
        name: "recipes/zlib.toml".to_owned(),
        text: text.to_owned(),
        span,
        label: "not a key of a recipe".to_owned(),
    })
}

#[test]
fn a_mistake_in_a_recipe_is_shown_where_it_stands() {
    assert_eq!(
        recipe_error().render(UNICODE, 80),
        "\
error: unknown key `scrpt`
   ╭─[recipes/zlib.toml:3:1]
 2 │ summary = \"compression\"
 3 │ scrpt = \"zlib.sh\"
   · ──┬──
   ·   ╰── not a key of a recipe
 4 │ sources = [\"zlib\"]
   ╰────
help: did you mean `script`?
"
    );
}

#[test]
fn a_terminal_without_unicode_gets_ascii_and_without_colour_none() {
    let text = recipe_error().render(Style::PLAIN, 80);
    assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    let coloured = recipe_error().render(Style { live: true, colour: true, unicode: true }, 80);
    assert!(coloured.starts_with("\x1b[1;31merror:\x1b[0m"), "{coloured:?}");
}

#[test]
fn a_failed_step_shows_the_end_of_its_log_and_where_all_of_it_is() {
    let mut log: Vec<u8> = (1..=25).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
    log.extend(b"\x1b[1m\x1b[31mconfig.c:3: error\x1b[m: \xff\r\n\n");
    let path = PathBuf::from("/home/ada/.local/share/dockless/logs/zlib.log");
    let mut report = Report::new(Exit::Failed, "`zlib` failed: `/bin/sh -eu /scripts/zlib.sh` ended with 2")
        .log(Some(log), Some(path))
        .help("`dockless build zlib` tries it again;\nwhat is done already is not done again");
    report.causes.push("make: *** [Makefile:70: libz.a] Error 2".to_owned());
    let lines: Vec<String> = (7..=25).map(|line| format!("  │ line {line}\n")).collect();
    let lines = lines.concat();
    assert_eq!(
        report.render(UNICODE, 80),
        format!(
            "\
error: `zlib` failed: `/bin/sh -eu /scripts/zlib.sh` ended with 2
  cause: make: *** [Makefile:70: libz.a] Error 2
  the last 20 lines of its output:
{lines}  │ config.c:3: error: \u{fffd}
  whole log: /home/ada/.local/share/dockless/logs/zlib.log
help: `dockless build zlib` tries it again;
      what is done already is not done again
"
        )
    );
}

/// Runs this test program again with one test only, which then does `deed`.
fn run(deed: &str) -> Output {
    let program = std::env::current_exe().expect("a program");
    let mut command = Command::new(program);
    command.args(["--exact", "messages_report::another_process", "--nocapture"]).env(DEED, deed);
    command
        .stdin(Stdio::null())
        .env_remove("RUST_BACKTRACE")
        .env_remove("RUST_LIB_BACKTRACE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    if deed == "closed pipe" {
        // The reader has what it wants after the first result, as `head -1` does.
        let mut reader = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("a result") {
            line.clear();
            assert_ne!(reader.read_line(&mut line).expect("text"), 0, "no result came");
        }
    }
    child.wait_with_output().expect("ended")
}

/// Not a promise of its own: what the processes of [`run`] do. Without a deed there is nothing to do.
#[test]
#[expect(clippy::disallowed_methods, reason = "a process is told its deed")]
fn another_process() {
    let Ok(deed) = std::env::var(DEED) else { return };
    install_panic_report(Style::PLAIN, 80);
    match deed.as_str() {
        "panic" => panic!("the queue is empty"),
        "panic elsewhere" => {
            let _ = std::thread::spawn(|| panic!("worker {} lost", 3)).join();
            unreachable!("the process has ended");
        }
        "closed pipe" => {
            // More than a pipe holds.
            for _ in 0..100_000 {
                println!("a result");
            }
            unreachable!("nobody reads");
        }
        other => panic!("unknown deed {other}"),
    }
}

#[test]
fn a_panic_says_that_the_fault_is_ours() {
    for (deed, words) in [("panic", "the queue is empty"), ("panic elsewhere", "worker 3 lost")] {
        let output = run(deed);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(70), "{text}");
        let first = format!("error: this is a bug in dockless: {words} (tests/messages_report.rs:");
        assert!(text.contains(&first), "{text}");
        assert!(text.contains("help: please report it at https://"), "{text}");
        assert_eq!(text.matches("error:").count(), 1, "told once: {text}");
    }
}

#[test]
fn results_for_nobody_are_no_error() {
    let output = run("closed pipe");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(!text.contains("error"), "{text}");
}
