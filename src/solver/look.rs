//! What a graph would do, without doing it.

use std::collections::BTreeSet;

use super::SolveError;
use super::disk::{Reserve, Watch};
use super::key;
use super::run::{Solver, Work, snapshot_error};
use crate::llb::{Edge, Graph, Vertex, pb};
use crate::oci::Digest;
use crate::progress::Silent;

/// What is not in the store, by the digests of vertices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Steps that would run. Those above one that would are among them: what it leaves is not known yet.
    pub steps: Vec<Digest>,
    /// Sources of these steps whose trees would be made.
    pub sources: BTreeSet<Digest>,
}

impl Solver<'_> {
    /// Looks which steps would run. Nothing is fetched or run for it; directories of the user are looked at.
    ///
    /// # Errors
    /// As those of `solve` about records and snapshots.
    pub fn missing(&self, graph: &Graph) -> Result<Missing, SolveError> {
        let watch = Watch::new(self.store.root(), Reserve::Bytes(0), self.cancel);
        let work = Work::idle(self, graph, &Silent, &watch);
        let (mut missing, mut unknown) = (Missing::default(), BTreeSet::new());
        for vertex in graph.vertices() {
            let is_open = vertex.inputs.iter().any(|edge| unknown.contains(&edge.vertex));
            if is_open || !work.is_known(vertex)? {
                unknown.insert(vertex.digest);
                if matches!(vertex.op, pb::op::Op::Exec(_)) {
                    missing.steps.push(vertex.digest);
                    for edge in vertex.inputs.iter().filter(|edge| !unknown.contains(&edge.vertex)) {
                        work.note_absent(*edge, &mut missing.sources)?;
                    }
                }
            }
        }
        Ok(missing)
    }
}

impl Work<'_> {
    /// Finds out what a vertex is whose inputs are known, if that needs no work.
    fn is_known(&self, vertex: &Vertex) -> Result<bool, SolveError> {
        match &vertex.op {
            pb::op::Op::Exec(exec) => {
                if self.solver.ignore_cache || vertex.metadata.ignore_cache {
                    return Ok(false);
                }
                let parts = self.whole_parts(vertex, exec, key::exec(vertex, exec));
                let Some(record) = self.recorded(vertex, &parts.key())? else { return Ok(false) };
                self.note(vertex, record.values());
                Ok(true)
            }
            pb::op::Op::File(_) | pb::op::Op::Build(_) => Ok(false),
            _ => self.vertex(&vertex.digest).map(|()| true),
        }
    }

    /// Notes a source whose tree is not there.
    fn note_absent(&self, edge: Edge, absent: &mut BTreeSet<Digest>) -> Result<(), SolveError> {
        let vertex = self.graph.vertex(&edge.vertex);
        let id = self.value(edge).id;
        let is_there = self.solver.snapshots.has(&id.hex()).map_err(|error| snapshot_error(vertex.name(), error))?;
        if matches!(vertex.op, pb::op::Op::Source(_)) && !is_there {
            absent.insert(vertex.digest);
        }
        Ok(())
    }
}
