//! The JSON of LLB that `buildctl debug dump-llb` prints, byte for byte: Go's field names and order (`solver/pb/json.go`),
//! empty fields left out, and `<`, `>`, `&` escaped as Go's encoder does by default.
//!
//! One difference is meant: BuildKit's `json.go` knows no symlink action and prints it as `{}`; here it is printed.

use std::io;

use serde::{Serialize, Serializer};
use serde_json::ser::Formatter;

use super::graph::Graph;
use super::pb;
use crate::oci::Digest;

/// One line of [`json_lines`].
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    op: Op,
    digest: String,
    op_metadata: &'a pb::OpMetadata,
}

/// `jsonOp`, whose order is not that of the protocol file.
#[derive(Serialize)]
struct Op {
    #[serde(skip_serializing_if = "is_default")]
    inputs: Vec<pb::Input>,
    #[serde(rename = "Op", serialize_with = "oneof")]
    kind: Option<pb::op::Op>,
    #[serde(skip_serializing_if = "is_default")]
    platform: Option<pb::Platform>,
    #[serde(skip_serializing_if = "is_default")]
    constraints: Option<pb::WorkerConstraints>,
}

/// Returns one JSON object a line in the shape of `buildctl debug dump-llb`, in the order of the wire form.
pub fn json_lines(graph: &Graph) -> String {
    let definition = graph.marshal();
    let mut text = Vec::new();
    let default = pb::OpMetadata::default();
    for bytes in &definition.def {
        let digest = Digest::of(bytes).to_string();
        let message = <pb::Op as prost::Message>::decode(bytes.as_slice()).expect("a graph holds decodable ops");
        let op = Op {
            inputs: message.inputs,
            kind: message.op,
            platform: message.platform,
            constraints: message.constraints,
        };
        let op_metadata = definition.metadata.get(&digest).unwrap_or(&default);
        let line = Line { op, digest, op_metadata };
        line.serialize(&mut serde_json::Serializer::with_formatter(&mut text, Go)).expect("LLB is JSON");
        text.push(b'\n');
    }
    String::from_utf8(text).expect("JSON is text")
}

/// Go's encoder: compact, and safe to stand in HTML.
struct Go;

impl Formatter for Go {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut start = 0;
        for (at, found) in fragment.match_indices(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            writer.write_all(&fragment.as_bytes()[start..at])?;
            let code = found.chars().next().map_or(0, u32::from);
            write!(writer, "\\u{code:04x}")?;
            start = at + found.len();
        }
        writer.write_all(&fragment.as_bytes()[start..])
    }
}

/// Tells whether a field has its protobuf default, which Go's `omitempty` leaves out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
/// A oneof as an object with at most one key, as BuildKit's `json.go` wraps it.
pub(crate) fn oneof<T: Serialize, S: Serializer>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.collect_map(std::iter::empty::<((), ())>()),
    }
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
/// The oneof of a user: ID 0 is left out like every 0.
pub(crate) fn user<S: Serializer>(value: &Option<pb::user_opt::User>, serializer: S) -> Result<S::Ok, S::Error> {
    let root = matches!(value, Some(pb::user_opt::User::ById(0)));
    oneof(if root { &None } else { value }, serializer)
}

/// Bytes in standard base64, as Go's `encoding/json` writes `[]byte`.
pub(crate) fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&encode(bytes))
}

/// Definitions inside definitions hold marshalled ops: a list of base64 strings.
pub(crate) fn base64_list<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|bytes| encode(bytes)))
}

fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn base64_pads_like_go() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(super::encode(bytes.as_bytes()), text);
        }
    }
}
