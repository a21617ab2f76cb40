//! Source policies decide as BuildKit's engine does (`sourcepolicy/engine_test.go` holds the cases these follow).

use std::collections::BTreeMap;
use std::path::Path;

use dockless::llb::pb::SourceOp;
use dockless::policy::{Policies, Policy, PolicyError};
use proptest::prelude::*;

fn parse(json: &str) -> Result<Policy, PolicyError> {
    Policy::parse(json, Path::new("policy.json"))
}

fn policies(texts: &[&str]) -> Policies {
    Policies::new(texts.iter().map(|json| parse(json).expect("a policy")).collect())
}

fn source(identifier: &str) -> SourceOp {
    SourceOp { identifier: identifier.to_owned(), attrs: BTreeMap::new() }
}

/// What a source becomes, `denied`, or `circle`.
fn becomes(policies: &Policies, identifier: &str) -> String {
    match policies.evaluate(&source(identifier)) {
        Ok(None) => "same".to_owned(),
        Ok(Some(source)) => source.identifier,
        Err(PolicyError::Denied { .. }) => "denied".to_owned(),
        Err(PolicyError::Circle { .. }) => "circle".to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// Rules in short: `ALLOW x`, `DENY x`, `CONVERT x y`, the selector a wildcard.
fn rules(lines: &[&str]) -> String {
    let rules: Vec<_> = lines
        .iter()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let mut rule = serde_json::json!({"action": words[0], "selector": {"identifier": words[1]}});
            if let Some(to) = words.get(2) {
                rule["updates"] = serde_json::json!({ "identifier": to });
            }
            rule
        })
        .collect();
    serde_json::json!({ "rules": rules }).to_string()
}

const BUSYBOX: &str = "docker-image://docker.io/library/busybox:latest";
const ALPINE: &str = "docker-image://docker.io/library/alpine:latest";

#[test]
fn the_last_rule_that_matches_decides() {
    let lines = [format!("ALLOW {BUSYBOX}"), format!("DENY {BUSYBOX}"), format!("ALLOW {BUSYBOX}")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(becomes(&policies(&[&rules(&lines)]), BUSYBOX), "same");
    assert_eq!(becomes(&policies(&[&rules(&lines[..2])]), BUSYBOX), "denied");
    assert_eq!(becomes(&policies(&[&rules(&["DENY *", "ALLOW docker-image://*"])]), "https://x/y"), "denied");
    assert_eq!(becomes(&policies(&[&rules(&["DENY *", "ALLOW docker-image://*"])]), ALPINE), "same");
}

#[test]
fn every_policy_must_let_a_source_pass() {
    let (allow, deny) = (rules(&[&format!("ALLOW {BUSYBOX}")]), rules(&[&format!("DENY {BUSYBOX}")]));
    assert_eq!(becomes(&policies(&[&allow, &deny]), BUSYBOX), "denied");
    assert_eq!(becomes(&policies(&[&deny, &allow]), BUSYBOX), "denied");
    assert_eq!(becomes(&Policies::default(), BUSYBOX), "same");
}

#[test]
fn a_conversion_is_asked_about_again() {
    let chain = rules(&[
        &format!("CONVERT {BUSYBOX} {ALPINE}"),
        &format!("CONVERT {ALPINE} docker-image://x/debian:10"),
        "CONVERT docker-image://x/debian:10 docker-image://x/debian:11",
    ]);
    assert_eq!(becomes(&policies(&[&chain]), BUSYBOX), "docker-image://x/debian:11");
    let denied = rules(&["DENY docker-image://docker.io/library/alpine:*", &format!("CONVERT {BUSYBOX} {ALPINE}")]);
    assert_eq!(becomes(&policies(&[&denied]), BUSYBOX), "denied");
    // A conversion that changes nothing does not end the round.
    let idle = rules(&[&format!("CONVERT {ALPINE} {ALPINE}"), &format!("DENY {ALPINE}")]);
    assert_eq!(becomes(&policies(&[&idle]), ALPINE), "denied");
}

#[test]
fn conversions_in_a_circle_are_given_up() {
    let circle = rules(&[&format!("CONVERT {BUSYBOX} {ALPINE}"), &format!("CONVERT {ALPINE} {BUSYBOX}")]);
    assert_eq!(becomes(&policies(&[&circle]), BUSYBOX), "circle");
    let growing = rules(&["CONVERT docker-image://* docker-image://a${1}"]);
    assert_eq!(becomes(&policies(&[&growing]), ALPINE), "circle");
    let doubling = policies(&[&rules(&["CONVERT * ${1}${1}"])]);
    assert!(matches!(doubling.evaluate(&source(ALPINE)), Err(PolicyError::TooLong { .. })));
    let twenty: Vec<String> = (0..20).map(|i| format!("CONVERT a://{i} a://{}", i + 1)).collect();
    let twenty: Vec<&str> = twenty.iter().map(String::as_str).collect();
    assert_eq!(becomes(&policies(&[&rules(&twenty)]), "a://0"), "a://20");
}

#[test]
fn references_name_what_a_wildcard_or_an_expression_matched() {
    let wildcard =
        rules(&["CONVERT docker-image://docker.io/*/golang:* docker-image://fake.io/${1}/golang:${2}-alpine"]);
    let golang = "docker-image://docker.io/library/golang:1.19";
    let expected = "docker-image://fake.io/library/golang:1.19-alpine";
    assert_eq!(becomes(&policies(&[&wildcard]), golang), expected);
    let expression = r#"{"version": 1, "rules": [{"action": "CONVERT",
        "selector": {"identifier": "docker\\-image://docker\\.io/library/golang:(?P<tag>.*)", "match_type": "REGEX"},
        "updates": {"identifier": "docker-image://fake.io/golang:${tag}-$1"}}]}"#;
    assert_eq!(becomes(&policies(&[expression]), golang), "docker-image://fake.io/golang:1.19-1.19");
    // An expression is not anchored, and only what it matched is replaced.
    let part = r#"{"rules": [{"action": 2, "selector": {"identifier": "docker\\.io", "matchType": 2},
        "updates": {"identifier": "mirror.example"}}]}"#;
    assert_eq!(becomes(&policies(&[part]), golang), "docker-image://mirror.example/library/golang:1.19");
    // Exact text is not a template.
    let exact = r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "a://b", "matchType": "EXACT"},
        "updates": {"identifier": "a://$1"}}]}"#;
    assert_eq!(becomes(&policies(&[exact]), "a://b"), "a://$1");
    assert_eq!(becomes(&policies(&[exact]), "a://bc"), "same");
}

#[test]
fn attributes_are_compared_and_set() {
    let pinned = r#"{"rules": [
        {"action": "CONVERT", "selector": {"identifier": "https://example.com/*",
            "constraints": [{"key": "http.checksum", "value": ""}]},
         "updates": {"attrs": {"http.checksum": "sha256:1234"}}},
        {"action": "DENY", "selector": {"identifier": "*",
            "constraints": [{"key": "http.checksum", "value": "^sha512:", "condition": "MATCHES"},
                            {"key": "http.filename", "value": "ok", "condition": "NOTEQUAL"}]}}]}"#;
    let policies = policies(&[pinned]);
    let converted = policies.evaluate(&source("https://example.com/foo")).expect("allowed").expect("converted");
    assert_eq!(converted.identifier, "https://example.com/foo", "what is not updated stays");
    assert_eq!(converted.attrs["http.checksum"], "sha256:1234");
    let with = |attrs: &[(&str, &str)]| {
        let attrs = attrs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        policies.evaluate(&SourceOp { identifier: "https://example.com/foo".to_owned(), attrs })
    };
    assert!(matches!(with(&[("http.checksum", "sha512:1")]), Err(PolicyError::Denied { rule: 2, .. })));
    assert!(matches!(with(&[("http.checksum", "sha512:1"), ("http.filename", "ok")]), Ok(None)));
}

#[test]
fn a_policy_that_does_not_say_what_it_means_is_refused_with_the_place() {
    let words = |json: &str| {
        let error = parse(json).expect_err("refused");
        let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {source}")
    };
    for (json, part) in [
        (r#"{"rule": []}"#, "`rule`"),
        (r#"{"rules": [{"action": "DENY", "selektor": {}}]}"#, "`selektor`"),
        (r#"{"rules": [{"selector": {"identifier": "a", "match": "EXACT"}}]}"#, "`match`"),
        (r#"{"rules": [{"action": "FORBID", "selector": {}}]}"#, "ALLOW, DENY, CONVERT"),
        (r#"{"rules": [{"action": 3, "selector": {}}]}"#, "ALLOW, DENY, CONVERT"),
        (r#"{"rules": [{"action": "DENY"}]}"#, "`selector`"),
        (r#"{"rules": [{"action": "CONVERT", "selector": {"identifier": "a"}}]}"#, "rule 1 is a CONVERT without"),
        (r#"{"rules": [{"selector": {"identifier": "a://**"}}]}"#, "`**`"),
        (r#"{"rules": [{"selector": {"identifier": "a(", "matchType": "REGEX"}}]}"#, "`a(`"),
        (r#"{"version": 2}"#, "version 2"),
        ("[]", "policy.json"),
    ] {
        assert!(words(json).contains(part), "{json}: {}", words(json));
    }
    assert!(parse(r#"{"rules": null}"#).is_ok() && parse("{}").is_ok());
}

proptest! {
    #[test]
    fn whatever_the_rules_evaluation_ends(
        selectors in proptest::collection::vec(("[a-c*]{0,4}", "[a-c$1{}*]{0,6}", 0..3_u8, 0..3_u8), 0..6),
        identifier in "[a-c]{0,8}",
    ) {
        let rules: Vec<_> = selectors.iter().map(|(from, to, action, kind)| serde_json::json!({
            "action": action, "selector": {"identifier": from, "matchType": kind}, "updates": {"identifier": to},
        })).collect();
        if let Ok(policy) = parse(&serde_json::json!({ "rules": rules }).to_string()) {
            let policies = Policies::new(vec![policy]);
            let once = policies.evaluate(&source(&identifier));
            // What came out is a fixed point: asked again, it stays.
            if let Ok(Some(converted)) = once {
                prop_assert!(matches!(policies.evaluate(&converted), Ok(None)));
            }
        }
    }

    #[test]
    fn no_text_makes_the_reader_of_policies_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }
}
