//! Sources: content at once, trees on demand.

use super::error::SolveError;
use super::key;
use super::run::{Work, snapshot_error, unsupported};
use super::value::Value;
use crate::layer::Compression;
use crate::llb::{Vertex, op, pb};
use crate::oci::Digest;
use crate::snapshot::{PackedLayer, Snapshot};
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
                let copy =
                    || snapshots.copy_in(&path.path, &include).map_err(|error| snapshot_error(vertex.name(), error));
                let snapshot = self.told(vertex, None, copy)?;
                Ok(Value::ready(snapshot))
            }
        }
    }

    /// Fetches or unpacks a source into the snapshot `id`.
    pub(super) fn source_tree(&self, vertex: &Vertex, op: &pb::SourceOp, id: &Digest) -> Result<Snapshot, SolveError> {
        match named(vertex, op)? {
            Named::File { digest, filename } => self.file_tree(vertex, id, &digest, filename),
            Named::Image { manifest } => self.image_tree(vertex, id, &manifest),
            Named::Directory { .. } => Err(unsupported(vertex, "a lazy directory")),
        }
    }

    fn file_tree(&self, vertex: &Vertex, id: &Digest, digest: &Digest, filename: &str) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let missing = || SolveError::MissingInput { name: vertex.name().to_owned(), what: format!("file {digest}") };
        let pinned = solver.inputs.files.get(digest).ok_or_else(missing)?;
        source::fetch(solver.store, pinned, solver.origins, self.progress, vertex.digest)
            .map_err(|error| source_error(vertex, error))?;
        let path = solver.store.path(digest);
        solver.snapshots.file(id, &path, filename).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn image_tree(&self, vertex: &Vertex, id: &Digest, manifest: &Digest) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let missing = || SolveError::MissingInput { name: vertex.name().to_owned(), what: format!("image {manifest}") };
        let rootfs = solver.inputs.images.get(manifest).ok_or_else(missing)?;
        let told = (self.progress, vertex.digest);
        let image = source::assemble(solver.store, rootfs, solver.origins, solver.jobs.total(), told)
            .map_err(|error| source_error(vertex, error))?;
        // Its layers are not compressed, so they are their own diff IDs.
        let layers: Vec<PackedLayer> = image
            .layers
            .iter()
            .map(|layer| PackedLayer {
                digest: layer.digest,
                size: layer.size,
                diff_id: layer.digest,
                media_type: Compression::None.media_type().to_owned(),
            })
            .collect();
        solver.snapshots.import(id, &layers).map_err(|error| snapshot_error(vertex.name(), error))
    }
}

fn source_error(vertex: &Vertex, error: SourceError) -> SolveError {
    SolveError::Source { name: vertex.name().to_owned(), source: Box::new(error) }
}
