//! `--sbom`, `--provenance`: documents that go along with a result.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::failure::Failure;
use super::output::{Output, OutputType};
use super::tag::checkout;
use crate::attest::{self, Asked, Component, DigestSet, Document, Format, Input, Kind, Materials};
use crate::build::Project;
use crate::export::{Attach, Attachment};
use crate::llb::Graph;
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::recipe::Lowered;
use crate::solver::{Pin, Solved};

/// Which documents go along with a result.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttestArgs {
    /// Add a list of what is in the result: spdx, cyclonedx, or both with a comma
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "spdx",
          value_delimiter = ',')]
    pub(crate) sbom: Vec<Format>,
    /// Add how the result was made of what, as SLSA provenance
    #[arg(long)]
    pub(crate) provenance: bool,
}

/// What is known of a build; describes its results once they have a digest.
#[derive(Debug, Clone)]
pub(crate) struct Attestor(Arc<Known>);

#[derive(Debug)]
struct Known {
    formats: BTreeSet<Format>,
    materials: Materials,
    found: Vec<Component>,
    created: u64,
    /// What an image without a name is called.
    name: String,
}

impl AttestArgs {
    fn formats(&self) -> BTreeSet<Format> {
        self.sbom.iter().copied().chain(self.provenance.then_some(Format::Provenance)).collect()
    }

    /// Tells whether any document is asked for.
    pub(super) const fn is_asked(&self) -> bool {
        self.provenance || !self.sbom.is_empty()
    }

    /// Refuses outputs that no document can go along with, before anything is built.
    pub(super) fn check(&self, outputs: &[Output]) -> Result<(), Failure> {
        let mute = |output: &Output| match output.kind {
            OutputType::Dir | OutputType::DockerArchive => true,
            OutputType::Tar => output.dest.is_none(),
            OutputType::Oci | OutputType::OciArchive | OutputType::Image | OutputType::Registry => false,
        };
        if !self.formats().is_empty() && (outputs.is_empty() || outputs.iter().any(mute)) {
            let message = "--sbom and --provenance go along with tarballs that are files and with images in OCI's form: \
                           write type=tar,dest=PATH, oci, oci-archive, image or registry";
            return Err(Failure::Usage { message: message.to_owned() });
        }
        Ok(())
    }

    /// Gathers what is known of recipes that were built as `tree`; `None` where no document is asked for.
    pub(super) fn recipes(
        &self,
        project: &Project,
        lowered: &Lowered,
        asked: &Asked<'_>,
        tree: &Path,
        told: &dyn Progress,
    ) -> Result<Option<Attestor>, Failure> {
        if self.formats().is_empty() {
            return Ok(None);
        }
        let scripts = attest::directory(&project.root.join("scripts"), &attest::scripts(&lowered.graph))?;
        let asked = Asked { scripts: Some(scripts), ..*asked };
        let mut materials = attest::of_lowered(lowered, &project.recipes, &project.rootfs, &asked);
        match checkout(&project.root)? {
            Some((commit, modified)) => materials.inputs.push(Input::checkout(&commit, modified)),
            None if self.provenance => {
                told.event(&Event::Note { message: "the provenance names no commit: git knows none of these recipes" });
            }
            None => {}
        }
        let name = asked.requests.first().map_or("image", |request| &request.name);
        self.attestor(materials, name, (tree, asked.epoch), told).map(Some)
    }

    /// Gathers what is known of a definition that was solved as `tree`; `None` where no document is asked for.
    pub(super) fn definition(
        &self,
        (graph, solved): (&Graph, &Solved),
        tree: &Path,
        epoch: u64,
        told: &dyn Progress,
    ) -> Result<Option<Attestor>, Failure> {
        if self.formats().is_empty() {
            return Ok(None);
        }
        let resolved = solved.pins.iter().map(|(vertex, pin)| (*vertex, digests(pin))).collect();
        self.attestor(attest::of_graph(graph, &resolved), "image", (tree, epoch), told).map(Some)
    }

    fn attestor(
        &self,
        materials: Materials,
        name: &str,
        (tree, created): (&Path, u64),
        told: &dyn Progress,
    ) -> Result<Attestor, Failure> {
        let formats = self.formats();
        let lists = formats.iter().any(|format| *format != Format::Provenance);
        let inventory = if lists { attest::of_tree(tree)? } else { attest::Inventory::default() };
        for passed in &inventory.passed {
            let message = format!("not in the SBOM: `{}`: {}", passed.path.display(), passed.why);
            told.event(&Event::Note { message: &message });
        }
        let known = Known { formats, materials, found: inventory.components, created, name: name.to_owned() };
        Ok(Attestor(Arc::new(known)))
    }
}

impl Attestor {
    /// Returns what to say beside an image that is first of all called by the first of `names`.
    pub(super) fn attach(&self, names: &[String]) -> Attach {
        let (known, name) = (self.clone(), names.first().unwrap_or(&self.0.name).clone());
        Attach::new(move |manifest| {
            known.documents((Kind::Image, &name, manifest)).into_iter().map(attachment).collect()
        })
    }

    /// Writes the documents of a tarball beside it: `x.tar.gz` gets `x.spdx.json`.
    pub(super) fn write_beside(&self, tarball: &Path, digest: &Digest) -> Result<(), Failure> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Failure::Io { action, path, source }
        };
        let name = tarball.file_name().unwrap_or_default().to_string_lossy();
        for document in self.documents((Kind::Archive, &name, digest)) {
            let path = beside(tarball, document.ending());
            let directory = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed("create a file in", directory))?;
            let written = file
                .write_all(&document.bytes)
                .and_then(|()| file.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
                .and_then(|()| file.as_file().sync_all());
            written.map_err(failed("write", &path))?;
            file.persist(&path).map_err(|error| failed("publish", &path)(error.error))?;
        }
        Ok(())
    }

    fn documents(&self, result: (Kind, &str, &Digest)) -> Vec<Document> {
        let Known { formats, materials, found, created, .. } = &*self.0;
        let of = |format: &Format| Document::of(*format, materials, found, result, *created);
        formats.iter().map(of).collect()
    }
}

fn attachment(document: Document) -> Attachment {
    let kind = document.media_type().to_owned();
    let annotations = document.annotations();
    Attachment { artifact_type: kind.clone(), media_type: kind, bytes: document.bytes, annotations }
}

/// What a source turned out to be, in in-toto's words; the content of a directory has none of its own.
fn digests(pin: &Pin) -> DigestSet {
    let (algorithm, digest) = match pin {
        Pin::Sha256(digest) => ("sha256", digest.hex()),
        Pin::Commit(commit) => ("gitCommit", commit.clone()),
        Pin::Content(digest) => ("docklessContent", digest.hex()),
    };
    [(algorithm.to_owned(), digest)].into()
}

/// `x.tar.gz`, `x.tgz` and `x.tar` are all `x`.
fn beside(tarball: &Path, ending: &str) -> PathBuf {
    let name = tarball.file_name().unwrap_or_default().to_string_lossy();
    let stem = [".tar.gz", ".tgz", ".tar"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(&name);
    tarball.with_file_name(format!("{stem}.{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_called_as_their_tarball() {
        for name in ["a.b/x.tar.gz", "a.b/x.tgz", "a.b/x.tar", "a.b/x"] {
            assert_eq!(beside(Path::new(name), "spdx.json"), Path::new("a.b/x.spdx.json"));
        }
    }
}
