//! Any bytes are a graph or an error, and every graph can be shown, judged and written.
#![no_main]

use dockless::llb::{Executor, Graph, dot, entitlements, json_lines, svg, tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(graph) = Graph::from_bytes(bytes) else { return };
    let _ = (tree(&graph), dot(&graph), svg(&graph), json_lines(&graph));
    let _ = (entitlements(&graph), Executor::embedded().admit(&graph));
    for vertex in graph.vertices() {
        let _ = (graph.spans(&vertex.digest), graph.name_of(&vertex.digest).to_string());
    }
    let again = Graph::from_bytes(&graph.to_bytes()).expect("what was a graph stays one");
    assert_eq!(again.to_bytes(), graph.to_bytes());
});
