//! One build, three calls.

use super::{BuildError, Project};
use crate::engine::Engine;
use crate::oci::Arch;
use crate::progress::{Event, Progress};
use crate::recipe::{Choice, Lowered, PROFILES, Profile, Request, Version};
use crate::solver::{Directory, Inputs, Solved};
use crate::source::Pinned;

/// Everything a build needs beside what is asked for.
#[derive(Debug)]
pub struct Corridor<'a> {
    /// What can be built.
    pub project: &'a Project,
    /// Who solves.
    pub engine: &'a dyn Engine,
    /// How much a build may cost.
    pub profile: Profile,
    /// `SOURCE_DATE_EPOCH` in seconds since 1970.
    pub epoch: u64,
}

/// A build that succeeded.
#[derive(Debug)]
pub struct Built {
    /// What was built.
    pub lowered: Lowered,
    /// The tree.
    pub solved: Solved,
}

impl Corridor<'_> {
    /// Lowers what is asked for.
    pub fn lower(&self, requests: &[Request], arch: Arch) -> Result<Lowered, BuildError> {
        Ok(self.project.recipes.lower(requests, arch, self.profile, self.epoch)?)
    }

    /// Builds `requests` for `arch`.
    pub fn build(&self, requests: &[Request], arch: Arch, progress: &dyn Progress) -> Result<Built, BuildError> {
        let lowered = self.lower(requests, arch)?;
        say(&lowered, requests, arch, progress);
        let solved = self.engine.solve(&lowered.graph, &inputs(self.project, &lowered), progress)?;
        Ok(Built { lowered, solved })
    }
}

/// Returns what the sources of a lowered graph stand for.
pub fn inputs(project: &Project, lowered: &Lowered) -> Inputs {
    let files = lowered.sources.iter().map(|(digest, choice)| (*digest, pinned(choice))).collect();
    let directory =
        |(name, path): (&str, &str)| (name.to_owned(), Directory { path: project.root.join(path), normal: true });
    let images = lowered.images.iter().filter_map(|(digest, name)| Some((*digest, project.rootfs.get(name)?.clone())));
    Inputs {
        directories: [("scripts", "scripts"), (PROFILES, "recipes/profiles")].map(directory).into(),
        files,
        images: images.collect(),
        ..Inputs::default()
    }
}

/// Returns a locked source as a file to fetch.
pub fn pinned(choice: &Choice) -> Pinned {
    let source = &choice.source;
    Pinned { file: source.file.clone(), digest: source.digest, size: source.size, origins: source.origins.clone() }
}

/// Says which versions are built from which set, and aloud where another set knows a newer one.
pub fn say(lowered: &Lowered, requests: &[Request], arch: Arch, progress: &dyn Progress) {
    let note = |message: String| progress.event(&Event::Note { message: &message });
    for request in requests {
        let version = lowered.versions.get(&request.name).map_or("", String::as_str);
        note(format!("building {} {version} for {arch}", request.name));
    }
    for (package, trained) in &lowered.trained {
        let (profile, version) = (trained.profile.stem(), &trained.version);
        note(if trained.exact {
            format!("{package} {version} is optimised by its trained profile {profile}")
        } else {
            format!("{package} {version} has no trained profile: that of the nearest release is taken, {profile}")
        });
    }
    let mut sets = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for choice in lowered.sources.values() {
        let source = &choice.source;
        sets.entry(&choice.set).or_default().push(format!("{} {}", source.name, source.version));
    }
    for (set, mut sources) in sets {
        sources.sort();
        note(format!("sources from set `{set}`: {}", sources.join(", ")));
    }
    for choice in lowered.sources.values() {
        if let Some((newer, set)) = &choice.newer
            && requests.iter().any(|request| {
                let version = lowered.versions.get(&request.name).map(|version| Version::free_threaded(version).0);
                version == Some(choice.source.version.as_str())
            })
            && choice.source.name == "cpython"
        {
            note(format!(
                "{} {} is used; set `{set}` knows {newer}: take it with --sources {set}",
                choice.source.name, choice.source.version
            ));
        }
    }
}
