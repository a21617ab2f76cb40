//! A graph as a daemon is given it.
//!
//! Four things are written otherwise: sources that a policy has replaced, since a daemon knows nothing of ours; images of
//! layouts, which get a name of a layout, as a daemon wants one; steps of
//! recipes, whose `make`s are told how many jobs to run, since there is no jobserver of ours there; and merges, where the
//! daemon has none and copies do the same.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::buildkit::BuildKitError;
use crate::llb::{Graph, GraphError, Vertex, op, pb};
use crate::oci::Digest;
use crate::recipe::JOBSERVER;

/// Jobs of a recipe's `make` on a daemon, whose cores nobody tells us: one number everywhere, as it is in the key of the
/// step.
const MAKE_JOBS: &str = "MAKEFLAGS=-j8";

/// A graph as a daemon is given it.
#[derive(Debug)]
pub(super) struct Adapted {
    /// The bytes.
    pub(super) definition: pb::Definition,
    /// The vertices of the graph by the digests that the daemon knows them by.
    pub(super) own: BTreeMap<Digest, Digest>,
    /// Merges became copies.
    pub(super) copies: bool,
}

/// Writes `graph` for a daemon with these capabilities; one that does not say is believed to have all.
///
/// # Errors
/// `Capability`
pub(super) fn adapt(
    graph: &Graph,
    capabilities: Option<&BTreeSet<String>>,
    ignore_cache: bool,
    (address, version): (&str, &str),
) -> Result<Adapted, BuildKitError> {
    let mut definition = graph.marshal();
    let has = |capability: &str| capabilities.is_none_or(|known| known.contains(capability));
    let mut digests: BTreeMap<String, String> = BTreeMap::new();
    let mut own = BTreeMap::new();
    let mut rewritten: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut metadata = BTreeMap::new();
    let mut copies = false;
    for vertex in graph.vertices() {
        let mut described = vertex.metadata.clone();
        described.ignore_cache |= ignore_cache;
        let mut op = None;
        if let Some(missing) = described.caps.keys().find(|capability| !has(capability)) {
            let merge = match &vertex.op {
                pb::op::Op::Merge(merge) if missing == MERGE && is_additive(graph, vertex) => merge,
                _ => {
                    return Err(BuildKitError::Capability {
                        address: address.to_owned(),
                        version: version.to_owned(),
                        capability: missing.clone(),
                        name: vertex.label(),
                    });
                }
            };
            op = Some(pb::op::Op::File(copied(merge)));
            described.caps = BTreeMap::from([("file.base".to_owned(), true)]);
            copies = true;
        }
        let bytes = written(vertex, op, &digests);
        let digest = Digest::of(&bytes);
        own.insert(digest, vertex.digest);
        metadata.insert(digest.to_string(), described);
        digests.insert(vertex.digest.to_string(), digest.to_string());
        rewritten.insert(vertex.digest.to_string(), bytes);
    }
    let mut def = Vec::with_capacity(definition.def.len());
    for bytes in &definition.def {
        let digest = Digest::of(bytes).to_string();
        if let Some(bytes) = rewritten.get(&digest) {
            def.push(bytes.clone());
            continue;
        }
        // The terminal op, which only names the result.
        let terminal = renamed(bytes, &digests);
        if let Some(described) = definition.metadata.get(&digest) {
            metadata.insert(Digest::of(&terminal).to_string(), described.clone());
        }
        def.push(terminal);
    }
    let source = definition.source.take().map(|mut source| {
        let renamed = |(digest, lines)| (digests.get(&digest).cloned().unwrap_or(digest), lines);
        // An entry without places would reach a daemon as one without a value, which it refuses.
        let placed = source.locations.into_iter().filter(|(_, places)| !places.locations.is_empty());
        source.locations = placed.map(renamed).collect();
        source
    });
    Ok(Adapted { definition: pb::Definition { def, metadata, source }, own, copies })
}

/// Returns `graph` as a daemon of today is given it.
///
/// # Errors
/// That it has become too large.
pub fn adapted(graph: &Graph) -> Result<Graph, GraphError> {
    let adapted = adapt(graph, None, false, ("", "")).expect("all capabilities are there");
    Graph::try_from(&adapted.definition)
}

const MERGE: &str = "mergeop";

/// Attribute: the client's store of an image layout (`attr.go AttrOCILayoutStoreID`).
const OCI_STORE: &str = "oci.store";

/// Returns the bytes of a vertex with its inputs by their new names: the very bytes where nothing has changed.
fn written(vertex: &Vertex, replaced: Option<pb::op::Op>, digests: &BTreeMap<String, String>) -> Vec<u8> {
    let Ok(mut message) = pb::Op::decode(vertex.bytes.as_slice()) else { return vertex.bytes.clone() };
    let before = message.clone();
    rename(&mut message, digests);
    let policy = message.op.as_ref().is_some_and(|op| *op != vertex.op).then(|| vertex.op.clone());
    if let Some(op) = replaced.or(policy) {
        message.op = Some(op);
    }
    if let Some(pb::op::Op::Source(source)) = &mut message.op
        && [op::OCI_LAYOUT, op::OCI_BLOB].iter().any(|scheme| source.identifier.starts_with(scheme))
    {
        // Whichever layout it is in, the session finds it by its digest; a daemon wants a name all the same.
        source.attrs.entry(OCI_STORE.to_owned()).or_insert_with(|| "dockless".to_owned());
    }
    if vertex.metadata.description.contains_key(JOBSERVER)
        && let Some(pb::op::Op::Exec(exec)) = &mut message.op
        && let Some(meta) = &mut exec.meta
    {
        meta.env.push(MAKE_JOBS.to_owned());
    }
    // Encoding again would drop what we do not know of an op.
    if message == before { vertex.bytes.clone() } else { message.encode_to_vec() }
}

fn rename(message: &mut pb::Op, digests: &BTreeMap<String, String>) {
    for input in &mut message.inputs {
        if let Some(digest) = digests.get(&input.digest) {
            input.digest.clone_from(digest);
        }
    }
}

fn renamed(bytes: &[u8], digests: &BTreeMap<String, String>) -> Vec<u8> {
    let Ok(mut message) = pb::Op::decode(bytes) else { return bytes.to_vec() };
    let before = message.clone();
    rename(&mut message, digests);
    if message == before { bytes.to_vec() } else { message.encode_to_vec() }
}

/// Tells whether the inputs of a merge only add: trees that begin empty have nothing that removes.
fn is_additive(graph: &Graph, vertex: &Vertex) -> bool {
    vertex.inputs.iter().all(|edge| {
        let input = graph.vertex(&edge.vertex);
        match &input.op {
            pb::op::Op::Merge(_) => is_additive(graph, input),
            pb::op::Op::Exec(exec) => {
                let index = i64::try_from(edge.index).unwrap_or(-1);
                exec.mounts.iter().any(|mount| mount.output == index && mount.input < 0)
            }
            pb::op::Op::Source(_) => true,
            _ => false,
        }
    })
}

/// Returns the copies that do what a merge of trees does: one after another over an empty tree.
fn copied(merge: &pb::MergeOp) -> pb::FileOp {
    let count = i64::try_from(merge.inputs.len()).unwrap_or(i64::MAX);
    let action = |(at, input): (usize, &pb::MergeInput)| {
        let at = i64::try_from(at).unwrap_or(i64::MAX);
        let copy = pb::FileActionCopy {
            src: "/".to_owned(),
            dest: "/".to_owned(),
            mode: -1,
            timestamp: -1,
            dir_copy_contents: true,
            create_dest_path: true,
            allow_wildcard: false,
            always_replace_existing_dest_paths: true,
            ..pb::FileActionCopy::default()
        };
        pb::FileAction {
            input: if at == 0 { -1 } else { count + at - 1 },
            secondary_input: input.input,
            output: if at + 1 == count { 0 } else { -1 },
            action: Some(pb::file_action::Action::Copy(copy)),
        }
    };
    pb::FileOp { actions: merge.inputs.iter().enumerate().map(action).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llb::{Edge, GraphBuilder};
    use crate::oci::Arch;

    fn step(builder: &mut GraphBuilder, name: &str, input: Option<i64>) -> Edge {
        let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
        let mut out = op::scratch("/out", Some(0));
        out.input = input.unwrap_or(-1);
        let meta = pb::Meta { args: vec![name.to_owned()], cwd: "/".to_owned(), ..pb::Meta::default() };
        let exec = pb::ExecOp { meta: Some(meta), mounts: vec![op::bind(0, "/"), out], ..pb::ExecOp::default() };
        builder.add(name, pb::op::Op::Exec(exec), &[root], Arch::X86_64, &["exec.meta.base"])
    }

    fn merged(first: Option<i64>) -> Graph {
        let mut builder = GraphBuilder::new();
        let inputs = [step(&mut builder, "a", first), step(&mut builder, "b", None)];
        let merge = builder.add("merged", op::merge(2), &inputs, Arch::X86_64, &["mergeop"]);
        builder.finish(merge)
    }

    #[test]
    fn what_a_daemon_can_do_is_given_to_it_as_it_is() {
        let graph = merged(None);
        let adapted = adapt(&graph, None, false, ("a", "v")).expect("all capabilities");
        assert_eq!(adapted.definition, graph.marshal());
        assert!(!adapted.copies && adapted.own.iter().all(|(there, here)| there == here));
    }

    #[test]
    fn merges_become_copies_where_the_daemon_has_none_and_nothing_is_removed() {
        let graph = merged(None);
        let known = BTreeSet::from(["exec.meta.base".to_owned()]);
        let adapted = adapt(&graph, Some(&known), false, ("a", "v")).expect("copies will do");
        let again = Graph::try_from(&adapted.definition).expect("a graph");
        let pb::op::Op::File(file) = &again.vertex(&again.output().vertex).op else { panic!("no copies") };
        let places: Vec<_> = file.actions.iter().map(|a| (a.input, a.secondary_input, a.output)).collect();
        assert_eq!(places, [(-1, 0, -1), (2, 1, 0)]);
        assert_eq!(adapted.own.get(&again.output().vertex), Some(&graph.output().vertex));
        let failed = adapt(&merged(Some(0)), Some(&known), false, ("a", "v")).expect_err("the first input may remove");
        assert!(failed.to_string().contains("mergeop"), "{failed}");
    }

    #[test]
    fn steps_of_recipes_are_told_how_many_jobs_to_run() {
        let mut builder = GraphBuilder::new();
        let edge = step(&mut builder, "a", None);
        builder.describe(edge, JOBSERVER, "make");
        let graph = builder.finish(edge);
        let adapted = adapt(&graph, None, false, ("a", "v")).expect("all capabilities");
        let again = Graph::try_from(&adapted.definition).expect("a graph");
        let pb::op::Op::Exec(exec) = &again.vertex(&again.output().vertex).op else { panic!("no step") };
        assert_eq!(exec.meta.as_ref().expect("meta").env, [MAKE_JOBS]);
    }
}
