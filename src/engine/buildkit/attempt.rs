//! One graph at one daemon.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::adapt::adapt;
use super::daemons::BuildKit;
use super::events::{Events, Failed};
use super::result;
use crate::buildkit::{BuildKitError, Daemon, Demand, Export, Facts, Job, Offer, Received, Shared, Solving};
use crate::engine::EngineError;
use crate::grpc::Status;
use crate::llb::{Graph, pb};
use crate::oci::{Arch, Digest};
use crate::progress::{Event, Progress};
use crate::registry::{Layout, Platform};
use crate::solver::{Inputs, SolveError, Solved};
use crate::source;

/// How often it is looked whether the run is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// What a solve hears next.
enum Heard {
    Said(Solving),
    Wanted(Demand),
    Nothing,
}

impl BuildKit<'_> {
    /// Has `daemon` solve `graph`.
    pub(super) fn attempt(
        &self,
        (daemon, facts): (Arc<Daemon>, &Facts),
        graph: &Graph,
        inputs: &Inputs,
        progress: &dyn Progress,
    ) -> Result<Solved, EngineError> {
        let address = daemon.address().to_owned();
        let adapted = adapt(graph, facts.capabilities.as_ref(), self.local.ignore_cache, (&address, &facts.version))?;
        if adapted.copies {
            let message = format!("{address} ({}) has no merge: copies are made instead", facts.version);
            progress.event(&Event::Note { message: &message });
        }
        let (demands, mut demanded) = mpsc::unbounded_channel();
        let (told, mut heard) = mpsc::unbounded_channel();
        let received = Received::default();
        let export = export(&daemon, facts);
        let archive = (export == Export::Archive).then(|| received.clone());
        let job = Job {
            definition: adapted.definition,
            entitlements: self.local.executor.allowed.iter().map(ToString::to_string).collect(),
            caches: self.daemons.caches.clone(),
            shared_key: shared_key(inputs),
            export,
            offer: Offer { archive, ..self.offer(inputs, demands) },
        };
        let runtime = &self.daemons.runtime;
        let of = Arc::clone(&daemon);
        let task = runtime.spawn(async move { of.solve(job, told).await });
        let mut events = Events::new(graph, &adapted.own, progress, &self.local.store);
        let ended: Result<_, EngineError> = std::thread::scope(|scope| {
            loop {
                if self.cancel.is_cancelled() {
                    task.abort();
                    return Err(SolveError::Cancelled.into());
                }
                let next = runtime.block_on(async {
                    tokio::select! {
                        biased;
                        Some(demand) = demanded.recv() => Heard::Wanted(demand),
                        said = heard.recv() => match said {
                            Some(said) => Heard::Said(said),
                            None => Heard::Said(Solving::Done(Err(lost()))),
                        },
                        () = tokio::time::sleep(GLANCE) => Heard::Nothing,
                    }
                });
                match next {
                    Heard::Nothing => {}
                    Heard::Said(Solving::Status(status)) => events.take(&status),
                    Heard::Said(Solving::Done(result)) => return Ok(result),
                    Heard::Wanted(Demand { digest, answer }) => {
                        // Root filesystems take their time; events go on meanwhile.
                        scope.spawn(move || {
                            let _ = answer.send(self.blob(graph, inputs, &digest, progress));
                        });
                    }
                }
            }
        });
        let ended = ended.inspect_err(|_| events.end("stopped"))?;
        match ended {
            Ok(response) => {
                let (ran, cached) = (events.ran, events.cached);
                let layers = match export {
                    Export::Layers(_) => result::layers(self.local, &response),
                    Export::Archive => result::archive(&received),
                };
                let wrong = |reason| BuildKitError::Result { address: address.clone(), reason };
                let solved = result::solved(self.local, graph, &layers.map_err(wrong)?)?;
                Ok(Solved { ran, cached, ..solved })
            }
            Err(status) => {
                let error = daemon.error(&status);
                events.end("stopped");
                if error.is_of_daemon() {
                    return Err(error.into());
                }
                Err(match events.failed() {
                    Some(Failed::Step(failure)) => SolveError::Step(failure).into(),
                    Some(Failed::Vertex(name, message)) if matches!(error, BuildKitError::Solve { .. }) => {
                        BuildKitError::Vertex { address, name, message }.into()
                    }
                    _ => error.into(),
                })
            }
        }
    }

    /// Returns what the daemon may have of us.
    pub(super) fn offer(&self, inputs: &Inputs, blobs: mpsc::UnboundedSender<Demand>) -> Offer {
        let directories = inputs
            .directories
            .iter()
            .map(|(name, directory)| (name.clone(), Shared { path: directory.path.clone(), normal: directory.normal }));
        let secrets = inputs.secrets.iter().map(|(id, secret)| (id.clone(), secret.0.clone()));
        Offer {
            directories: directories.collect(),
            secrets: secrets.collect(),
            agents: inputs.agents.clone(),
            caches: self.daemons.cache_directories(),
            store: self.local.store.clone(),
            archive: None,
            registry: self.local.registry.clone(),
            blobs,
        }
    }

    /// Makes a blob that the graph names; one that it does not name is not given, whatever the store has.
    fn blob(
        &self,
        graph: &Graph,
        inputs: &Inputs,
        digest: &Digest,
        progress: &dyn Progress,
    ) -> Result<Option<PathBuf>, String> {
        let store = &self.local.store;
        let told = |wanted: &Digest| {
            let text = format!("@{wanted}");
            let names = |vertex: &&crate::llb::Vertex| matches!(&vertex.op, pb::op::Op::Source(source) if source.identifier.ends_with(&text));
            graph.vertices().find(names).map_or(*wanted, |vertex| vertex.digest)
        };
        if let Some(pinned) = inputs.files.get(digest) {
            let fetched = source::fetch(store, pinned, &self.local.origins, progress, told(digest));
            return fetched.map(|_| Some(store.path(digest))).map_err(|error| causes(&error));
        }
        for (manifest, rootfs) in &inputs.images {
            // Its config and its layer are known only when it is there.
            let is_there = store.contains(manifest).is_some();
            if manifest != digest && !is_there {
                continue;
            }
            let (origins, jobs) = (&self.local.origins, self.local.jobs.total());
            let image = source::assemble(store, rootfs, origins, jobs, (progress, told(manifest)));
            let image = image.map_err(|error| causes(&error))?;
            let config = || config_of(&store.path(manifest));
            if manifest == digest
                || image.layers.iter().any(|layer| layer.digest == *digest)
                || config() == Some(*digest)
            {
                return Ok(Some(store.path(digest)));
            }
        }
        for root in inputs.layouts.values() {
            let path = root.join("blobs/sha256").join(digest.hex());
            if path.is_file() && Layout::open(root, self.local.origins.stop.clone()).is_ok() {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

/// Reads which config a manifest names.
fn config_of(manifest: &std::path::Path) -> Option<Digest> {
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(manifest).ok()?).ok()?;
    manifest.pointer("/config/digest")?.as_str()?.parse().ok()
}

/// The platform that a graph's result is for.
pub(super) fn platform(graph: &Graph) -> Platform {
    match &graph.vertex(&graph.output().vertex).platform {
        Some(platform) => Platform::new(&platform.os, &platform.architecture, &platform.variant),
        None => Platform::linux(Arch::X86_64),
    }
}

fn export(daemon: &Daemon, facts: &Facts) -> Export {
    match (facts.layers, daemon.is_near()) {
        // Compressing costs more than it saves where no network is between.
        (true, true) => Export::Layers("uncompressed"),
        (true, false) => Export::Layers("zstd"),
        (false, _) => Export::Archive,
    }
}

/// Directories of the same place on the same machine are sent again only as far as they have changed.
fn shared_key(inputs: &Inputs) -> String {
    let mut text = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for directory in inputs.directories.values() {
        let path = std::path::absolute(&directory.path).unwrap_or_else(|_| directory.path.clone());
        text.push('\n');
        text.push_str(&path.to_string_lossy());
    }
    Digest::of(text.as_bytes()).hex()
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn lost() -> Status {
    Status::new(crate::grpc::Code::Internal, "the solve has ended without a word")
}
