//! A graph in a graph (`ops.proto BuildOp`): an input holds a definition, which is solved in place.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::SolveError;
use super::run::{Work, unsupported};
use super::value::Value;
use crate::llb::{Graph, Vertex, pb};

/// The builder that solves LLB itself (`ops.proto`); no other exists.
const LLB_BUILDER: i64 = -1;

/// Name of the input that holds the definition (`client/llb/llbbuild`).
const INPUT: &str = "buildkit.llb.definition";

/// Attribute with the name of the definition's file.
const FILENAME: &str = "llbbuild.filename";

/// More than any graph we know; a bound for what is read into memory.
const LARGEST: u64 = 64 << 20;

/// How deep graphs may lie in graphs; one that makes itself anew would never end.
pub(super) const DEEPEST: usize = 8;

impl Work<'_> {
    /// Returns the result of the graph that an input holds.
    pub(super) fn build(&self, vertex: &Vertex, op: &pb::BuildOp) -> Result<Vec<Value>, SolveError> {
        if op.builder != LLB_BUILDER {
            return Err(unsupported(vertex, "a builder other than LLB"));
        }
        if self.depth >= DEEPEST {
            return Err(unsupported(vertex, format!("a graph in {DEEPEST} others")));
        }
        let input = op.inputs.get(INPUT).and_then(|input| usize::try_from(input.input).ok());
        let edge = input.and_then(|input| vertex.inputs.get(input)).copied();
        let edge = edge.ok_or_else(|| unsupported(vertex, format!("a build without input `{INPUT}`")))?;
        let filename = op.attrs.get(FILENAME).map_or(INPUT, String::as_str);
        let tree = self.open(vertex, edge)?;
        let graph = Graph::from_bytes(&read(tree.path(), filename)?)?;
        drop(tree);
        let solved =
            self.told(vertex, None, || self.solver.solve_at(&graph, (self.progress, self.watch), self.depth + 1))?;
        self.count(solved.ran, solved.cached);
        self.keep_all(solved.kept);
        Ok(vec![Value::made(solved.content, solved.snapshot)])
    }
}

/// Reads a file below `tree`, inside which links are followed.
fn read(tree: &Path, name: &str) -> Result<Vec<u8>, SolveError> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};

    let path = tree.join(name.trim_start_matches('/'));
    let failed = |source| SolveError::Io { action: "read", path: path.clone(), source };
    let root = open(tree, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&root, name, flags, Mode::empty(), resolve).map_err(|errno| failed(errno.into()))?;
    let mut bytes = Vec::new();
    File::from(file).take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}
