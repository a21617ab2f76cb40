//! Cache keys: what must be equal for a result to be taken from the cache.
//!
//! The key of an exec is a hash over the marshalled `ExecOp`, the platform and, per input, its content digest. Not in it:
//! digests of input vertices, names and other metadata, the job budget (`MAKEFLAGS` is the engine's, not the op's).

use prost::Message as _;

use crate::llb::{Vertex, pb};
use crate::oci::{Digest, Hasher};

/// Changed when the meaning of a record or the way steps are run changes, so that old records are not found.
const FORMAT: &[u8] = b"dockless cache 1";

/// Returns the key of an exec over the contents of its inputs, in input order.
pub(crate) fn exec(vertex: &Vertex, exec: &pb::ExecOp, inputs: &[Digest]) -> Digest {
    let platform = vertex.platform.as_ref().map(pb::Platform::encode_to_vec).unwrap_or_default();
    hash(&[b"exec", &exec.encode_to_vec(), &platform], inputs)
}

/// Returns the content digest of a merge.
pub(crate) fn merge(inputs: &[Digest]) -> Digest {
    hash(&[b"merge"], inputs)
}

/// Returns the content digest of a directory that holds one file with the bytes of `digest`.
pub(crate) fn file(name: &str, digest: &Digest) -> Digest {
    hash(&[b"file", name.as_bytes()], &[*digest])
}

/// Returns the content digest of an unpacked image.
pub(crate) fn image(manifest: &Digest) -> Digest {
    hash(&[b"image"], &[*manifest])
}

fn hash(fields: &[&[u8]], digests: &[Digest]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.field(FORMAT);
    for field in fields {
        hasher.field(field);
    }
    for digest in digests {
        hasher.field(digest.as_bytes());
    }
    hasher.finish()
}
