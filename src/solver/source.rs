//! Sources: content at once, trees on demand (`ops.proto SourceOp`).
//!
//! ```text
//! image, layout    content = digest of the platform's manifest      pulled and unpacked on demand
//! blob             content = digest of the blob and its name        fetched on demand
//! git              content = the commit, and what of it             checked out on demand
//! http             content = digest of the file and its looks       asked for at once, because only the server knows
//! local            content = digest of the files without times      copied at once
//! ```

use super::error::SolveError;
use super::key;
use super::mounts::missing;
use super::run::{Pin, Work, snapshot_error};
use super::value::Value;
use crate::cache::Output;
use crate::layer::Compression;
use crate::llb::{Vertex, pb};
use crate::oci::{DiffId, Digest};
use crate::progress::Event;
use crate::registry::{self, Layout, Platform, Reference};
use crate::snapshot::{PackedLayer, Snapshot, SnapshotError};
use crate::source::git::{self, GitAccess, GitSource, Resolved};
use crate::source::{self, Downloaded, FileAttributes, HttpSource, Identifier, LocalSource, SourceError};

/// Room of the store that says what became of a directory that looked like this.
pub const SEEN: &str = "seen";

/// Seconds for which nothing may have changed in a directory before its look is trusted, far above a tick of any clock.
const SETTLED: i64 = 1;

/// What a source turned out to be, for those who want its tree.
#[derive(Debug, Clone)]
pub(super) enum Found {
    /// One of our own root filesystems.
    Rootfs(Digest),
    /// A file that a recipe's lock names.
    Pinned(Digest, String),
    /// An image of a registry, by the digest of its manifest.
    Image(Reference, Digest, Option<usize>),
    /// An image of a layout.
    Layout(Layout, Digest, Option<usize>),
    /// A blob of a registry.
    ImageBlob(Reference, Digest, FileAttributes),
    /// A blob of a layout.
    LayoutBlob(Layout, Digest, FileAttributes),
    /// A commit.
    Git(Box<(GitSource, Resolved)>),
}

impl Found {
    pub(super) fn pin(&self) -> Pin {
        match self {
            Self::Rootfs(digest) | Self::Image(_, digest, _) | Self::Layout(_, digest, _) => Pin::Sha256(*digest),
            Self::Pinned(digest, _) | Self::ImageBlob(_, digest, _) | Self::LayoutBlob(_, digest, _) => {
                Pin::Sha256(*digest)
            }
            Self::Git(found) => Pin::Commit(found.1.commit.clone()),
        }
    }
}

impl Work<'_> {
    /// Returns the value of a source.
    pub(super) fn source(&self, vertex: &Vertex, op: &pb::SourceOp) -> Result<Value, SolveError> {
        let fail = |error: SourceError| source_error(vertex, error);
        let identifier = Identifier::parse(op).map_err(SourceError::from).map_err(fail)?;
        let (found, content) = match identifier {
            Identifier::Local(local) => {
                let value = self.directory(vertex, &local)?;
                self.pin(vertex, Pin::Content(value.content));
                return Ok(value);
            }
            Identifier::Http(http) => return self.download(vertex, &http),
            Identifier::Layout { digest: Some(manifest), .. } if self.solver.inputs.images.contains_key(&manifest) => {
                (Found::Rootfs(manifest), key::image(&manifest))
            }
            Identifier::LayoutBlob { digest, file, .. } if self.solver.inputs.files.contains_key(&digest) => {
                let name = file.filename.unwrap_or_else(|| digest.hex());
                let content = key::file(&name, &digest);
                (Found::Pinned(digest, name), content)
            }
            Identifier::Image { reference, checksum, layer_limit, .. } => {
                let told = (self.progress, vertex.digest);
                let registry = self.solver.registry;
                let manifest = registry::resolve(registry, &reference, &platform(vertex), self.solver.store, told)
                    .map_err(SourceError::from)
                    .map_err(fail)?
                    .digest;
                if let Some(expected) = checksum.filter(|checksum| *checksum != manifest) {
                    let what = reference.to_string();
                    let error = registry::RegistryError::Digest { what, expected, actual: manifest };
                    return Err(fail(error.into()));
                }
                let content = limited(&manifest, layer_limit);
                (Found::Image(reference, manifest, layer_limit), content)
            }
            Identifier::Layout { store, tag, digest, layer_limit } => {
                let layout = self.layout(vertex, &store)?;
                let manifest = layout.resolve(tag.as_deref(), digest.as_ref(), &platform(vertex));
                let manifest = manifest.map_err(SourceError::from).map_err(fail)?.descriptor.digest;
                (Found::Layout(layout, manifest, layer_limit), limited(&manifest, layer_limit))
            }
            Identifier::ImageBlob { reference, digest, file } => {
                let content = key::looks(&digest, &file);
                (Found::ImageBlob(reference, digest, file), content)
            }
            Identifier::LayoutBlob { store, digest, file } => {
                let content = key::looks(&digest, &file);
                (Found::LayoutBlob(self.layout(vertex, &store)?, digest, file), content)
            }
            Identifier::Git(source) => {
                let resolved =
                    self.with_access(|access| git::resolve(&source, self.solver.store, self.solver.origins, access));
                let resolved = resolved.map_err(SourceError::from).map_err(fail)?;
                let content = key::commit(&resolved.key);
                (Found::Git(Box::new((source, resolved))), content)
            }
        };
        self.note_found(vertex, found);
        Ok(Value::lazy(content))
    }

    /// Fetches or unpacks a source into the snapshot `id`.
    pub(super) fn source_tree(&self, vertex: &Vertex, id: &Digest) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let (store, told) = (solver.store, (self.progress, vertex.digest));
        let fail = |error: SourceError| source_error(vertex, error);
        let registry = |error: registry::RegistryError| fail(error.into());
        let found = self.found(vertex);
        match &found {
            Found::Rootfs(manifest) => self.rootfs_tree(vertex, id, manifest),
            Found::Pinned(digest, name) => self.file_tree(vertex, id, digest, name),
            Found::Image(reference, manifest, limit) => {
                let pinned = reference.clone_with_digest(manifest.to_string());
                let image = registry::pull(solver.registry, &pinned, &platform(vertex), store, told);
                self.image_tree(vertex, id, &image.map_err(registry)?, *limit)
            }
            Found::Layout(layout, manifest, limit) => {
                let image = layout.import(None, Some(manifest), &platform(vertex), store);
                self.image_tree(vertex, id, &image.map_err(registry)?, *limit)
            }
            Found::ImageBlob(reference, digest, file) => {
                let repository = solver.registry.repository(reference).map_err(registry)?;
                let blob = repository.get_blob(digest, None, store, told).map_err(registry)?;
                self.place(vertex, id, &file.of_blob(blob))
            }
            Found::LayoutBlob(layout, digest, file) => {
                let blob = layout.blob(digest, None, store).map_err(registry)?;
                self.place(vertex, id, &file.of_blob(blob))
            }
            Found::Git(found) => {
                let (source, resolved) = &**found;
                let active = solver.snapshots.prepare().map_err(|error| snapshot_error(vertex.name(), error))?;
                self.with_access(|access| {
                    git::checkout(source, resolved, &active.path(), store, solver.origins, (access, self.progress))
                })
                .map_err(fail)?;
                active.commit_derived(id).map_err(|error| snapshot_error(vertex.name(), error))
            }
        }
    }

    /// Copies a directory of the client.
    fn directory(&self, vertex: &Vertex, local: &LocalSource) -> Result<Value, SolveError> {
        let solver = self.solver;
        let directory = solver.inputs.directories.get(&local.name);
        let directory = directory.ok_or_else(|| missing(vertex, format!("directory `{}`", local.name)))?;
        let failed = |error: SnapshotError| snapshot_error(vertex.name(), error);
        if directory.normal {
            let copy = || solver.snapshots.copy_in(&directory.path, &local.include);
            return self.told(vertex, None, || copy().map(Value::ready).map_err(failed));
        }
        let look = source::look(&directory.path, local).map_err(|error| source_error(vertex, error))?;
        let key = look.digest.hex();
        let seen = solver.store.get_record(SEEN, &key)?;
        let seen: Option<Output> = seen.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        if let Some(seen) = seen
            && let Some(snapshot) = solver.snapshots.get(&seen.snapshot.hex()).map_err(failed)?
        {
            self.progress.event(&Event::Cached { vertex: vertex.digest, name: vertex.name() });
            return Ok(Value::made(seen.content, snapshot));
        }
        self.told(vertex, None, || {
            let active = solver.snapshots.prepare().map_err(failed)?;
            let settled = look.newest.0 + SETTLED < active.begun().0;
            source::local(&directory.path, local, &active.path(), solver.jobs.total(), &solver.origins.stop)
                .map_err(|error| source_error(vertex, error))?;
            // Times are no content, so that touching a file changes nothing, but who copies them wants those of today.
            let (content, snapshot) = active.commit_timed().map_err(failed)?;
            if settled {
                let bytes = serde_json::to_vec(&Output { snapshot: snapshot.digest(), content }).expect("plain data");
                solver.store.put_hint(SEEN, &key, &bytes)?;
            }
            Ok(Value::made(content, snapshot))
        })
    }

    /// Asks a server for a file.
    fn download(&self, vertex: &Vertex, http: &HttpSource) -> Result<Value, SolveError> {
        let solver = self.solver;
        let told = (self.progress, vertex.digest);
        let secrets = |id: &str| solver.inputs.secrets.get(id).map(|secret| secret.0.clone());
        self.told(vertex, None, || {
            let file = source::download(http, solver.store, solver.origins, &secrets, told);
            let file = file.map_err(|error| source_error(vertex, error))?;
            self.pin(vertex, Pin::Sha256(file.blob.digest));
            let content = key::downloaded(&file);
            let found = solver.snapshots.get(&content.hex()).map_err(|error| snapshot_error(vertex.name(), error))?;
            let snapshot = match found {
                Some(snapshot) => snapshot,
                None => self.place(vertex, &content, &file)?,
            };
            Ok(Value::ready(snapshot))
        })
    }

    fn place(&self, vertex: &Vertex, id: &Digest, file: &Downloaded) -> Result<Snapshot, SolveError> {
        let active = self.solver.snapshots.prepare().map_err(|error| snapshot_error(vertex.name(), error))?;
        file.place(self.solver.store, &active.path()).map_err(|error| source_error(vertex, error))?;
        active.commit_derived(id).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn file_tree(&self, vertex: &Vertex, id: &Digest, digest: &Digest, filename: &str) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let pinned = solver.inputs.files.get(digest).ok_or_else(|| missing(vertex, format!("file {digest}")))?;
        source::fetch(solver.store, pinned, solver.origins, self.progress, vertex.digest)
            .map_err(|error| source_error(vertex, error))?;
        let path = solver.store.path(digest);
        solver.snapshots.file(id, &path, filename).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn rootfs_tree(&self, vertex: &Vertex, id: &Digest, manifest: &Digest) -> Result<Snapshot, SolveError> {
        let solver = self.solver;
        let rootfs = solver.inputs.images.get(manifest).ok_or_else(|| missing(vertex, format!("image {manifest}")))?;
        let told = (self.progress, vertex.digest);
        let image = source::assemble(solver.store, rootfs, solver.origins, solver.jobs.total(), told)
            .map_err(|error| source_error(vertex, error))?;
        // Its layers are not compressed, so they are their own diff IDs.
        let media_type = Compression::None.media_type();
        let layers =
            image.layers.iter().map(|layer| packed(layer.digest, layer.size, DiffId(layer.digest), media_type));
        let layers: Vec<PackedLayer> = layers.collect();
        solver.snapshots.import(id, &layers).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn image_tree(
        &self,
        vertex: &Vertex,
        id: &Digest,
        image: &registry::Image,
        limit: Option<usize>,
    ) -> Result<Snapshot, SolveError> {
        let layers = image.layers.iter().zip(&image.diff_ids).take(limit.unwrap_or(usize::MAX));
        let layers = layers.map(|(layer, diff_id)| packed(layer.digest, layer.size, *diff_id, &layer.media_type));
        let layers: Vec<PackedLayer> = layers.collect();
        self.solver.snapshots.import(id, &layers).map_err(|error| snapshot_error(vertex.name(), error))
    }

    fn layout(&self, vertex: &Vertex, store: &str) -> Result<Layout, SolveError> {
        let path = self.solver.inputs.layouts.get(store);
        let path = path.ok_or_else(|| missing(vertex, format!("OCI layout `{store}`")))?;
        let layout = Layout::open(path, self.solver.origins.stop.clone());
        layout.map_err(|error| source_error(vertex, error.into()))
    }

    /// Calls `act` with what `git` may be given.
    fn with_access<R>(&self, act: impl FnOnce(GitAccess<'_>) -> R) -> R {
        let inputs = self.solver.inputs;
        let secrets = |id: &str| inputs.secrets.get(id).map(|secret| secret.0.clone());
        let agents = |id: &str| inputs.agents.get(id).cloned();
        act(GitAccess { secrets: &secrets, agents: &agents, allow_file: false })
    }
}

/// Describes a layer in the words of image-spec, whichever registry's words it came with.
fn packed(digest: Digest, size: u64, diff_id: DiffId, media_type: &str) -> PackedLayer {
    let compression = if media_type.ends_with("gzip") {
        Compression::Gzip { level: 6 }
    } else if media_type.ends_with("zstd") {
        Compression::Zstd { level: 3 }
    } else {
        Compression::None
    };
    PackedLayer { digest, size, diff_id: diff_id.0, media_type: compression.media_type().to_owned() }
}

fn platform(vertex: &Vertex) -> Platform {
    match &vertex.platform {
        Some(platform) => Platform::new(&platform.os, &platform.architecture, &platform.variant),
        None => Platform::linux(crate::oci::Arch::X86_64),
    }
}

fn limited(manifest: &Digest, limit: Option<usize>) -> Digest {
    let whole = key::image(manifest);
    limit.map_or(whole, |limit| key::lowest(&whole, limit))
}

fn source_error(vertex: &Vertex, error: SourceError) -> SolveError {
    SolveError::Source { name: vertex.name().to_owned(), source: Box::new(error) }
}
