//! `metrics.prom`: a release in the text format of Prometheus (`prometheus.io exposition_formats`, 0.0.4).

use std::fmt::Write as _;

use crate::dist::{Description, VariantFacts, VariantOutcome};

/// A family of metrics: name, what it is, how a variant's values are read with labels of their own.
type Values = Vec<(Vec<(&'static str, String)>, f64)>;

/// Returns the metrics of a release; families without a value are left out.
pub fn metrics(release: &Description) -> String {
    let mut text = String::new();
    let each = |values: &dyn Fn(&VariantFacts) -> Values| -> Values {
        let of = |variant: &VariantFacts| {
            let own = [("version", variant.version.clone()), ("arch", variant.arch.clone())];
            let labelled = |(labels, value): (Vec<(&'static str, String)>, f64)| {
                (own.iter().cloned().chain(labels).collect(), value)
            };
            values(variant).into_iter().map(labelled).collect::<Values>()
        };
        release.variants.iter().flat_map(of).collect()
    };
    let plain = |value: Option<f64>| value.map(|value| (Vec::new(), value)).into_iter().collect::<Values>();
    family(
        &mut text,
        "build_time_seconds",
        "Wall time of building, testing and packing a variant.",
        &each(&|it| plain(it.seconds)),
    );
    family(&mut text, "artifact_size_bytes", "Size of a tarball.", &each(&|it| plain(it.size.map(number))));
    family(
        &mut text,
        "artifact_unpacked_bytes",
        "Size of all that a tarball holds.",
        &each(&|it| plain(it.unpacked.map(number))),
    );
    let passed = |it: &VariantFacts| plain(Some(if it.outcome == VariantOutcome::Passed { 1.0 } else { 0.0 }));
    family(&mut text, "build_success", "1 where a variant was built and passed its tests, else 0.", &each(&passed));
    let steps = |it: &VariantFacts| {
        let count = |cached: bool| it.steps.iter().filter(|step| step.cached == cached).count();
        let pair = |result: &str, count: usize| (vec![("result", result.to_owned())], number(count as u64));
        if it.steps.is_empty() { Vec::new() } else { vec![pair("cached", count(true)), pair("run", count(false))] }
    };
    family(&mut text, "build_steps", "Steps of a variant, by whether the cache had their results.", &each(&steps));
    let components = |it: &VariantFacts| {
        let sized = it.components.iter().filter_map(|component| {
            let labels = vec![("component", component.name.clone()), ("component_version", component.version.clone())];
            Some((labels, number(component.size?)))
        });
        sized.collect()
    };
    family(&mut text, "component_size_bytes", "Bytes of a tree that came of a component.", &each(&components));
    let tests = |it: &VariantFacts| {
        let count = |outcome: &str| number(it.tests.iter().filter(|test| test.outcome == outcome).count() as u64);
        let outcomes = ["passed", "failed", "skipped"];
        let all = outcomes.map(|outcome| (vec![("outcome", outcome.to_owned())], count(outcome)));
        if it.tests.is_empty() { Vec::new() } else { all.to_vec() }
    };
    family(&mut text, "artifact_tests", "Tests of a tarball, by their outcome.", &each(&tests));
    let whole: Values = release.seconds.map(|seconds| (Vec::new(), seconds)).into_iter().collect();
    family(&mut text, "release_time_seconds", "Wall time of the whole run.", &whole);
    let started = release.started.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let started: Values = started
        .map(|time| (Vec::new(), number(u64::try_from(time.as_second()).unwrap_or_default())))
        .into_iter()
        .collect();
    family(&mut text, "release_start_time_seconds", "When the run began, seconds since 1970.", &started);
    text
}

/// Sizes and counts: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
const fn number(count: u64) -> f64 {
    count as f64
}

fn family(text: &mut String, name: &str, help: &str, values: &Values) {
    if values.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in values {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(text, "{name}{labels} {value}");
    }
}

/// Escapes a label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{Component, Step};

    #[test]
    fn metrics_are_as_documented_and_labels_stay_in_their_place() {
        let variant = VariantFacts {
            version: "3.12".to_owned(),
            arch: "x86_64".to_owned(),
            seconds: Some(812.5),
            size: Some(34_000_000),
            components: vec![Component {
                name: "a\"} 1\n\\".to_owned(),
                version: "1".to_owned(),
                size: Some(7),
                ..Component::default()
            }],
            steps: vec![Step { cached: true, ..Step::default() }, Step::default()],
            ..VariantFacts::default()
        };
        let failed = VariantFacts {
            version: "3.11".to_owned(),
            arch: "x86".to_owned(),
            outcome: VariantOutcome::Failed,
            ..VariantFacts::default()
        };
        let started = Some("2026-11-26T00:00:00Z".to_owned());
        let release = Description { variants: vec![variant, failed], started, ..Description::default() };
        let text = metrics(&release);
        for line in [
            "# TYPE build_time_seconds gauge",
            "build_time_seconds{version=\"3.12\",arch=\"x86_64\"} 812.5",
            "artifact_size_bytes{version=\"3.12\",arch=\"x86_64\"} 34000000",
            "build_success{version=\"3.11\",arch=\"x86\"} 0",
            "build_steps{version=\"3.12\",arch=\"x86_64\",result=\"cached\"} 1",
            r#"component_size_bytes{version="3.12",arch="x86_64",component="a\"} 1\n\\",component_version="1"} 7"#,
            "release_start_time_seconds 1795651200",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("build_time_seconds{version=\"3.11\"") && !text.contains("release_time_seconds"));
    }
}
