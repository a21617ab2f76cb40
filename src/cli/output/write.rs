//! Writing outputs.

use std::fs::{self, File, Permissions};
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value};

use super::keys::{Keys, Push};
use super::parse::{Output, OutputType};
use crate::build::BuildError;
use crate::cli::attest::Attestor;
use crate::cli::failure::Failure;
use crate::engine::Embedded;
use crate::export::{self, ArtifactKind, ExportError, ImageFacts, ImageLayer, ImageOptions, TarballOptions};
use crate::image::Name;
use crate::layer::Compression;
use crate::oci::Digest;
use crate::progress::Progress;
use crate::registry::{self, Reference, Registry};
use crate::source::SourceError;
use crate::store::Store;

/// Outputs of commands that build.
#[derive(Debug, Args)]
pub(crate) struct OutputArgs {
    /// What the result becomes: type=tar|dir|oci|oci-archive|docker-archive with dest=PATH (`-` is standard output), or
    /// type=image|registry with name=NAME; PATH alone is a directory; keys are in docs/exports.md; may be repeated
    #[arg(short, long, value_name = "type=TYPE,dest=PATH")]
    pub(crate) output: Vec<Output>,
    /// What the image is called, like -o type=image,name=NAME; with another -o, what the image there is called; may be
    /// repeated
    #[arg(short, long, value_name = "NAME")]
    pub(crate) tag: Vec<Name>,
    /// File to tell the digests of exported images in, as buildctl and docker do
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata_file: Option<PathBuf>,
}

/// Outputs as they will be written.
#[derive(Debug)]
pub(crate) struct Outputs<'a> {
    /// One after the other.
    pub(crate) list: Vec<Output>,
    metadata_file: Option<&'a Path>,
}

/// What outputs need beside the result.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) store: &'a Store,
    pub(crate) registry: &'a Registry,
    pub(crate) progress: &'a dyn Progress,
    /// The vertex whose result it is.
    pub(crate) vertex: Digest,
    /// What documents about the result know.
    pub(crate) attestor: Option<&'a Attestor>,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn new(engine: &'a Embedded, progress: &'a dyn Progress, vertex: Digest) -> Self {
        Self { store: &engine.store, registry: &engine.registry, progress, vertex, attestor: None }
    }
}

impl OutputArgs {
    /// Returns the outputs, `usual` where none is asked for. What cannot be is found here, before anything is built;
    /// `epoch` is the newest time that files may have.
    pub(crate) fn resolve(&self, epoch: Option<u64>, usual: Option<OutputType>) -> Result<Outputs<'_>, Failure> {
        let refused = |message: &str| Err(Failure::Usage { message: message.to_owned() });
        let mut list = self.output.clone();
        if list.is_empty() {
            let kind = if self.tag.is_empty() { usual } else { Some(OutputType::Image) };
            list.extend(kind.map(|kind| Output { kind, dest: None, keys: Keys::default() }));
        }
        for output in list.iter_mut().filter(|output| output.kind.is_image() && output.keys.names.is_empty()) {
            output.keys.names = self.tag.iter().map(ToString::to_string).collect();
        }
        if let Some(output) = list.iter().find(|output| output.keys.push.is_some() && output.keys.names.is_empty()) {
            let kind = if output.kind == OutputType::Registry { "registry" } else { "image" };
            return refused(&format!("where to push is not said: write -o type={kind},name=HOST/REPOSITORY:TAG"));
        }
        if list.is_empty() && self.metadata_file.is_some() {
            return refused("--metadata-file tells of an output: write -o type=TYPE,dest=PATH, too");
        }
        let streams = list.iter().filter(|output| output.kind.is_file() && output.dest.is_none()).count();
        if streams > 1 {
            return refused("only one output can go to standard output: write dest=PATH for the others");
        }
        if epoch.is_none() && list.iter().any(|output| output.keys.rewrites_timestamps()) {
            return refused("rewrite-timestamp=true needs a time: set SOURCE_DATE_EPOCH or write --epoch SECONDS");
        }
        if streams > 0 && std::io::stdout().is_terminal() {
            return refused("standard output is a terminal: redirect it, or write dest=PATH");
        }
        Ok(Outputs { list, metadata_file: self.metadata_file.as_deref() })
    }
}

impl Outputs<'_> {
    /// Writes all outputs of `tree`, which `layers` lie in, as `image` describes it; returns what the user reads: where
    /// each of them is.
    pub(crate) fn write(
        &self,
        tree: &Path,
        layers: &[ImageLayer],
        image: &ImageOptions,
        around: Surroundings<'_>,
    ) -> Result<Vec<String>, Failure> {
        let mut said = Vec::new();
        let mut metadata = Map::new();
        for output in &self.list {
            let written = output
                .write(tree, layers, image, around)
                .map_err(|failure| if image.stop.asked() { ExportError::Stopped.into() } else { failure })?;
            said.extend(written.said);
            if let Some(facts) = written.image {
                metadata.extend(describe(&facts, &written.names));
            }
        }
        if let Some(path) = self.metadata_file {
            write_metadata(path, metadata)?;
        }
        Ok(said)
    }
}

/// What came of an output.
struct Written {
    said: Option<String>,
    image: Option<ImageFacts>,
    names: Vec<String>,
}

impl Output {
    fn write(
        &self,
        tree: &Path,
        layers: &[ImageLayer],
        image: &ImageOptions,
        around: Surroundings<'_>,
    ) -> Result<Written, Failure> {
        let mut image = image.clone();
        self.keys.apply(&mut image);
        if self.keys.rewrites_timestamps() {
            image.rewrite_timestamps = image.newest();
        }
        let names = image.names.iter().map(|name| Ok(export::reference(name)?.to_string()));
        let mut written = Written { said: None, image: None, names: names.collect::<Result<_, ExportError>>()? };
        if let Some(attestor) = around.attestor {
            image.attach = attestor.attach(&written.names);
        }
        written.image = match (self.kind, &self.dest) {
            (OutputType::Image | OutputType::Registry, _) => {
                let facts = self.keep(layers, &image, around)?;
                written.said = Some(facts.digest().to_string());
                Some(facts)
            }
            (_, None) => self.stream(tree, layers, &image, around.store)?,
            (kind, Some(dest)) => {
                let artifact = match kind {
                    OutputType::Tar => export::tarball(tree, &self.tarball(&image), dest)?,
                    OutputType::Dir => export::directory(tree, image.times, dest)?,
                    OutputType::OciArchive => export::oci_archive(layers, &image, dest)?,
                    OutputType::DockerArchive => export::docker_archive(layers, &image, dest)?,
                    _ => export::oci_layout(layers, &image, dest)?,
                };
                if let (OutputType::Tar, Some(attestor)) = (kind, around.attestor) {
                    attestor.write_beside(dest, &artifact.digest)?;
                }
                written.said = Some(dest.display().to_string());
                artifact.image
            }
        };
        Ok(written)
    }

    fn tarball(&self, image: &ImageOptions) -> TarballOptions {
        let ending = self.dest.as_ref().and_then(|dest| dest.extension());
        let gzip = ending.is_some_and(|ending| ending == "gz" || ending == "tgz");
        let usual = if gzip { Compression::Gzip { level: 9 } } else { Compression::None };
        let (times, owner, jobs, stop) = (image.times, image.owner, image.jobs, image.stop.clone());
        let compression = self.keys.compression().unwrap_or(usual);
        TarballOptions { times, owner, prefix: PathBuf::new(), compression, jobs, stop }
    }

    /// Writes to standard output.
    fn stream(
        &self,
        tree: &Path,
        layers: &[ImageLayer],
        image: &ImageOptions,
        store: &Store,
    ) -> Result<Option<ImageFacts>, Failure> {
        let failed = |source| Failure::Io { action: "open", path: PathBuf::from("standard output"), source };
        // As a file, to which the kernel copies without this process.
        let out = File::from(std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
        let kind = match self.kind {
            OutputType::Tar => {
                export::stream_tarball(tree, &self.tarball(image), out)?;
                return Ok(None);
            }
            OutputType::DockerArchive => ArtifactKind::DockerArchive,
            _ => ArtifactKind::OciArchive,
        };
        let scratch = store.temporary_directory()?;
        Ok(Some(export::stream_image(kind, layers, image, scratch.path(), out)?))
    }

    /// Puts an image into the store, names it there, and pushes it where it shall go.
    fn keep(
        &self,
        layers: &[ImageLayer],
        image: &ImageOptions,
        around: Surroundings<'_>,
    ) -> Result<ImageFacts, Failure> {
        let facts = export::into_store(layers, image, around.store)?;
        if self.kind == OutputType::Image {
            export::tag(&image.names, &facts, around.store)?;
        }
        if let Some(how) = self.keys.push {
            for name in &image.names {
                let named = export::reference(name)?;
                let reference = if how == Push::Digest { at(&named, &facts.digest()) } else { named };
                push(&reference, &facts.digest(), around)?;
                for attachment in &facts.attachments {
                    let digest = export::digest_of(attachment);
                    push(&at(&reference, &digest), &digest, around)?;
                }
            }
        }
        Ok(facts)
    }
}

/// The same repository, by digest.
fn at(reference: &Reference, digest: &Digest) -> Reference {
    let (host, repository) = (reference.registry().to_owned(), reference.repository().to_owned());
    Reference::with_digest(host, repository, digest.to_string())
}

fn push(reference: &Reference, digest: &Digest, around: Surroundings<'_>) -> Result<(), Failure> {
    let told = (around.progress, around.vertex);
    registry::push(around.registry, reference, digest, around.store, told)
        .map(|_| ())
        .map_err(|error| BuildError::from(SourceError::from(error)).into())
}

/// What a metadata file says of an image (BuildKit `exporter/containerimage/exptypes/types.go`).
fn describe(facts: &ImageFacts, names: &[String]) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("containerimage.digest".to_owned(), facts.digest().to_string().into());
    metadata.insert("containerimage.config.digest".to_owned(), facts.config.to_string().into());
    let descriptor = serde_json::to_value(&facts.descriptor).expect("descriptors are representable");
    metadata.insert("containerimage.descriptor".to_owned(), descriptor);
    if !names.is_empty() {
        metadata.insert("image.name".to_owned(), names.join(",").into());
    }
    metadata
}

fn write_metadata(path: &Path, metadata: Map<String, Value>) -> Result<(), Failure> {
    let failed = |source| Failure::Io { action: "write", path: path.to_owned(), source };
    let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(failed)?;
    let text = serde_json::to_string_pretty(&Value::Object(metadata)).expect("plain data");
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.as_file().set_permissions(Permissions::from_mode(0o644)))
        .and_then(|()| file.as_file().sync_all())
        .map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
