//! Sources and merges: content at once, trees on demand.

use super::error::SolveError;
use super::exec::snapshot_error;
use super::key;
use super::run::{Work, unsupported};
use super::value::Value;
use crate::llb::{Edge, Vertex, op, pb};
use crate::oci::Digest;
use crate::progress::Event;
use crate::snapshot::Snapshot;
use crate::source::{self, SourceError};

/// What a source identifier names.
enum Named<'a> {
    File { digest: Digest, filename: &'a str },
    Image { manifest: Digest },
    Directory { name: &'a str },
}

fn named<'a>(vertex: &Vertex, source: &'a pb::SourceOp) -> Result<Named<'a>, SolveError> {
    let pinned = |rest: &str| rest.rsplit_once('@').and_then(|(_, digest)| digest.parse::<Digest>().ok());
    let identifier = source.identifier.as_str();
    let unpinned = || unsupported(vertex, format!("source `{identifier}` without a digest"));
    if let Some(rest) = identifier.strip_prefix(op::OCI_BLOB) {
        let digest = pinned(rest).ok_or_else(unpinned)?;
        let filename = source.attrs.get(op::FILENAME).map(String::as_str).filter(|name| is_plain(name));
        let filename = filename.ok_or_else(|| unsupported(vertex, "a blob without a plain file name"))?;
        return Ok(Named::File { digest, filename });
    }
    if let Some(rest) = identifier.strip_prefix(op::OCI_LAYOUT) {
        return Ok(Named::Image { manifest: pinned(rest).ok_or_else(unpinned)? });
    }
    match identifier.strip_prefix(op::LOCAL) {
        Some(name) => Ok(Named::Directory { name }),
        None => Err(unsupported(vertex, format!("source `{identifier}`"))),
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

impl Work<'_> {
    /// Returns the value of a source.
    pub(super) fn source(&self, vertex: &Vertex, op: &pb::SourceOp) -> Result<Value, SolveError> {
        match named(vertex, op)? {
            Named::File { digest, filename } => Ok(Value::lazy(key::file(filename, &digest))),
            Named::Image { manifest } => Ok(Value::lazy(key::image(&manifest))),
            Named::Directory { name } => {
                let missing =
                    || SolveError::MissingInput { name: vertex.name().to_owned(), what: format!("directory `{name}`") };
                let path = self.solver.inputs.directories.get(name).ok_or_else(missing)?;
                let include: Vec<String> = match op.attrs.get(op::INCLUDE) {
                    Some(json) => {
                        serde_json::from_str(json).map_err(|_| unsupported(vertex, "malformed include patterns"))?
                    }
                    None => Vec::new(),
                };
                let snapshots = self.solver.snapshots;
                let copy = || snapshots.copy_in(path, &include).map_err(|error| snapshot_error(vertex.name(), error));
                let snapshot = self.told(vertex, None, copy)?;
                Ok(Value::ready(snapshot.digest(), snapshot))
            }
        }
    }

    /// Returns the value of a merge: its content follows from its inputs.
    pub(super) fn merge(&self, vertex: &Vertex, merge: &pb::MergeOp) -> Result<Value, SolveError> {
        let contents: Vec<Digest> = edges(vertex, merge)?.iter().map(|edge| self.value(&edge.vertex).content).collect();
        Ok(Value::lazy(key::merge(&contents)))
    }

    /// Returns the tree of an edge, making it if it is not on disk yet.
    pub(super) fn tree(&self, edge: Edge) -> Result<Snapshot, SolveError> {
        let vertex = self.graph.vertex(&edge.vertex);
        if edge.index != 0 {
            return Err(unsupported(vertex, format!("output {}", edge.index)));
        }
        let value = self.value(&edge.vertex);
        value.tree(|| self.make(vertex, &value.content))
    }

    fn make(&self, vertex: &Vertex, id: &Digest) -> Result<Snapshot, SolveError> {
        let fail = |error| snapshot_error(vertex.name(), error);
        if self.solver.cancel.is_cancelled() {
            return Err(SolveError::Cancelled);
        }
        // Lazy trees have the digest of their content as ID, so any run of any graph finds them.
        if let Some(snapshot) = self.solver.snapshots.get(&id.hex()).map_err(fail)? {
            self.progress.event(&Event::Cached { vertex: vertex.digest, name: vertex.name() });
            return Ok(snapshot);
        }
        match &vertex.op {
            pb::op::Op::Merge(merge) => {
                let trees: Result<Vec<Snapshot>, SolveError> =
                    edges(vertex, merge)?.into_iter().map(|edge| self.tree(edge)).collect();
                let trees = trees?;
                self.told(vertex, None, || self.solver.snapshots.merge(id, &trees).map_err(fail))
            }
            pb::op::Op::Source(op) => self.told(vertex, None, || match named(vertex, op)? {
                Named::File { digest, filename } => self.file(vertex, id, &digest, filename),
                Named::Image { manifest } => self.image(vertex, id, &manifest),
                Named::Directory { .. } => Err(unsupported(vertex, "a lazy directory")),
            }),
            _ => Err(unsupported(vertex, "a lazy tree of this kind")),
        }
    }

    fn file(&self, vertex: &Vertex, id: &Digest, digest: &Digest, filename: &str) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let missing = || SolveError::MissingInput { name: vertex.name().to_owned(), what: format!("file {digest}") };
        let pinned = solver.inputs.files.get(digest).ok_or_else(missing)?;
        source::fetch(solver.store, pinned, solver.origins, self.progress, vertex.digest)
            .map_err(|error| source_error(vertex, error))?;
        let path = solver.store.path(digest);
        solver.snapshots.file(id, &path, filename).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn image(&self, vertex: &Vertex, id: &Digest, manifest: &Digest) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let missing = || SolveError::MissingInput { name: vertex.name().to_owned(), what: format!("image {manifest}") };
        let rootfs = solver.inputs.images.get(manifest).ok_or_else(missing)?;
        let told = (self.progress, vertex.digest);
        let image = source::assemble(solver.store, rootfs, solver.origins, solver.jobs.total(), told)
            .map_err(|error| source_error(vertex, error))?;
        let layers: Vec<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
        solver.snapshots.import(id, &layers).map_err(|error| snapshot_error(vertex.name(), error))
    }
}

/// The inputs of a merge in its own order; the message may name them in any.
fn edges(vertex: &Vertex, merge: &pb::MergeOp) -> Result<Vec<Edge>, SolveError> {
    let edge = |input: &pb::MergeInput| usize::try_from(input.input).ok().and_then(|i| vertex.inputs.get(i)).copied();
    merge.inputs.iter().map(|input| edge(input).ok_or_else(|| unsupported(vertex, "a merge of nothing"))).collect()
}

fn source_error(vertex: &Vertex, error: SourceError) -> SolveError {
    SolveError::Source { name: vertex.name().to_owned(), source: Box::new(error) }
}
