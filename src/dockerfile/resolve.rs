//! Stages are declared, connected and resolved (`convert.go buildDispatchStates` to `resolveBaseImage`).

use std::collections::BTreeSet;

use crate::oci::Reference;

use super::error::{DockerfileError, Fault, near};
use super::image::Image;
use super::instruction::{Instruction, Kind};
use super::lines::Lines;
use super::lower::{Lowering, local_node, picture};
use super::mount;
use super::nodes::{Act, Local, Node, metadata, with_command};
use super::options::{Context, Wanted};
use super::platform::{self, Platform};
use super::read;
use super::stage::{Command, Named, Stage, StageId};
use super::state::{Env, State};
use crate::llb::{pb, source};

/// The image of nothing.
const SCRATCH: &str = "scratch";

impl Lowering<'_> {
    /// Makes a stage of every `FROM`.
    pub(super) fn declare(&mut self, written: Vec<(Instruction, Vec<Instruction>)>) -> Result<(), DockerfileError> {
        for (number, (instruction, commands)) in written.into_iter().enumerate() {
            let Kind::From(from) = &instruction.kind else { continue };
            let fail = |fault| super::lower::error_at(self.file, fault, &instruction.lines);
            let base_name = self.lexer.word(&from.base, &|name| self.globals.get(name)).map_err(fail)?;
            if base_name.is_empty() {
                let fault = Fault::new(format!("base name `{}` is blank", from.base)).about(from.base.clone());
                return Err(fail(fault.help("give its ARG a default before FROM, or a --build-arg")));
            }
            let mut stage = Stage {
                name: from.name.clone(),
                declared: from.name.clone(),
                base_name,
                code: instruction.code.clone(),
                lines: Some(instruction.lines.clone()),
                ..Stage::default()
            };
            if !from.platform.is_empty() {
                let text = self.lexer.word(&from.platform, &|name| self.globals.get(name)).map_err(fail)?;
                let parsed = platform::parse(&text).map_err(|fault| fail(fault.about(from.platform.clone())))?;
                stage.platform = Some(parsed);
            }
            let plain = |instruction| Command { instruction, sources: Vec::new(), on_build: false };
            stage.commands = commands.into_iter().map(plain).collect();
            stage.named = self.named(&from.name, stage.platform.as_ref());
            if stage.named.is_some() {
                let id = self.add(stage);
                self.stages[id].base = None;
                continue;
            }
            if from.name.is_empty() {
                stage.name = format!("stage-{number}");
            }
            let makes_layer = |command: &&Command| {
                matches!(command.instruction.kind, Kind::Add(_) | Kind::Copy(_) | Kind::Run(_) | Kind::Workdir(_))
            };
            let layers = stage.commands.iter().filter(makes_layer).count();
            stage.ignore_cache = self.options.ignores_cache(&from.name);
            let id = self.add(stage);
            let stage = &mut self.stages[id];
            stage.total = layers + usize::from(stage.base_name != SCRATCH && stage.base.is_none());
        }
        Ok(())
    }

    /// Adds a stage; one with the name of its base begins where that ends.
    fn add(&mut self, mut stage: Stage) -> StageId {
        let id = self.stages.len();
        self.paths.push(BTreeSet::new());
        stage.paths = self.paths.len() - 1;
        self.stages.push(stage);
        self.register(id);
        id
    }

    fn register(&mut self, id: StageId) {
        self.order.push(id);
        self.stages[id].base = self.by_name.get(&self.stages[id].base_name).copied();
        let declared = self.stages[id].declared.clone();
        if !declared.is_empty() {
            self.by_name.insert(declared, id);
        }
    }

    /// Returns the stage that is built.
    pub(super) fn target(&self) -> Result<StageId, DockerfileError> {
        let Some(target) = &self.options.target else {
            return Ok(*self.order.last().expect("a Dockerfile without stages was refused"));
        };
        self.by_name.get(&target.to_lowercase()).copied().ok_or_else(|| DockerfileError::Target {
            target: target.clone(),
            known: self.by_name.keys().cloned().collect(),
        })
    }

    /// Finds out which stages take files from which.
    pub(super) fn connect(&mut self) -> Result<(), DockerfileError> {
        for id in self.order.clone() {
            for index in 0..self.stages[id].commands.len() {
                let instruction = self.stages[id].commands[index].instruction.clone();
                let sources = self.sources(&instruction).map_err(|fault| self.error(fault, &instruction.lines))?;
                self.stages[id].deps.extend(&sources);
                self.stages[id].commands[index].sources = sources;
            }
        }
        self.refuse_circles()?;
        if let [only] = self.order[..] {
            self.stages[only].name = String::new();
        }
        Ok(())
    }

    /// Returns the stages that an instruction takes files from, in the order it names them.
    fn sources(&mut self, instruction: &Instruction) -> Result<Vec<StageId>, Fault> {
        match &instruction.kind {
            Kind::Copy(files) if !files.from.is_empty() => {
                if self.lexer.word(&files.from, &|_| None)? != files.from {
                    let fault = Fault::new("variables are not supported in --from").about(files.from.clone());
                    return Err(fault.help("define a stage with FROM, which takes global ARGs, and name that"));
                }
                match files.from.parse::<usize>() {
                    Ok(index) => {
                        if let Some(id) = self.order.get(index) {
                            Ok(vec![*id])
                        } else {
                            let fault = Fault::new(format!("there is no stage {index}")).about(files.from.clone());
                            Err(fault.help(format!("stages count from 0 to {}", self.order.len() - 1)))
                        }
                    }
                    Err(_) => Ok(vec![self.stage_or_image(&files.from, &instruction.lines)]),
                }
            }
            Kind::Run(run) => {
                let mut sources = Vec::new();
                for text in &run.mounts {
                    let from = mount::source_stage(text)?;
                    let from = if from.is_empty() { SCRATCH } else { &from };
                    sources.push(self.stage_or_image(from, &instruction.lines));
                }
                Ok(sources)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn stage_or_image(&mut self, name: &str, lines: &Lines) -> StageId {
        if let Some(id) = self.by_name.get(&name.to_lowercase()) {
            return *id;
        }
        let lines = Some(lines.clone());
        self.add(Stage { base_name: name.to_owned(), lines, unregistered: true, ..Stage::default() })
    }

    fn refuse_circles(&self) -> Result<(), DockerfileError> {
        let mut users = vec![Vec::new(); self.stages.len()];
        let mut open = vec![0_usize; self.stages.len()];
        for (id, stage) in self.stages.iter().enumerate() {
            open[id] = stage.deps.len();
            stage.deps.iter().for_each(|dep| users[*dep].push(id));
        }
        let mut free: Vec<StageId> = (0..open.len()).filter(|id| open[*id] == 0).collect();
        while let Some(id) = free.pop() {
            for user in &users[id] {
                open[*user] -= 1;
                if open[*user] == 0 {
                    free.push(*user);
                }
            }
        }
        let Some(id) = open.iter().position(|count| *count > 0) else { return Ok(()) };
        let stage = &self.stages[id];
        let circle = |command: &&Command| command.sources.iter().any(|source| open[*source] > 0);
        let lines = stage.commands.iter().find(circle).map(|command| command.instruction.lines.clone());
        let fault = Fault::new(format!("stage `{}` needs files of itself in a circle", stage.name));
        Err(self.error(fault, &lines.or_else(|| stage.lines.clone()).unwrap_or(1..=1)))
    }

    /// Resolves all that the target needs, triggers of base images included, and returns it.
    pub(super) fn resolve(&mut self, target: StageId) -> Result<BTreeSet<StageId>, DockerfileError> {
        loop {
            let reachable = self.reachable(target);
            for id in self.order.clone() {
                let stage = &self.stages[id];
                if stage.base.is_none() && !stage.dispatched && !stage.resolved && reachable.contains(&id) {
                    self.stages[id].resolved = true;
                    self.resolve_base(id)?;
                    if self.stages[id].unregistered {
                        self.stages[id].dispatched = true;
                    }
                }
            }
            let mut has_new = false;
            for id in reachable.iter().copied() {
                let mut triggers = std::mem::take(&mut self.stages[id].image.config.on_build);
                if let Some(base) = self.stages[id].base
                    && !std::mem::replace(&mut self.stages[id].on_build_done, true)
                {
                    triggers.extend(self.stages[base].commands.iter().filter_map(|command| {
                        match &command.instruction.kind {
                            Kind::Onbuild(text) => Some(text.clone()),
                            _ => None,
                        }
                    }));
                }
                has_new |= self.pull_triggers(id, &triggers)?;
            }
            if !has_new {
                return Ok(reachable);
            }
        }
    }

    /// Puts triggers before the instructions of a stage; tells whether they need other stages.
    fn pull_triggers(&mut self, id: StageId, triggers: &[String]) -> Result<bool, DockerfileError> {
        let lines = self.stages[id].lines.clone().unwrap_or(1..=1);
        let mut commands = Vec::new();
        for text in triggers {
            let place = |fault: Fault| self.error(Fault { word: None, ..fault }, &lines);
            let mut instruction = read::trigger(text).map_err(place)?;
            instruction.lines = lines.clone();
            let sources = self.sources(&instruction).map_err(|fault| self.error(fault, &lines))?;
            self.stages[id].deps.extend(&sources);
            commands.push(Command { instruction, sources, on_build: true });
        }
        let stage = &mut self.stages[id];
        stage.total += commands.len();
        let has_new = commands.iter().any(|command| !command.sources.is_empty());
        stage.commands.splice(0..0, commands);
        Ok(has_new)
    }

    fn reachable(&self, target: StageId) -> BTreeSet<StageId> {
        let mut reached = BTreeSet::from([target]);
        let mut open = vec![target];
        while let Some(id) = open.pop() {
            let stage = &self.stages[id];
            open.extend(stage.deps.iter().chain(&stage.base).copied().filter(|other| reached.insert(*other)));
        }
        reached
    }

    fn resolve_base(&mut self, id: StageId) -> Result<(), DockerfileError> {
        let stage = &self.stages[id];
        let lines = stage.lines.clone().unwrap_or(1..=1);
        let default = self.options.target_platform().clone();
        let named = stage.named.clone();
        if stage.base_name == SCRATCH && named.is_none() {
            let stage = &mut self.stages[id];
            (stage.state, stage.image) = (State::default(), Image::empty(&default));
            stage.platform = Some(default);
            return Ok(());
        }
        let platform = stage.platform.clone().unwrap_or(default);
        let written = stage.base_name.clone();
        if let Some(named) = named {
            // A whole stage is replaced: nothing of it is dispatched.
            let (loaded, image) = self.load(id, &named, &platform, &lines)?;
            let stage = &mut self.stages[id];
            (stage.dispatched, stage.state) = (true, loaded);
            if let Some(image) = image {
                let own = Platform {
                    os: image.os.clone(),
                    architecture: image.architecture.clone(),
                    variant: image.variant.clone(),
                    ..Platform::default()
                };
                stage.platform = Some(own).filter(|own| !own.os.is_empty() && !own.architecture.is_empty());
                stage.image = image;
            }
            return Ok(());
        }
        if let Some(named) = self.named(&written, Some(&platform)) {
            let (mut loaded, image) = self.load(id, &named, &platform, &lines)?;
            loaded.platform = Some(platform.clone());
            let stage = &mut self.stages[id];
            (stage.state, stage.image) = (loaded, image.unwrap_or_else(|| Image::empty(&platform)));
            stage.platform = Some(platform);
            return Ok(());
        }
        let reference = reference(&written).map_err(|fault| self.error(fault, &lines))?;
        let (digest, mut image) = self.config(&Wanted::Image(reference.clone()), &platform, (&written, &lines))?;
        image.created = None;
        let stage = &self.stages[id];
        let platform = if stage.platform.is_none() && self.options.platform.is_none() {
            detect(&image, platform, &self.options.build_platform)
        } else {
            platform
        };
        let pinned = if reference.contains('@') { reference } else { format!("{reference}@{digest}") };
        let shown = self.options.multi_platform.then_some(&platform);
        let stage = &mut self.stages[id];
        stage.base_name.clone_from(&pinned);
        stage.platform = Some(platform.clone());
        if image.is_scratch() {
            stage.state = State::default();
        } else {
            let name = stage.numbered(&format!("FROM {pinned}"), shown, &Env::default());
            let metadata = with_command(metadata(&name, &["source.image"]), &stage.code);
            let node = image_node(&pinned, &platform, metadata, Some(lines));
            let node = self.push(node);
            self.stages[id].state = State::of(Some(node), Some(platform));
        }
        self.stages[id].image = image;
        Ok(())
    }

    fn config(
        &self,
        wanted: &Wanted,
        platform: &Platform,
        (written, lines): (&str, &Lines),
    ) -> Result<(crate::oci::Digest, Image), DockerfileError> {
        let place = || Box::new(picture(self.file, lines, Some(written)));
        let (digest, bytes) = (self.resolver)(wanted, platform).map_err(|source| DockerfileError::Resolve {
            reference: written.to_owned(),
            help: near(written, self.by_name.keys().map(String::as_str))
                .map(|name| format!("did you mean the stage `{name}`?")),
            picture: place(),
            source,
        })?;
        let image = serde_json::from_slice(&bytes).map_err(|error| DockerfileError::Text {
            message: format!("the config of `{written}` is not as it must be: {error}"),
            help: None,
            picture: place(),
        })?;
        Ok((digest, image))
    }

    /// Finds the context that stands for a name (`dockerui NamedContext`).
    fn named(&self, name: &str, platform: Option<&Platform>) -> Option<Named> {
        if name.is_empty() || ["scratch", "context"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            return None;
        }
        let familiar = familiar(name);
        let platform = platform::name(platform.unwrap_or_else(|| self.options.target_platform()));
        [format!("{familiar}::{platform}"), familiar].into_iter().find_map(|name| {
            let context = self.options.contexts.get(&name)?.clone();
            Some(Named { name, context })
        })
    }

    fn load(
        &mut self,
        id: StageId,
        named: &Named,
        platform: &Platform,
        lines: &Lines,
    ) -> Result<(State, Option<Image>), DockerfileError> {
        let name = &named.name;
        let node = match &named.context {
            Context::Image(image) if image == SCRATCH => return Ok((State::default(), None)),
            Context::Image(image) => {
                let reference = reference(image).map_err(|fault| self.error(fault, lines))?;
                let wanted = Wanted::Image(reference.clone());
                let metadata = metadata(&format!("[context {name}] {image}"), &["source.image"]);
                (image_node(&reference, platform, metadata, None), Some((wanted, image)))
            }
            Context::Layout { store, digest } => {
                let reference = reference(&format!("{}@{digest}", familiar(name).split("::").next().unwrap_or(name)));
                let reference = reference.map_err(|fault| self.error(fault, lines))?;
                let op = pb::SourceOp {
                    identifier: format!("{}{reference}", crate::llb::op::OCI_LAYOUT),
                    attrs: [(source::OCI_STORE.to_owned(), store.clone())].into(),
                };
                let metadata = metadata(&format!("[context {name}] OCI load from client"), &["source.ocilayout"]);
                let node = Node { act: Act::Source(op), platform: Some(platform.clone()), metadata, lines: None };
                (node, Some((Wanted::Layout { store: store.clone(), digest: *digest }, store)))
            }
            Context::Git(address) => {
                let node = Self::git_node(address, &format!("[internal] load git source {address}"));
                (node.map_err(|fault| self.error(fault, lines))?, None)
            }
            Context::Local { name: local, excludes } => {
                let local = Local {
                    name: local.clone(),
                    shared_key: format!("context:{name}-"),
                    excludes: excludes.clone(),
                    paths: self.stages[id].paths,
                };
                (local_node(local, &format!("[context {name}] load from client")), None)
            }
        };
        let (node, wanted) = node;
        let own = node.platform.clone();
        let image = match wanted {
            Some((wanted, written)) => Some(self.config(&wanted, platform, (written, lines))?.1),
            None => None,
        };
        let mut state = State::of(Some(self.push(node)), own);
        let image = image.map(|image| Image { created: None, ..image });
        if let Some(image) = &image {
            state.with_image(image);
        }
        Ok((state, image))
    }
}

fn image_node(reference: &str, platform: &Platform, metadata: pb::OpMetadata, lines: Option<Lines>) -> Node {
    let op = pb::SourceOp { identifier: format!("{}://{reference}", source::IMAGE), ..pb::SourceOp::default() };
    Node { act: Act::Source(op), platform: Some(platform.clone()), metadata, lines }
}

/// Returns the whole name of an image (`distribution/reference`): `debian` is `docker.io/library/debian:latest`.
fn reference(text: &str) -> Result<String, Fault> {
    let wrong = |reason: String| Fault::new(format!("`{text}` is no reference of an image: {reason}")).about(text);
    let parsed: Reference = text.parse().map_err(|error: crate::oci::ReferenceError| wrong(error.to_string()))?;
    let mut whole = format!("{}/{}", parsed.registry(), parsed.repository());
    match (parsed.tag(), parsed.digest()) {
        (tag, Some(digest)) => {
            if let Some(tag) = tag {
                whole = format!("{whole}:{tag}");
            }
            whole = format!("{whole}@{digest}");
        }
        (tag, None) => whole = format!("{whole}:{}", tag.unwrap_or("latest")),
    }
    Ok(whole)
}

/// Returns the short name of an image or a stage, as people write it.
fn familiar(name: &str) -> String {
    let short = name.strip_prefix("docker.io/").map_or(name, |name| name.strip_prefix("library/").unwrap_or(name));
    short.strip_suffix(":latest").unwrap_or(short).to_owned()
}

/// An image of another platform is taken as what it is, where this machine runs that (`autoDetectPlatform`).
fn detect(image: &Image, wanted: Platform, build: &Platform) -> Platform {
    let is = |platform: &Platform| platform.os == image.os && platform.architecture == image.architecture;
    if !is(&wanted) && is(build) { build.clone() } else { wanted }
}
