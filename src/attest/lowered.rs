//! What goes into recipes that were lowered.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::component::is_address;
use super::{Build, Component, Input, Kind, License, Materials, RECIPE_BUILD, cpe, purl};
use crate::llb::{Graph, op, pb};
use crate::oci::{Arch, Digest};
use crate::recipe::{Bundled, Choice, Lowered, Profile, Recipe, Recipes, Request, TrainedProfile, Version};
use crate::rootfs::{Lock, Package, Rootfs};

/// What was asked of [`Recipes::lower`].
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The recipes, with versions as given.
    pub requests: &'a [Request],
    /// For which architecture.
    pub arch: Arch,
    /// At what cost.
    pub profile: Profile,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: u64,
    /// Digest of [`scripts`], as [`super::directory`] returns it, where the caller has them.
    pub scripts: Option<Digest>,
}

/// Returns the names in `scripts/` that the steps of a graph may read.
pub fn scripts(graph: &Graph) -> BTreeSet<String> {
    let patterns = graph.vertices().filter_map(|vertex| match &vertex.op {
        pb::op::Op::Source(source) if source.identifier == SCRIPTS => source.attrs.get(op::INCLUDE),
        _ => None,
    });
    patterns.flat_map(|list| serde_json::from_str::<Vec<String>>(list).unwrap_or_default()).collect()
}

const SCRIPTS: &str = "local://scripts";

/// The input that stands for the files of the project as a commit has them.
pub const CHECKOUT: &str = "local://project";

/// Returns what `lowered` is made of.
///
/// A component is one source, not one recipe: two recipes may work on one source, and what matters to whoever reads the
/// list is whose code it is. Packages of the root filesystems are tools.
pub fn of_lowered(
    lowered: &Lowered,
    recipes: &Recipes,
    rootfs: &BTreeMap<String, Rootfs>,
    asked: &Asked<'_>,
) -> Materials {
    let built: Vec<&Recipe> = lowered.versions.keys().filter_map(|name| recipes.recipes.get(name)).collect();
    let mut components: BTreeMap<String, Component> = BTreeMap::new();
    // Names of components by recipe: of its first source, or of itself.
    let mut mains: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let (mut tools, mut inputs) = (Vec::new(), Vec::new());
    for choice in lowered.sources.values() {
        let first = |recipe: &&&Recipe| recipe.sources.first() == Some(&choice.source.name);
        let owners: Vec<&&Recipe> = built.iter().filter(first).collect();
        let component = source(choice, &owners);
        // The first source of a recipe is what it builds; others help.
        if owners.is_empty() {
            tools.push(component);
            continue;
        }
        for owner in owners {
            mains.entry(&owner.name).or_default().insert(component.id());
        }
        components.insert(component.id(), component);
    }
    for recipe in built.iter().filter(|recipe| recipe.sources.is_empty()) {
        let license = License::of(&recipe.license);
        let component = Component { license, ..Component::new(Kind::Library, &recipe.name, "") };
        mains.entry(&recipe.name).or_default().insert(component.id());
        components.insert(component.id(), component);
    }
    for recipe in &built {
        let version = Version::new(lowered.versions.get(&recipe.name).map_or("", String::as_str));
        let series = recipe.series.then(|| version.series());
        let additions = recipe.additions(asked.arch, series.as_deref());
        let needs = recipe.needs.iter().chain(additions.iter().flat_map(|addition| &addition.needs));
        let needs: BTreeSet<String> = needs.filter_map(|name| mains.get(name.as_str())).flatten().cloned().collect();
        for id in mains.get(recipe.name.as_str()).into_iter().flatten() {
            let component = components.get_mut(id).expect("a main component is one of the components");
            component.needs.extend(needs.iter().filter(|need| *need != id).cloned());
        }
    }
    for recipe in &built {
        let version = Version::new(lowered.versions.get(&recipe.name).map_or("", String::as_str));
        let lock = rootfs.get(&format!("{}-{}", recipe.rootfs, asked.arch)).map(|rootfs| &rootfs.lock);
        let owner = mains.get(recipe.name.as_str()).and_then(|ids| ids.first().cloned());
        for bundled in recipe.bundled.iter().filter(|it| it.is_in(&version.series())) {
            let mut component = inside(bundled, lock);
            if let Some(owner) = owner.as_ref().and_then(|id| components.get_mut(id)) {
                if bundled.package.is_none() {
                    // It comes in the source of the recipe.
                    component.digest = owner.digest;
                    component.origins.clone_from(&owner.origins);
                }
                owner.needs.insert(component.id());
            }
            components.insert(component.id(), component);
        }
    }
    inputs.extend(lowered.sources.values().map(fetched));
    inputs.extend(lowered.trained.values().map(|it| trained(&it.profile)));
    if let Some(digest) = asked.scripts {
        let names = scripts(&lowered.graph).into_iter().collect::<Vec<_>>().join(" ");
        let annotations = [("dockless.files".to_owned(), names)].into();
        inputs.push(Input { annotations, ..Input::directory("scripts", digest) });
    }
    for (manifest, name) in &lowered.images {
        let uri = format!("{}dockless/{name}@{manifest}", op::OCI_LAYOUT);
        inputs.push(Input::sha256(name, &uri, *manifest));
        if let Some(rootfs) = rootfs.get(name) {
            let packages = &rootfs.lock.packages;
            tools.extend(packages.iter().map(|package| debian(package, &rootfs.lock.suite)));
            inputs.extend(packages.iter().map(|p| Input::sha256(&p.name, &format!("debian:{}", p.path), p.digest)));
        }
    }
    Materials { build: build(lowered, asked), inputs, components: components.into_values().collect(), tools }
}

fn build(lowered: &Lowered, asked: &Asked<'_>) -> Build {
    let names = |request: &Request| match &request.version {
        Some(version) => format!("{}@{version}", request.name),
        None => request.name.clone(),
    };
    let sets: BTreeSet<&String> = lowered.sources.values().map(|choice| &choice.set).collect();
    let external = json!({
        "recipes": asked.requests.iter().map(names).collect::<Vec<_>>(),
        "architecture": asked.arch.name(),
        "profile": asked.profile.name(),
        "sourceDateEpoch": asked.epoch,
        "sources": sets,
    });
    let definition = Digest::of(&lowered.graph.to_bytes()).to_string();
    let internal = json!({ "definition": definition, "versions": lowered.versions });
    Build { kind: RECIPE_BUILD, external: object(external), internal: object(internal) }
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// `owners` are the recipes whose first source it is.
fn source(choice: &Choice, owners: &[&&Recipe]) -> Component {
    let source = &choice.source;
    let version = source.version.as_str();
    let address = source.origins.iter().map(String::as_str).find(|origin| is_address(origin)).unwrap_or_default();
    let (checksum, kind) =
        (source.digest.to_string(), if source.name == "cpython" { Kind::Application } else { Kind::Library });
    Component {
        license: License::of(&source.license),
        purl: Some(purl("generic", "", &source.name, version, &[("checksum", &checksum), ("download_url", address)])),
        cpe: owners.iter().find_map(|owner| cpe(owner.cpe.as_ref()?, version)),
        originator: owners.iter().find_map(|owner| owner.originator.clone()),
        digest: Some(source.digest),
        origins: source.origins.clone(),
        ..Component::new(kind, &source.name, version)
    }
}

/// Code of others in what a recipe builds.
fn inside(bundled: &Bundled, lock: Option<&Lock>) -> Component {
    let package = bundled
        .package
        .as_ref()
        .and_then(|name| Some((lock?.packages.iter().find(|it| it.name == *name)?, &lock?.suite)));
    let version = bundled.version.as_deref().unwrap_or_default();
    let component = match package {
        Some((package, suite)) => debian(package, suite),
        None => Component {
            purl: Some(purl("generic", "", &bundled.name, version, &[])),
            cpe: bundled.cpe.as_ref().and_then(|product| cpe(product, version)),
            ..Component::new(Kind::Library, &bundled.name, version)
        },
    };
    Component {
        name: bundled.name.clone(),
        license: License::of(&bundled.license),
        originator: bundled.originator.clone(),
        evidence: Some(bundled.path.clone()),
        ..component
    }
}

/// The archive of counts that a package is optimised by.
fn trained(profile: &TrainedProfile) -> Input {
    let digest = [("sha256".to_owned(), profile.sha256.clone())].into();
    let uri = format!("local://profiles/{}", profile.archive);
    Input { uri, digest, name: Some(profile.archive.clone()), ..Input::default() }
}

fn fetched(choice: &Choice) -> Input {
    let source = &choice.source;
    let address = source.origins.iter().find(|origin| is_address(origin)).cloned();
    let uri = address.as_ref().or(source.origins.first()).cloned().unwrap_or_default();
    let mut input = Input { location: address, ..Input::sha256(&source.name, &uri, source.digest) };
    input.annotations.insert("dockless.file".to_owned(), source.file.clone());
    input.annotations.insert("dockless.version".to_owned(), source.version.to_string());
    if source.origins.len() > 1 {
        input.annotations.insert("dockless.origins".to_owned(), source.origins.join(" "));
    }
    input
}

/// A package of a root filesystem: its licence is in its copyright file, which root filesystems leave out.
fn debian(package: &Package, suite: &str) -> Component {
    let arch = package.path.trim_end_matches(".deb").rsplit('_').next().unwrap_or_default();
    let (name, version) = (&package.name, &package.version);
    Component {
        purl: Some(purl("deb", "debian", name, version, &[("arch", arch), ("distro", suite)])),
        supplier: Some("Debian".to_owned()),
        digest: Some(package.digest),
        origins: vec![format!("debian:{}", package.path)],
        ..Component::new(Kind::Library, name, version)
    }
}
