//! What is remembered of results, and why something is not.
//!
//! ```text
//! cache/<key>      {"outputs":[{"snapshot":"<id>","content":"sha256:…"},…],"name":"…","milliseconds":…}
//! parts/<name>     what the last key of the vertex with this name consisted of, to tell what has changed
//! ```
//!
//! A record is written after its snapshots are in place, and its modification time is when it was last found. One that does not parse, or whose snapshots are gone, is as
//! good as none.

use serde::{Deserialize, Serialize};

use super::SolveError;
use super::key::Ingredients;
use super::run::Work;
use super::value::Value;
use crate::cache::Output;
use crate::llb::Vertex;
use crate::oci::Digest;

/// Room of the store that holds the records.
pub const RECORDS: &str = "cache";

/// Room that holds what keys consisted of.
pub const PARTS: &str = "parts";

/// What one operation left. Unknown fields are ignored, so that fields may be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its outputs in order.
    pub outputs: Vec<Output>,
    /// Name of the vertex when it ran, for people.
    pub name: String,
    /// Wall time of the run in milliseconds.
    pub milliseconds: u64,
    /// The other key under which it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected: Option<Digest>,
    /// It comes from elsewhere and its trees are not here.
    #[serde(skip)]
    pub carried: bool,
}

impl Record {
    /// Describes `outputs`, whose trees are there.
    pub(super) fn of(outputs: &[Value], name: &str, elapsed: std::time::Duration) -> Self {
        let outputs = outputs.iter().map(|value| Output { snapshot: value.id, content: value.content }).collect();
        let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Self { outputs, name: name.to_owned(), milliseconds, selected: None, carried: false }
    }

    /// Its outputs as values whose trees are looked for when they are needed.
    pub(super) fn values(&self) -> Vec<Value> {
        self.outputs.iter().map(|output| Value::named(output.content, output.snapshot)).collect()
    }
}

impl Work<'_> {
    /// Looks a result up. Of trees that lie on others, only the uppermost layer must be there.
    pub(super) fn recorded(&self, vertex: &Vertex, key: &Digest) -> Result<Option<Record>, SolveError> {
        Ok(self.known(key)?.or_else(|| self.carried(vertex, key)))
    }

    fn known(&self, key: &Digest) -> Result<Option<Record>, SolveError> {
        let Some(bytes) = self.solver.store.get_record(RECORDS, &key.hex())? else { return Ok(None) };
        let Ok(record) = serde_json::from_slice::<Record>(&bytes) else { return Ok(None) };
        for output in &record.outputs {
            if !self.solver.snapshots.has(&output.snapshot.hex()).unwrap_or(false) {
                return Ok(None);
            }
        }
        self.solver.store.touch(RECORDS, &key.hex());
        Ok(Some(record))
    }

    /// Keeps a result under one of its keys.
    pub(super) fn keep(&self, key: &Digest, record: &Record) -> Result<(), SolveError> {
        let bytes = serde_json::to_vec(record).expect("a record is JSON");
        Ok(self.solver.store.put_hint(RECORDS, &key.hex(), &bytes)?)
    }

    /// Says what is new against the last time that a vertex of this name was looked at.
    pub(super) fn reason(&self, vertex: &Vertex, parts: &Ingredients) -> String {
        let name = Digest::of(vertex.name().as_bytes()).hex();
        let last = self.solver.store.get_record(PARTS, &name).ok().flatten();
        let last: Option<Vec<(String, Digest)>> = last.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        last.map_or_else(|| "no earlier run is known".to_owned(), |last| parts.difference(&last))
    }

    /// Remembers what the key of a vertex consisted of. Only for people: a failure is no reason to fail a build.
    pub(super) fn remember(&self, vertex: &Vertex, parts: &Ingredients) {
        let name = Digest::of(vertex.name().as_bytes()).hex();
        let bytes = serde_json::to_vec(&parts.0).expect("parts are JSON");
        let _ = self.solver.store.put_hint(PARTS, &name, &bytes);
    }
}
