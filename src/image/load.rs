//! Archives and layouts become images of the store.
//!
//! Three forms are read, whatever they are called and however they are compressed: an OCI image layout, as a directory
//! or in a tar (`image-spec image-layout.md`); what `docker save` writes since version 25, which is such a layout with a
//! `manifest.json` beside; and what it wrote before, see [`super::docker`].

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::docker;
use super::document::{DEPTH, Document, Entry, Kind, MOST, MOST_CONFIG, is_config};
use super::error::ImageError;
use super::name::Name;
use super::pieces::Pieces;
use super::tags::{loose, tag};
use crate::http::Stop;
use crate::oci::Digest;
use crate::registry::Descriptor;
use crate::store::Store;

/// The annotation that carries a name or only a tag (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation in which containerd, and thereby docker, writes the whole name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Images that one archive may bring.
const IMAGES: usize = 4096;

/// One image that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its manifest, or the index of its platforms.
    pub descriptor: Descriptor,
    /// What it is called now; nothing where the archive does not say and nobody else does.
    pub names: Vec<Name>,
    /// How many manifests of an index did not come along.
    pub absent: usize,
}

/// What an archive brings: nothing of it is in the store yet.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) descriptor: Descriptor,
    pub(super) names: Vec<Name>,
    /// Files to keep, in this order.
    pub(super) files: Vec<String>,
    /// Documents that we wrote ourselves.
    pub(super) made: Vec<Vec<u8>>,
    pub(super) absent: usize,
}

/// Where images are loaded from.
pub enum Archive<'a> {
    /// The bytes of an archive, and what to call it.
    Stream(&'a mut dyn Read, &'a str),
    /// A layout.
    Directory(&'a Path),
}

/// How loaded images are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming<'a> {
    /// As the archive calls them.
    Own,
    /// The only one has this name.
    As(&'a Name),
    /// They get no name, whatever the archive says.
    Without,
}

/// Brings all images of an archive or a layout into the store. Whatever fails, nothing is kept.
///
/// # Errors
/// `Archive`, `Read`, `Digest`, `Incomplete`, `Manifest` for what is wrong with it; `Name` where several images should
/// have one; `Stopped`, `Store`, `Io`.
pub fn load(from: Archive<'_>, naming: Naming<'_>, store: &Store, stop: &Stop) -> Result<Vec<Loaded>, ImageError> {
    let mut pieces = match from {
        Archive::Stream(reader, what) => Pieces::archive(reader, what, store, stop)?,
        Archive::Directory(path) => {
            let what = format!("layout `{}`", path.display());
            Pieces::directory(path, &what, store, stop)
        }
    };
    let mut found = if pieces.has("index.json")? {
        layout(&mut pieces)?
    } else if pieces.has("manifest.json")? {
        docker::images(&mut pieces)?
    } else if pieces.has("repositories")? {
        return Err(pieces.wrong("it is of a docker before 1.10: load it there and save it anew"));
    } else {
        return Err(pieces.wrong("neither an image layout (`index.json`) nor saved by docker (`manifest.json`)"));
    };
    if let Naming::As(name) = naming {
        let [only] = &mut found[..] else {
            let reason = format!("{} has {} images: they cannot all have that name", pieces.what(), found.len());
            return Err(ImageError::Name { text: name.to_string(), reason });
        };
        only.names = vec![name.clone()];
    }
    found.into_iter().map(|image| keep(&mut pieces, image, naming != Naming::Without)).collect()
}

fn keep(pieces: &mut Pieces<'_>, image: Found, named: bool) -> Result<Loaded, ImageError> {
    let store = pieces.store();
    for file in &image.files {
        pieces.commit(file)?;
    }
    for bytes in &image.made {
        let mut writer = store.writer()?;
        std::io::Write::write_all(&mut writer, bytes).map_err(ImageError::io("write to", store.root()))?;
        writer.commit()?;
    }
    for name in image.names.iter().filter(|_| named) {
        tag(store, name, &image.descriptor)?;
    }
    if image.names.is_empty() || !named {
        loose(store, &image.descriptor.digest, "loaded without a name")?;
    }
    Ok(Loaded { descriptor: image.descriptor, names: image.names, absent: image.absent })
}

/// Finds the images of a layout; entries of one manifest are one image with several names.
fn layout(pieces: &mut Pieces<'_>) -> Result<Vec<Found>, ImageError> {
    let what = format!("`index.json` of {}", pieces.what());
    let bytes = pieces.read("index.json", MOST)?.expect("it was seen");
    let Kind::Index(entries) = Document::parse(&what, &bytes)?.kind else {
        return Err(pieces.wrong("its `index.json` is no index"));
    };
    if entries.len() > IMAGES {
        return Err(pieces.wrong(&format!("{} images are more than {IMAGES}", entries.len())));
    }
    if entries.is_empty() {
        return Err(pieces.wrong("no image is in it"));
    }
    let mut images = BTreeMap::<Digest, usize>::new();
    let mut found: Vec<Found> = Vec::new();
    for entry in &entries {
        let name = name(entry);
        if let Some(at) = images.get(&entry.digest) {
            found[*at].names.extend(name);
            continue;
        }
        let mut walk = Walk { files: Vec::new(), absent: 0 };
        let media_type = walk.document(pieces, entry, DEPTH)?;
        images.insert(entry.digest, found.len());
        found.push(Found {
            descriptor: Descriptor { media_type, ..entry.descriptor() },
            names: name.into_iter().collect(),
            files: walk.files,
            made: Vec::new(),
            absent: walk.absent,
        });
    }
    Ok(found)
}

/// Returns what an entry calls its image: the whole name, where it gives one. A tag alone, as `skopeo copy` and umoci
/// write it, names nothing outside of the layout.
fn name(entry: &Entry) -> Option<Name> {
    let whole = |name: &&str| name.contains(['/', ':']);
    let name = entry.annotation(IMAGE_NAME).or(entry.annotation(REF_NAME).filter(whole))?;
    name.parse().ok()
}

struct Walk {
    files: Vec<String>,
    absent: usize,
}

impl Walk {
    /// Checks a manifest or an index with all that it names, and notes the files to keep, what is named before what
    /// names it. Returns its media type.
    fn document(&mut self, pieces: &mut Pieces<'_>, entry: &Entry, depth: usize) -> Result<String, ImageError> {
        let what = format!("manifest {} of {}", entry.digest, pieces.what());
        Self::sized(pieces, entry)?;
        let file = Pieces::blob(&entry.digest);
        let bytes = match pieces.read(&file, MOST)? {
            Some(bytes) => bytes,
            None => super::document::blob(pieces.store(), &entry.digest, MOST)?,
        };
        let document = Document::parse(&what, &bytes)?;
        match &document.kind {
            Kind::Index(_) if depth == 0 => {
                return Err(ImageError::Manifest { what, reason: format!("indexes in indexes, {DEPTH} deep") });
            }
            Kind::Index(entries) => {
                let mut came = 0;
                for child in entries {
                    // Docker saves an index whole and those of its images that it has.
                    if Self::is_there(pieces, child)? {
                        self.document(pieces, child, depth - 1)?;
                        came += 1;
                    } else {
                        self.absent += 1;
                    }
                }
                if came == 0 && !entries.is_empty() {
                    return Err(ImageError::Incomplete { what, missing: "all of the images it names".to_owned() });
                }
            }
            Kind::Image { config, layers } => {
                for blob in std::iter::once(config).chain(layers) {
                    Self::sized(pieces, blob)?;
                    self.note(pieces, blob)?;
                }
                if is_config(&config.media_type) && config.size > MOST_CONFIG {
                    let reason = format!("its config has more than {MOST_CONFIG} bytes");
                    return Err(ImageError::Manifest { what, reason });
                }
            }
        }
        self.note(pieces, entry)?;
        Ok(document.media_type)
    }

    fn is_there(pieces: &mut Pieces<'_>, entry: &Entry) -> Result<bool, ImageError> {
        Ok(pieces.has(&Pieces::blob(&entry.digest))? || pieces.store().contains(&entry.digest).is_some())
    }

    /// Checks that a blob is there and as large as promised.
    fn sized(pieces: &mut Pieces<'_>, entry: &Entry) -> Result<(), ImageError> {
        let there = pieces.stored(&Pieces::blob(&entry.digest))?.map(|stored| stored.size);
        let Some(size) = there.or_else(|| pieces.store().contains(&entry.digest)) else {
            let missing = format!("blob {}", entry.digest);
            return Err(ImageError::Incomplete { what: pieces.what().to_owned(), missing });
        };
        if size != entry.size {
            let reason = format!("blob {} has {size} bytes, not the {} promised", entry.digest, entry.size);
            return Err(pieces.wrong(&reason));
        }
        Ok(())
    }

    fn note(&mut self, pieces: &mut Pieces<'_>, entry: &Entry) -> Result<(), ImageError> {
        let file = Pieces::blob(&entry.digest);
        if pieces.has(&file)? && !self.files.contains(&file) {
            self.files.push(file);
        }
        Ok(())
    }
}

impl std::fmt::Debug for Archive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stream(_, what) => f.debug_tuple("Stream").field(what).finish(),
            Self::Directory(path) => f.debug_tuple("Directory").field(path).finish(),
        }
    }
}
