//! A definition becomes a graph, or is refused with the op and the reason (`solver/llbsolver/vertex.go loadLLB`).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use prost::Message as _;

use super::error::{GraphError, OpName};
use super::graph::{Edge, Graph, Vertex, clean};
use super::{caps, pb, platform, validate, wire};
use crate::oci::Digest;

impl TryFrom<&pb::Definition> for Graph {
    type Error = GraphError;

    fn try_from(definition: &pb::Definition) -> Result<Self, GraphError> {
        let count = definition.def.len();
        let Some((end_bytes, rest)) = definition.def.split_last().filter(|(_, rest)| !rest.is_empty()) else {
            return Err(GraphError::Empty { ops: count });
        };
        if count > wire::OPS {
            return Err(GraphError::TooLarge { what: "ops", limit: wire::OPS });
        }
        let last = Digest::of(end_bytes);
        let end = decode(count - 1, end_bytes)?;
        // BuildKit takes the first input, whatever follows.
        let (Some(result), None) = (end.inputs.first(), &end.op) else { return Err(GraphError::Terminal) };

        let mut wire = Vec::with_capacity(rest.len());
        let mut ops = BTreeMap::new();
        for (position, bytes) in rest.iter().enumerate() {
            let digest = Digest::of(bytes);
            if ops.insert(digest, (decode(position, bytes)?, bytes)).is_none() {
                wire.push(digest);
            }
        }
        let mut vertices = BTreeMap::new();
        for (digest, (op, bytes)) in &ops {
            let edges = op.inputs.iter().enumerate().map(|(index, input)| edge(*digest, index, input, &ops));
            let vertex = Vertex {
                digest: *digest,
                bytes: (*bytes).clone(),
                op: op.op.clone().ok_or(GraphError::NoOperation { digest: *digest })?,
                inputs: edges.collect::<Result<_, _>>()?,
                platform: op.platform.as_ref().map(platform::normalise),
                metadata: metadata(definition, *digest)?,
            };
            vertices.insert(*digest, vertex);
        }
        let output = edge(last, 0, result, &ops)?;
        drop(ops);

        // What the result does not need is never looked at again, as with BuildKit.
        let reached = reachable(&vertices, output.vertex);
        vertices.retain(|digest, _| reached.contains(digest));
        wire.retain(|digest| reached.contains(digest));
        let source = definition.source.clone();
        let order = topological(&vertices, &wire)?;
        for vertex in vertices.values() {
            validate::operation(&vertex.op, vertex.inputs.len())
                .map_err(|defect| GraphError::Malformed { op: OpName::of(vertex, source.as_ref()).into(), defect })?;
        }
        for vertex in vertices.values() {
            for (index, edge) in vertex.inputs.iter().enumerate() {
                check_output(vertex.digest, index, *edge, &vertices)?;
            }
        }
        check_output(last, 0, output, &vertices)?;
        let terminal = (end_bytes.clone(), metadata(definition, last)?);
        Ok(Self { order, wire, vertices, output, terminal, source })
    }
}

fn decode(position: usize, bytes: &[u8]) -> Result<pb::Op, GraphError> {
    pb::Op::decode(bytes)
        .map_err(|error| GraphError::Decode { what: format!("op {position}"), reason: error.to_string() })
}

/// The metadata of an op, refused when it asks for what we do not know. As with BuildKit the name alone counts.
fn metadata(definition: &pb::Definition, digest: Digest) -> Result<pb::OpMetadata, GraphError> {
    let metadata = definition.metadata.get(&digest.to_string()).cloned().unwrap_or_default();
    match metadata.caps.keys().find(|cap| !caps::known(cap)) {
        Some(cap) => Err(GraphError::UnknownCapability { digest, cap: clean(cap) }),
        None => Ok(metadata),
    }
}

fn edge<T>(digest: Digest, index: usize, input: &pb::Input, ops: &BTreeMap<Digest, T>) -> Result<Edge, GraphError> {
    let missing = || GraphError::MissingInput { digest, index, input: clean(&input.digest) };
    let vertex: Digest = input.digest.parse().map_err(|_| missing())?;
    if !ops.contains_key(&vertex) {
        return Err(missing());
    }
    let output = input.index;
    let index = usize::try_from(output).map_err(|_| GraphError::NegativeOutput { digest, index, output })?;
    Ok(Edge { vertex, index })
}

fn check_output(
    digest: Digest,
    index: usize,
    edge: Edge,
    vertices: &BTreeMap<Digest, Vertex>,
) -> Result<(), GraphError> {
    let outputs = vertices.get(&edge.vertex).map_or(0, |vertex| validate::outputs(&vertex.op));
    if edge.index < outputs {
        return Ok(());
    }
    Err(GraphError::NoSuchOutput { digest, index, output: edge.index, vertex: edge.vertex, outputs })
}

/// The vertices that `root` needs. Iterative, so that a deep foreign graph cannot exhaust the stack.
fn reachable(vertices: &BTreeMap<Digest, Vertex>, root: Digest) -> BTreeSet<Digest> {
    let mut reached = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(digest) = open.pop() {
        let inputs = vertices.get(&digest).map(|vertex| vertex.inputs.as_slice()).unwrap_or_default();
        open.extend(inputs.iter().map(|edge| edge.vertex).filter(|input| reached.insert(*input)));
    }
    reached
}

/// The order of `wire`, changed only where an input would come after its user.
fn topological(vertices: &BTreeMap<Digest, Vertex>, wire: &[Digest]) -> Result<Vec<Digest>, GraphError> {
    let position: BTreeMap<Digest, usize> = wire.iter().enumerate().map(|(i, digest)| (*digest, i)).collect();
    let mut users = vec![Vec::new(); wire.len()];
    let mut missing = vec![0_usize; wire.len()];
    for (digest, vertex) in vertices {
        for edge in &vertex.inputs {
            users[position[&edge.vertex]].push(position[digest]);
            missing[position[digest]] += 1;
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        missing.iter().enumerate().filter(|(_, missing)| **missing == 0).map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(wire.len());
    while let Some(Reverse(next)) = ready.pop() {
        order.push(wire[next]);
        for &user in &users[next] {
            missing[user] -= 1;
            if missing[user] == 0 {
                ready.push(Reverse(user));
            }
        }
    }
    match missing.iter().position(|missing| *missing > 0) {
        Some(at) => Err(GraphError::Cycle { digest: wire[at] }),
        None => Ok(order),
    }
}
