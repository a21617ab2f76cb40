//! Recipes to one LLB graph.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::profile::{self, Wanted};
use super::select::select;
use super::{Choice, Disk, Matrix, Profile, Recipe, RecipeError, SourceLock, Trained, TrainedProfile};
use crate::llb::{Edge, Graph, GraphBuilder, op, pb};
use crate::oci::{Arch, Digest};

/// A package to build, `python@3.11` or `zlib`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Recipe.
    pub name: String,
    /// Version or series, with a `t` at its end for the free-threaded build: `3.13t`.
    pub version: Option<String>,
}

impl FromStr for Request {
    type Err = RecipeError;

    fn from_str(text: &str) -> Result<Self, RecipeError> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        if let Some(version) = version {
            let fine = version.starts_with(|c: char| c.is_ascii_digit())
                && version.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
            if !fine {
                return Err(RecipeError::Version { text: version.to_owned() });
            }
        }
        Ok(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

/// Everything that is known about what can be built.
#[derive(Debug, Clone)]
pub struct Recipes {
    /// Recipes by name.
    pub recipes: BTreeMap<String, Recipe>,
    /// Source locks in order of preference.
    pub locks: Vec<SourceLock>,
    /// Manifest digests of root filesystems that are made of locked packages, by `<name>-<arch>`.
    pub images: BTreeMap<String, Digest>,
    /// Root filesystems that are images of registries, by `<name>` or, before that one, `<name>-<arch>`.
    pub bases: BTreeMap<String, BaseRoot>,
    /// Trained profiles.
    pub profiles: Vec<TrainedProfile>,
    /// The release matrix.
    pub matrix: Matrix,
}

/// A root filesystem that is an image of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseRoot {
    /// The image as its file names it.
    pub image: String,
    /// What a graph calls it by architecture, with a digest; empty where only a tag is known.
    pub pins: BTreeMap<Arch, String>,
}

/// A graph, and what its source vertices stand for.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The graph.
    pub graph: Graph,
    /// Chosen sources by digest.
    pub sources: BTreeMap<Digest, Choice>,
    /// Root filesystems made of packages by manifest digest: `<name>-<arch>`.
    pub images: BTreeMap<Digest, String>,
    /// Root filesystems that are images of registries, by what the graph calls them: `<name>`.
    pub bases: BTreeMap<String, String>,
    /// Version of every package, by name; `3.13.5t` where it is the free-threaded build.
    pub versions: BTreeMap<String, String>,
    /// Trained profiles that packages are built with, by name.
    pub trained: BTreeMap<String, Trained>,
    /// What steps need on the disk, by the digests of their vertices.
    pub disk: BTreeMap<Digest, Disk>,
}

/// Where a step finds things; part of the contract with `scripts/`, described in docs/recipes.md.
mod place {
    pub(super) const BUILD: &str = "/build";
    pub(super) const DEPS: &str = "/deps";
    pub(super) const OUT: &str = "/out";
    pub(super) const PROFILE: &str = "/sources/profile";
    pub(super) const SCRIPTS: &str = "/scripts";
    pub(super) const SOURCES: &str = "/sources";
    pub(super) const TMP: &str = "/tmp";
}

const PATH: &str = "/deps/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Metadata key (`OpMetadata.description`) of a step's timeout in seconds: LLB has no field for it.
pub const TIMEOUT: &str = "dockless.timeout";

/// What a graph calls the directory `recipes/profiles/`.
pub const PROFILES: &str = "profiles";

/// Metadata key of a step whose `make`s share the engine's jobserver; foreign steps see the environment they ask for.
pub const JOBSERVER: &str = "dockless.jobserver";

impl Recipes {
    /// Returns the recipes that can be trained among `name` and all that it needs.
    pub fn profiled(&self, name: &str) -> Result<BTreeSet<String>, RecipeError> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name.to_owned()]);
        while let Some(name) = open.pop() {
            let known = || self.recipes.keys().cloned().collect();
            let unknown = || RecipeError::UnknownRecipe { name: name.clone(), known: known() };
            let recipe = self.recipes.get(&name).ok_or_else(unknown)?;
            if seen.insert(name) {
                open.extend(recipe.needs.iter().cloned());
            }
        }
        Ok(seen.into_iter().filter(|name| self.recipes[name].profiled).collect())
    }

    /// Lowers `requests` for `arch`; several results are merged into one. `epoch` is in seconds since 1970.
    pub fn lower(
        &self,
        requests: &[Request],
        arch: Arch,
        profile: Profile,
        epoch: u64,
    ) -> Result<Lowered, RecipeError> {
        let mut lowering = Lowering {
            recipes: self,
            arch,
            profile,
            epoch,
            builder: GraphBuilder::new(),
            done: BTreeMap::new(),
            sources: BTreeMap::new(),
            images: BTreeMap::new(),
            bases: BTreeMap::new(),
            versions: BTreeMap::new(),
            trained: BTreeMap::new(),
            disk: BTreeMap::new(),
        };
        let mut outputs = Vec::new();
        for request in requests {
            let recipe = lowering.recipe(&request.name)?;
            if request.version.is_some() && !recipe.series {
                return Err(RecipeError::FixedVersion { name: request.name.clone() });
            }
            outputs.push(lowering.package(&request.name, request.version.as_deref(), &mut Vec::new())?.output);
        }
        let output = lowering.merged("result", &outputs).expect("at least one request");
        let Lowering { builder, sources, images, bases, versions, trained, disk, .. } = lowering;
        Ok(Lowered { graph: builder.finish(output), sources, images, bases, versions, trained, disk })
    }
}

/// A package that is in the graph.
#[derive(Clone)]
struct Built {
    output: Edge,
    /// Names of all packages it needs, directly or not, in order of building.
    needs: Vec<String>,
}

struct Lowering<'a> {
    recipes: &'a Recipes,
    arch: Arch,
    profile: Profile,
    epoch: u64,
    builder: GraphBuilder,
    done: BTreeMap<(String, Option<String>), Built>,
    sources: BTreeMap<Digest, Choice>,
    images: BTreeMap<Digest, String>,
    bases: BTreeMap<String, String>,
    versions: BTreeMap<String, String>,
    trained: BTreeMap<String, Trained>,
    disk: BTreeMap<Digest, Disk>,
}

impl<'a> Lowering<'a> {
    fn recipe(&self, name: &str) -> Result<&'a Recipe, RecipeError> {
        self.recipes.recipes.get(name).ok_or_else(|| RecipeError::UnknownRecipe {
            name: name.to_owned(),
            known: self.recipes.recipes.keys().cloned().collect(),
        })
    }

    fn package(&mut self, name: &str, wanted: Option<&str>, above: &mut Vec<String>) -> Result<Built, RecipeError> {
        let recipe = self.recipe(name)?;
        let wanted = if recipe.series { wanted } else { None };
        let key = (name.to_owned(), wanted.map(str::to_owned));
        if let Some(built) = self.done.get(&key) {
            return Ok(built.clone());
        }
        if let Some(start) = above.iter().position(|other| other == name) {
            let circle = above[start..].iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(" -> ");
            return Err(RecipeError::Circle { circle });
        }
        above.push(name.to_owned());
        let built = self.build(recipe, wanted, above)?;
        above.pop();
        self.done.insert(key, built.clone());
        Ok(built)
    }

    fn build(&mut self, recipe: &Recipe, wanted: Option<&str>, above: &mut Vec<String>) -> Result<Built, RecipeError> {
        let (wanted, free_threaded) = wanted.map(super::Version::free_threaded).unzip();
        let free_threaded = free_threaded.unwrap_or_default();
        let first = recipe.sources.first().map(|name| self.choose(recipe, name, wanted)).transpose()?;
        let version = first.as_ref().map(|choice| choice.source.version.clone());
        if free_threaded {
            has_free_threading(recipe, version.as_ref())?;
        }
        let series = version.as_ref().filter(|_| recipe.series).map(super::Version::series);
        let additions = recipe.additions(self.arch, series.as_deref());
        // Series recipes below get the exact version, so that `3.11` means one thing in one graph.
        let build = if free_threaded { "t" } else { "" };
        let exact = version.as_ref().map(|version| format!("{version}{build}"));

        let mut needs: Vec<String> = Vec::new();
        for name in recipe.needs.iter().chain(additions.iter().flat_map(|a| &a.needs)) {
            let below = self.package(name, exact.as_deref(), above)?;
            for need in below.needs.iter().chain([name]) {
                if !needs.contains(need) {
                    needs.push(need.clone());
                }
            }
        }

        let mut step = StepInputs::default();
        let root = self.root(recipe)?;
        step.mount(root, "/");
        let mut files: BTreeSet<String> = recipe.files.iter().cloned().collect();
        files.extend(additions.iter().flat_map(|a| a.files.iter().cloned()));
        files.insert(recipe.script.clone());
        let files: Vec<String> = files.into_iter().collect();
        let needs_caps = ["source.local", "source.local.includepatterns", "source.local.sharedkeyhint"];
        let label = format!("scripts of {}", recipe.name);
        let scripts = self.builder.add(&label, op::local("scripts", &files), &[], self.arch, &needs_caps);
        step.mount(scripts, place::SCRIPTS);
        for name in recipe.sources.iter().chain(additions.iter().flat_map(|a| &a.sources)) {
            let choice = match &first {
                Some(choice) if choice.source.name == *name => choice.clone(),
                _ => self.choose(recipe, name, wanted)?,
            };
            let edge = self.source(choice);
            step.mount(edge, &format!("{}/{name}", place::SOURCES));
        }
        let outputs: Vec<Edge> = needs.iter().map(|name| self.output_of(name, exact.as_deref())).collect();
        if let Some(deps) = self.merged(&format!("what {} needs", recipe.name), &outputs) {
            step.mount(deps, place::DEPS);
        }

        let number = version.as_ref().map_or("0", super::Version::as_str);
        let mut env = self.environment(recipe, &additions, number);
        if free_threaded {
            env.push("DOCKLESS_FREE_THREADED=1".to_owned());
        }
        let text = exact.unwrap_or_else(|| number.to_owned());
        if let (Some(first), true) = (&first, recipe.profiled && self.profile == Profile::Release) {
            let wanted =
                Wanted { package: &recipe.name, version: &text, source: &first.source.digest, arch: self.arch };
            let trained = profile::choose(&self.recipes.profiles, wanted)?;
            // By its digest the graph names the bytes, and the step refuses others.
            env.push(format!("DOCKLESS_TRAINED={}", trained.profile.archive));
            env.push(format!("DOCKLESS_TRAINED_SHA256={}", trained.profile.sha256));
            let archive = op::local(PROFILES, std::slice::from_ref(&trained.profile.archive));
            let label = format!("profile of {}", recipe.name);
            let archive = self.builder.add(&label, archive, &[], self.arch, &needs_caps);
            step.mount(archive, place::PROFILE);
            self.trained.insert(recipe.name.clone(), trained);
        }
        let output = self.exec(recipe, &text, env, step);
        self.versions.insert(recipe.name.clone(), text);
        Ok(Built { output, needs })
    }

    fn output_of(&self, name: &str, exact: Option<&str>) -> Edge {
        let series = self.recipes.recipes.get(name).is_some_and(|recipe| recipe.series);
        let key = (name.to_owned(), exact.filter(|_| series).map(str::to_owned));
        let plain = (name.to_owned(), None);
        self.done.get(&key).or_else(|| self.done.get(&plain)).expect("needs are built before their users").output
    }

    fn choose(&self, recipe: &Recipe, name: &str, wanted: Option<&str>) -> Result<Choice, RecipeError> {
        let first = recipe.sources.first().is_some_and(|first| first == name);
        let wanted = wanted.filter(|_| recipe.series && first);
        select(&self.recipes.locks, name, wanted, &recipe.name)
    }

    fn root(&mut self, recipe: &Recipe) -> Result<Edge, RecipeError> {
        let rootfs = format!("{}-{}", recipe.rootfs, self.arch);
        let Some(manifest) = self.recipes.images.get(&rootfs).copied() else { return self.base(recipe, rootfs) };
        let label = format!("root filesystem {rootfs}");
        let image = op::oci_layout(&format!("dockless/{rootfs}"), &manifest);
        self.images.insert(manifest, rootfs);
        Ok(self.builder.add(&label, image, &[], self.arch, &["source.ocilayout"]))
    }

    /// Adds the image that is the root of a recipe; `wanted` is `<name>-<arch>`.
    fn base(&mut self, recipe: &Recipe, wanted: String) -> Result<Edge, RecipeError> {
        let (recipes, unknown) =
            (self.recipes, |rootfs| RecipeError::UnknownRootfs { recipe: recipe.name.clone(), rootfs });
        let Some((name, base)) =
            recipes.bases.get_key_value(&wanted).or_else(|| recipes.bases.get_key_value(&recipe.rootfs))
        else {
            return Err(unknown(wanted));
        };
        let Some(pin) = base.pins.get(&self.arch) else {
            let (rootfs, image) = (name.clone(), base.image.clone());
            return Err(match base.pins.keys().next() {
                None => unknown(rootfs),
                Some(_) => RecipeError::RootfsPlatform { recipe: recipe.name.clone(), rootfs, image, arch: self.arch },
            });
        };
        self.bases.insert(pin.clone(), name.clone());
        Ok(self.builder.add(&format!("root filesystem {name}"), op::image(pin), &[], self.arch, &["source.image"]))
    }

    fn source(&mut self, choice: Choice) -> Edge {
        let source = &choice.source;
        let file = op::blob(&format!("dockless/{}", source.name), &source.digest, &source.file);
        let label = format!("source {} {}", source.name, source.version);
        let edge = self.builder.add(&label, file, &[], self.arch, &["source.ocilayout"]);
        self.sources.insert(choice.source.digest, choice);
        edge
    }

    fn merged(&mut self, name: &str, edges: &[Edge]) -> Option<Edge> {
        match edges {
            [] => None,
            [one] => Some(*one),
            _ => Some(self.builder.add(name, op::merge(edges.len()), edges, self.arch, &["mergeop"])),
        }
    }

    fn environment(&self, recipe: &Recipe, additions: &[&super::Addition], version: &str) -> Vec<String> {
        let mut env = recipe.env.clone();
        for addition in additions {
            env.extend(addition.env.clone());
        }
        let fixed = [
            ("PATH", PATH),
            ("HOME", place::BUILD),
            ("TMPDIR", place::BUILD),
            ("LC_ALL", "C"),
            ("TZ", "UTC"),
            ("SOURCE_DATE_EPOCH", &self.epoch.to_string()),
            ("DOCKLESS_PACKAGE", &recipe.name),
            ("DOCKLESS_VERSION", version),
            ("DOCKLESS_ARCH", self.arch.name()),
            ("DOCKLESS_PROFILE", if recipe.profiled { self.profile } else { Profile::Quick }.name()),
            ("DOCKLESS_TRIPLE", self.arch.triple()),
        ];
        let fixed = fixed.iter().map(|(key, value)| format!("{key}={value}"));
        fixed.chain(env.iter().map(|(key, value)| format!("{key}={value}"))).collect()
    }

    fn exec(&mut self, recipe: &Recipe, version: &str, env: Vec<String>, step: StepInputs) -> Edge {
        let mut mounts = step.mounts;
        mounts.push(op::scratch(place::OUT, Some(0)));
        mounts.push(op::scratch(place::BUILD, None));
        mounts.push(op::tmpfs(place::TMP));
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", &format!("{}/{}", place::SCRIPTS, recipe.script)].map(str::to_owned).to_vec(),
                env,
                cwd: place::BUILD.to_owned(),
                hostname: "dockless".to_owned(),
                ..pb::Meta::default()
            }),
            mounts,
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        let needs = [
            "exec.meta.base",
            "exec.meta.network",
            "exec.mount.bind",
            "exec.mount.bind.readwrite-nooutput",
            "exec.mount.tmpfs",
        ];
        let name = format!("{} {version}", recipe.name);
        let edge = self.builder.add(&name, pb::op::Op::Exec(exec), &step.inputs, self.arch, &needs);
        self.disk.insert(edge.vertex, recipe.disk);
        self.builder.describe(edge, JOBSERVER, "make");
        self.builder.describe(edge, TIMEOUT, &recipe.timeout.as_secs().to_string());
        edge
    }
}

/// Tells who asks for the free-threaded build of something that has none.
fn has_free_threading(recipe: &Recipe, version: Option<&super::Version>) -> Result<(), RecipeError> {
    let name = recipe.name.clone();
    let (Some(first), Some(version)) = (&recipe.free_threaded, version) else {
        return Err(RecipeError::NoFreeThreading { name });
    };
    if *version < super::Version::new(first) {
        let (version, first) = (version.series(), first.clone());
        return Err(RecipeError::FreeThreading { name, version, first });
    }
    Ok(())
}

/// Inputs and read-only mounts of a step, kept in step with each other.
#[derive(Default)]
struct StepInputs {
    inputs: Vec<Edge>,
    mounts: Vec<pb::Mount>,
}

impl StepInputs {
    fn mount(&mut self, edge: Edge, dest: &str) {
        let index = self.inputs.iter().position(|other| *other == edge).unwrap_or_else(|| {
            self.inputs.push(edge);
            self.inputs.len() - 1
        });
        self.mounts.push(op::bind(index, dest));
    }
}
