//! `--sbom`, `--provenance`: documents that go along with a result.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::output::{Output, OutputType};
use crate::attest::{self, Asked, Component, DigestSet, Document, Format, Kind, Materials};
use crate::build::Project;
use crate::llb::Graph;
use crate::oci::{Digest, Hasher};
use crate::progress::{Event, Progress};
use crate::recipe::Lowered;
use crate::solver::{Pin, Solved};

/// Which documents go along with a result.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttestArgs {
    /// Add a list of what is in the result: spdx, cyclonedx, or both with a comma
    #[arg(long, value_name = "FORM", num_args = 0..=1, require_equals = true, default_missing_value = "spdx",
          value_delimiter = ',', requires = "output")]
    pub(crate) sbom: Vec<Format>,
    /// Add how the result was made of what, as SLSA provenance
    #[arg(long, requires = "output")]
    pub(crate) provenance: bool,
}

/// What is known of a build; describes its results once they have a digest.
#[derive(Debug)]
pub(super) struct Attestor {
    formats: BTreeSet<Format>,
    materials: Materials,
    found: Vec<Component>,
    created: u64,
}

impl AttestArgs {
    fn formats(&self) -> BTreeSet<Format> {
        self.sbom.iter().copied().chain(self.provenance.then_some(Format::Provenance)).collect()
    }

    /// Refuses an output that no document can go along with, before anything is built.
    pub(super) fn check(&self, output: Option<&Output>) -> Result<(), Failure> {
        match output {
            Some(output) if !self.formats().is_empty() && output.kind != OutputType::Tar => {
                let message = "--sbom and --provenance need an output of type=tar".to_owned();
                Err(Failure::Usage { message })
            }
            _ => Ok(()),
        }
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
        let materials = attest::of_lowered(lowered, &project.recipes, &project.rootfs, &asked);
        self.attestor(materials, tree, asked.epoch, told).map(Some)
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
        self.attestor(attest::of_graph(graph, &resolved), tree, epoch, told).map(Some)
    }

    fn attestor(
        &self,
        materials: Materials,
        tree: &Path,
        created: u64,
        told: &dyn Progress,
    ) -> Result<Attestor, Failure> {
        let formats = self.formats();
        let lists = formats.iter().any(|format| *format != Format::Provenance);
        let inventory = if lists { attest::of_tree(tree)? } else { attest::Inventory::default() };
        for passed in &inventory.passed {
            let message = format!("not in the SBOM: `{}`: {}", passed.path.display(), passed.why);
            told.event(&Event::Note { message: &message });
        }
        Ok(Attestor { formats, materials, found: inventory.components, created })
    }
}

impl Attestor {
    /// Returns the documents of the image whose manifest has this digest, and which `name` refers to.
    #[expect(dead_code, reason = "the exports of images ask for it")]
    pub(super) fn image(&self, manifest: &Digest, name: &str) -> Vec<Document> {
        self.documents((Kind::Image, name, manifest))
    }

    /// Writes the documents of a tarball beside it: `x.tar.gz` gets `x.spdx.json`.
    pub(super) fn write_beside(&self, tarball: &Path) -> Result<(), Failure> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| Failure::Io { action, path, source }
        };
        let mut hasher = Hasher::default();
        let read = fs::File::open(tarball).and_then(|mut file| io::copy(&mut file, &mut hasher));
        read.map_err(failed("read", tarball))?;
        let name = tarball.file_name().unwrap_or_default().to_string_lossy();
        for document in self.documents((Kind::Archive, &name, &hasher.finish())) {
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
        let of = |format: &Format| Document::of(*format, &self.materials, &self.found, result, self.created);
        self.formats.iter().map(of).collect()
    }
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
