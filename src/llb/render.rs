//! Graphs for people: a tree, Graphviz. What is written is foreign, so names are short, on one line, and escaped.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::Write as _;

use super::graph::{Graph, Vertex};
use super::{pb, platform};
use crate::oci::Digest;

/// Levels of indentation; what lies deeper gets a tree of its own, so that a chain of thousands stays readable and small.
const DEEPEST: usize = 48;

/// Returns the graph as an indented tree from the result down; a vertex seen before is named again but not opened.
///
/// Progress groups stand in brackets, platforms where a graph has more than one.
pub fn tree(graph: &Graph) -> String {
    let mut text = String::new();
    let mut seen = BTreeSet::new();
    let notes = Notes::of(graph);
    let mut roots = VecDeque::from([graph.output().vertex]);
    while let Some(root) = roots.pop_front() {
        if seen.contains(&root) {
            continue;
        }
        if !text.is_empty() {
            text.push('\n');
        }
        // Explicit stack of (digest, prefix, last child, depth), so that a deep foreign graph cannot exhaust ours.
        let mut stack = vec![(root, String::new(), true, 0)];
        while let Some((digest, prefix, last, depth)) = stack.pop() {
            let vertex = graph.vertex(&digest);
            let branch = match (depth, last) {
                (0, _) => "",
                (_, true) => "└─ ",
                (_, false) => "├─ ",
            };
            let leaf = vertex.inputs.is_empty();
            let later = depth == DEEPEST && !leaf && !seen.contains(&digest);
            let again = !later && !seen.insert(digest) && !leaf;
            let mark = if again {
                " (above)"
            } else if later {
                roots.push_back(digest);
                " (below)"
            } else {
                ""
            };
            let (kind, name, note) = (vertex.kind(), vertex.label(), notes.on(vertex));
            let name = if name == kind { String::new() } else { format!(" {name}") };
            let _ = writeln!(text, "{prefix}{branch}{kind}{name} {}{note}{mark}", digest.short());
            if again || later {
                continue;
            }
            let bar = match (depth, last) {
                (0, _) => "",
                (_, true) => "   ",
                (_, false) => "│  ",
            };
            let deeper = format!("{prefix}{bar}");
            let children = inputs(vertex);
            let end = children.len();
            let child = |(i, child)| (child, deeper.clone(), i + 1 == end, depth + 1);
            stack.extend(children.into_iter().enumerate().rev().map(child));
        }
    }
    text
}

/// The vertices that one needs, each once, in the order of its inputs.
pub(super) fn inputs(vertex: &Vertex) -> Vec<Digest> {
    let mut seen = BTreeSet::new();
    vertex.inputs.iter().map(|edge| edge.vertex).filter(|digest| seen.insert(*digest)).collect()
}

/// What is worth a note on a vertex of one graph.
pub(super) struct Notes {
    several_platforms: bool,
}

impl Notes {
    pub(super) fn of(graph: &Graph) -> Self {
        let platforms: BTreeSet<String> =
            graph.vertices().filter_map(|vertex| vertex.platform.as_ref()).map(platform::name).collect();
        Self { several_platforms: platforms.len() > 1 }
    }

    /// The platform of a vertex, when it is not that of all.
    pub(super) fn platform(&self, vertex: &Vertex) -> Option<String> {
        vertex.platform.as_ref().filter(|_| self.several_platforms).map(platform::name)
    }

    fn on(&self, vertex: &Vertex) -> String {
        let mut note = String::new();
        if let Some(platform) = self.platform(vertex) {
            let _ = write!(note, " {platform}");
        }
        if let Some(group) = group(vertex) {
            let _ = write!(note, " [{group}]");
        }
        note
    }
}

/// The progress group of a vertex, by the name that is shown.
pub(super) fn group(vertex: &Vertex) -> Option<String> {
    let group = vertex.metadata.progress_group.as_ref()?;
    let name = if group.name.is_empty() { &group.id } else { &group.name };
    Some(super::graph::clean(name)).filter(|name| !name.is_empty())
}

/// Returns the graph in Graphviz' DOT language, edges from inputs to users, progress groups as clusters.
pub fn dot(graph: &Graph) -> String {
    let mut text = String::from("digraph {\n  rankdir=LR\n");
    let notes = Notes::of(graph);
    let mut groups: Vec<(&str, String, String)> = Vec::new();
    for vertex in graph.vertices() {
        let id = vertex.digest.short();
        let name = match notes.platform(vertex) {
            Some(platform) => format!("{} ({platform})", vertex.label()),
            None => vertex.label(),
        };
        let _ = writeln!(text, "  \"{id}\" [label={} shape={}]", quoted(&name), shape(vertex));
        if let Some(progress) = &vertex.metadata.progress_group {
            groups.push((&progress.id, group(vertex).unwrap_or_default(), id.clone()));
        }
        for (i, edge) in vertex.inputs.iter().enumerate() {
            let mount = quoted(&mount_of(vertex, i));
            let _ = writeln!(text, "  \"{}\" -> \"{id}\" [label={mount}]", edge.vertex.short());
        }
    }
    groups.sort();
    for (number, members) in groups.chunk_by(|one, other| one.0 == other.0).enumerate() {
        let _ = writeln!(text, "  subgraph \"cluster_{number}\" {{\n    label={}", quoted(&members[0].1));
        for (_, _, id) in members {
            let _ = writeln!(text, "    \"{id}\"");
        }
        text.push_str("  }\n");
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
pub(super) fn mount_of(vertex: &Vertex, index: usize) -> String {
    let pb::op::Op::Exec(exec) = &vertex.op else { return String::new() };
    let mount = exec.mounts.iter().find(|mount| usize::try_from(mount.input) == Ok(index));
    mount.map(|mount| super::graph::clean(&mount.dest)).unwrap_or_default()
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
