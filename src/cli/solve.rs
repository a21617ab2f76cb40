//! `dockless solve`: a foreign definition, with what its client gives it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use super::args;
use super::command::{definition, println};
use super::failure::Failure;
use super::output::Surroundings;
use super::progress::View;
use super::session::{Inside, Session};
use crate::build::BuildError;
use crate::engine::{Embedded, Engine as _};
use crate::export::{ImageLayer, ImageOptions, LayerBlob};
use crate::layer::PackTimes;
use crate::llb::{Executor, Graph, op, pb};
use crate::oci::{Arch, DiffId, Digest};
use crate::policy::{Policies, Policy};
use crate::rootfs::Rootfs;
use crate::snapshot::LayerPlace;
use crate::solver::{Directory, Inputs, Solved};

/// Solves the definition on standard input.
pub(super) fn solve(
    session: &Session<'_>,
    args: &args::Solve,
    inside: Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    args.outputs.check(session.global.epoch)?;
    let graph = filtered(definition(Path::new("-"))?, args)?;
    args.attest.check(&args.outputs.output)?;
    let config = args.image_config.as_deref().map(config).transpose()?;
    let inputs = inputs(session, args, &graph)?;
    let mut engine = session.engine(inside)?;
    engine.executor = Executor { allowed: args.allow.iter().copied().collect(), ..Executor::embedded() };
    args.caches.open(&mut engine, view)?;
    args.limits.apply(&mut engine)?;
    let solved = engine.solve(&graph, &inputs, view).map_err(BuildError::from)?;
    args.caches.write(session, &engine, &[&solved], view);
    let said = if args.outputs.output.is_empty() {
        vec![match solved.snapshot.directory() {
            Some(path) => path.display().to_string(),
            None => solved.content.to_string(),
        }]
    } else {
        let (layers, layers_created_by) = layers(&engine, &solved)?;
        let image = ImageOptions { layers_created_by, ..image(session, &engine, &graph, config) };
        let tree = engine.snapshots.read(&solved.snapshot)?;
        let attestor = args.attest.definition((&graph, &solved), tree.path(), image.epoch, view)?;
        let around = Surroundings::new(&engine, view, graph.output().vertex);
        let around = Surroundings { attestor: attestor.as_ref(), ..around };
        args.outputs.write(tree.path(), &layers, &image, around)?
    };
    view.suspend(|| said.iter().try_for_each(|line| println(line))).map(|()| ExitCode::SUCCESS)
}

/// Lets the user's policies decide on the sources of a graph.
fn filtered(graph: Graph, args: &args::Solve) -> Result<Graph, Failure> {
    if args.source_policy.is_empty() {
        return Ok(graph);
    }
    let parse = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|source| Failure::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        Ok(Policy::parse(&text, path)?)
    };
    let policies = Policies::new(args.source_policy.iter().map(parse).collect::<Result<_, Failure>>()?);
    Ok(graph.with_sources(|_, source| policies.evaluate(source))?)
}

fn config(path: &Path) -> Result<serde_json::Map<String, serde_json::Value>, Failure> {
    let failed = |source| Failure::Io { action: "read", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Usage { message: format!("`{}` is no image config: {error}", path.display()) })
}

fn inputs(session: &Session<'_>, args: &args::Solve, graph: &Graph) -> Result<Inputs, Failure> {
    let directory =
        |(name, path): &(String, std::path::PathBuf)| (name.clone(), Directory { path: path.clone(), normal: false });
    let secrets = args.secret.iter().map(|secret| Ok((secret.id.clone(), secret.value()?)));
    let agents = args.ssh.iter().map(|agent| Ok((agent.id.clone(), agent.socket()?)));
    // Our own root filesystems, where the graph may name one and there is a project that has them.
    let is_layout =
        |op: &pb::op::Op| matches!(op, pb::op::Op::Source(source) if source.identifier.starts_with(op::OCI_LAYOUT));
    let wanted = graph.vertices().any(|vertex| is_layout(&vertex.op));
    let rootfs: BTreeMap<String, Rootfs> =
        if wanted { session.project().map(|project| project.rootfs).unwrap_or_default() } else { BTreeMap::new() };
    Ok(Inputs {
        directories: args.local.iter().map(directory).collect(),
        layouts: args.oci_layout.iter().cloned().collect(),
        images: rootfs.into_values().map(|rootfs| (rootfs.lock.manifest, rootfs)).collect(),
        secrets: secrets.collect::<Result<_, Failure>>()?,
        agents: agents.collect::<Result<_, Failure>>()?,
        ..Inputs::default()
    })
}

/// The image as its front end describes it; owners and times are the graph's own.
fn image(
    session: &Session<'_>,
    engine: &Embedded,
    graph: &Graph,
    config: Option<serde_json::Map<String, serde_json::Value>>,
) -> ImageOptions {
    let platform = graph.vertex(&graph.output().vertex).platform.as_ref();
    let arch = platform.and_then(|platform| Arch::from_oci(&platform.architecture)).unwrap_or(Arch::X86_64);
    ImageOptions {
        epoch: session.global.epoch.unwrap_or(0),
        times: PackTimes::Kept(session.global.epoch),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        created_by: "dockless".to_owned(),
        config,
        jobs: session.jobs(),
        stop: engine.origins.stop.clone(),
        ..ImageOptions::new(arch)
    }
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
