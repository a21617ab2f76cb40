//! The table for people and the JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cli::progress::{Style, clean};
use crate::cli::table::{Align, Table};

use super::diagnosis::can_build;
use super::finding::{Finding, State};

/// Draws the findings, what mends them, and whether a build can run.
pub fn table(findings: &[Finding], style: Style, columns: Option<usize>) -> String {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for finding in findings {
        let (colour, mark, word) = match finding.state {
            State::Ok => ("32", "✔", "ok"),
            State::Degraded => ("33", "!", "degraded"),
            State::Missing => ("31", "✘", "missing"),
        };
        let mark = if style.unicode { format!("{mark} {word}") } else { word.to_owned() };
        table.row([style.paint(colour, &mark), finding.name.to_owned(), clean(finding.detail.as_bytes())]);
    }
    let mut text = table.render(columns);
    // Writing to a String cannot fail.
    for finding in findings.iter().filter(|finding| finding.state != State::Ok && !finding.mend.is_empty()) {
        let _ = writeln!(text, "\n{}: {}", style.paint("1", finding.name.trim()), clean(finding.detail.as_bytes()));
        for command in &finding.mend {
            // A command is for copying: it is never cut.
            let _ = writeln!(text, "    {}", clean(command.as_bytes()));
        }
    }
    let end = if can_build(findings) { "This machine can build." } else { "This machine cannot build yet." };
    let _ = writeln!(text, "\n{}", style.paint("1", end));
    text
}

/// The shape of `dockless doctor --format json`; fields are only ever added.
#[derive(Serialize)]
struct Diagnosis<'a> {
    schema: u32,
    version: &'static str,
    can_build: bool,
    findings: &'a [Finding],
}

/// Returns the findings as one JSON object with a line end.
///
/// # Panics
///
/// Never: nothing in a finding can fail to serialise.
pub fn json(findings: &[Finding]) -> String {
    let diagnosis =
        Diagnosis { schema: 1, version: env!("CARGO_PKG_VERSION"), can_build: can_build(findings), findings };
    let text = serde_json::to_string_pretty(&diagnosis).expect("strings and booleans serialise");
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        let finding = |name, state, detail: &str, mend: &[&str]| Finding {
            name,
            state,
            needed: true,
            detail: detail.to_owned(),
            mend: mend.iter().map(|command| (*command).to_owned()).collect(),
        };
        vec![
            finding("kernel", State::Ok, "6.1.0", &[]),
            finding("user namespaces", State::Missing, "refused: \x1b[2Jno", &["sudo sysctl -w a=1", "or else"]),
        ]
    }

    #[test]
    fn the_table_ends_with_what_mends_and_with_the_verdict() {
        assert_eq!(
            table(&findings(), Style { unicode: true, ..Style::PLAIN }, Some(40)),
            "\
✔ ok       kernel           6.1.0
✘ missing  user namespaces  refused: ^[…

user namespaces: refused: ^[[2Jno
    sudo sysctl -w a=1
    or else

This machine cannot build yet.
"
        );
    }

    #[test]
    fn programs_read_the_same_verdict() {
        let value: serde_json::Value = serde_json::from_str(&json(&findings())).expect("JSON");
        assert_eq!(value["can_build"], false);
        assert_eq!(value["findings"][1]["state"], "missing");
        assert_eq!(value["findings"][1]["mend"][0], "sudo sysctl -w a=1");
        assert_eq!(value["schema"], 1);
    }
}
