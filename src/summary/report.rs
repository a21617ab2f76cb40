//! `report.html`: one file that needs nothing else and runs nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::page::{Cell, document, escaped, folded, table};
use super::units::{bytes, seconds};
use crate::dist::{Description, VariantFacts, VariantOutcome};

/// Colours of the largest components, told apart also without seeing all colours (Okabe and Ito 2008). More of them would
/// look alike: all others share the next one.
const COLOURS: [&str; 7] = ["#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"];

/// The colour of all other components.
const OTHERS: &str = "#8c8c8c";

/// Width of a bar in pixels of the picture; it scales with the page.
const WIDTH: f64 = 1000.0;

/// Returns the page of a release.
pub fn report(release: &Description) -> String {
    let name = release.name.as_deref().unwrap_or("Standalone Python");
    let tag = release.tag.as_deref().unwrap_or("");
    let title = format!("{name} {tag}");
    let mut body = format!("<h1>{}</h1>\n", escaped(title.trim()));
    let mut facts = Vec::new();
    facts.extend(release.started.as_ref().map(|started| format!("begun {started}")));
    facts.extend(release.seconds.map(|count| format!("took {}", seconds(count))));
    facts.extend(release.profile.as_ref().map(|profile| format!("profile {profile}")));
    facts.extend(release.commit.as_ref().map(|commit| format!("commit {commit}")));
    if !facts.is_empty() {
        let _ = writeln!(body, "<p class=facts>{}</p>", escaped(&facts.join(" · ")));
    }
    body += &matrix(release);
    body += &sizes(release);
    for variant in &release.variants {
        body += &details(variant);
    }
    document(title.trim(), &body)
}

fn id(variant: &VariantFacts) -> String {
    format!("v-{}-{}", variant.version, variant.arch)
}

/// Versions down, architectures across.
fn matrix(release: &Description) -> String {
    let (mut versions, mut architectures) = (Vec::new(), Vec::new());
    for variant in &release.variants {
        if !versions.contains(&&variant.version) {
            versions.push(&variant.version);
        }
        if !architectures.contains(&&variant.arch) {
            architectures.push(&variant.arch);
        }
    }
    let mut head = vec![Cell::text("Version")];
    head.extend(architectures.iter().map(|arch| Cell::text(arch)));
    let mut rows = Vec::new();
    for version in versions {
        let mut row = vec![Cell::text(version)];
        for arch in &architectures {
            let found = release.variants.iter().find(|it| (&it.version, &it.arch) == (version, *arch));
            row.push(found.map_or_else(|| Cell::text("—"), cell));
        }
        rows.push(row);
    }
    format!("<h2>Matrix</h2>\n{}", table(&head, &rows))
}

fn cell(variant: &VariantFacts) -> Cell {
    let (class, word) = match variant.outcome {
        VariantOutcome::Passed => ("passed", "passed"),
        VariantOutcome::Failed => ("failed", "failed"),
        VariantOutcome::Skipped => ("skipped", "not tried"),
    };
    let mut facts = Vec::new();
    facts.extend(variant.python.clone());
    facts.extend(variant.size.map(bytes));
    facts.extend(variant.seconds.map(seconds));
    let link = format!("<a href=\"#{}\">{word}</a>", escaped(&id(variant)));
    Cell { class, html: format!("{link}<br><small>{}</small>", escaped(&facts.join(" · "))) }
}

/// A bar a variant, cut by components where they are known.
fn sizes(release: &Description) -> String {
    let whole = |it: &VariantFacts| {
        let parts: u64 = it.components.iter().filter_map(|component| component.size).sum();
        parts.max(it.unpacked.unwrap_or(0)).max(if parts == 0 { it.size.unwrap_or(0) } else { 0 })
    };
    let largest = release.variants.iter().map(whole).max().unwrap_or(0);
    if largest == 0 {
        return String::new();
    }
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for component in release.variants.iter().flat_map(|it| &it.components) {
        *totals.entry(&component.name).or_default() += component.size.unwrap_or(0);
    }
    let mut names: Vec<&str> = totals.keys().copied().filter(|name| totals[name] > 0).collect();
    names.sort_by_key(|name| std::cmp::Reverse(totals[name]));
    let others = names.split_off(names.len().min(COLOURS.len()));
    let mut text = "<h2>Sizes</h2>\n".to_owned();
    for variant in release.variants.iter().filter(|it| whole(it) > 0) {
        let mut bars = String::new();
        let mut at = 0.0;
        let mut bar = |name: &str, size: u64, colour: &str| {
            let width = ratio(size, largest) * WIDTH;
            let said = escaped(&format!("{name}: {}", bytes(size)));
            let _ = write!(
                bars,
                "<rect x=\"{at:.1}\" y=\"0\" width=\"{width:.1}\" height=\"22\" fill=\"{colour}\"><title>{said}</title></rect>"
            );
            at += width;
        };
        let size_of = |name: &str| {
            let found = variant.components.iter().filter(|it| it.name == name);
            found.filter_map(|it| it.size).sum::<u64>()
        };
        for (name, colour) in names.iter().zip(COLOURS).filter(|(name, _)| size_of(name) > 0) {
            bar(name, size_of(name), colour);
        }
        let small = others.iter().map(|name| size_of(name)).sum();
        if small > 0 {
            bar(&others.join(", "), small, OTHERS);
        }
        let known: u64 = variant.components.iter().filter_map(|it| it.size).sum();
        if whole(variant) > known {
            bar(if known == 0 { "all" } else { "the rest" }, whole(variant) - known, "#b8b8b8");
        }
        let name = escaped(&format!("{} {}", variant.version, variant.arch));
        let _ = writeln!(
            text,
            "<div class=bar><span>{name}</span><svg viewBox=\"0 0 {WIDTH} 22\" preserveAspectRatio=\"none\" role=img \
             aria-label=\"{name}\">{bars}</svg><span>{}</span></div>",
            bytes(whole(variant))
        );
    }
    let entry = |name: &str, colour: &str| format!("<li><i style=\"background:{colour}\"></i>{}</li>", escaped(name));
    let mut legend: String = names.iter().zip(COLOURS).map(|(name, colour)| entry(name, colour)).collect();
    if !others.is_empty() {
        legend += &entry(&format!("{} others", others.len()), OTHERS);
    }
    if !legend.is_empty() {
        let _ = writeln!(text, "<ul class=legend>{legend}</ul>");
    }
    text
}

/// A share of a whole, between 0 and 1.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn details(variant: &VariantFacts) -> String {
    let title = format!("{} {}", variant.version, variant.arch);
    let mut text = format!("<section id=\"{}\">\n<h2>{}</h2>\n", escaped(&id(variant)), escaped(&title));
    let mut facts = Vec::new();
    facts.extend(variant.tarball.clone());
    facts.extend(variant.size.map(bytes));
    facts.extend(variant.sha256.map(|digest| digest.to_string()));
    if !facts.is_empty() {
        let _ = writeln!(text, "<p class=facts>{}</p>", escaped(&facts.join(" · ")));
    }
    if let Some(error) = &variant.error {
        let _ = writeln!(text, "<pre class=failed>{}</pre>", escaped(error));
    }
    text += &timeline(variant);
    if !variant.tests.is_empty() {
        let row = |test: &crate::dist::Test| {
            let class = match test.outcome.as_str() {
                "passed" => "passed",
                "failed" => "failed",
                _ => "skipped",
            };
            let outcome = Cell { class, html: escaped(&test.outcome) };
            vec![Cell::text(&test.name), outcome, Cell::text(test.note.as_deref().unwrap_or(""))]
        };
        let rows: Vec<Vec<Cell>> = variant.tests.iter().map(row).collect();
        let count = |outcome: &str| variant.tests.iter().filter(|test| test.outcome == outcome).count();
        let counts = ["failed", "skipped", "passed"].map(|outcome| (count(outcome), outcome));
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, outcome)| format!("{count} {outcome}"))
            .collect();
        let table = table(&["Test", "Outcome", ""].map(Cell::text), &rows);
        text += &folded(&format!("Tests: {}", counts.join(", ")), count("failed") > 0, &table);
    }
    if !variant.components.is_empty() {
        let row = |component: &crate::dist::Component| {
            let size = component.size.map(bytes).unwrap_or_default();
            let license = component.license.as_deref().unwrap_or("");
            vec![Cell::text(&component.name), Cell::text(&component.version), Cell::text(license), Cell::text(&size)]
        };
        let rows: Vec<Vec<Cell>> = variant.components.iter().map(row).collect();
        let table = table(&["Component", "Version", "Licence", "Size"].map(Cell::text), &rows);
        text += &folded(&format!("Components: {}", variant.components.len()), false, &table);
    }
    text + "</section>\n"
}

/// Steps as bars over time; what the cache had is told in a line.
fn timeline(variant: &VariantFacts) -> String {
    let run: Vec<_> = variant.steps.iter().filter(|step| !step.cached).collect();
    let cached = variant.steps.len() - run.len();
    let mut text = String::new();
    if variant.steps.is_empty() {
        return text;
    }
    text += "<h3>Timeline</h3>\n";
    let begin = run.iter().map(|step| step.started).fold(f64::INFINITY, f64::min);
    let end = run.iter().map(|step| step.started + step.seconds).fold(0.0, f64::max);
    let span = (end - begin).max(0.001);
    for step in &run {
        let at = (step.started - begin) / span * 100.0;
        let (name, took) = (escaped(&step.name), escaped(&seconds(step.seconds)));
        let width = step.seconds / span * 100.0;
        let _ = writeln!(
            text,
            "<div class=step><span>{name}</span><span class=track><i style=\"margin-left:{at:.2}%;width:{width:.2}%\" \
             title=\"{name}: {took}\"></i></span><span>{took}</span></div>"
        );
    }
    if !run.is_empty() {
        let _ = writeln!(text, "<p class=facts>{} from the first step to the last</p>", seconds(span));
    }
    if cached > 0 {
        let _ = writeln!(text, "<p class=facts>{cached} steps were in the cache</p>");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dist::{Component, Step, Test};

    #[test]
    fn a_page_holds_all_of_a_release_and_nothing_from_elsewhere() {
        let evil = "<script>alert(1)</script>\"'&";
        let variant = VariantFacts {
            version: "3.12".to_owned(),
            arch: "x86_64".to_owned(),
            size: Some(34_500_000),
            components: vec![Component { name: evil.to_owned(), size: Some(5), ..Component::default() }],
            steps: vec![Step { name: evil.to_owned(), started: 1.0, seconds: 2.0, cached: false }],
            tests: vec![Test { name: evil.to_owned(), outcome: evil.to_owned(), note: Some(evil.to_owned()) }],
            error: Some(evil.to_owned()),
            ..VariantFacts::default()
        };
        let failed = VariantFacts {
            version: "3.11".to_owned(),
            arch: "x86".to_owned(),
            outcome: VariantOutcome::Failed,
            ..VariantFacts::default()
        };
        let release =
            Description { tag: Some(evil.to_owned()), variants: vec![variant, failed], ..Description::default() };
        let page = report(&release);
        assert!(
            !page.contains("<script") && !page.contains("http:") && !page.contains("https:") && !page.contains("src=")
        );
        for part in ["34.5 MB", "Timeline", "not tried", "failed", "&lt;script&gt;", "3.11", "default-src 'none'"] {
            assert!(page.contains(part) != (part == "not tried"), "{part}");
        }
        let pairs = ["svg", "table", "section", "rect", "details", "div", "span"];
        for (open, close) in pairs.map(|name| (format!("<{name}"), format!("</{name}>"))) {
            assert_eq!(page.matches(&open).count(), page.matches(&close).count(), "{open}");
        }
        assert_eq!(page, report(&release));
    }
}
