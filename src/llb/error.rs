//! Why a definition is not a graph that can be solved: always with the op and what is wrong with it.

use std::fmt;

use crate::oci::Digest;

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
    /// More than any real definition has, counted before memory is spent on it.
    #[error("LLB definition has more than {limit} {what}: split the build")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// There is no op or no terminal op.
    #[error("LLB definition has {ops} ops: it needs at least one operation and the terminal op that names the result")]
    Empty {
        /// Number of ops found.
        ops: usize,
    },
    /// The last op has an operation, or no input.
    #[error("the last op of an LLB definition must be the terminal one: no operation, and the result as its input")]
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
    /// An input asks for an output that its vertex does not have.
    #[error("op {digest}: input {index} asks for output {output} of {vertex}, which has {outputs}")]
    NoSuchOutput {
        /// The op.
        digest: Digest,
        /// Position of the input.
        index: usize,
        /// The output asked for.
        output: usize,
        /// Whose output.
        vertex: Digest,
        /// How many outputs that vertex has.
        outputs: usize,
    },
    /// An op needs itself. Nobody can make such bytes, since an op holds the digests of its inputs; checked all the same.
    #[error("op {digest} needs its own result")]
    Cycle {
        /// An op of the circle.
        digest: Digest,
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
    /// An operation contradicts itself.
    #[error("{op}: {defect}")]
    Malformed {
        /// The op.
        op: Box<OpName>,
        /// What is wrong with it.
        defect: Defect,
    },
}

/// Names an op in a message: its name for people, its digest, and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpName {
    /// The digest of the vertex.
    pub digest: Digest,
    /// Its name, made safe to print.
    pub label: String,
    /// File and line, when the definition says so.
    pub place: Option<String>,
}

impl fmt::Display for OpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op `{}` ({}", self.label, self.digest.short())?;
        match &self.place {
            Some(place) => write!(f, ", {place})"),
            None => f.write_str(")"),
        }
    }
}

/// What is wrong with an operation (`opsutils/validate.go`, and what its executors refuse later on).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A part that must be there is not.
    #[error("it has no {what}")]
    Missing {
        /// The part.
        what: &'static str,
    },
    /// There is more of something than any real op has.
    #[error("it has {count} {what}: at most {limit} can be")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// An action of a file op has nothing to do, or what this version does not know.
    #[error("action {at} does nothing, or what this version does not know")]
    NoAction {
        /// Position of the action.
        at: usize,
    },
    /// An index names nothing.
    #[error("{what} {at} uses index {index}, but there are {count} to choose from")]
    Index {
        /// What holds the index.
        what: &'static str,
        /// Its position.
        at: usize,
        /// The index.
        index: i64,
        /// How many there are.
        count: usize,
    },
    /// Outputs are not each number from 0 once.
    #[error("its outputs must be numbered from 0 without a gap, each once, but {what} {at} gives output {output}")]
    Output {
        /// What holds the output.
        what: &'static str,
        /// Its position.
        at: usize,
        /// The number.
        output: i64,
    },
    /// Not exactly one mount is the root.
    #[error("it has {count} mounts at `/`: exactly one must be there")]
    Roots {
        /// How many.
        count: usize,
    },
    /// The root is not a bind.
    #[error("its mount at `/` is a {kind}: only a bind can be the root")]
    RootKind {
        /// What it is.
        kind: &'static str,
    },
    /// A mount would cover the root under another spelling.
    #[error("mount {at} at `{dest}` would cover the root: write `/`")]
    CoversRoot {
        /// Position of the mount.
        at: usize,
        /// Where it is.
        dest: String,
    },
    /// An enumeration has a value that this version does not know.
    #[error("{what} has the unknown value {value}")]
    Value {
        /// The field.
        what: &'static str,
        /// Its value.
        value: i64,
    },
    /// A name or path holds a NUL, which no system call can take.
    #[error("{what} holds a NUL byte: `{text}`")]
    Nul {
        /// The field.
        what: &'static str,
        /// Its text, escaped.
        text: String,
    },
    /// A source does not say of what kind it is.
    #[error("source `{identifier}` has no scheme: write SCHEME://NAME")]
    Scheme {
        /// The identifier.
        identifier: String,
    },
}
