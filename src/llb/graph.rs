//! A closed graph of vertices and its wire form.

use std::borrow::Cow;
use std::collections::BTreeMap;

use prost::Message as _;

use super::error::{GraphError, OpName};
use super::location::{self, Span};
use super::{pb, validate, wire};
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
    /// `OS/Architecture` of the op, normalised (`containerd platforms.Normalize`); `None` means the solver's own.
    pub platform: Option<pb::Platform>,
    /// Names, capabilities and hints; not part of the digest.
    pub metadata: pb::OpMetadata,
}

/// A closed, acyclic graph and the edge that is its result.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Topological, inputs first.
    pub(super) order: Vec<Digest>,
    /// As built or as received: the order of the wire form.
    pub(super) wire: Vec<Digest>,
    pub(super) vertices: BTreeMap<Digest, Vertex>,
    pub(super) output: Edge,
    /// The op that names the result, as built or as received, and its metadata.
    pub(super) terminal: (Vec<u8>, pb::OpMetadata),
    /// Where the vertices were written down.
    pub(super) source: Option<pb::Source>,
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

    /// Returns the name for people, or what the operation does (`vertex.go llbOpName`): short, on one line, safe to print.
    pub fn label(&self) -> String {
        let name = self.metadata.description.get("llb.customname").map(|name| Cow::Borrowed(name.as_str()));
        clean(&name.unwrap_or_else(|| summary(&self.op)))
    }

    /// Returns how many outputs the operation has; every edge of a graph names one of them.
    pub fn outputs(&self) -> usize {
        validate::outputs(&self.op)
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

/// Characters of a label: a name is foreign and may be a file.
const LABEL: usize = 160;

/// Makes a foreign name one short line that cannot drive a terminal.
pub(super) fn clean(text: &str) -> String {
    let mut clean: String =
        text.chars().take(LABEL).map(|c| if c.is_control() || is_bidi(c) { ' ' } else { c }).collect();
    if text.chars().nth(LABEL).is_some() {
        clean.push('…');
    }
    clean
}

/// Characters that reorder what follows: a name must not rewrite the line it stands on.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn summary(op: &pb::op::Op) -> Cow<'_, str> {
    use pb::file_action::Action;
    match op {
        pb::op::Op::Source(source) => source.identifier.as_str().into(),
        pb::op::Op::Exec(exec) => {
            let args = exec.meta.as_ref().map(|meta| meta.args.as_slice()).unwrap_or_default();
            args.iter().take(LABEL).map(String::as_str).collect::<Vec<_>>().join(" ").into()
        }
        pb::op::Op::File(file) => {
            let names = file.actions.iter().take(LABEL).filter_map(|action| {
                Some(match action.action.as_ref()? {
                    Action::Copy(copy) => format!("copy {} {}", copy.src, copy.dest),
                    Action::Mkfile(file) => format!("mkfile {}", file.path),
                    Action::Mkdir(directory) => format!("mkdir {}", directory.path),
                    Action::Rm(rm) => format!("rm {}", rm.path),
                    Action::Symlink(link) => format!("symlink {} -> {}", link.newpath, link.oldpath),
                })
            });
            names.collect::<Vec<_>>().join(", ").into()
        }
        pb::op::Op::Passthrough(passthrough) => format!("passthrough {}", passthrough.id).into(),
        other => kind(other).into(),
    }
}

impl Graph {
    /// Assembles a graph from vertices that only name each other; the caller guarantees the order.
    pub(super) fn from_parts(order: Vec<Digest>, vertices: BTreeMap<Digest, Vertex>, output: Edge) -> Self {
        let caps = TERMINAL_CAPS.map(|cap| (cap.to_owned(), true)).into();
        let metadata = pb::OpMetadata { caps, ..pb::OpMetadata::default() };
        let terminal = pb::Op { inputs: vec![input(output)], ..pb::Op::default() };
        let terminal = (terminal.encode_to_vec(), metadata);
        Self { wire: order.clone(), order, vertices, output, terminal, source: None }
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

    /// Returns where a vertex was written down, as the front end that made the definition recorded it.
    pub fn spans(&self, digest: &Digest) -> Vec<Span<'_>> {
        location::spans(self.source.as_ref(), digest)
    }

    /// Returns how a message names a vertex: its name, its digest, and where it was written down.
    pub fn name_of(&self, digest: &Digest) -> OpName {
        OpName::of(self.vertex(digest), self.source.as_ref())
    }

    /// Replaces operations of sources, as a source policy does; `replace` returns `None` for what stays.
    ///
    /// Digests, bytes and edges stay what they were: a vertex is called the same throughout one run whatever its source
    /// became. (BuildKit computes new digests at this point. Nothing of ours that outlives a run holds the digest of a
    /// vertex: cache keys are made of operations and contents, so a replaced source has the key of its new operation.)
    /// [`Graph::marshal`] hence gives the graph before the policy.
    pub fn with_sources<E>(
        mut self,
        mut replace: impl FnMut(&Vertex, &pb::SourceOp) -> Result<Option<pb::SourceOp>, E>,
    ) -> Result<Self, E> {
        for vertex in self.vertices.values_mut() {
            let pb::op::Op::Source(source) = &vertex.op else { continue };
            if let Some(source) = replace(vertex, source)? {
                vertex.op = pb::op::Op::Source(source);
            }
        }
        Ok(self)
    }

    /// Returns the wire form (`ops.proto Definition`), ops in the order they were built or received.
    pub fn marshal(&self) -> pb::Definition {
        let (terminal, metadata) = self.terminal.clone();
        let last = (Digest::of(&terminal).to_string(), metadata);
        let vertices = || self.wire.iter().map(|digest| self.vertex(digest));
        pb::Definition {
            def: vertices().map(|vertex| vertex.bytes.clone()).chain([terminal]).collect(),
            metadata: vertices().map(|v| (v.digest.to_string(), v.metadata.clone())).chain([last]).collect(),
            source: self.source.clone(),
        }
    }

    /// Returns the bytes of the wire form, what `dockless solve` and BuildKit read.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut definition = self.marshal();
        if let Some(source) = &mut definition.source {
            // An entry without places is written as one without a value, which BuildKit refuses to read.
            source.locations.retain(|_, places| !places.locations.is_empty());
        }
        definition.encode_to_vec()
    }

    /// Reads the bytes of a definition.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, GraphError> {
        wire::check(bytes)?;
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
