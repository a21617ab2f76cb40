//! Definitions that a real BuildKit made are read, kept and shown as BuildKit does.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dockless::llb::{Entitlement, Executor, Graph, Refusal, dot, entitlements, json_lines, pb, svg, tree};
use prost::Message as _;

/// Every recorded definition: its name, its bytes, and what `buildctl debug dump-llb` says of it.
pub(crate) fn corpus() -> Vec<(String, Vec<u8>, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    let mut paths: Vec<PathBuf> = walkdir::WalkDir::new(&root)
        .into_iter()
        .map(|entry| entry.expect("readable").into_path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pb"))
        .collect();
    paths.sort();
    assert!(paths.len() >= 38, "the corpus has definitions: {}", paths.len());
    let read = |path: PathBuf| {
        let json = fs::read_to_string(path.with_extension("json")).expect("recorded JSON");
        let name = path.strip_prefix(&root).expect("below the root").display().to_string();
        (name, fs::read(&path).expect("recorded definition"), json)
    };
    paths.into_iter().map(read).collect()
}

fn case(name: &str) -> Graph {
    let found = corpus().into_iter().find(|(path, _, _)| path.contains(name)).expect("a case of the corpus");
    Graph::from_bytes(&found.1).expect("a graph")
}

#[test]
fn every_definition_of_buildkit_is_dumped_byte_for_byte_as_buildkit_does() {
    for (name, bytes, recorded) in corpus() {
        let graph = Graph::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let ours = json_lines(&graph);
        for (number, (ours, theirs)) in ours.lines().zip(recorded.lines()).enumerate() {
            let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
            assert_eq!(value(ours), value(theirs), "{name}: line {number}");
            assert_eq!(ours, theirs, "{name}: line {number} has equal values in another form");
        }
        assert_eq!(ours.lines().count(), recorded.lines().count(), "{name}");
    }
}

#[test]
fn what_a_definition_says_survives_reading_and_writing() {
    for (name, bytes, _) in corpus() {
        let definition = pb::Definition::decode(bytes.as_slice()).expect("protobuf");
        let graph = Graph::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let once = graph.marshal();
        assert_eq!(once.def, definition.def, "{name}: ops and their order");
        assert_eq!(once.source, definition.source, "{name}: sources and locations");
        // A vertex without metadata has an empty one afterwards.
        let said = |metadata: &BTreeMap<String, pb::OpMetadata>| {
            let mut metadata = metadata.clone();
            metadata.retain(|_, metadata| *metadata != pb::OpMetadata::default());
            metadata
        };
        assert_eq!(said(&once.metadata), said(&definition.metadata), "{name}: names, groups and capabilities");
        let again = Graph::from_bytes(&graph.to_bytes()).expect("own bytes");
        assert_eq!(again.to_bytes(), graph.to_bytes(), "{name}: bytes");
    }
}

#[test]
fn every_form_of_every_definition_names_every_vertex() {
    for (name, bytes, _) in corpus() {
        let graph = Graph::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (form, text) in [("tree", tree(&graph)), ("dot", dot(&graph)), ("svg", svg(&graph))] {
            for vertex in graph.vertices() {
                assert!(text.contains(&vertex.digest.short()), "{name}: {form} lacks {}", vertex.name());
            }
        }
        let picture = svg(&graph);
        assert_eq!(picture.matches("<g>").count(), graph.len(), "{name}");
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"), "{name}");
    }
}

#[test]
fn a_vertex_knows_its_lines_in_the_dockerfile() {
    let graph = case("001-run-basic");
    let lines: Vec<_> = graph
        .vertices()
        .flat_map(|vertex| graph.spans(&vertex.digest))
        .map(|span| (span.filename.to_owned(), span.lines[0].clone(), span.text.starts_with(b"FROM")))
        .collect();
    assert!(!lines.is_empty(), "the front end recorded lines");
    assert!(lines.iter().all(|(file, lines, text)| file == "Dockerfile" && *lines.start() > 0 && *text), "{lines:?}");
    let named = graph.name_of(&graph.output().vertex).to_string();
    assert!(named.contains("Dockerfile:"), "{named}");
}

#[test]
fn what_must_be_allowed_is_asked_for_by_flag_before_anything_runs() {
    let mut executor = Executor::embedded();
    for (name, needed) in [
        ("016-network-host-entitlement", Some(Entitlement::NetworkHost)),
        ("017-security-insecure-entitlement", Some(Entitlement::SecurityInsecure)),
        // The device is optional (`required=false`): without it nothing needs leave.
        ("039-device-labs", None),
        ("001-run-basic", None),
    ] {
        let graph = case(name);
        assert_eq!(entitlements(&graph).first().copied(), needed, "{name}");
        match (executor.admit(&graph), needed) {
            (Ok(()), None) => {}
            (Err(refusal @ Refusal::Entitlement { .. }), Some(needed)) => {
                assert!(refusal.to_string().contains(&format!("--allow {needed}")), "{refusal}");
                assert!(refusal.to_string().contains("RUN"), "{refusal}");
                executor.allowed.insert(needed);
                assert_eq!(executor.admit(&graph), Ok(()), "{name}");
                executor.allowed.clear();
            }
            (other, _) => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn programs_of_another_processor_are_refused_and_its_files_are_not() {
    let graphs: Vec<Graph> = corpus()
        .into_iter()
        .filter(|(name, _, _)| name.contains("030-multi-platform"))
        .map(|(_, bytes, _)| Graph::from_bytes(&bytes).expect("a graph"))
        .collect();
    let refused: Vec<String> = graphs
        .iter()
        .filter_map(|graph| Executor::embedded().admit(graph).err())
        .map(|refusal| refusal.to_string())
        .collect();
    assert!(refused.len() < graphs.len(), "amd64 is ours");
    assert!(refused.iter().all(|text| text.contains("linux/arm")), "{refused:?}");
}

#[test]
fn graph_shows_a_foreign_definition_from_a_file_or_from_standard_input() {
    let (_, bytes, recorded) = corpus().into_iter().find(|(name, _, _)| name.contains("009-")).expect("a case");
    let run = |file: &str, format: &str, input: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dockless"))
            .args(["graph", "--llb", file, "--format", format])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        // The command may end before it has read everything.
        let _ = child.stdin.take().expect("piped").write_all(input);
        child.wait_with_output().expect("the command ends")
    };
    let shown = run("-", "json", &bytes);
    assert_eq!(String::from_utf8_lossy(&shown.stdout), recorded);
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("llb.pb");
    fs::write(&file, &bytes).expect("written");
    let file = file.to_str().expect("a plain path");
    assert!(run(file, "svg", &[]).stdout.starts_with(b"<svg "));
    assert!(String::from_utf8_lossy(&run(file, "tree", &[]).stdout).contains("RUN"));
    let refused = run("-", "tree", b"not a definition");
    assert_eq!(refused.status.code(), Some(2), "the input is wrong");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("LLB definition"));
}

#[test]
fn replaced_sources_keep_the_digests_of_their_vertices() {
    let graph = case("003-multi-stage");
    let digests: Vec<_> = graph.vertices().map(|vertex| vertex.digest).collect();
    let replaced = graph
        .with_sources(|vertex, source| {
            assert_eq!(vertex.kind(), "source");
            let image = source.identifier.starts_with("docker-image://");
            Ok::<_, std::convert::Infallible>(
                image.then(|| pb::SourceOp { identifier: "docker-image://mirror/x".to_owned(), ..source.clone() }),
            )
        })
        .expect("nothing denies");
    assert_eq!(replaced.vertices().map(|vertex| vertex.digest).collect::<Vec<_>>(), digests);
    let images = replaced.vertices().filter(
        |vertex| matches!(&vertex.op, pb::op::Op::Source(source) if source.identifier == "docker-image://mirror/x"),
    );
    assert!(images.count() > 0);
}
