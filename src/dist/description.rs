//! `release.json`: a release for programs. Whoever reads it ignores what it does not know.

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// The newest form that this code knows, and the one it writes.
pub const FORMAT: u64 = 1;

/// A release with all of its variants.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Description {
    /// The form of this document.
    pub format: u64,
    /// The stage that made the directory, where that is not the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What is released: `standalone-python`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its tag, where one was chosen: `release-2026-11-26`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The commit of the recipes, 40 or 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// When the run began, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<String>,
    /// Wall time of the run in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// How much the build cost: `quick`, `release`; none where variants differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The cells of the matrix, in its order.
    pub variants: Vec<VariantFacts>,
}

/// A stage before a release, which makes a directory for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Tarballs, and what they are made of.
    Build,
    /// The same, with what tests found.
    Test,
    /// The same, with checksums: what goes into a release.
    Package,
}

impl Stage {
    /// Returns its word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Test => "test",
            Self::Package => "package",
        }
    }
}

/// One cell of the matrix.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct VariantFacts {
    /// As asked for: `3.12`.
    pub version: String,
    /// `x86_64` or `x86`.
    pub arch: String,
    /// What became of it.
    #[serde(default)]
    pub outcome: VariantOutcome,
    /// The release of Python that it is: `3.12.6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// How much its build cost: `quick`, `release`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tarball: Option<String>,
    /// Its digest, `sha256:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The size in bytes of all that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
    /// Wall time in seconds of building, testing and packing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why there is none, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What is in it.
    #[serde(default)]
    pub components: Vec<Component>,
    /// What was done for it.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// How it was tested.
    #[serde(default)]
    pub tests: Vec<Test>,
}

/// What became of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariantOutcome {
    /// It is in the directory.
    #[default]
    Passed,
    /// It could not be built, or did not pass its tests.
    Failed,
    /// It was not tried, because another failed.
    Skipped,
}

/// A part of a tree.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Component {
    /// The name of its recipe.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Bytes of the tree that came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Step {
    /// Its name for people.
    pub name: String,
    /// Seconds since the run began.
    #[serde(default)]
    pub started: f64,
    /// How long it took.
    #[serde(default)]
    pub seconds: f64,
    /// The cache had its result.
    #[serde(default)]
    pub cached: bool,
}

/// A test of a tarball.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Test {
    /// What was tested.
    pub name: String,
    /// `passed`, `failed` or `skipped`.
    pub outcome: String,
    /// What was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Description {
    /// Reads the document.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let description: Self = serde_json::from_str(text).map_err(|error| format!("not a release.json: {error}"))?;
        if description.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}, which this version reads", description.format));
        }
        if let Some(commit) = description.commit.as_deref().filter(|commit| !is_commit(commit)) {
            return Err(format!("`{}` is no commit", commit.escape_debug()));
        }
        let words = description.variants.iter().flat_map(|it| [&it.version, &it.arch]);
        if let Some(odd) = words.into_iter().find(|word| !super::sums::is_plain(word)) {
            return Err(format!("`{}` is no version or architecture", odd.escape_debug()));
        }
        Ok(description)
    }

    /// Writes the document, the same bytes for the same release.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("numbers and texts are JSON");
        text.push('\n');
        text
    }
}

/// Tells whether a text is the full name of a commit.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_round_trips_and_unknown_keys_are_others() {
        let variant = VariantFacts {
            version: "3.12".to_owned(),
            arch: "x86".to_owned(),
            size: Some(7),
            ..VariantFacts::default()
        };
        let description = Description { format: FORMAT, variants: vec![variant], ..Description::default() };
        assert_eq!(Description::parse(&description.render()), Ok(description.clone()));
        let more = description.render().replace("\"format\": 1", "\"format\": 1, \"new\": {}");
        assert_eq!(Description::parse(&more), Ok(description));
    }

    #[test]
    fn a_description_that_cannot_be_meant_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"format":2,"variants":[]}"#,
            r#"{"format":1,"variants":[],"commit":"main"}"#,
            r#"{"format":1,"variants":[{"version":"../x","arch":"x86"}]}"#,
            r#"{"format":1,"variants":[{"version":"3.12","arch":"x86","size":-1}]}"#,
        ] {
            assert!(Description::parse(text).is_err(), "{text}");
        }
    }
}
