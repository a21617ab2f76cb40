//! What an image of a package says about itself: the recipe's `[image]`, and what is known without it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::lower::{Lowered, Recipes, Request};
use super::{Recipe, RecipeError};

/// `PATH` of an image whose recipe names none: that of every container (`containerd oci.DefaultUnixEnv`).
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The annotations of `image-spec annotations.md#pre-defined-annotation-keys`, which are labels, too.
const PREFIX: &str = "org.opencontainers.image.";

/// How an image is run, and what it is called (`image-spec config.md#properties`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecipeImage {
    /// Program and arguments that always run.
    pub entrypoint: Vec<String>,
    /// Arguments that a user may replace.
    pub command: Vec<String>,
    /// Environment.
    pub env: BTreeMap<String, String>,
    /// Directory to start in; empty for the root.
    pub working_directory: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(default)]
    entrypoint: Vec<Spanned<String>>,
    #[serde(default)]
    command: Vec<Spanned<String>>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, Spanned<String>>,
    working_directory: Option<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<Spanned<String>, Spanned<String>>,
}

impl Table {
    /// Checks what the table of a recipe says.
    pub(super) fn check(self, text: &str, path: &Path) -> Result<RecipeImage, RecipeError> {
        let fail = |at: &Spanned<String>, what: &str, help: &str| {
            let message = format!("`{}` is not {what}", at.get_ref().escape_debug());
            Err(RecipeError::at(path, text, at.span(), message, Some(help.to_owned())))
        };
        let values = self.env.values().chain(self.labels.values());
        if let Some(bad) =
            self.entrypoint.iter().chain(&self.command).chain(values).find(|v| v.get_ref().contains('\0'))
        {
            return fail(bad, "a text of an image", "no null characters");
        }
        if let Some(program) = self.entrypoint.first().filter(|program| !program.get_ref().starts_with('/')) {
            return fail(program, "the path of a program", "an entry point begins with `/`: there may be no PATH");
        }
        if let Some(bad) = self.env.keys().find(|key| key.get_ref().is_empty() || key.get_ref().contains(['=', '\0'])) {
            return fail(bad, "the name of a variable", "for example PATH");
        }
        if let Some(bad) =
            self.labels.keys().find(|key| key.get_ref().is_empty() || key.get_ref().contains(char::is_control))
        {
            return fail(bad, "the name of a label", "for example \"org.opencontainers.image.url\"");
        }
        if let Some(directory) = self.working_directory.as_ref().filter(|it| !it.get_ref().starts_with('/')) {
            return fail(directory, "a directory of an image", "begin it with `/`");
        }
        let list = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
        let map = |map: BTreeMap<Spanned<String>, Spanned<String>>| {
            map.into_iter().map(|(key, value)| (key.into_inner(), value.into_inner())).collect()
        };
        Ok(RecipeImage {
            entrypoint: list(self.entrypoint),
            command: list(self.command),
            env: map(self.env),
            working_directory: self.working_directory.map(Spanned::into_inner).unwrap_or_default(),
            labels: map(self.labels),
        })
    }
}

impl Recipes {
    /// Returns what an image of a result says: of one recipe what its `[image]` says, and what its summary, its version
    /// and the licences of its sources tell; of several together next to nothing. `created` is RFC 3339.
    pub fn image(&self, requests: &[Request], lowered: &Lowered, created: &str) -> RecipeImage {
        let mut image = RecipeImage::default();
        if let [request] = requests
            && let Some(recipe) = self.recipes.get(&request.name)
        {
            image = recipe.image.clone().unwrap_or_default();
            let version = lowered.versions.get(&request.name);
            let known = [
                ("title", Some(recipe.name.clone())),
                ("description", Some(recipe.summary.clone())),
                ("version", version.filter(|version| *version != "0").cloned()),
                ("licenses", Some(licences(recipe, lowered))),
                ("created", Some(created.to_owned())),
            ];
            for (key, value) in known {
                if let Some(value) = value {
                    image.labels.entry(format!("{PREFIX}{key}")).or_insert(value);
                }
            }
        }
        image.env.entry("PATH".to_owned()).or_insert_with(|| PATH.to_owned());
        image
    }
}

/// Returns the SPDX expression of what is in an image: a recipe that describes one makes it of all that it needs.
fn licences(recipe: &Recipe, lowered: &Lowered) -> String {
    let needed = lowered.sources.values().map(|choice| choice.source.license.as_str());
    let needed = needed.filter(|_| recipe.image.is_some());
    let all: BTreeSet<String> = needed.chain([recipe.license.as_str()]).flat_map(terms).collect();
    all.into_iter().collect::<Vec<_>>().join(" AND ")
}

/// Returns what an expression joins by `AND`; what is more than that is one term.
fn terms(expression: &str) -> Vec<String> {
    if expression.contains('(') || expression.contains(" OR ") {
        vec![format!("({expression})")]
    } else {
        expression.split(" AND ").map(str::to_owned).collect()
    }
}
