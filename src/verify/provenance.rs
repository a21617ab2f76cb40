//! Provenance against the tarball that it is about (`slsa.dev/spec/v1.0/provenance`, `in-toto/attestation
//! spec/v1/statement.md`).

use serde_json::Value;

use super::contents::Contents;
use crate::attest::{CHECKOUT, RECIPE_BUILD, SLSA_PROVENANCE, STATEMENT};
use crate::oci::{Arch, Digest};
use crate::recipe::{Profile, Version};

/// What a statement says of how a tarball was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Recipes with versions as asked for: `python@3.11`.
    pub recipes: Vec<String>,
    /// For which architecture.
    pub arch: Arch,
    /// At what cost.
    pub profile: Profile,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
    /// Source sets that gave something.
    pub sources: Vec<String>,
    /// Commit of the recipes, and whether files differed from it; `None` where they were in no repository.
    pub commit: Option<(String, bool)>,
    /// Version of the builder.
    pub builder: String,
    /// Digest of the definition.
    pub definition: Option<String>,
    /// Digest of the files of `scripts/` (`digest_set.md dirHash`).
    pub scripts: Option<String>,
    /// Version of the interpreter, where there is one.
    python: Option<String>,
    /// Inputs and how many of them have no digest.
    inputs: (usize, usize),
}

/// Reads the statement of a file that is about `digest`: one a line.
///
/// # Errors
/// Why there is none.
pub(super) fn read(text: &str, digest: &Digest) -> Result<Claim, String> {
    let mut others = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = |why: &str| format!("line {}: {why}", number + 1);
        let statement: Value = serde_json::from_str(line).map_err(|error| at(&format!("no JSON: {error}")))?;
        if statement["_type"] != STATEMENT {
            return Err(at("no in-toto statement v1"));
        }
        let subjects = statement["subject"].as_array().filter(|it| !it.is_empty()).ok_or_else(|| at("no subject"))?;
        let sums: Vec<&str> = subjects.iter().filter_map(|it| it["digest"]["sha256"].as_str()).collect();
        if statement["predicateType"] != SLSA_PROVENANCE {
            continue;
        }
        if !sums.contains(&digest.hex().as_str()) {
            others.extend(sums.into_iter().map(|sum| format!("sha256:{sum}")));
            continue;
        }
        return claim(&statement["predicate"]).map_err(|why| at(&why));
    }
    match others.first() {
        Some(other) => Err(format!("it is about {other}, the tarball is {digest}")),
        None => Err("no SLSA provenance v1".to_owned()),
    }
}

fn claim(predicate: &Value) -> Result<Claim, String> {
    let definition = &predicate["buildDefinition"];
    let kind = definition["buildType"].as_str().ok_or("no buildType")?;
    if kind != RECIPE_BUILD {
        return Err(format!("its build type is {kind}, not {RECIPE_BUILD}"));
    }
    let run = &predicate["runDetails"];
    if !run["builder"]["id"].as_str().is_some_and(|id| id.contains("://")) {
        return Err("its builder has no id".to_owned());
    }
    let external = &definition["externalParameters"];
    let text = |key: &str| external[key].as_str().ok_or_else(|| format!("no parameter `{key}`"));
    let list = |key: &str| -> Result<Vec<String>, String> {
        let all = external[key].as_array().ok_or_else(|| format!("no parameter `{key}`"))?;
        Ok(all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect())
    };
    let inputs = definition["resolvedDependencies"].as_array().ok_or("no resolvedDependencies")?;
    if let Some(odd) = inputs.iter().find(|it| !it["uri"].as_str().is_some_and(|uri| uri.contains(':'))) {
        return Err(format!("an input has no uri: {odd}"));
    }
    let has_digest = |it: &&Value| it["digest"].as_object().is_some_and(|digests| !digests.is_empty());
    let unknown = inputs.iter().filter(|it| !has_digest(it)).count();
    let recipes = inputs.iter().find(|it| it["uri"] == CHECKOUT);
    let commit = recipes.and_then(|it| {
        let modified = it["annotations"].get("dockless.modified").is_some();
        Some((it["digest"]["gitCommit"].as_str()?.to_owned(), modified))
    });
    let profile = match text("profile")? {
        "quick" => Profile::Quick,
        "release" => Profile::Release,
        other => return Err(format!("its profile is `{other}`")),
    };
    let scripts = inputs.iter().find_map(|it| it["digest"]["dirHash"].as_str()).map(str::to_owned);
    Ok(Claim {
        scripts,
        recipes: list("recipes")?,
        arch: text("architecture")?.parse().map_err(|error| format!("its architecture: {error}"))?,
        profile,
        epoch: external["sourceDateEpoch"].as_u64().ok_or("no parameter `sourceDateEpoch`")?,
        sources: list("sources")?,
        commit,
        builder: run["builder"]["version"]["dockless"].as_str().unwrap_or_default().to_owned(),
        definition: definition["internalParameters"]["definition"].as_str().map(str::to_owned),
        python: definition["internalParameters"]["versions"]["cpython"].as_str().map(str::to_owned),
        inputs: (inputs.len(), unknown),
    })
}

impl Claim {
    /// Returns what does not agree with the tarball and its name.
    pub(super) fn against(&self, contents: &Contents, named: Option<&(String, Arch)>) -> Vec<String> {
        let mut wrong = Vec::new();
        let (_, unknown) = self.inputs;
        if unknown > 0 {
            wrong.push(format!("{unknown} inputs have no digest"));
        }
        if let Some((version, arch)) = named {
            if *arch != self.arch {
                wrong.push(format!("it was made for {}, its name says {arch}", self.arch));
            }
            let asked = self.recipes.iter().filter_map(|it| it.split_once('@')).any(|(_, it)| it == version);
            let is_made = self.python.as_ref().is_some_and(|python| Version::new(python).is_within(version));
            if !asked && !is_made {
                wrong.push(format!("it was made as {}, its name says {version}", self.recipes.join(", ")));
            }
        }
        if let Some(description) = &contents.description {
            let python = self.python.as_deref().unwrap_or_default();
            let said = [
                ("architecture", description.architecture.as_str(), self.arch.name()),
                ("profile", description.profile.as_str(), self.profile.name()),
                // Free-threaded builds have a t in our names, not in theirs.
                ("version", description.version.as_str(), python.trim_end_matches('t')),
            ];
            for (what, tree, claimed) in said.into_iter().filter(|(_, tree, claimed)| tree != claimed) {
                wrong.push(format!("its {what} is `{claimed}`, the tree says `{tree}`"));
            }
        }
        wrong
    }

    /// Says for people what it says.
    pub(super) fn said(&self) -> String {
        let commit = match &self.commit {
            Some((commit, false)) => format!("recipes at {commit}"),
            Some((commit, true)) => format!("recipes at {commit} with changes"),
            None => "recipes of no known commit".to_owned(),
        };
        let (inputs, _) = self.inputs;
        format!(
            "{} for {}, profile {}, {inputs} inputs, {commit}",
            self.recipes.join(" "),
            self.arch,
            self.profile.name()
        )
    }
}
