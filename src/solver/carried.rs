//! Results from caches elsewhere: asked when nothing is known here, made into trees only when somebody needs them.
//!
//! A record from elsewhere says which content an operation left; that is all its users' keys need. When its tree is
//! needed, its layers come and are verified. Where they cannot be had, the record is not asked any more and the graph
//! is solved again: so no key is ever kept that was made of a content which nobody has seen.

use std::collections::BTreeSet;

use super::SolveError;
use super::record::Record;
use super::run::{Work, snapshot_error};
use crate::cache::{Carried, Output, causes};
use crate::layer::{LayerFacts, Limits, again};
use crate::llb::{Edge, Vertex, pb};
use crate::oci::Digest;
use crate::progress::Event;
use crate::snapshot::Snapshot;

/// More layers under one tree than any build makes.
const DEEPEST: usize = 256;

/// A vertex that a cache elsewhere has answered.
#[derive(Debug, Clone)]
pub(super) struct Answered {
    /// The keys by which it was found, or would be next time.
    pub(super) keys: Vec<Digest>,
    pub(super) record: Record,
}

/// Tells whether the snapshot `id` is a tree of `content`, whose name says how it was made.
pub(super) fn is_named(id: &Digest, content: &Digest, facts: &LayerFacts) -> bool {
    id == content || facts.nonce.is_some_and(|nonce| again(content, &nonce) == *id)
}

impl Work<'_> {
    /// Looks a result up in the caches that the caller named.
    pub(super) fn carried(&self, vertex: &Vertex, key: &Digest) -> Option<Record> {
        let outputs = self.solver.caches.record(key)?;
        // Users of the vertex count on all of its outputs, and keys of later steps on what they are said to hold.
        if outputs.len() != vertex.outputs() || !outputs.iter().all(|output| self.is_possible(vertex, output)) {
            self.solver.caches.drop_record(key);
            let message = format!("a record of a cache is not used: {}: it is not what it says", vertex.name());
            self.progress.event(&Event::Note { message: &message });
            return None;
        }
        Some(Record {
            outputs: outputs.to_vec(),
            name: vertex.name().to_owned(),
            milliseconds: 0,
            selected: None,
            carried: true,
        })
    }

    /// Tells whether the name of a tree can be that of its content: it says it, or is that of what the vertex is made of.
    fn is_possible(&self, vertex: &Vertex, output: &Output) -> bool {
        let Output { snapshot, content } = output;
        let layers = self.solver.caches.layers(snapshot);
        let is_same = |edge: &Edge| {
            let value = self.value(*edge);
            value.id == *snapshot && value.content == *content
        };
        snapshot == content
            || layers.iter().any(|(_, layer)| is_named(snapshot, content, &layer.facts))
            || self.below(vertex).iter().any(is_same)
    }

    /// Returns the tree of a vertex that a cache elsewhere has answered; `None` for others.
    pub(super) fn carried_tree(&self, vertex: &Vertex, id: &Digest) -> Result<Option<Snapshot>, SolveError> {
        let Some(answered) = self.answered(&vertex.digest) else { return Ok(None) };
        let is_dropped = answered.keys.iter().any(|key| self.solver.caches.is_dropped(key));
        if !is_dropped && let Some(snapshot) = self.bring(vertex, id, 0)? {
            return Ok(Some(snapshot));
        }
        self.forget(vertex);
        Err(SolveError::Lost { name: vertex.name().to_owned() })
    }

    /// Returns a snapshot: as it is here, from a cache, or made of the graph's own sources.
    fn bring(&self, vertex: &Vertex, id: &Digest, depth: usize) -> Result<Option<Snapshot>, SolveError> {
        let fail = |error| snapshot_error(vertex.name(), error);
        if let Some(snapshot) = self.solver.snapshots.get(&id.hex()).map_err(fail)? {
            return Ok(Some(snapshot));
        }
        if depth > DEEPEST {
            return Ok(None);
        }
        for (cache, layer) in self.solver.caches.layers(id) {
            let wanted = layer.facts.parent;
            let parent = wanted.map_or(Ok(None), |parent| self.bring(vertex, &parent, depth + 1))?;
            if wanted.is_some() && parent.is_none() {
                let why = format!("{}: what it lies on is not to be had", vertex.name());
                self.solver.caches.drop_layer(cache, id, &why, self.progress);
                continue;
            }
            match self.receive(vertex, id, (cache, layer), parent.as_ref()) {
                Ok(Some(snapshot)) => return Ok(Some(snapshot)),
                Ok(None) => {
                    let why = format!("{}: it is not what it says, or cannot be had here", vertex.name());
                    self.solver.caches.drop_layer(cache, id, &why, self.progress);
                }
                Err(error) if self.solver.cancel.is_cancelled() => return Err(error),
                Err(error) => {
                    let why = format!("{}: {}", vertex.name(), causes(&error));
                    self.solver.caches.drop_layer(cache, id, &why, self.progress);
                }
            }
        }
        // Only what the vertex is made of: nothing of that waits for the vertex itself.
        for edge in self.below(vertex) {
            let is_made_here = |op: &pb::op::Op| !matches!(op, pb::op::Op::Exec(_) | pb::op::Op::File(_));
            if is_made_here(&self.graph.vertex(&edge.vertex).op) && self.value(edge).id == *id {
                return self.tree(edge).map(Some);
            }
        }
        Ok(None)
    }

    /// Brings one layer and verifies it.
    fn receive(
        &self,
        vertex: &Vertex,
        id: &Digest,
        (cache, layer): (usize, &Carried),
        parent: Option<&Snapshot>,
    ) -> Result<Option<Snapshot>, SolveError> {
        // A name that does not say what the tree holds must be that of a file operation that this graph has: a cache
        // must not bring trees under the names of images and other sources.
        let facts = &layer.facts;
        let is_own = |content: &Digest| is_named(id, content, facts);
        if facts.content() != *id && !self.lock().expected.iter().any(is_own) {
            return Ok(None);
        }
        let told = (self.progress, vertex.digest);
        let archive = self.solver.caches.fetch(cache, &layer.packed, told).map_err(SolveError::Cache)?;
        let limits = Limits { bytes: layer.packed.length.min(Limits::default().bytes), ..Limits::default() };
        let snapshots = self.solver.snapshots;
        snapshots.receive(id, facts, parent, archive, limits).map_err(|error| snapshot_error(vertex.name(), error))
    }

    /// Makes the cache mount `name` of one from elsewhere, if it is not here yet and there is one.
    pub(super) fn carried_mount(&self, vertex: &Vertex, name: &str) -> Result<(), SolveError> {
        let Some((cache, packed)) = self.solver.caches.mount(name) else { return Ok(()) };
        let fail = |error| snapshot_error(vertex.name(), error);
        if self.solver.snapshots.has_cache_mount(name).map_err(fail)? {
            return Ok(());
        }
        let limits = Limits { bytes: packed.length.min(Limits::default().bytes), ..Limits::default() };
        let archive = self.solver.caches.fetch(cache, packed, (self.progress, vertex.digest));
        let made = archive
            .map_err(SolveError::Cache)
            .and_then(|archive| self.solver.snapshots.receive_cache_mount(name, archive, limits).map_err(fail));
        if let Err(error) = made {
            // A cache mount may always be empty.
            let why = format!("{}: {}", vertex.name(), causes(&error));
            self.solver.caches.drop_layer(cache, &Digest::of(name.as_bytes()), &why, self.progress);
        }
        Ok(())
    }

    /// Does not ask for a vertex any more, nor for those below it whose trees cannot be had: it will need them.
    fn forget(&self, vertex: &Vertex) {
        let mut seen = BTreeSet::new();
        let mut open = vec![vertex.digest];
        while let Some(digest) = open.pop() {
            if !seen.insert(digest) {
                continue;
            }
            let vertex = self.graph.vertex(&digest);
            if let Some(answered) = self.answered(&digest) {
                let is_there = |id: &Digest| {
                    !self.solver.caches.layers(id).is_empty() || self.solver.snapshots.has(&id.hex()).unwrap_or(false)
                };
                if seen.len() > 1 && answered.record.outputs.iter().all(|output| is_there(&output.snapshot)) {
                    continue;
                }
                // Also by its other key it would lead here again.
                for key in answered.keys.iter().chain(self.solver.caches.keys_of(&answered.record.outputs)) {
                    self.solver.caches.drop_record(key);
                }
            } else if matches!(vertex.op, pb::op::Op::Exec(_) | pb::op::Op::File(_)) {
                continue;
            }
            open.extend(vertex.inputs.iter().map(|edge| edge.vertex));
        }
    }

    /// Keeps the records from elsewhere whose trees are here by now.
    pub(super) fn settle(&self) -> Result<(), SolveError> {
        let answered = self.lock().answered.clone();
        for Answered { keys, record } in answered.values() {
            let has = |id: &Digest| self.solver.snapshots.has(&id.hex()).unwrap_or(false);
            if record.outputs.iter().all(|output| has(&output.snapshot)) {
                keys.iter().try_for_each(|key| self.keep(key, record))?;
            }
        }
        Ok(())
    }

    fn answered(&self, vertex: &Digest) -> Option<Answered> {
        self.lock().answered.get(vertex).cloned()
    }

    /// Returns the edges that lead to a vertex, near and far.
    fn below(&self, vertex: &Vertex) -> Vec<Edge> {
        let mut edges = vertex.inputs.clone();
        let mut seen: BTreeSet<Digest> = BTreeSet::new();
        let mut next = 0;
        while let Some(edge) = edges.get(next).copied() {
            next += 1;
            if seen.insert(edge.vertex) {
                edges.extend(self.graph.vertex(&edge.vertex).inputs.iter().copied());
            }
        }
        edges
    }
}
