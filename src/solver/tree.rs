//! Trees on demand: found in the store, or made from what they follow from.

use super::SolveError;
use super::key;
use super::run::{Work, snapshot_error, unsupported};
use super::value::Value;
use crate::llb::{Edge, Vertex, pb};
use crate::oci::Digest;
use crate::progress::Event;
use crate::snapshot::{Snapshot, Tree};

impl Work<'_> {
    /// Returns the value of a merge: its content follows from its inputs.
    pub(super) fn merge(&self, vertex: &Vertex, merge: &pb::MergeOp) -> Result<Value, SolveError> {
        let contents: Vec<Digest> = parts(vertex, merge)?.into_iter().map(|edge| self.value(edge).content).collect();
        Ok(Value::lazy(key::merge(&contents)))
    }

    /// Returns the value of a difference.
    pub(super) fn difference(&self, vertex: &Vertex, diff: &pb::DiffOp) -> Value {
        let (lower, upper) = sides(vertex, diff);
        let content = |edge: Option<Edge>| edge.map(|edge| self.value(edge).content);
        match (content(lower), content(upper)) {
            (None, Some(_)) => self.value(upper.expect("it has content")).again(),
            (lower, upper) if lower == upper => Value::lazy(key::empty()),
            (lower, upper) => Value::lazy(key::difference(lower, upper)),
        }
    }

    /// Returns the inputs that a passthrough hands on (`ops.proto PassthroughOp`).
    pub(super) fn passthrough(&self, vertex: &Vertex, op: &pb::PassthroughOp) -> Result<Vec<Value>, SolveError> {
        let value = |index: &i64| {
            let edge = usize::try_from(*index).ok().and_then(|index| vertex.inputs.get(index)).copied();
            let edge = edge.ok_or_else(|| unsupported(vertex, format!("a passthrough of input {index}")))?;
            Ok(self.value(edge).again())
        };
        op.outputs.iter().map(value).collect()
    }

    /// Returns the tree of an edge, making it if it is not on disk yet.
    pub(super) fn tree(&self, edge: Edge) -> Result<Snapshot, SolveError> {
        let vertex = self.graph.vertex(&edge.vertex);
        let value = self.value(edge);
        value.tree(|| self.make(vertex, edge.index, &value.id))
    }

    /// Opens the tree of an edge under a path of this process.
    pub(super) fn open(&self, vertex: &Vertex, edge: Edge) -> Result<Tree, SolveError> {
        let snapshot = self.tree(edge)?;
        self.solver.snapshots.read(&snapshot).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn make(&self, vertex: &Vertex, index: usize, id: &Digest) -> Result<Snapshot, SolveError> {
        let fail = |error| snapshot_error(vertex.name(), error);
        let find = || self.solver.snapshots.get(&id.hex()).map_err(fail);
        if self.solver.cancel.is_cancelled() {
            return Err(SolveError::Cancelled);
        }
        if let Some(snapshot) = find()? {
            if !matches!(vertex.op, pb::op::Op::Exec(_) | pb::op::Op::File(_)) {
                self.progress.event(&Event::Cached { vertex: vertex.digest, name: vertex.name() });
            }
            return Ok(snapshot);
        }
        match &vertex.op {
            pb::op::Op::Merge(merge) => {
                let trees: Result<Vec<Snapshot>, SolveError> =
                    parts(vertex, merge)?.into_iter().map(|edge| self.tree(edge)).collect();
                let trees = trees?;
                self.told(vertex, None, || self.solver.snapshots.merge(id, &trees).map_err(fail))
            }
            pb::op::Op::Diff(diff) => {
                let (lower, upper) = sides(vertex, diff);
                let lower = lower.map(|edge| self.tree(edge)).transpose()?;
                let upper = upper.map(|edge| self.tree(edge)).transpose()?;
                match (lower, upper) {
                    (None, Some(upper)) => Ok(upper),
                    (lower, upper) => self.told(vertex, None, || {
                        self.solver.snapshots.difference(id, lower.as_ref(), upper.as_ref()).map_err(fail)
                    }),
                }
            }
            pb::op::Op::Source(_) => self.told(vertex, None, || self.source_tree(vertex, id)),
            pb::op::Op::Passthrough(op) => {
                let input = op.outputs.get(index).and_then(|input| usize::try_from(*input).ok());
                let edge = input.and_then(|input| vertex.inputs.get(input)).copied();
                self.tree(edge.ok_or_else(|| unsupported(vertex, format!("output {index}")))?)
            }
            pb::op::Op::Exec(_) | pb::op::Op::File(_) | pb::op::Op::Build(_) => {
                if let Some(snapshot) = self.carried_tree(vertex, id)? {
                    return Ok(snapshot);
                }
                // A record knew it, but a layer below is gone, which its inputs bring back.
                for edge in &vertex.inputs {
                    self.tree(*edge)?;
                }
                match find()? {
                    Some(snapshot) => Ok(snapshot),
                    None => self.again(vertex, index),
                }
            }
        }
    }
}

/// The inputs of a merge in its own order; the message may name them in any.
fn parts(vertex: &Vertex, merge: &pb::MergeOp) -> Result<Vec<Edge>, SolveError> {
    let edge = |input: &pb::MergeInput| usize::try_from(input.input).ok().and_then(|i| vertex.inputs.get(i)).copied();
    merge.inputs.iter().map(|input| edge(input).ok_or_else(|| unsupported(vertex, "a merge of nothing"))).collect()
}

/// The lower and upper side of a difference; `None` is scratch.
fn sides(vertex: &Vertex, diff: &pb::DiffOp) -> (Option<Edge>, Option<Edge>) {
    let edge = |index: i64| usize::try_from(index).ok().and_then(|index| vertex.inputs.get(index)).copied();
    (diff.lower.as_ref().and_then(|lower| edge(lower.input)), diff.upper.as_ref().and_then(|upper| edge(upper.input)))
}
