//! Graphs for people and other programs: a tree, JSON lines, Graphviz.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde::Serialize;

use super::graph::{Graph, Vertex};
use super::pb;
use crate::oci::Digest;

/// Returns the graph as an indented tree from the result down; a vertex seen before is named again but not opened.
pub fn tree(graph: &Graph) -> String {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    let root = graph.output().vertex;
    // Explicit stack of (digest, prefix, last child, depth 0), so that a deep foreign graph cannot exhaust ours.
    let mut stack = vec![(root, String::new(), true, true)];
    while let Some((digest, prefix, last, top)) = stack.pop() {
        let vertex = graph.vertex(&digest);
        let branch = if top {
            ""
        } else if last {
            "└─ "
        } else {
            "├─ "
        };
        let again = !seen.insert(digest) && !vertex.inputs.is_empty();
        let mark = if again { " (above)" } else { "" };
        let _ = writeln!(text, "{prefix}{branch}{} {} {}{mark}", vertex.kind(), vertex.name(), digest.short());
        if again {
            continue;
        }
        let deeper = if top { String::new() } else { format!("{prefix}{}", if last { "   " } else { "│  " }) };
        let mut children: Vec<Digest> = Vec::new();
        for edge in &vertex.inputs {
            if !children.contains(&edge.vertex) {
                children.push(edge.vertex);
            }
        }
        let end = children.len();
        stack.extend(
            children.into_iter().enumerate().rev().map(|(i, child)| (child, deeper.clone(), i + 1 == end, false)),
        );
    }
    text
}

/// One line of [`json_lines`].
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    op: pb::Op,
    digest: String,
    op_metadata: &'a pb::OpMetadata,
}

/// Returns one JSON object a line in the shape of `buildctl debug dump-llb`, the terminal op last.
pub fn json_lines(graph: &Graph) -> String {
    let definition = graph.marshal();
    let mut text = String::new();
    let default = pb::OpMetadata::default();
    for bytes in &definition.def {
        let digest = Digest::of(bytes).to_string();
        let op = <pb::Op as prost::Message>::decode(bytes.as_slice()).expect("a graph holds decodable ops");
        let op_metadata = definition.metadata.get(&digest).unwrap_or(&default);
        let line = Line { op, digest, op_metadata };
        text.push_str(&serde_json::to_string(&line).expect("LLB is JSON"));
        text.push('\n');
    }
    text
}

/// Returns the graph in Graphviz' DOT language, edges from inputs to users.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph {\n  rankdir=LR\n");
    for vertex in graph.vertices() {
        let _ =
            writeln!(text, "  \"{}\" [label={} shape={}]", vertex.digest.short(), quoted(vertex.name()), shape(vertex));
        for (i, edge) in vertex.inputs.iter().enumerate() {
            let label = mount_of(vertex, i);
            let _ = writeln!(
                text,
                "  \"{}\" -> \"{}\" [label={}]",
                edge.vertex.short(),
                vertex.digest.short(),
                quoted(&label)
            );
        }
    }
    text.push_str("}\n");
    text
}

fn shape(vertex: &Vertex) -> &'static str {
    match vertex.op {
        pb::op::Op::Source(_) => "ellipse",
        pb::op::Op::Exec(_) => "box",
        _ => "diamond",
    }
}

/// Where an exec mounts its input `index`; empty for other operations.
fn mount_of(vertex: &Vertex, index: usize) -> String {
    let pb::op::Op::Exec(exec) = &vertex.op else { return String::new() };
    let mount = exec.mounts.iter().find(|mount| usize::try_from(mount.input) == Ok(index));
    mount.map(|mount| mount.dest.clone()).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "))
}
