//! File operations.

use super::SolveError;
use super::exec::Answer;
use super::run::{Work, unsupported};
use super::value::Value;
use crate::llb::{Vertex, pb};
use crate::oci::Digest;

impl Work<'_> {
    pub(super) fn file(&self, vertex: &Vertex, _file: &pb::FileOp) -> Result<Answer, SolveError> {
        Err(unsupported(vertex, "a file operation"))
    }

    pub(super) fn file_trees(&self, vertex: &Vertex, _file: &pb::FileOp, _: &Digest) -> Result<Vec<Value>, SolveError> {
        Err(unsupported(vertex, "a file operation"))
    }
}
