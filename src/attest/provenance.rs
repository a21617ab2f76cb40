//! SLSA Provenance v1 in an in-toto Statement v1 (`slsa.dev/spec/v1.0/provenance`, `in-toto/attestation
//! spec/v1/statement.md`).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::bom::{PROJECT, TOOL, timestamp, uuid};
use super::document::{SLSA_PROVENANCE, STATEMENT};
use super::input::{map, sha256};
use super::{Component, DigestSet, Input};
use crate::oci::Digest;

/// Build type of recipes; docs/attestations.md says what the parameters mean.
pub const RECIPE_BUILD: &str = "https://github.com/dockless/dockless/blob/main/docs/attestations.md#recipe-build-v1";
/// Build type of foreign definitions.
pub const DEFINITION_BUILD: &str =
    "https://github.com/dockless/dockless/blob/main/docs/attestations.md#definition-build-v1";

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Build type: what the parameters mean.
    pub kind: &'static str,
    /// What whoever asked for the build decided.
    pub external: Map<String, Value>,
    /// What the builder decided.
    pub internal: Map<String, Value>,
}

/// Everything that is known of a build before it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Materials {
    /// What was asked for.
    pub build: Build,
    /// Every input.
    pub inputs: Vec<Input>,
    /// What ends in the result.
    pub components: Vec<Component>,
    /// What the result was made with.
    pub tools: Vec<Component>,
}

/// A result: a manifest, a tarball.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Its name: a reference of an image, a file name.
    pub name: String,
    /// Its digests.
    pub digest: DigestSet,
}

impl Subject {
    /// A result by its SHA-256.
    pub fn new(name: &str, digest: &Digest) -> Self {
        Self { name: name.to_owned(), digest: sha256(*digest) }
    }
}

/// How results were made.
#[derive(Debug, Clone)]
pub struct Provenance<'a> {
    /// The results.
    pub subjects: Vec<Subject>,
    /// Of what.
    pub materials: &'a Materials,
    /// When it began, seconds since 1970, where that is to be told.
    pub started: Option<u64>,
    /// When it ended.
    pub finished: Option<u64>,
}

/// Returns the statement as one line, so that a file of several is `.intoto.jsonl`.
pub fn provenance(provenance: &Provenance<'_>) -> Vec<u8> {
    let Materials { build, inputs, .. } = provenance.materials;
    let inputs: BTreeSet<&Input> = inputs.iter().collect();
    let definition = json!({
        "buildType": build.kind,
        "externalParameters": build.external,
        "internalParameters": build.internal,
        "resolvedDependencies": inputs.into_iter().map(Input::to_json).collect::<Vec<_>>(),
    });
    // The same invocation wherever it runs: named by what was built of what, by which version.
    let invocation = format!("{} {} {definition}", TOOL.0, TOOL.1);
    let mut metadata = json!({ "invocationId": format!("urn:uuid:{}", uuid(&Digest::of(invocation.as_bytes()))) });
    for (key, time) in [("startedOn", provenance.started), ("finishedOn", provenance.finished)] {
        if let Some(time) = time {
            metadata[key] = timestamp(time).into();
        }
    }
    let subjects: BTreeSet<&Subject> = provenance.subjects.iter().collect();
    let named = |subject: &Subject| json!({ "name": subject.name, "digest": map(&subject.digest) });
    let statement = json!({
        "_type": STATEMENT,
        "subject": subjects.into_iter().map(named).collect::<Vec<_>>(),
        "predicateType": SLSA_PROVENANCE,
        "predicate": {
            "buildDefinition": definition,
            "runDetails": {
                "builder": { "id": format!("{PROJECT}/builder/embedded@v1"), "version": { TOOL.0: TOOL.1 } },
                "metadata": metadata,
            },
        },
    });
    let mut line = serde_json::to_vec(&statement).expect("values are JSON");
    line.push(b'\n');
    line
}
