//! Graphs keep their bytes: equal graphs are equal bytes, foreign bytes keep their digests, bad bytes are refused.

use dockless::llb::{Edge, Graph, GraphBuilder, GraphError, json_lines, op, pb, tree};
use dockless::oci::{Arch, Digest};
use proptest::prelude::*;
use prost::Message as _;

fn sample(order: [&str; 2]) -> Graph {
    let mut builder = GraphBuilder::new();
    let sources = order.map(|name| {
        builder.add(
            name,
            op::blob("sources", &Digest::of(name.as_bytes()), name),
            &[],
            Arch::X86_64,
            &["source.ocilayout"],
        )
    });
    let [a, b] = if order[0] < order[1] { sources } else { [sources[1], sources[0]] };
    let merged = builder.add("both", op::merge(2), &[a, b], Arch::X86_64, &["mergeop"]);
    builder.finish(merged)
}

#[test]
fn the_same_graph_is_the_same_vertices_however_it_was_built() {
    let (one, two) = (sample(["a", "b"]), sample(["b", "a"]));
    assert_eq!(one.output(), two.output());
    assert_eq!(one.to_bytes(), sample(["a", "b"]).to_bytes());
}

#[test]
fn equal_vertices_are_one() {
    let mut builder = GraphBuilder::new();
    let blob = || op::blob("sources", &Digest::of(b"x"), "x");
    let first = builder.add("x", blob(), &[], Arch::X86, &[]);
    let second = builder.add("another name", blob(), &[], Arch::X86, &[]);
    assert_eq!(first, second);
    assert_eq!(builder.finish(first).len(), 1);
}

#[test]
fn a_graph_survives_its_wire_form() {
    let graph = sample(["a", "b"]);
    let back = Graph::from_bytes(&graph.to_bytes()).expect("own bytes");
    assert_eq!(back.output(), graph.output());
    assert_eq!(back.to_bytes().len(), graph.to_bytes().len());
    assert_eq!(tree(&back), tree(&graph));
    assert_eq!(tree(&graph).lines().count(), 3);
}

#[test]
fn the_digest_of_a_foreign_op_is_that_of_its_bytes_as_received() {
    // Field 99 is unknown to us: decoding and encoding again would lose it and change the digest.
    let graph = sample(["a", "b"]);
    let mut definition = graph.marshal();
    let mut foreign = definition.def[0].clone();
    foreign.extend_from_slice(&[0x98, 0x06, 0x01]);
    let digest = Digest::of(&foreign);
    let terminal = pb::Op { inputs: vec![pb::Input { digest: digest.to_string(), index: 0 }], ..pb::Op::default() };
    definition.def = vec![foreign, terminal.encode_to_vec()];
    let read = Graph::try_from(&definition).expect("unknown fields are ignored");
    assert_eq!(read.output(), Edge { vertex: digest, index: 0 });
}

#[test]
fn the_json_has_the_shape_of_dump_llb() {
    let text = json_lines(&sample(["a", "b"]));
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines[0]["Op"]["platform"]["Architecture"], "amd64");
    assert!(lines[0]["Op"]["Op"]["source"]["identifier"].as_str().expect("text").starts_with("oci-layout+blob://"));
    assert_eq!(lines[0]["OpMetadata"]["caps"]["source.ocilayout"], true);
    assert_eq!(lines[2]["Op"]["inputs"][1]["digest"], lines[1]["Digest"]);
    assert_eq!(lines[3]["Op"]["Op"], serde_json::json!({}));
}

#[test]
fn malformed_definitions_are_refused_with_the_reason() {
    let graph = sample(["a", "b"]);
    let whole = graph.marshal();
    let refuse = |change: &dyn Fn(&mut pb::Definition)| {
        let mut definition = whole.clone();
        change(&mut definition);
        Graph::try_from(&definition).expect_err("malformed")
    };
    assert!(matches!(refuse(&|d| d.def.clear()), GraphError::Empty { ops: 0 }));
    assert!(matches!(refuse(&|d| _ = d.def.pop()), GraphError::Terminal));
    assert!(matches!(refuse(&|d| _ = d.def.remove(0)), GraphError::MissingInput { index: 0, .. }));
    assert!(matches!(refuse(&|d| d.def[0] = vec![0xff]), GraphError::Decode { .. }));
    let unknown = refuse(&|d| {
        let first = d.metadata.values_mut().find(|m| !m.caps.is_empty()).expect("caps");
        first.caps.insert("exec.time.travel".to_owned(), true);
    });
    assert!(matches!(unknown, GraphError::UnknownCapability { cap, .. } if cap == "exec.time.travel"));
    let negative = pb::Op {
        inputs: vec![pb::Input { digest: graph.output().vertex.to_string(), index: -1 }],
        ..pb::Op::default()
    };
    let refused = refuse(&|d| *d.def.last_mut().expect("terminal") = negative.encode_to_vec());
    assert!(matches!(refused, GraphError::NegativeOutput { output: -1, .. }));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = Graph::from_bytes(&bytes);
    }

    #[test]
    fn no_change_of_one_byte_makes_the_reader_panic(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut bytes = sample(["a", "b"]).to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = Graph::from_bytes(&bytes);
    }
}
