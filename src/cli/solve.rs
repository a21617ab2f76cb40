//! Graphs of strangers, from solving to outputs; `dockless solve`: a definition, with what its client gives it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};

use super::args;
use super::attest::AttestArgs;
use super::caches::CacheArgs;
use super::command::{definition, println};
use super::engine::Solvers;
use super::failure::Failure;
use super::grant::GrantArgs;
use super::limit::LimitArgs;
use super::output::{Outputs, Surroundings};
use super::progress::View;
use super::session::{Inside, Session};
use crate::build::BuildError;
use crate::engine::Embedded;
use crate::export::{ImageLayer, ImageOptions, LayerBlob};
use crate::layer::PackTimes;
use crate::llb::{Executor, Graph, op, pb};
use crate::oci::{Arch, DiffId, Digest};
use crate::rootfs::Rootfs;
use crate::snapshot::LayerPlace;
use crate::solver::{Directory, Inputs, Solved};

/// A graph to solve, what its client gives it, and what is made of its result.
pub(super) struct Work<'a> {
    /// `None` where the result is an empty tree.
    pub(super) graph: Option<Graph>,
    pub(super) inputs: Inputs,
    /// The image config of a front end.
    pub(super) config: Option<Map<String, Value>>,
    /// `SOURCE_DATE_EPOCH`.
    pub(super) epoch: Option<u64>,
    pub(super) outputs: Outputs<'a>,
    pub(super) attest: &'a AttestArgs,
    pub(super) caches: &'a CacheArgs,
}

/// Solves the definition on standard input.
pub(super) fn solve(
    session: &Session<'_>,
    args: &args::Solve,
    inside: Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    let outputs = args.outputs.resolve(session.global.epoch, None)?;
    let policies = args.grants.policies()?;
    let graph = definition(Path::new("-"))?.with_sources(|_, source| policies.evaluate(source))?;
    args.attest.check(&outputs.list)?;
    if args.image_config.is_some() && outputs.list.is_empty() {
        let message = "--image-config is of an image: write -o type=TYPE,dest=PATH, too";
        return Err(Failure::Usage { message: message.to_owned() });
    }
    let config = args.image_config.as_deref().map(config).transpose()?;
    let inputs = inputs(session, args, &graph)?;
    let solvers = solvers(session, inside, &args.grants, (&args.caches, &args.limits), view)?;
    let (attest, caches) = (&args.attest, &args.caches);
    let work = Work { graph: Some(graph), inputs, config, epoch: session.global.epoch, outputs, attest, caches };
    deliver(session, &solvers, work, view)
}

/// Returns who solves the graph of a stranger.
pub(super) fn solvers(
    session: &Session<'_>,
    inside: Inside,
    grants: &GrantArgs,
    (caches, limits): (&CacheArgs, &LimitArgs),
    view: &View,
) -> Result<Solvers, Failure> {
    let mut solvers = Solvers::open(session, inside, (caches, limits), view)?;
    solvers.local.executor = Executor { allowed: grants.allow.iter().copied().collect(), ..Executor::embedded() };
    Ok(solvers)
}

/// Solves a graph and writes its outputs.
pub(super) fn deliver(
    session: &Session<'_>,
    solvers: &Solvers,
    work: Work<'_>,
    view: &View,
) -> Result<ExitCode, Failure> {
    let Work { graph, inputs, config, epoch, outputs, attest, caches } = work;
    let engine = &solvers.local;
    let platform = graph.as_ref().and_then(|graph| graph.vertex(&graph.output().vertex).platform.as_ref());
    let arch = platform.and_then(|platform| Arch::from_oci(&platform.architecture)).unwrap_or(Arch::X86_64);
    // Owners and times are the graph's own.
    let image = ImageOptions {
        epoch: epoch.unwrap_or(0),
        times: PackTimes::Kept(epoch),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        created_by: "dockless".to_owned(),
        config,
        jobs: session.jobs(),
        stop: engine.origins.stop.clone(),
        ..ImageOptions::new(arch)
    };
    let said = if let Some(graph) = graph {
        let solved = solvers.engine().solve(&graph, &inputs, view).map_err(BuildError::from)?;
        solvers.leave(session, caches, &[&solved], view);
        if outputs.list.is_empty() {
            vec![match solved.snapshot.directory() {
                Some(path) => path.display().to_string(),
                None => solved.content.to_string(),
            }]
        } else {
            let (layers, layers_created_by) = layers(engine, &solved)?;
            let image = ImageOptions { layers_created_by, ..image };
            let tree = engine.snapshots.read(&solved.snapshot)?;
            let attestor = attest.definition((&graph, &solved), tree.path(), image.epoch, view)?;
            let around = Surroundings::new(engine, view, graph.output().vertex);
            let around = Surroundings { attestor: attestor.as_ref(), ..around };
            outputs.write(tree.path(), &layers, &image, around)?
        }
    } else {
        if attest.is_asked() {
            let message = "there is nothing in this image to write an SBOM or provenance of";
            return Err(Failure::Usage { message: message.to_owned() });
        }
        let tree = engine.store.temporary_directory()?;
        outputs.write(tree.path(), &[], &image, Surroundings::new(engine, view, Digest::of(b"")))?
    };
    view.suspend(|| said.iter().try_for_each(|line| println(line))).map(|()| ExitCode::SUCCESS)
}

fn config(path: &Path) -> Result<Map<String, Value>, Failure> {
    let failed = |source| Failure::Io { action: "read", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Usage { message: format!("`{}` is no image config: {error}", path.display()) })
}

fn inputs(session: &Session<'_>, args: &args::Solve, graph: &Graph) -> Result<Inputs, Failure> {
    let directory =
        |(name, path): &(String, std::path::PathBuf)| (name.clone(), Directory { path: path.clone(), normal: false });
    // Our own root filesystems, where the graph may name one and there is a project that has them.
    let is_layout =
        |op: &pb::op::Op| matches!(op, pb::op::Op::Source(source) if source.identifier.starts_with(op::OCI_LAYOUT));
    let wanted = graph.vertices().any(|vertex| is_layout(&vertex.op));
    let rootfs: BTreeMap<String, Rootfs> =
        if wanted { session.project().map(|project| project.rootfs).unwrap_or_default() } else { BTreeMap::new() };
    let mut inputs = Inputs {
        directories: args.local.iter().map(directory).collect(),
        layouts: args.oci_layout.iter().cloned().collect(),
        images: rootfs.into_values().map(|rootfs| (rootfs.lock.manifest, rootfs)).collect(),
        ..Inputs::default()
    };
    args.grants.fill(&mut inputs)?;
    Ok(inputs)
}

/// The layers that a tree lies in and what left them; those that came as blobs stay the same blobs.
fn layers(engine: &Embedded, solved: &Solved) -> Result<(Vec<ImageLayer>, Vec<Option<String>>), Failure> {
    let (mut layers, mut created_by) = (Vec::new(), Vec::new());
    for place in engine.snapshots.layers(&solved.snapshot)? {
        match place {
            LayerPlace::Directory { id, path, overlay } => {
                layers.push(ImageLayer::Tree { path, overlay });
                let id = Digest::from_hex(&id).ok();
                created_by.push(id.and_then(|id| solved.made_by.get(&id).cloned()));
            }
            LayerPlace::Packed(packed) => {
                created_by.extend(packed.iter().map(|_| None));
                layers.extend(packed.into_iter().map(|layer| ImageLayer::Blob {
                    path: engine.store.path(&layer.digest),
                    blob: LayerBlob {
                        digest: layer.digest,
                        size: layer.size,
                        diff_id: DiffId(layer.diff_id),
                        media_type: layer.media_type,
                    },
                }));
            }
        }
    }
    Ok((layers, created_by))
}
