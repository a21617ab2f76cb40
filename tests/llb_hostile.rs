//! Malformed definitions are refused with the op and the reason; no bytes make the reader panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use dockless::llb::{Defect, Executor, Graph, GraphError, Refusal, dot, entitlements, json_lines, pb, svg, tree};
use dockless::oci::Digest;
use pb::file_action::Action;
use pb::op::Op;
use proptest::prelude::*;
use prost::Message as _;

use crate::llb_corpus::corpus;

/// A definition of a source, an op that uses it `uses` times, and the terminal op.
fn definition(op: Op, uses: usize) -> pb::Definition {
    let source = pb::SourceOp { identifier: "local://x".to_owned(), ..pb::SourceOp::default() };
    let source = pb::Op { op: Some(Op::Source(source)), ..pb::Op::default() }.encode_to_vec();
    let input = |bytes: &[u8]| pb::Input { digest: Digest::of(bytes).to_string(), index: 0 };
    let op = pb::Op { op: Some(op), inputs: vec![input(&source); uses], ..pb::Op::default() }.encode_to_vec();
    let end = pb::Op { inputs: vec![input(&op)], ..pb::Op::default() }.encode_to_vec();
    pb::Definition { def: vec![source, op, end], ..pb::Definition::default() }
}

fn refusal(op: Op) -> GraphError {
    Graph::try_from(&definition(op, 1)).expect_err("malformed")
}

fn mount(dest: &str, input: i64, output: i64) -> pb::Mount {
    pb::Mount { dest: dest.to_owned(), input, output, ..pb::Mount::default() }
}

fn exec(change: impl FnOnce(&mut pb::ExecOp)) -> Op {
    let meta = pb::Meta { args: vec!["true".to_owned()], ..pb::Meta::default() };
    let mut exec = pb::ExecOp { meta: Some(meta), mounts: vec![mount("/", 0, 0)], ..pb::ExecOp::default() };
    change(&mut exec);
    Op::Exec(exec)
}

fn action(input: i64, secondary_input: i64, output: i64) -> pb::FileAction {
    let copy = pb::FileActionCopy { src: "/a".to_owned(), dest: "/b".to_owned(), ..pb::FileActionCopy::default() };
    pb::FileAction { input, secondary_input, output, action: Some(Action::Copy(copy)) }
}

fn file(actions: Vec<pb::FileAction>) -> Op {
    Op::File(pb::FileOp { actions })
}

#[test]
fn every_defect_of_an_exec_is_named() {
    assert!(Graph::try_from(&definition(exec(|_| ()), 1)).is_ok());
    for (op, part) in [
        (exec(|exec| exec.meta = None), "no meta"),
        (exec(|exec| exec.meta = Some(pb::Meta::default())), "no args"),
        (exec(|exec| exec.mounts.clear()), "0 mounts at `/`"),
        (exec(|exec| exec.mounts.push(mount("/", -1, -1))), "2 mounts at `/`"),
        (exec(|exec| exec.mounts[0].mount_type = 4), "TMPFS"),
        (exec(|exec| exec.mounts.push(mount("//", 0, -1))), "would cover the root"),
        (exec(|exec| exec.mounts.push(mount("/a/..", 0, -1))), "would cover the root"),
        (exec(|exec| exec.mounts.push(mount("/x", 1, -1))), "mount 1 uses index 1"),
        (exec(|exec| exec.mounts.push(mount("/x", -2, -1))), "mount 1 uses index -2"),
        (exec(|exec| exec.mounts.push(mount("/x", i64::MAX, -1))), "mount 1 uses index"),
        (exec(|exec| exec.mounts.push(mount("/x", 0, 0))), "mount 1 gives output 0"),
        (exec(|exec| exec.mounts.push(mount("/x", 0, 2))), "mount 1 gives output 2"),
        (exec(|exec| exec.mounts.push(mount("/x", 0, -2))), "mount 1 gives output -2"),
        (exec(|exec| exec.mounts.push(mount("/x\0y", 0, -1))), "NUL"),
        (exec(|exec| exec.meta.as_mut().expect("meta").cwd = "\0".to_owned()), "NUL"),
        (exec(|exec| exec.network = 9), "network has the unknown value 9"),
        (exec(|exec| exec.security = -1), "security has the unknown value -1"),
        (exec(|exec| exec.mounts = vec![mount("/", 0, 0); 5000]), "5000 mounts"),
        (exec(|exec| exec.mounts.push(pb::Mount { mount_type: 3, ..mount("/x", -1, -1) })), "cache mount"),
        (exec(|exec| exec.mounts.push(pb::Mount { mount_type: 1, ..mount("/x", -1, -1) })), "secret mount"),
        (exec(|exec| exec.mounts.push(pb::Mount { mount_type: 2, ..mount("/x", -1, -1) })), "SSH mount"),
        (exec(|exec| exec.mounts.push(pb::Mount { mount_type: 7, ..mount("/x", -1, -1) })), "unknown value 7"),
    ] {
        let error = refusal(op);
        assert!(matches!(error, GraphError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn every_defect_of_a_file_op_is_named() {
    assert!(Graph::try_from(&definition(file(vec![action(0, -1, -1), action(1, 0, 0)]), 1)).is_ok());
    let owned = |input| {
        let named = pb::NamedUserOpt { name: "me".to_owned(), input };
        let user = pb::UserOpt { user: Some(pb::user_opt::User::ByName(named)) };
        let owner = Some(pb::ChownOpt { user: Some(user), group: None });
        let mkdir = pb::FileActionMkDir { path: "/x".to_owned(), owner, ..pb::FileActionMkDir::default() };
        pb::FileAction { action: Some(Action::Mkdir(mkdir)), ..action(-1, -1, 0) }
    };
    assert!(Graph::try_from(&definition(file(vec![owned(0)]), 1)).is_ok());
    for (op, part) in [
        (file(vec![]), "no action"),
        (file(vec![pb::FileAction { action: None, ..action(0, 0, 0) }]), "action 0 does nothing"),
        (file(vec![action(0, -1, 0), action(0, -1, 0)]), "action 1 gives output 0"),
        (file(vec![action(0, -1, 0), action(0, -1, 2)]), "action 1 gives output 2"),
        (file(vec![action(0, -1, -1)]), "no output"),
        (file(vec![action(1, -1, 0)]), "the input of action 0 uses index 1"),
        (file(vec![action(0, 2, -1), action(0, -1, 0)]), "the secondary input of action 0 uses index 2"),
        (file(vec![action(-2, -1, 0)]), "index -2"),
        (file(vec![owned(-1)]), "the owner of action 0 uses index -1"),
        (file(vec![owned(7)]), "the owner of action 0 uses index 7"),
        (file(vec![action(0, -1, 0); 20_000]), "20000 actions"),
    ] {
        let error = refusal(op);
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn every_defect_of_the_other_ops_is_named() {
    let build = |builder, input: Option<i64>| {
        let inputs = input.map(|input| ("buildkit.llb.definition".to_owned(), pb::BuildInput { input }));
        Op::Build(pb::BuildOp { builder, inputs: inputs.into_iter().collect(), ..pb::BuildOp::default() })
    };
    let diff = |lower: Option<i64>, upper: Option<i64>| {
        let lower = lower.map(|input| pb::LowerDiffInput { input });
        Op::Diff(pb::DiffOp { lower, upper: upper.map(|input| pb::UpperDiffInput { input }) })
    };
    let merge = |input| Op::Merge(pb::MergeOp { inputs: vec![pb::MergeInput { input }] });
    let pass = |id: &str, outputs: Vec<i64>| Op::Passthrough(pb::PassthroughOp { id: id.to_owned(), outputs });
    for op in [build(-1, Some(0)), diff(Some(0), Some(-1)), merge(0), pass("x", vec![0, 0])] {
        assert!(Graph::try_from(&definition(op, 1)).is_ok());
    }
    let source =
        |identifier: &str| Op::Source(pb::SourceOp { identifier: identifier.to_owned(), ..pb::SourceOp::default() });
    for (op, part) in [
        (build(0, Some(0)), "the builder has the unknown value 0"),
        (build(-1, None), "no input `buildkit.llb.definition`"),
        (build(-1, Some(1)), "build input 0 uses index 1"),
        (diff(None, Some(0)), "no lower side"),
        (diff(Some(0), None), "no upper side"),
        (diff(Some(0), Some(1)), "side 1 uses index 1"),
        (merge(1), "merged input 0 uses index 1"),
        (pass("", vec![0]), "no id"),
        (pass("x", vec![]), "no output"),
        (pass("x", vec![0, 3]), "output 1 uses index 3"),
        (source("alpine"), "no scheme"),
    ] {
        let error = refusal(op);
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn an_output_that_is_not_there_cannot_be_asked_for() {
    let mut definition = definition(exec(|_| ()), 1);
    let mut end = pb::Op::decode(definition.def[2].as_slice()).expect("own op");
    end.inputs[0].index = 1;
    definition.def[2] = end.encode_to_vec();
    let error = Graph::try_from(&definition).expect_err("one output only");
    assert!(matches!(error, GraphError::NoSuchOutput { output: 1, outputs: 1, .. }), "{error}");
}

#[test]
fn the_message_names_the_op_and_its_line() {
    let mut definition = definition(exec(|exec| exec.mounts.push(mount("/x", 5, -1))), 1);
    let digest = Digest::of(&definition.def[1]).to_string();
    let position = |line| Some(pb::Position { line, character: 0 });
    let ranges = vec![pb::Range { start: position(7), end: position(9) }];
    let locations = vec![pb::Location { source_index: 0, ranges }];
    let info = pb::SourceInfo { filename: "Dockerfile".to_owned(), ..pb::SourceInfo::default() };
    definition.source = Some(pb::Source {
        locations: BTreeMap::from([(digest.clone(), pb::Locations { locations })]),
        infos: vec![info],
    });
    let name = BTreeMap::from([("llb.customname".to_owned(), "[2/2] RUN \u{1b}[31mmake".to_owned())]);
    definition.metadata.insert(digest, pb::OpMetadata { description: name, ..pb::OpMetadata::default() });
    let text = Graph::try_from(&definition).expect_err("malformed").to_string();
    assert!(text.contains("[2/2] RUN  [31mmake") && text.contains("Dockerfile:7"), "{text}");
}

#[test]
fn ops_in_any_order_are_a_graph_and_stay_in_that_order() {
    let mut definition = definition(exec(|_| ()), 1);
    definition.def.swap(0, 1);
    let graph = Graph::try_from(&definition).expect("order means nothing");
    let order: Vec<_> = graph.vertices().map(dockless::llb::Vertex::kind).collect();
    assert_eq!(order, ["source", "exec"], "inputs first for who works it off");
    assert_eq!(graph.marshal().def, definition.def, "as received for who reads it");
}

#[test]
fn a_required_device_and_a_foreign_processor_are_refused_by_name() {
    let device = |optional| {
        exec(|exec| exec.cdi_devices = vec![pb::CdiDevice { name: "vendor.com/dev=one".to_owned(), optional }])
    };
    let admit = |op| Executor::embedded().admit(&Graph::try_from(&definition(op, 1)).expect("a graph"));
    assert_eq!(admit(device(true)), Ok(()));
    assert!(matches!(admit(device(false)), Err(Refusal::Device { device, .. }) if device == "vendor.com/dev=one"));
    let mut foreign = definition(exec(|_| ()), 1);
    let mut op = pb::Op::decode(foreign.def[1].as_slice()).expect("own op");
    let platform = |os: &str, architecture: &str, variant: &str| pb::Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..pb::Platform::default()
    };
    for (platform, here) in [
        (platform("linux", "aarch64", "v8"), false),
        (platform("windows", "amd64", ""), false),
        (platform("", "x86_64", "v1"), true),
        (platform("Linux", "i386", ""), true),
    ] {
        op.platform = Some(platform);
        foreign.def[1] = op.encode_to_vec();
        let input = pb::Input { digest: Digest::of(&foreign.def[1]).to_string(), index: 0 };
        foreign.def[2] = pb::Op { inputs: vec![input], ..pb::Op::default() }.encode_to_vec();
        let graph = Graph::try_from(&foreign).expect("a graph");
        assert_eq!(Executor::embedded().admit(&graph).is_ok(), here, "{:?}", op.platform);
    }
}

#[test]
fn a_chain_of_thousands_is_read_and_shown_without_exhausting_anything() {
    let mut definition = definition(exec(|_| ()), 1);
    definition.def.pop();
    for _ in 0..20_000 {
        let last = Digest::of(definition.def.last().expect("an op"));
        let input = pb::Input { digest: last.to_string(), index: 0 };
        definition
            .def
            .push(pb::Op { op: Some(exec(|_| ())), inputs: vec![input], ..pb::Op::default() }.encode_to_vec());
    }
    let last = definition.def.last().expect("an op").clone();
    let input = pb::Input { digest: Digest::of(&last).to_string(), index: 0 };
    definition.def.push(pb::Op { inputs: vec![input], ..pb::Op::default() }.encode_to_vec());
    let graph = Graph::try_from(&definition).expect("a graph");
    assert_eq!(graph.len(), 20_002);
    assert!(tree(&graph).len() < 10_000_000 && svg(&graph).len() < 50_000_000);
}

/// Reads bytes and does everything with the graph that does not run anything.
fn exercise(bytes: &[u8]) {
    let Ok(graph) = Graph::from_bytes(bytes) else { return };
    let _ = (tree(&graph), dot(&graph), svg(&graph), json_lines(&graph));
    let _ = (entitlements(&graph), Executor::embedded().admit(&graph));
    for vertex in graph.vertices() {
        let _ = (graph.spans(&vertex.digest), graph.name_of(&vertex.digest).to_string());
    }
    let again = Graph::from_bytes(&graph.to_bytes()).expect("what was a graph stays one");
    assert_eq!(again.to_bytes(), graph.to_bytes());
}

#[test]
fn what_once_broke_the_reader_does_not_again() {
    let Ok(found) = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fuzz/definition")) else {
        return;
    };
    for entry in found {
        exercise(&fs::read(entry.expect("readable").path()).expect("readable"));
    }
}

static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| corpus().into_iter().map(|(_, bytes, _)| bytes).collect());

/// Encodes a definition anew with one op changed, so that digests agree again and the change is what is judged.
fn with_changed_op(bytes: &[u8], which: usize, change: impl Fn(&mut pb::Op)) -> Vec<u8> {
    let mut definition = pb::Definition::decode(bytes).expect("the corpus decodes");
    let which = which % definition.def.len();
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    for (at, bytes) in definition.def.iter_mut().enumerate() {
        let mut op = pb::Op::decode(bytes.as_slice()).expect("the corpus decodes");
        for input in &mut op.inputs {
            if let Some(new) = renamed.get(&input.digest) {
                input.digest.clone_from(new);
            }
        }
        if at == which {
            change(&mut op);
        }
        let old = Digest::of(bytes).to_string();
        *bytes = op.encode_to_vec();
        renamed.insert(old, Digest::of(bytes).to_string());
    }
    definition.encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_flipped_or_lost_byte_of_a_real_definition_makes_the_reader_panic(
        which in any::<prop::sample::Index>(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep in any::<Option<prop::sample::Index>>(),
    ) {
        let mut bytes = CORPUS[which.index(CORPUS.len())].clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        if let Some(keep) = keep {
            bytes.truncate(keep.index(bytes.len()));
        }
        exercise(&bytes);
    }

    #[test]
    fn no_changed_number_of_a_real_op_makes_the_reader_panic(
        which in any::<prop::sample::Index>(),
        op in any::<usize>(),
        field in 0..8_usize,
        number in prop_oneof![-3..6_i64, any::<i64>()],
    ) {
        let small = i32::try_from(number).unwrap_or(i32::MIN);
        exercise(&with_changed_op(&CORPUS[which.index(CORPUS.len())], op, |message| {
            if field == 0 {
                message.inputs.iter_mut().for_each(|input| input.index = number);
            } else if field == 1 {
                message.inputs.pop();
            }
            match message.op.as_mut() {
                Some(Op::Exec(exec)) => {
                    for mount in exec.mounts.iter_mut().rev().take(1) {
                        match field {
                            2 => mount.input = number,
                            3 => mount.output = number,
                            4 => mount.mount_type = small,
                            5 => mount.dest = "/".repeat(usize::try_from(number & 3).unwrap_or(0)),
                            _ => exec.network = small,
                        }
                    }
                }
                Some(Op::File(file)) => {
                    for action in file.actions.iter_mut().rev().take(1) {
                        match field {
                            2 => action.input = number,
                            3 => action.secondary_input = number,
                            4 => action.output = number,
                            _ => action.action = None,
                        }
                    }
                }
                Some(Op::Merge(merge)) => merge.inputs.iter_mut().for_each(|input| input.input = number),
                Some(Op::Build(build)) => build.builder = number,
                _ => message.op = None,
            }
        }));
    }
}

#[test]
fn a_defect_is_told_from_another() {
    assert!(matches!(
        refusal(exec(|exec| exec.mounts.clear())),
        GraphError::Malformed { defect: Defect::Roots { count: 0 }, .. }
    ));
}
