//! An OCI registry: tarballs as artifacts (`image-spec manifest.md#guidelines-for-artifact-usage`).
//!
//! ```text
//! NAME:TAG                     an index, one manifest a tarball, with platform
//! NAME:TAG-VERSION-ARCH        each of them: `oras pull NAME:TAG-3.12-x86_64`
//!   layer                      the tarball, `application/gzip`, titled with its file name
//!   referrers                  its checksum, signatures, SBOMs, provenance, log; artifact type is the media type
//! referrers of the index       SHA256SUMS, release.json, notes, metrics, report
//! ```
//!
//! Tags come last, the index's as the very last. Equal releases are equal digests.

use std::fs::File;
use std::io::{self, Write as _};

use serde_json::{Map, Value, json};

use super::error::PublishError;
use super::publication::{Publication, Published};
use super::steps::{Did, Steps};
use crate::dist::{Asset, DistError, Kind};
use crate::oci::{Arch, Digest, Reference};
use crate::progress::Progress;
use crate::registry::{Descriptor, Registry, RegistryError, push};
use crate::store::Store;

/// The artifact type of a tarball and of the index.
pub const ARTIFACT: &str = "application/vnd.dockless.release.v1";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";

/// A tarball as an artifact.
struct Member {
    /// Tag of its own.
    tag: String,
    manifest: Descriptor,
    version: String,
    arch: Arch,
    /// What refers to it, by file name.
    referrers: Vec<(String, Digest)>,
}

struct Artifacts<'a> {
    store: &'a Store,
    publication: &'a Publication<'a>,
}

/// Publishes in a registry; `name` is `HOST/REPOSITORY` without a tag. `store` is a place for what is put together, and
/// holds copies of all files afterwards.
///
/// # Errors
/// `Different`, `Unsigned`, `Future`, `Dist`, `Registry`, `Store`, `Unfinished`.
pub fn to_registry(
    registry: &Registry,
    name: &str,
    publication: &Publication<'_>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Published, PublishError> {
    publication.check()?;
    let mut steps = Steps::new(progress, name, &publication.tag);
    let result = publish(registry, name, publication, store, (progress, &mut steps));
    let acts = steps.acts();
    steps.told(result).map(|address| Published { address, acts })
}

fn publish(
    registry: &Registry,
    name: &str,
    publication: &Publication<'_>,
    store: &Store,
    (progress, steps): (&dyn Progress, &mut Steps<'_>),
) -> Result<String, PublishError> {
    let place = reference(name, &format!(":{}", publication.tag))?;
    let artifacts = Artifacts { store, publication };
    let (members, loose) = (artifacts.members()?, artifacts.loose());
    let index = artifacts.index(&members)?;
    let mut loosely = Vec::new();
    for asset in loose {
        loosely.push((asset.name.clone(), artifacts.attached(asset, &index)?));
    }
    let vertex = |what: &str| Digest::of(format!("publish {name} {what}").as_bytes());
    let told = |what: &str| (progress, vertex(what));
    let referring: usize = members.iter().map(|member| member.referrers.len()).sum();
    steps.planned(1 + members.len() * 2 + referring + loosely.len() + 2);
    let tags: Vec<(&str, Digest)> = members
        .iter()
        .map(|member| (member.tag.as_str(), member.manifest.digest))
        .chain([(publication.tag.as_str(), index.digest)])
        .collect();
    let set = steps.step(&format!("check {place}"), || {
        Ok((check(registry, &place, &tags, publication.replace, progress)?, Did::Nothing))
    })?;
    steps.state("some of it is in the registry, and no tag leads to it yet");
    let by_digest = |digest: &Digest| reference(name, &format!("@{digest}"));
    let give = |steps: &mut Steps<'_>, what: &str, digest: &Digest| {
        let to = by_digest(digest)?;
        steps.step(what, || {
            let there = has(registry, &to, digest, progress)?;
            push(registry, &to, digest, store, told(what))?;
            Ok(((), if there { Did::Nothing } else { Did::Act }))
        })
    };
    for member in &members {
        give(steps, &member.tag, &member.manifest.digest)?;
        for (file, digest) in &member.referrers {
            give(steps, file, digest)?;
        }
    }
    give(steps, "index", &index.digest)?;
    for (file, digest) in &loosely {
        give(steps, file, digest)?;
    }
    steps.state("all of it is in the registry, and not all tags lead to it yet");
    for (tag, digest) in &tags {
        let to = reference(name, &format!(":{tag}"))?;
        steps.step(&format!("tag {tag}"), || {
            if set.contains(&(*tag).to_owned()) {
                return Ok(((), Did::Nothing));
            }
            push(registry, &to, digest, store, told(tag))?;
            Ok(((), Did::Act))
        })?;
    }
    Ok(format!("{place}@{}", index.digest))
}

/// Returns the tags that lead where they should already, and refuses those that lead elsewhere.
fn check(
    registry: &Registry,
    place: &Reference,
    tags: &[(&str, Digest)],
    replace: bool,
    progress: &dyn Progress,
) -> Result<Vec<String>, PublishError> {
    let repository = registry.repository(place)?;
    let (mut set, mut different) = (Vec::new(), Vec::new());
    for (tag, digest) in tags {
        match repository.get_manifest(tag, progress) {
            Ok(there) if there.descriptor.digest == *digest => set.push((*tag).to_owned()),
            Ok(_) => different.push((*tag).to_owned()),
            Err(error) if error.is_missing() => {}
            Err(error) => return Err(error.into()),
        }
    }
    if different.is_empty() || replace {
        return Ok(set);
    }
    Err(PublishError::Different { place: repository.name().to_owned(), names: different })
}

fn has(registry: &Registry, to: &Reference, digest: &Digest, progress: &dyn Progress) -> Result<bool, PublishError> {
    match registry.repository(to)?.get_manifest(&digest.to_string(), progress) {
        Ok(_) => Ok(true),
        Err(error) if error.is_missing() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn reference(name: &str, rest: &str) -> Result<Reference, PublishError> {
    let text = format!("{name}{rest}");
    let plain = name.rsplit('/').next().is_some_and(|last| !last.contains([':', '@']) && !last.is_empty());
    let wrong = |reason: String| RegistryError::Reference { text: text.clone(), reason };
    if !plain || !name.contains('/') {
        return Err(wrong("write HOST/REPOSITORY without a tag, which the release has".to_owned()).into());
    }
    text.parse().map_err(|error| wrong(format!("{error}")).into())
}

impl Artifacts<'_> {
    fn members(&self) -> Result<Vec<Member>, PublishError> {
        let dist = self.publication.dist;
        let mut members = Vec::new();
        for (tarball, version, arch) in dist.tarballs() {
            self.keep_file(tarball)?;
            let mut annotations = self.annotations();
            annotations.insert(TITLE.to_owned(), tarball.name.as_str().into());
            annotations.insert("org.opencontainers.image.version".to_owned(), version.as_str().into());
            let manifest = self.manifest(ARTIFACT, tarball, &annotations, None)?;
            let mut referrers = Vec::new();
            for asset in dist.about(tarball) {
                referrers.push((asset.name.clone(), self.attached(asset, &manifest)?));
            }
            let tag = format!("{}-{version}-{arch}", self.publication.tag);
            members.push(Member { tag, manifest, version, arch, referrers });
        }
        Ok(members)
    }

    /// Files of the whole release.
    fn loose(&self) -> Vec<&Asset> {
        let dist = self.publication.dist;
        let stems: Vec<&str> = dist.tarballs().filter_map(|(tarball, ..)| tarball.stem()).collect();
        let is_loose = |asset: &&Asset| asset.stem().is_none_or(|stem| !stems.contains(&stem));
        dist.assets().iter().filter(|asset| asset.kind != Kind::Tarball).filter(is_loose).collect()
    }

    fn attached(&self, asset: &Asset, subject: &Descriptor) -> Result<Digest, PublishError> {
        self.keep_file(asset)?;
        let mut annotations = Map::new();
        annotations.insert(TITLE.to_owned(), asset.name.as_str().into());
        Ok(self.manifest(asset.kind.media_type(), asset, &annotations, Some(subject))?.digest)
    }

    fn manifest(
        &self,
        artifact_type: &str,
        asset: &Asset,
        annotations: &Map<String, Value>,
        subject: Option<&Descriptor>,
    ) -> Result<Descriptor, PublishError> {
        let nothing = self.keep(b"{}")?;
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": artifact_type,
            "config": { "mediaType": EMPTY, "digest": nothing, "size": 2, "data": "e30=" },
            "layers": [{
                "mediaType": asset.kind.media_type(), "digest": asset.digest, "size": asset.size,
                "annotations": { TITLE: asset.name },
            }],
            "annotations": annotations,
        });
        if let Some(subject) = subject {
            manifest["subject"] = descriptor(subject);
        }
        let bytes = manifest.to_string().into_bytes();
        Ok(Descriptor { media_type: MANIFEST.to_owned(), digest: self.keep(&bytes)?, size: bytes.len() as u64 })
    }

    fn index(&self, members: &[Member]) -> Result<Descriptor, PublishError> {
        let entry = |member: &Member| {
            let mut entry = descriptor(&member.manifest);
            entry["artifactType"] = ARTIFACT.into();
            entry["platform"] = json!({ "os": "linux", "architecture": member.arch.oci() });
            entry["annotations"] = json!({ "org.opencontainers.image.version": member.version });
            entry
        };
        let entries: Vec<Value> = members.iter().map(entry).collect();
        let index = json!({
            "schemaVersion": 2, "mediaType": INDEX, "artifactType": ARTIFACT, "manifests": entries,
            "annotations": self.annotations(),
        });
        let bytes = index.to_string().into_bytes();
        Ok(Descriptor { media_type: INDEX.to_owned(), digest: self.keep(&bytes)?, size: bytes.len() as u64 })
    }

    fn annotations(&self) -> Map<String, Value> {
        let mut annotations = Map::new();
        annotations.insert("org.opencontainers.image.ref.name".to_owned(), self.publication.tag.as_str().into());
        if let Some(commit) = &self.publication.commit {
            annotations.insert("org.opencontainers.image.revision".to_owned(), commit.as_str().into());
        }
        annotations
    }

    fn keep(&self, bytes: &[u8]) -> Result<Digest, PublishError> {
        let mut writer = self.store.writer()?;
        writer.write_all(bytes).map_err(PublishError::io("write into", self.store.root()))?;
        Ok(writer.commit()?.digest)
    }

    /// Copies a file into the store; what is published is what was checked.
    fn keep_file(&self, asset: &Asset) -> Result<(), PublishError> {
        if self.store.contains(&asset.digest) == Some(asset.size) {
            return Ok(());
        }
        let path = self.publication.dist.path(asset);
        let mut file = File::open(&path).map_err(PublishError::io("open", &path))?;
        let mut writer = self.store.writer()?;
        io::copy(&mut file, &mut writer).map_err(PublishError::io("copy", &path))?;
        let actual = writer.digest();
        if actual != asset.digest {
            let (name, by) = (asset.name.clone(), "its check a moment ago".to_owned());
            return Err(DistError::Tampered { name, by, expected: asset.digest, actual }.into());
        }
        writer.commit()?;
        Ok(())
    }
}

fn descriptor(of: &Descriptor) -> Value {
    json!({ "mediaType": of.media_type, "digest": of.digest, "size": of.size })
}
