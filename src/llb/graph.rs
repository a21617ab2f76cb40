//! A closed graph of vertices and its wire form.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::{caps, pb};
use crate::oci::Digest;

/// One output of one vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Digest of the vertex.
    pub vertex: Digest,
    /// Which of its outputs, from 0.
    pub index: usize,
}

/// One operation with everything a solver needs to know of it.
#[derive(Debug, Clone)]
pub struct Vertex {
    /// SHA-256 of [`Vertex::bytes`].
    pub digest: Digest,
    /// The marshalled `pb.Op`, as built or as received.
    pub bytes: Vec<u8>,
    /// The operation.
    pub op: pb::op::Op,
    /// Its inputs, in the order that the operation's indexes mean.
    pub inputs: Vec<Edge>,
    /// `OS/Architecture` of the op; `None` means the solver's own.
    pub platform: Option<pb::Platform>,
    /// Names, capabilities and hints; not part of the digest.
    pub metadata: pb::OpMetadata,
}

/// A closed, acyclic graph and the edge that is its result.
#[derive(Debug, Clone)]
pub struct Graph {
    order: Vec<Digest>,
    vertices: BTreeMap<Digest, Vertex>,
    output: Edge,
    /// The op that names the result, as built or as received, and its metadata.
    terminal: (Vec<u8>, pb::OpMetadata),
}

/// Why a definition is not a graph that can be solved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// The bytes are not a protobuf message of the expected kind.
    #[error("LLB {what} is not valid protobuf: {reason}")]
    Decode {
        /// `definition`, or the position of an op.
        what: String,
        /// The decoder's words.
        reason: String,
    },
    /// There is no op or no terminal op.
    #[error("LLB definition has {ops} ops: it needs at least one operation and the terminal op that names the result")]
    Empty {
        /// Number of ops found.
        ops: usize,
    },
    /// The last op has an operation, or not exactly one input.
    #[error("the last op of an LLB definition must be the terminal one: no operation and exactly one input")]
    Terminal,
    /// An op that is not the last one has no operation.
    #[error("op {digest} has no operation, or one that this version does not know")]
    NoOperation {
        /// The op.
        digest: Digest,
    },
    /// An input names a digest that is not in the definition, or is no digest.
    #[error("op {digest}: input {index} names `{input}`, which is not in the definition")]
    MissingInput {
        /// The op.
        digest: Digest,
        /// Position of the input.
        index: usize,
        /// What it names.
        input: String,
    },
    /// An input's output index is negative.
    #[error("op {digest}: input {index} asks for output {output}, which is negative")]
    NegativeOutput {
        /// The op.
        digest: Digest,
        /// Position of the input.
        index: usize,
        /// The output asked for.
        output: i64,
    },
    /// A capability that this version does not have.
    #[error(
        "op {digest} asks for `{cap}`, which this version of dockless does not know: use a newer dockless or `--engine buildkit`"
    )]
    UnknownCapability {
        /// The op.
        digest: Digest,
        /// The capability.
        cap: String,
    },
}

impl Vertex {
    /// Returns the name for people: the custom name, or the kind of the operation.
    pub fn name(&self) -> &str {
        if let Some(name) = self.metadata.description.get("llb.customname") {
            return name;
        }
        match &self.op {
            pb::op::Op::Source(source) => &source.identifier,
            other => kind(other),
        }
    }

    /// Returns `source`, `exec`, `file`, `merge`, `diff`, `build` or `passthrough`.
    pub const fn kind(&self) -> &'static str {
        kind(&self.op)
    }
}

const fn kind(op: &pb::op::Op) -> &'static str {
    match op {
        pb::op::Op::Exec(_) => "exec",
        pb::op::Op::Source(_) => "source",
        pb::op::Op::File(_) => "file",
        pb::op::Op::Build(_) => "build",
        pb::op::Op::Merge(_) => "merge",
        pb::op::Op::Diff(_) => "diff",
        pb::op::Op::Passthrough(_) => "passthrough",
    }
}

impl Graph {
    /// Assembles a graph from vertices that only name each other; the caller guarantees the order.
    pub(super) fn from_parts(order: Vec<Digest>, vertices: BTreeMap<Digest, Vertex>, output: Edge) -> Self {
        let caps = TERMINAL_CAPS.map(|cap| (cap.to_owned(), true)).into();
        let metadata = pb::OpMetadata { caps, ..pb::OpMetadata::default() };
        let terminal = pb::Op { inputs: vec![input(output)], ..pb::Op::default() };
        Self { order, vertices, output, terminal: (terminal.encode_to_vec(), metadata) }
    }

    /// Returns the vertices, inputs before those that use them.
    pub fn vertices(&self) -> impl ExactSizeIterator<Item = &Vertex> {
        self.order.iter().map(|digest| self.vertex(digest))
    }

    /// Returns one vertex; panics on a digest that is not of this graph.
    pub fn vertex(&self, digest: &Digest) -> &Vertex {
        self.vertices.get(digest).expect("a graph is closed over its edges")
    }

    /// Returns the edge that is the result.
    pub const fn output(&self) -> Edge {
        self.output
    }

    /// Returns the number of vertices.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Tells whether the graph has no vertex, which never happens.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Returns the wire form (`ops.proto Definition`).
    pub fn marshal(&self) -> pb::Definition {
        let (terminal, metadata) = self.terminal.clone();
        let last = (Digest::of(&terminal).to_string(), metadata);
        pb::Definition {
            def: self.vertices().map(|vertex| vertex.bytes.clone()).chain([terminal]).collect(),
            metadata: self.vertices().map(|v| (v.digest.to_string(), v.metadata.clone())).chain([last]).collect(),
            source: None,
        }
    }

    /// Returns the bytes of the wire form, what `dockless solve` and BuildKit read.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.marshal().encode_to_vec()
    }

    /// Reads the bytes of a definition.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        let definition = pb::Definition::decode(bytes)
            .map_err(|error| GraphError::Decode { what: "definition".to_owned(), reason: error.to_string() })?;
        Self::try_from(&definition)
    }
}

/// What the marshaller of BuildKit's client asks for with every definition.
const TERMINAL_CAPS: [&str; 3] = ["constraints", "meta.description", "platform"];

pub(super) fn input(edge: Edge) -> pb::Input {
    pb::Input { digest: edge.vertex.to_string(), index: i64::try_from(edge.index).unwrap_or(i64::MAX) }
}

impl TryFrom<&pb::Definition> for Graph {
    type Error = GraphError;

    fn try_from(definition: &pb::Definition) -> Result<Self, GraphError> {
        if definition.def.len() < 2 {
            return Err(GraphError::Empty { ops: definition.def.len() });
        }
        let mut ops = BTreeMap::new();
        let mut last = None;
        for (position, bytes) in definition.def.iter().enumerate() {
            let op = pb::Op::decode(bytes.as_slice())
                .map_err(|error| GraphError::Decode { what: format!("op {position}"), reason: error.to_string() })?;
            let digest = Digest::of(bytes);
            last = Some(digest);
            ops.insert(digest, (op, bytes));
        }
        let last = last.expect("at least two ops");
        let (end, end_bytes) = ops.remove(&last).expect("just inserted");
        let [result] = end.inputs.as_slice() else { return Err(GraphError::Terminal) };
        if end.op.is_some() {
            return Err(GraphError::Terminal);
        }

        let mut vertices = BTreeMap::new();
        for (digest, (op, bytes)) in &ops {
            let inputs: Result<Vec<Edge>, GraphError> =
                op.inputs.iter().enumerate().map(|(index, input)| edge(*digest, index, input, &ops)).collect();
            let metadata = metadata(definition, *digest)?;
            let vertex = Vertex {
                digest: *digest,
                bytes: (*bytes).clone(),
                op: op.op.clone().ok_or(GraphError::NoOperation { digest: *digest })?,
                inputs: inputs?,
                platform: op.platform.clone(),
                metadata,
            };
            vertices.insert(*digest, vertex);
        }
        let output = edge(last, 0, result, &ops)?;
        let order = reachable(&vertices, output.vertex);
        let reached: BTreeSet<Digest> = order.iter().copied().collect();
        vertices.retain(|digest, _| reached.contains(digest));
        let terminal = (end_bytes.clone(), metadata(definition, last)?);
        Ok(Self { order, vertices, output, terminal })
    }
}

/// The metadata of an op, refused when it asks for what we do not know.
fn metadata(definition: &pb::Definition, digest: Digest) -> Result<pb::OpMetadata, GraphError> {
    let metadata = definition.metadata.get(&digest.to_string()).cloned().unwrap_or_default();
    match metadata.caps.iter().find(|(cap, wanted)| **wanted && !caps::known(cap)) {
        Some((cap, _)) => Err(GraphError::UnknownCapability { digest, cap: cap.clone() }),
        None => Ok(metadata),
    }
}

fn edge<T>(digest: Digest, index: usize, input: &pb::Input, ops: &BTreeMap<Digest, T>) -> Result<Edge, GraphError> {
    let missing = || GraphError::MissingInput { digest, index, input: input.digest.clone() };
    let vertex: Digest = input.digest.parse().map_err(|_| missing())?;
    if !ops.contains_key(&vertex) {
        return Err(missing());
    }
    let output = input.index;
    let index = usize::try_from(output).map_err(|_| GraphError::NegativeOutput { digest, index, output })?;
    Ok(Edge { vertex, index })
}

/// The vertices that `root` needs, inputs first. Iterative, so that a deep foreign graph cannot exhaust the stack.
fn reachable(vertices: &BTreeMap<Digest, Vertex>, root: Digest) -> Vec<Digest> {
    let mut order = Vec::new();
    let mut state: BTreeMap<Digest, bool> = BTreeMap::new();
    let mut stack = vec![root];
    while let Some(&digest) = stack.last() {
        match state.get(&digest) {
            None => {
                state.insert(digest, false);
                let inputs = vertices.get(&digest).map(|v| v.inputs.as_slice()).unwrap_or_default();
                stack.extend(inputs.iter().rev().map(|edge| edge.vertex).filter(|d| !state.contains_key(d)));
            }
            Some(false) => {
                state.insert(digest, true);
                order.push(digest);
                stack.pop();
            }
            Some(true) => {
                stack.pop();
            }
        }
    }
    order
}
