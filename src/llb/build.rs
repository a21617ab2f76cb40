//! Building graphs: every vertex is marshalled when it is added, so its inputs exist and equal vertices are one.

use std::collections::BTreeMap;

use prost::Message as _;

use super::graph::{Edge, Graph, Vertex, input};
use super::{caps, pb, validate};
use crate::oci::{Arch, Digest};

/// Collects vertices, inputs first.
#[derive(Debug, Default)]
pub struct GraphBuilder {
    order: Vec<Digest>,
    vertices: BTreeMap<Digest, Vertex>,
}

impl GraphBuilder {
    /// Starts an empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an operation and returns its output 0; an equal operation on equal inputs is the same vertex.
    ///
    /// `needs` are the capabilities that an executor must have (`caps.go`). Panics when an input was never added or a
    /// capability has no such name: both are mistakes of the calling code.
    pub fn add(&mut self, name: &str, op: pb::op::Op, inputs: &[Edge], arch: Arch, needs: &[&str]) -> Edge {
        assert!(inputs.iter().all(|edge| self.vertices.contains_key(&edge.vertex)), "inputs are added first");
        assert!(needs.iter().all(|cap| caps::known(cap)), "capabilities are those of caps.go");
        let platform =
            pb::Platform { architecture: arch.oci().to_owned(), os: "linux".to_owned(), ..pb::Platform::default() };
        debug_assert_eq!(validate::operation(&op, inputs.len()), Ok(()), "`{name}` is well formed");
        let message = pb::Op {
            inputs: inputs.iter().copied().map(input).collect(),
            platform: Some(platform.clone()),
            constraints: Some(pb::WorkerConstraints::default()),
            op: Some(op.clone()),
        };
        let bytes = message.encode_to_vec();
        let digest = Digest::of(&bytes);
        if !self.vertices.contains_key(&digest) {
            let metadata = pb::OpMetadata {
                description: BTreeMap::from([("llb.customname".to_owned(), name.to_owned())]),
                caps: needs.iter().map(|cap| ((*cap).to_owned(), true)).collect(),
                ..pb::OpMetadata::default()
            };
            let vertex = Vertex { digest, bytes, op, inputs: inputs.to_vec(), platform: Some(platform), metadata };
            self.order.push(digest);
            self.vertices.insert(digest, vertex);
        }
        Edge { vertex: digest, index: 0 }
    }

    /// Adds a line to the metadata of a vertex; it changes no digest.
    pub fn describe(&mut self, edge: Edge, key: &str, value: &str) {
        let vertex = self.vertices.get_mut(&edge.vertex).expect("the vertex was added");
        vertex.metadata.description.insert(key.to_owned(), value.to_owned());
    }

    /// Ends the graph with its result.
    pub fn finish(self, output: Edge) -> Graph {
        assert!(self.vertices.contains_key(&output.vertex), "the result was added");
        Graph::from_parts(self.order, self.vertices, output)
    }
}
