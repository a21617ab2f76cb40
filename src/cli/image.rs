//! `dockless image`: images of the store, in and out.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

use super::command::println;
use super::failure::Failure;
use super::image_given::{PlatformArg, PlatformsArg, given};
use super::image_show::{self, Inspect, Ls};
use super::progress::{View, bytes};
use super::session::{Inside, Session, stop};
use crate::image::{
    self, Archive, BundleOptions, Destination, ImageError, Name, Naming, SaveFormat, Saving, Tree, Wanted,
};
use crate::layer::Compression;
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::registry::Descriptor;
use crate::sandbox::{Cancel, Ids};
use crate::store::Store;
use crate::sys;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// Brings images from registries into the store, and prints their digests
    #[command(after_help = PULL)]
    Pull(Pull),
    /// Gives an image of the store to a registry, and prints its digest
    #[command(after_help = PUSH)]
    Push(Push),
    /// Brings the images of an archive or a layout into the store, and prints their digests and names
    #[command(after_help = LOAD)]
    Load(Load),
    /// Writes images of the store as an archive or a layout
    #[command(after_help = SAVE)]
    Save(Save),
    /// Lays an image out as a directory, or as a bundle that an OCI runtime starts
    #[command(after_help = UNPACK)]
    Unpack(Unpack),
    /// Says what an image is
    #[command(after_help = image_show::INSPECT)]
    Inspect(Inspect),
    /// Lists the images of the store
    Ls(Ls),
    /// Takes names away; `dockless cache prune` frees what no name leads to
    Rm(Rm),
    /// Gives an image another name
    Tag(Tag),
}

const PULL: &str = "Examples:
  dockless image pull debian:bookworm
  dockless image pull --platform linux/386 debian:bookworm
  dockless image pull --platform all ghcr.io/owner/name@sha256:…";

const PUSH: &str = "Examples:
  dockless image push ghcr.io/owner/name:1.0
  dockless image push debian:bookworm localhost:5000/debian:bookworm
  dockless image push --all-platforms --referrers owner/name:1.0
  dockless image push docker-archive:saved.tar localhost:5000/name:1.0";

const LOAD: &str =
    "Reads what `docker save`, `podman save`, `skopeo copy` and `umoci` write: docker archives, OCI archives
(gzip, zstd, xz and bzip2 too) and OCI layouts.

Examples:
  dockless image load image.tar
  docker save debian:bookworm | dockless image load
  dockless image load --tag localhost/mine:1 layout-directory/";

const SAVE: &str = "Examples:
  dockless image save debian:bookworm -o debian.tar
  dockless image save --format docker-archive debian:bookworm | docker load
  dockless image save --format oci debian:bookworm python:3.11 -o layout/";

const UNPACK: &str =
    "REF is a name or digest of the store, pulled (and kept) if it is not there; or, as skopeo writes it,
docker://NAME, oci:DIRECTORY[:TAG], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME].

Examples:
  dockless image unpack debian:bookworm root/
  dockless image unpack oci-archive:image.tar root/
  dockless image unpack --bundle debian:bookworm bundle/ && runc run --bundle bundle/ mine";

/// Arguments of `image pull`.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// Names, such as debian:bookworm or ghcr.io/owner/name@sha256:…
    #[arg(required = true, value_name = "REF")]
    references: Vec<Name>,
    /// For which machine: linux/amd64, linux/386, … or all, which keeps the index too [default: this machine]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformsArg>,
}

/// Arguments of `image push`.
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// Name or digest of the store, or one of another place as with `unpack`
    #[arg(value_name = "REF")]
    reference: String,
    /// Where it goes [default: what it is called]
    #[arg(value_name = "DEST")]
    destination: Option<Name>,
    /// Of an index, which image [default: this machine's]
    #[arg(long, value_name = "PLATFORM", conflicts_with = "all_platforms")]
    platform: Option<PlatformArg>,
    /// An index with all of its images
    #[arg(long)]
    all_platforms: bool,
    /// What is attached to it too: signatures, bills of materials
    #[arg(long)]
    referrers: bool,
    /// Compresses the layers that are not, which changes the digest [default: gzip for an image that was loaded from a
    /// docker archive, else none]
    #[arg(long, value_name = "HOW", conflicts_with_all = ["all_platforms", "referrers"])]
    compression: Option<How>,
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum How {
    /// As they are
    Uncompressed,
    /// What everything reads
    Gzip,
    /// Smaller and faster to read
    Zstd,
}

/// Arguments of `image load`.
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// Archive or directory; `-` or nothing for standard input
    #[arg(value_name = "FILE|DIR")]
    file: Option<PathBuf>,
    /// The same, as with `docker load`
    #[arg(short, long, value_name = "FILE|DIR", conflicts_with = "file")]
    input: Option<PathBuf>,
    /// What the image is called from now on, whatever the archive says
    #[arg(short, long, value_name = "NAME")]
    tag: Option<Name>,
    /// Prints digests only
    #[arg(short, long)]
    quiet: bool,
}

/// Arguments of `image save`.
#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Names or digests of the store, or of other places as with `unpack`
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
    /// File or new directory; `-` or nothing for standard output, unless that is a terminal
    #[arg(short, long, value_name = "FILE|DIR")]
    output: Option<PathBuf>,
    /// Form
    #[arg(long, value_enum, default_value_t = Form::OciArchive)]
    format: Form,
    /// Of indexes, only this image [default: all of them; in a docker archive this machine's]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformArg>,
    /// What is attached to the images too, in the OCI forms
    #[arg(long)]
    referrers: bool,
}

/// Forms of saved images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// An OCI image layout in one tar
    OciArchive,
    /// What `docker load` reads
    DockerArchive,
    /// An OCI image layout as a directory
    Oci,
}

/// Arguments of `image unpack`.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// Name or digest, see below
    #[arg(value_name = "REF")]
    reference: String,
    /// New or empty directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// For which machine [default: this one]
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<PlatformArg>,
    /// Asks the registry even if the store has the name
    #[arg(long)]
    pull: bool,
    /// Makes a bundle: `rootfs/` and `config.json`
    #[arg(long)]
    bundle: bool,
    /// The bundle's program has a terminal
    #[arg(short, long, requires = "bundle")]
    terminal: bool,
}

/// Arguments of `image rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Names, or digests for all names of an image
    #[arg(required = true, value_name = "REF")]
    references: Vec<String>,
}

/// Arguments of `image tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Name or digest of the store
    #[arg(value_name = "SRC")]
    source: String,
    /// The new name
    #[arg(value_name = "DST")]
    destination: Name,
}

impl ImageCommand {
    /// Tells whether it makes files of other owners.
    pub(super) const fn is_inside(&self) -> bool {
        matches!(self, Self::Unpack(_))
    }
}

/// What transfers are shown as: no vertex of any graph.
pub(super) fn told(view: &View) -> (&dyn Progress, Digest) {
    (view, Digest::of(b"dockless image"))
}

/// Runs a command that needs all of the user's ids.
pub(super) fn inside(
    session: &Session<'_>,
    command: &ImageCommand,
    inside: &Inside,
    view: &View,
) -> Result<ExitCode, Failure> {
    match command {
        ImageCommand::Unpack(args) => unpack(session, args, inside, view),
        other => outside(session, other, &inside.cancel, view),
    }
}

/// Runs a command that does not.
pub(super) fn outside(
    session: &Session<'_>,
    command: &ImageCommand,
    cancel: &Cancel,
    view: &View,
) -> Result<ExitCode, Failure> {
    match command {
        ImageCommand::Pull(args) => pull(session, args, cancel, view)?,
        ImageCommand::Push(args) => push(session, args, cancel, view)?,
        ImageCommand::Load(args) => load(session, args, cancel, view)?,
        ImageCommand::Save(args) => save(session, args, cancel, view)?,
        ImageCommand::Inspect(args) => image_show::inspect(session, args, cancel, view)?,
        ImageCommand::Ls(args) => image_show::ls(session, args, view)?,
        ImageCommand::Rm(args) => {
            let store = session.store()?;
            for reference in &args.references {
                for name in image::forget(&store, reference)? {
                    view.suspend(|| println(&name))?;
                }
            }
        }
        ImageCommand::Tag(args) => {
            let store = session.store()?;
            image::tag(&store, &args.destination, &image::find(&store, &args.source)?)?;
        }
        // It runs inside, and never comes here.
        ImageCommand::Unpack(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn pull(session: &Session<'_>, args: &Pull, cancel: &Cancel, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let registry = session.registry(cancel)?;
    let wanted = args.platform.clone().map_or_else(|| Wanted::One(PlatformArg::host().0), |platform| platform.0);
    for name in &args.references {
        let descriptor = image::pull(&registry, name, &wanted, &store, told(view))?;
        image::tag(&store, name, &descriptor)?;
        view.suspend(|| println(&descriptor.digest.to_string()))?;
    }
    Ok(())
}

fn push(session: &Session<'_>, args: &Push, cancel: &Cancel, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let found = given(session, &store, &args.reference, args.platform.as_ref(), cancel, view)?;
    let destination = match &args.destination {
        Some(destination) => destination.clone(),
        None => found.name.clone().ok_or_else(|| Failure::Usage {
            message: format!("`{}` is no name to push to: say where, e.g. localhost:5000/name:tag", args.reference),
        })?,
    };
    let descriptor = if args.all_platforms {
        found.descriptor
    } else {
        one(&store, &found.descriptor, args.platform.as_ref(), &args.reference, view)?
    };
    let how = match args.compression {
        Some(how) => how,
        // Nobody else knows it by the digest that it has here.
        None if !args.referrers && image::is_of_docker_archive(&store, &descriptor.digest)? => How::Gzip,
        None => How::Uncompressed,
    };
    let how = match how {
        How::Uncompressed => Compression::None,
        How::Gzip => Compression::Gzip { level: 6 },
        How::Zstd => Compression::Zstd { level: 3 },
    };
    let descriptor =
        image::compressed(&store, &descriptor, (how, session.jobs()), &destination.to_string(), &stop(cancel))?;
    let registry = session.registry(cancel)?;
    let attached = image::push(&registry, &store, &descriptor.digest, &destination, args.referrers, told(view))?;
    if args.referrers {
        note(view, &format!("{} attached to it", attached.len()));
    }
    view.suspend(|| println(&descriptor.digest.to_string()))
}

/// Returns the one image of an index, and says so.
fn one(
    store: &Store,
    found: &Descriptor,
    platform: Option<&PlatformArg>,
    what: &str,
    view: &View,
) -> Result<Descriptor, Failure> {
    let wanted = platform.cloned().unwrap_or_else(PlatformArg::host).0;
    let (image, _) = image::image(store, &found.digest, (&wanted, platform.is_some()), what)?;
    if image.manifest.digest != found.digest && platform.is_none() {
        note(view, &format!("of the images of `{what}` only the one for {wanted}: --all-platforms takes all"));
    }
    Ok(image.manifest)
}

fn note(view: &View, message: &str) {
    view.event(&Event::Note { message });
}

fn load(session: &Session<'_>, args: &Load, cancel: &Cancel, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let stop = stop(cancel);
    let naming = args.tag.as_ref().map_or(Naming::Own, Naming::As);
    let path = args.file.as_deref().or(args.input.as_deref()).filter(|path| *path != Path::new("-"));
    let loaded = match path {
        Some(path) if path.is_dir() => image::load(Archive::Directory(path), naming, &store, &stop)?,
        Some(path) => {
            let failed = |source| ImageError::Io { action: "open", path: path.to_owned(), source };
            let mut file = std::fs::File::open(path).map_err(failed)?;
            let what = format!("archive `{}`", path.display());
            image::load(Archive::Stream(&mut file, &what), naming, &store, &stop)?
        }
        None if io::stdin().is_terminal() => {
            let message = "an archive is expected on standard input, or a file: dockless image load FILE".to_owned();
            return Err(Failure::Usage { message });
        }
        None => image::load(Archive::Stream(&mut io::stdin().lock(), "the archive"), naming, &store, &stop)?,
    };
    for image in loaded {
        if image.absent > 0 {
            note(
                view,
                &format!("{}: {} images of this index did not come along", image.descriptor.digest, image.absent),
            );
        }
        if image.names.is_empty() {
            note(view, "it has no name: `dockless image tag` gives one, else `dockless cache prune` takes it");
        }
        let digest = image.descriptor.digest;
        let names: Vec<String> = image.names.iter().map(|name| format!("{digest} {name}")).collect();
        let lines = if args.quiet || names.is_empty() { vec![digest.to_string()] } else { names };
        view.suspend(|| println(&lines.join("\n")))?;
    }
    Ok(())
}

fn save(session: &Session<'_>, args: &Save, cancel: &Cancel, view: &View) -> Result<(), Failure> {
    let store = session.store()?;
    let format = match args.format {
        Form::OciArchive => SaveFormat::OciArchive,
        Form::DockerArchive => SaveFormat::DockerArchive,
        Form::Oci => SaveFormat::Oci,
    };
    let path = args.output.as_deref().filter(|path| *path != Path::new("-"));
    if path.is_none() && (format == SaveFormat::Oci || io::stdout().is_terminal()) {
        return Err(Failure::Usage { message: "say where with -o: an archive is nothing for a terminal".to_owned() });
    }
    let mut images: Vec<Saving> = Vec::new();
    for reference in &args.references {
        let found = given(session, &store, reference, args.platform.as_ref(), cancel, view)?;
        let descriptor = match (&args.platform, format) {
            (None, SaveFormat::Oci | SaveFormat::OciArchive) => found.descriptor,
            _ => one(&store, &found.descriptor, args.platform.as_ref(), reference, view)?,
        };
        match images.iter_mut().find(|image| image.descriptor.digest == descriptor.digest) {
            Some(image) => image.names.extend(found.name.filter(|name| !image.names.contains(name))),
            None => images.push(Saving { descriptor, names: found.name.into_iter().collect() }),
        }
    }
    if args.referrers && format != SaveFormat::DockerArchive {
        for digest in images.iter().map(|image| image.descriptor.digest).collect::<Vec<_>>() {
            for attached in image::referrers(&store, &digest)? {
                images.push(Saving { descriptor: image::find(&store, &attached.to_string())?, names: Vec::new() });
            }
        }
    }
    let platform = args.platform.clone().unwrap_or_else(PlatformArg::host).0;
    if let Some(path) = path {
        return Ok(image::save(&store, &images, format, &platform, Destination::Path(path))?);
    }
    let mut out = io::BufWriter::with_capacity(256 << 10, io::stdout().lock());
    match image::save(&store, &images, format, &platform, Destination::Stream(&mut out)) {
        // Whoever reads has what they want.
        Err(ImageError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn unpack(session: &Session<'_>, args: &Unpack, inside: &Inside, view: &View) -> Result<ExitCode, Failure> {
    let store = session.store()?;
    let cancel = &inside.cancel;
    let wanted = args.platform.clone().unwrap_or_else(PlatformArg::host).0;
    let known = given(session, &store, &args.reference, args.platform.as_ref(), cancel, view);
    let descriptor = match (known, args.reference.parse::<Name>()) {
        (Ok(found), _) if !args.pull => found.descriptor,
        (Ok(_) | Err(Failure::Image(ImageError::Unknown { .. })), Ok(name)) => {
            let registry = session.registry(cancel)?;
            let descriptor = image::pull(&registry, &name, &Wanted::One(wanted.clone()), &store, told(view))?;
            image::tag(&store, &name, &descriptor)?;
            descriptor
        }
        (Ok(found), Err(_)) => found.descriptor,
        (Err(failure), _) => return Err(failure),
    };
    let (stop, strict) = (stop(cancel), args.platform.is_some());
    let (digest, what, to) = (&descriptor.digest, args.reference.as_str(), args.directory.as_path());
    let (tree, notes) = if args.bundle {
        let ids = if inside.ids == Ids::Kept { None } else { Some(id_maps()?) };
        let options = BundleOptions { ids, terminal: args.terminal };
        image::bundle(&store, digest, (&wanted, strict), what, to, (&options, &stop))?
    } else {
        let tree = image::unpack(&store, digest, (&wanted, strict), what, to, (inside.single_id, &stop))?;
        (tree, Vec::new())
    };
    for message in notes.into_iter().chain(said(&tree, inside)) {
        note(view, &message);
    }
    view.suspend(|| println(&args.directory.display().to_string()))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the ids of this command's own namespace, as its parent sees them.
fn id_maps() -> Result<(sys::IdMap, sys::IdMap), Failure> {
    sys::current_map().map_err(|source| Failure::Io { action: "read", path: "/proc/self/uid_map".into(), source })
}

/// What the machine did not allow.
fn said(tree: &Tree, inside: &Inside) -> Vec<String> {
    let unpacked = &tree.unpacked;
    let mut said = vec![format!("{} entries, {}", unpacked.entries, bytes(unpacked.bytes))];
    if unpacked.owners_refused > 0 {
        let why = inside.note.as_deref().unwrap_or("one id only");
        said.push(format!("{} of them are yours and not their owners': {why}", unpacked.owners_refused));
    }
    if unpacked.attributes_refused > 0 {
        said.push(format!("{} extended attributes were not taken here", unpacked.attributes_refused));
    }
    if unpacked.nodes_recorded > 0 {
        said.push(format!("{} devices or pipes are empty files that say what they stand for", unpacked.nodes_recorded));
    }
    if unpacked.nodes_refused > 0 {
        said.push(format!("{} device nodes are left out: only root may make any", unpacked.nodes_refused));
    }
    said
}
