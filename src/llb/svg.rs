//! A picture of a graph that needs no other program: one SVG with a layered layout.
//!
//! Every vertex stands one layer after its latest input; what has no inputs stands just before its first user. Within a
//! layer, vertices are moved a few times to the mean place of their neighbours, which removes most crossings of real
//! graphs. Layers run down the page or across it, whichever makes the smaller picture. Not Graphviz: it would have to be
//! installed, and a picture in a report must not depend on its version.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::graph::{Graph, Vertex};
use super::render::{Notes, group, inputs, mount_of};
use crate::oci::Digest;

/// A box, in pixels.
const BOX: (usize, usize) = (252, 36);
/// Space between boxes: across a layer, and from layer to layer.
const SPACE: (usize, usize) = (14, 56);
/// Characters of a line that fit into a box.
const FIT: usize = 36;
/// Times that the order within layers is improved, forth and back.
const SWEEPS: usize = 4;
/// Colours of progress groups, used in turn.
const STRIPES: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"];

/// Returns the graph as an SVG document, inputs before their users; titles hold whole names and mounts.
pub fn svg(graph: &Graph) -> String {
    let vertices: Vec<&Vertex> = graph.vertices().collect();
    let place: BTreeMap<Digest, usize> = vertices.iter().enumerate().map(|(i, vertex)| (vertex.digest, i)).collect();
    let needs: Vec<Vec<usize>> =
        vertices.iter().map(|vertex| inputs(vertex).iter().map(|digest| place[digest]).collect()).collect();
    let layout = Layout::of(&needs);
    let notes = Notes::of(graph);
    let mut stripes: BTreeMap<&str, usize> = BTreeMap::new();

    let (width, height) = layout.size();
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"monospace\" font-size=\"11\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <g fill=\"none\" stroke=\"#888\">\n"
    );
    for (user, vertex) in vertices.iter().enumerate() {
        for (index, edge) in vertex.inputs.iter().enumerate() {
            let curve = layout.curve(place[&edge.vertex], user);
            let mount = escaped(&mount_of(vertex, index));
            let _ = writeln!(text, "<path d=\"{curve}\"><title>{mount}</title></path>");
        }
    }
    text.push_str("</g>\n");
    for (number, vertex) in vertices.iter().enumerate() {
        let (x, y) = layout.corner(number);
        let (w, h) = BOX;
        let label = vertex.label();
        let mut second = format!("{} {}", vertex.kind(), vertex.digest.short());
        for note in [notes.platform(vertex), group(vertex).map(|group| format!("[{group}]"))].into_iter().flatten() {
            let _ = write!(second, " {note}");
        }
        let _ = writeln!(
            text,
            "<g><title>{}\n{}</title><rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\" fill=\"{}\" \
             stroke=\"#555\"/>",
            escaped(&label),
            vertex.digest,
            fill(vertex)
        );
        if let Some(progress) = &vertex.metadata.progress_group {
            let next = stripes.len();
            let colour = STRIPES[*stripes.entry(&progress.id).or_insert(next) % STRIPES.len()];
            let _ = writeln!(text, "<rect x=\"{x}\" y=\"{y}\" width=\"4\" height=\"{h}\" fill=\"{colour}\"/>");
        }
        for (line, down, colour) in [(&label, 15, "#000"), (&second, 29, "#555")] {
            let (x, y) = (x + 9, y + down);
            let _ = writeln!(text, "<text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>", escaped(&fitting(line)));
        }
        text.push_str("</g>\n");
    }
    text.push_str("</svg>\n");
    text
}

/// Where every vertex stands: its layer, its slot there, and how wide its layer is.
struct Layout {
    places: Vec<(usize, usize)>,
    layers: Vec<usize>,
    widest: usize,
    down: bool,
}

impl Layout {
    /// Lays out vertices that are numbered inputs first, each with the numbers of its inputs.
    fn of(needs: &[Vec<usize>]) -> Self {
        let mut users = vec![Vec::new(); needs.len()];
        let mut layer = vec![0; needs.len()];
        for (user, inputs) in needs.iter().enumerate() {
            layer[user] = inputs.iter().map(|input| layer[*input] + 1).max().unwrap_or(0);
            for input in inputs {
                users[*input].push(user);
            }
        }
        for (number, users) in users.iter().enumerate().filter(|(number, _)| needs[*number].is_empty()) {
            layer[number] = users.iter().map(|user| layer[*user] - 1).min().unwrap_or(0);
        }
        let count = layer.iter().max().map_or(0, |last| last + 1);
        let mut layers = vec![Vec::new(); count];
        for (number, layer) in layer.iter().enumerate() {
            layers[*layer].push(number);
        }
        let mut slot = vec![0; needs.len()];
        settle(&layers, &mut slot);
        for sweep in 0..SWEEPS {
            let (neighbours, forth) = if sweep % 2 == 0 { (needs, true) } else { (users.as_slice(), false) };
            for i in 0..count {
                let members = &mut layers[if forth { i } else { count - 1 - i }];
                // Twice the slot of the middle, so that whole numbers do: no picture depends on rounding.
                members.sort_by_key(|member| mean(&neighbours[*member], &slot).unwrap_or(slot[*member] * 2));
                for (place, member) in members.iter().enumerate() {
                    slot[*member] = place;
                }
            }
        }
        let widest = layers.iter().map(Vec::len).max().unwrap_or(0);
        let down = extent(widest, 0, BOX.0).max(extent(count, 1, BOX.1))
            <= extent(count, 1, BOX.0).max(extent(widest, 0, BOX.1));
        let places = layer.into_iter().zip(slot).collect();
        Self { places, layers: layers.iter().map(Vec::len).collect(), widest, down }
    }

    fn size(&self) -> (usize, usize) {
        let (across, along) = if self.down { BOX } else { (BOX.1, BOX.0) };
        let (across, along) = (extent(self.widest, 0, across), extent(self.layers.len(), 1, along));
        if self.down { (across, along) } else { (along, across) }
    }

    /// The upper left corner of a box; narrow layers stand in the middle.
    fn corner(&self, number: usize) -> (usize, usize) {
        let (layer, slot) = self.places[number];
        let (across, along) = if self.down { BOX } else { (BOX.1, BOX.0) };
        let margin = (self.widest - self.layers[layer]) * (across + SPACE.0) / 2;
        let across = SPACE.0 + margin + slot * (across + SPACE.0);
        let along = SPACE.0 + layer * (along + SPACE.1);
        if self.down { (across, along) } else { (along, across) }
    }

    /// The line from an input to its user.
    fn curve(&self, input: usize, user: usize) -> String {
        let ((x, y), (to_x, to_y)) = (self.corner(input), self.corner(user));
        let half = SPACE.1 / 2;
        if self.down {
            let (x, y, to_x) = (x + BOX.0 / 2, y + BOX.1, to_x + BOX.0 / 2);
            return format!("M{x} {y}C{x} {} {to_x} {} {to_x} {to_y}", y + half, to_y.saturating_sub(half));
        }
        let (x, y, to_y) = (x + BOX.0, y + BOX.1 / 2, to_y + BOX.1 / 2);
        format!("M{x} {y}C{} {y} {} {to_y} {to_x} {to_y}", x + half, to_x.saturating_sub(half))
    }
}

/// Pixels that `count` boxes of one side take, with the space between and around them.
fn extent(count: usize, direction: usize, side: usize) -> usize {
    let space = if direction == 0 { SPACE.0 } else { SPACE.1 };
    (count * (side + space) + 2 * SPACE.0).saturating_sub(space)
}

fn settle(layers: &[Vec<usize>], slot: &mut [usize]) {
    for members in layers {
        for (place, member) in members.iter().enumerate() {
            slot[*member] = place;
        }
    }
}

fn mean(neighbours: &[usize], slot: &[usize]) -> Option<usize> {
    let sum: usize = neighbours.iter().map(|neighbour| slot[*neighbour]).sum();
    (2 * sum).checked_div(neighbours.len())
}

fn fill(vertex: &Vertex) -> &'static str {
    match vertex.kind() {
        "source" => "#e3f0fb",
        "exec" => "#fdf3d8",
        "file" => "#e6f5e6",
        _ => "#f0eaf6",
    }
}

fn fitting(text: &str) -> String {
    if text.chars().count() <= FIT {
        return text.to_owned();
    }
    text.chars().take(FIT - 1).chain(['…']).collect()
}

/// Text for XML; names have lost their control characters before (`graph.rs clean`).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_boxes_overlap_and_inputs_come_first() {
        // A diamond, a source used late, and an edge over two layers.
        let needs = [vec![], vec![0], vec![0], vec![], vec![1, 2, 3], vec![4, 0]];
        let layout = Layout::of(&needs);
        let corners: Vec<_> = (0..needs.len()).map(|i| layout.corner(i)).collect();
        let (width, height) = layout.size();
        for (i, (x, y)) in corners.iter().enumerate() {
            assert!(x + BOX.0 <= width && y + BOX.1 <= height);
            for (other_x, other_y) in &corners[..i] {
                assert!(x.abs_diff(*other_x) >= BOX.0 || y.abs_diff(*other_y) >= BOX.1);
            }
        }
        for (user, inputs) in needs.iter().enumerate() {
            assert!(inputs.iter().all(|input| layout.places[*input].0 < layout.places[user].0));
        }
        assert_eq!(layout.places[3].0, layout.places[1].0, "a source stands just before its user");
    }
}
