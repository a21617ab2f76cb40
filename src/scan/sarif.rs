//! SARIF 2.1.0 (`sarif-v2.1.0-os`), as far as findings need it.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// CVSS below 4, or the level `note`.
    Low,
    /// CVSS from 4 on, or the level `warning`.
    Medium,
    /// CVSS from 7 on, or the level `error`.
    High,
    /// CVSS from 9 on.
    Critical,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        })
    }
}

impl FromStr for Severity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "low" => Ok(Self::Low),
            "medium" => Ok(Self::Medium),
            "high" => Ok(Self::High),
            "critical" => Ok(Self::Critical),
            _ => Err("one of low, medium, high, critical".to_owned()),
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Who found it.
    pub tool: String,
    /// What it is: `CVE-2026-1234`.
    pub rule: String,
    /// Where.
    pub place: String,
    /// What is said of it, in a line.
    pub text: String,
}

/// Reads the findings of a document, the worst first. What was suppressed at its source is none.
///
/// # Errors
/// What is wrong with it.
pub fn findings(document: &Value) -> Result<Vec<Finding>, String> {
    if document["version"] != "2.1.0" {
        return Err(format!("version {} is not \"2.1.0\"", document["version"]));
    }
    let runs = document["runs"].as_array().ok_or("it has no runs")?;
    let mut all = Vec::new();
    for run in runs {
        let driver = &run["tool"]["driver"];
        let tool = driver["name"].as_str().ok_or("a run does not say whose it is")?;
        let rules = driver["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        for result in run["results"].as_array().map(Vec::as_slice).unwrap_or_default() {
            if result["suppressions"].as_array().is_some_and(|all| !all.is_empty()) {
                continue;
            }
            let id = result["ruleId"].as_str().or(result["rule"]["id"].as_str()).unwrap_or_default();
            let by_index = result["ruleIndex"].as_u64().and_then(|index| rules.get(usize::try_from(index).ok()?));
            let rule = by_index.or_else(|| rules.iter().find(|rule| rule["id"] == id));
            let id = if id.is_empty() { rule.and_then(|rule| rule["id"].as_str()).unwrap_or("?") } else { id };
            let place = &result["locations"][0]["physicalLocation"];
            let line = place["region"]["startLine"].as_u64().map(|line| format!(":{line}")).unwrap_or_default();
            let uri = place["artifactLocation"]["uri"].as_str().unwrap_or("?");
            all.push(Finding {
                severity: severity(result, rule),
                tool: tool.to_owned(),
                rule: id.to_owned(),
                place: format!("{uri}{line}"),
                text: first_line(result["message"]["text"].as_str().unwrap_or_default()),
            });
        }
    }
    all.sort_by(|one, other| other.severity.cmp(&one.severity).then_with(|| one.cmp(other)));
    all.dedup();
    Ok(all)
}

/// A result's own score, else its rule's (`security-severity`, a CVSS), else the level.
fn severity(result: &Value, rule: Option<&Value>) -> Severity {
    let score = |value: &Value| -> Option<f64> {
        let score = &value["properties"]["security-severity"];
        score.as_f64().or_else(|| score.as_str()?.parse().ok())
    };
    if let Some(score) = score(result).or_else(|| score(rule?)) {
        return match score {
            score if score >= 9.0 => Severity::Critical,
            score if score >= 7.0 => Severity::High,
            score if score >= 4.0 => Severity::Medium,
            _ => Severity::Low,
        };
    }
    let level = result["level"].as_str().or_else(|| rule?["defaultConfiguration"]["level"].as_str());
    // Without a word it is a warning (SARIF 3.27.10).
    match level.unwrap_or("warning") {
        "error" => Severity::High,
        "warning" => Severity::Medium,
        _ => Severity::Low,
    }
}

/// Gives a level to the results that have none and whose rule has none.
pub(super) fn with_level(document: &mut Value, level: &str) {
    for run in document["runs"].as_array_mut().into_iter().flatten() {
        let rules = run["tool"]["driver"]["rules"].as_array().cloned().unwrap_or_default();
        for result in run["results"].as_array_mut().into_iter().flatten() {
            let of_rule = rules.iter().find(|rule| rule["id"] == result["ruleId"]);
            let said = of_rule.is_some_and(|rule| rule["defaultConfiguration"]["level"].is_string());
            if result["level"].is_null() && !said {
                result["level"] = level.into();
            }
        }
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(200).collect()
}

/// Puts the runs of several documents into one.
pub fn merge(documents: &[Value]) -> Value {
    let runs = documents.iter().filter_map(|document| document["runs"].as_array()).flatten();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": runs.cloned().collect::<Vec<Value>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(rule: &Value, result: &Value) -> Value {
        json!({ "version": "2.1.0", "runs": [{
            "tool": { "driver": { "name": "t", "rules": [rule] } }, "results": [result],
        }] })
    }

    #[test]
    fn a_severity_is_the_score_or_the_level() {
        for (rule, result, severity) in [
            (
                json!({ "id": "a", "properties": { "security-severity": "9.8" } }),
                json!({ "ruleId": "a" }),
                Severity::Critical,
            ),
            (
                json!({ "id": "a", "properties": { "security-severity": 7.0 } }),
                json!({ "ruleIndex": 0 }),
                Severity::High,
            ),
            (
                json!({ "id": "a", "properties": { "security-severity": "9.8" } }),
                json!({ "ruleId": "a", "properties": { "security-severity": "5.0" } }),
                Severity::Medium,
            ),
            (json!({ "id": "a" }), json!({ "ruleId": "a", "level": "error" }), Severity::High),
            (
                json!({ "id": "a", "defaultConfiguration": { "level": "note" } }),
                json!({ "ruleId": "a" }),
                Severity::Low,
            ),
            (json!({ "id": "a" }), json!({ "ruleId": "b" }), Severity::Medium),
        ] {
            let found = findings(&document(&rule, &result)).expect("findings");
            assert_eq!(found.iter().map(|it| it.severity).collect::<Vec<_>>(), [severity], "{rule} {result}");
        }
        let suppressed = json!({ "ruleId": "a", "suppressions": [{ "kind": "inSource" }] });
        assert_eq!(findings(&document(&json!({ "id": "a" }), &suppressed)), Ok(vec![]));
    }

    #[test]
    fn what_is_no_sarif_is_no_clean_bill() {
        for text in [
            "{}",
            "[]",
            "null",
            r#"{"version":"2.1.0"}"#,
            r#"{"version":"1.0.0","runs":[]}"#,
            r#"{"version":"2.1.0","runs":[{}]}"#,
        ] {
            let document: Value = serde_json::from_str(text).expect("JSON");
            assert!(findings(&document).is_err(), "{text}");
        }
    }

    #[test]
    fn the_worst_comes_first_and_nothing_twice() {
        let one = document(&json!({ "id": "a" }), &json!({ "ruleId": "a", "level": "note" }));
        let two = document(&json!({ "id": "b" }), &json!({ "ruleId": "b", "level": "error" }));
        let merged = merge(&[one.clone(), two, one]);
        let found = findings(&merged).expect("findings");
        assert_eq!(found.iter().map(|it| it.rule.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }
}
