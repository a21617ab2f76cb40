//! What happened, as a value.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::dist::{Description, VariantOutcome};

/// What became of a release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message {
    /// What is released: `standalone-python`.
    pub name: String,
    /// Its tag, where there is one.
    pub tag: Option<String>,
    /// Where people find it.
    pub address: Option<String>,
    /// Where people see the run: a CI job.
    pub run: Option<String>,
    /// The cells of the matrix.
    pub variants: Vec<Variant>,
}

/// What became of one variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// `3.12-x86_64`
    pub name: String,
    /// What became of it.
    pub outcome: VariantOutcome,
    /// Why, in a few lines.
    pub error: Option<String>,
}

impl Message {
    /// Takes from release.json what people are told.
    pub fn of(release: &Description) -> Self {
        let variant = |it: &crate::dist::VariantFacts| Variant {
            name: format!("{}-{}", it.version, it.arch),
            outcome: it.outcome,
            error: it.error.clone(),
        };
        Self {
            name: release.name.clone().unwrap_or_default(),
            tag: release.tag.clone(),
            variants: release.variants.iter().map(variant).collect(),
            ..Self::default()
        }
    }

    /// Tells whether every variant is there.
    pub fn succeeded(&self) -> bool {
        self.variants.iter().all(|variant| variant.outcome == VariantOutcome::Passed)
    }

    /// Returns it in one line: `standalone-python release-2026-11-26: 2 of 6 failed: 3.12-x86, 3.11-x86`.
    pub fn line(&self) -> String {
        let name = if self.name.is_empty() { "release" } else { &self.name };
        let subject = self.tag.as_ref().map_or_else(|| name.to_owned(), |tag| format!("{name} {tag}"));
        let failed: Vec<&str> = self.named(VariantOutcome::Failed);
        let skipped = self.named(VariantOutcome::Skipped).len();
        let tried = self.variants.len();
        let mut words = match (failed.len(), tried) {
            (0, 0) => "done".to_owned(),
            (0, 1) => "the variant passed".to_owned(),
            (0, _) if skipped == 0 => format!("all {tried} variants passed"),
            (0, _) => format!("{} of {tried} variants passed", tried - skipped),
            (count, _) => format!("{count} of {tried} failed: {}", failed.join(", ")),
        };
        if skipped > 0 {
            // Writing to a String cannot fail, here and below.
            let _ = write!(words, " ({skipped} not tried)");
        }
        format!("{subject}: {words}")
    }

    fn named(&self, outcome: VariantOutcome) -> Vec<&str> {
        self.variants.iter().filter(|it| it.outcome == outcome).map(|it| it.name.as_str()).collect()
    }

    /// Returns it for programs.
    pub fn document(&self) -> Value {
        let variant = |it: &Variant| json!({ "name": it.name, "outcome": it.outcome, "error": it.error });
        json!({
            "event": "release",
            "outcome": if self.succeeded() { "passed" } else { "failed" },
            "name": self.name,
            "tag": self.tag,
            "address": self.address,
            "run": self.run,
            "text": self.line(),
            "variants": self.variants.iter().map(variant).collect::<Vec<_>>(),
        })
    }

    /// Returns it as Slack's incoming webhooks take it (`docs.slack.dev messaging/formatting-message-text`).
    pub fn slack(&self) -> Value {
        let sign = if self.succeeded() { ":white_check_mark:" } else { ":x:" };
        let mut text = format!("{sign} {}", escaped(&self.line()));
        for (word, address) in [("release", &self.address), ("run", &self.run)] {
            if let Some(address) = address {
                let _ = write!(text, "\n<{}|{word}>", escaped(address).replace('|', "%7C"));
            }
        }
        let failed = self.variants.iter().filter(|it| it.outcome == VariantOutcome::Failed);
        for variant in failed {
            if let Some(error) = &variant.error {
                let error: String = error.chars().take(300).collect();
                let _ = write!(text, "\n• {}: {}", escaped(&variant.name), escaped(&error));
            }
        }
        json!({ "text": text })
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_first_what_failed() {
        let variant =
            |name: &str, outcome| Variant { name: name.to_owned(), outcome, error: Some("<!channel> & co".to_owned()) };
        let all = vec![
            variant("3.12-x86", VariantOutcome::Failed),
            variant("3.11-x86", VariantOutcome::Passed),
            variant("3.10-x86", VariantOutcome::Skipped),
        ];
        let message = Message {
            tag: Some("v1".to_owned()),
            run: Some("https://ci.test/1".to_owned()),
            variants: all,
            ..Message::default()
        };
        assert_eq!(message.line(), "release v1: 1 of 3 failed: 3.12-x86 (1 not tried)");
        let text = message.slack()["text"].as_str().expect("text").to_owned();
        assert!(text.starts_with(":x: ") && text.contains("<https://ci.test/1|run>") && !text.contains("<!"), "{text}");
        assert_eq!(message.document()["outcome"], "failed");
        let fine = Message { variants: vec![variant("3.12-x86", VariantOutcome::Passed)], ..Message::default() };
        assert_eq!((fine.line().as_str(), fine.succeeded()), ("release: the variant passed", true));
    }
}
