//! A Dockerfile becomes a graph and an image config (`frontend/dockerfile/dockerfile2llb/convert.go toDispatchState`).

use std::collections::{BTreeMap, BTreeSet};

use super::error::{DockerfileError, Fault, Picture};
use super::expand::Lexer;
use super::image::Image;
use super::instruction::{Argument, Instruction, Kind};
use super::lines::{self, Lines, Parsed};
use super::marshal::{Surroundings, marshal};
use super::nodes::{Act, Local, Node, NodeId, PathsId, metadata};
use super::options::{Context, Dockerfile, Options, Resolver};
use super::platform;
use super::read;
use super::stage::{Stage, StageId};
use super::state::Env;
use crate::llb::Graph;

/// Stages that a Dockerfile may have; people write a handful.
const STAGES: usize = 1000;

/// A file of the build context that an instruction copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPath {
    /// Where it should be, relative to the context; wildcards in it are wildcards.
    pub path: String,
    /// Which instruction wants it.
    pub picture: Picture,
}

/// Something that works and is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The rule of BuildKit's linter.
    pub rule: &'static str,
    /// What is odd.
    pub message: String,
    /// Where.
    pub line: u32,
}

/// What a Dockerfile became.
#[derive(Debug)]
pub struct Lowered {
    /// The graph; `None` where the result is an empty tree.
    pub graph: Option<Graph>,
    /// The config of its image, without the new layers.
    pub image: Image,
    /// What is copied from the build context.
    pub context_paths: Vec<ContextPath>,
    /// What is probably not meant.
    pub warnings: Vec<Warning>,
    /// The time of the image in seconds since 1970, where a build argument says it.
    pub epoch: Option<i64>,
}

/// Everything that lowering works with.
pub(super) struct Lowering<'a> {
    pub(super) file: Dockerfile<'a>,
    pub(super) options: &'a Options,
    pub(super) resolver: Resolver<'a>,
    pub(super) lexer: Lexer,
    /// Build arguments, `SOURCE_DATE_EPOCH` in its one form.
    pub(super) build_args: BTreeMap<String, String>,
    /// Arguments before the first `FROM` and those of platforms.
    pub(super) globals: Env,
    /// Time of history entries.
    pub(super) created: Option<String>,
    pub(super) epoch: Option<i64>,
    pub(super) nodes: Vec<Node>,
    pub(super) paths: Vec<BTreeSet<String>>,
    pub(super) stages: Vec<Stage>,
    /// Stages and images in the order they were met.
    pub(super) order: Vec<StageId>,
    pub(super) by_name: BTreeMap<String, StageId>,
    pub(super) context: NodeId,
    pub(super) context_paths: Vec<ContextPath>,
    pub(super) warnings: Vec<Warning>,
}

/// Paths of the build context.
pub(super) const CONTEXT: PathsId = 0;

/// A stage as written: its `FROM` and what follows.
type Written = (Instruction, Vec<Instruction>);

/// Lowers a Dockerfile. `resolver` is asked for the configs of the images that the target is built from.
///
/// # Errors
/// All of [`DockerfileError`].
pub fn lower(file: Dockerfile<'_>, options: &Options, resolver: Resolver<'_>) -> Result<Lowered, DockerfileError> {
    let parsed = parse(file)?;
    let (arguments, written) = split(file, &parsed)?;
    let mut lowering = Lowering::new(file, options, resolver, parsed.escape)?;
    for line in &parsed.empty_continuations {
        lowering.warn("NoEmptyContinuation", "empty line within a continued instruction", *line);
    }
    let last = written.last().map(|(from, _)| stage_name(from)).unwrap_or_default();
    lowering.globals(&arguments, options.target.as_ref().unwrap_or(&last))?;
    lowering.declare(written)?;
    let target = lowering.target()?;
    lowering.connect()?;
    let reachable = lowering.resolve(target)?;
    lowering.dispatch_all(&reachable)?;
    lowering.finish(target)
}

/// Returns the names of the stages, for those who choose a target; unnamed ones are empty.
///
/// # Errors
/// [`DockerfileError::Text`].
pub fn stages(file: Dockerfile<'_>) -> Result<Vec<String>, DockerfileError> {
    let parsed = parse(file)?;
    Ok(split(file, &parsed)?.1.iter().map(|(from, _)| stage_name(from)).collect())
}

fn parse(file: Dockerfile<'_>) -> Result<Parsed, DockerfileError> {
    if file.text.len() > lines::LARGEST {
        let fault = Fault::new(format!("a Dockerfile of more than {} bytes is none", lines::LARGEST));
        return Err(error_at(file, fault, &(1..=1)));
    }
    if let Some(at) = file.text.find('\0') {
        let line = file.text[..at].matches('\n').count() + 1;
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        return Err(error_at(file, Fault::new("a Dockerfile is text: this line has a NUL byte"), &(line..=line)));
    }
    lines::parse(file.text).map_err(|(fault, lines)| error_at(file, fault, &lines))
}

fn stage_name(from: &Instruction) -> String {
    match &from.kind {
        Kind::From(from) => from.name.clone(),
        _ => String::new(),
    }
}

/// Parts what stands before the first `FROM` from the stages.
fn split(file: Dockerfile<'_>, parsed: &Parsed) -> Result<(Vec<Instruction>, Vec<Written>), DockerfileError> {
    let (mut arguments, mut stages) = (Vec::new(), Vec::<Written>::new());
    for statement in &parsed.statements {
        let fail = |fault| error_at(file, fault, &statement.lines);
        let instruction = read::instruction(statement, parsed.escape).map_err(fail)?;
        let is_full = stages.len() >= STAGES;
        match (&instruction.kind, stages.last_mut()) {
            (Kind::From(_), _) if is_full => {
                return Err(fail(Fault::new(format!("more than {STAGES} stages are not built"))));
            }
            (Kind::From(_), _) => stages.push((instruction, Vec::new())),
            (Kind::Arg(_), None) => arguments.push(instruction),
            (_, None) => {
                let fault = Fault::new(format!("{} stands before the first FROM", statement.keyword.to_uppercase()));
                return Err(fail(
                    fault.about(statement.keyword.clone()).help("begin with FROM; only ARG may stand before it"),
                ));
            }
            (_, Some((_, commands))) => commands.push(instruction),
        }
    }
    if stages.is_empty() {
        let message = if file.text.trim().is_empty() {
            "the Dockerfile is empty"
        } else {
            "the Dockerfile has no stage to build"
        };
        return Err(error_at(file, Fault::new(message).help("begin with FROM"), &(1..=1)));
    }
    Ok((arguments, stages))
}

/// Gives a fault its place: the word it is about where that is found, else the first line of the instruction.
pub(super) fn error_at(file: Dockerfile<'_>, fault: Fault, lines: &Lines) -> DockerfileError {
    let picture = Box::new(picture(file, lines, fault.word.as_deref()));
    DockerfileError::Text { message: fault.message, help: fault.help, picture }
}

pub(super) fn picture(file: Dockerfile<'_>, lines: &Lines, word: Option<&str>) -> Picture {
    let mut starts = std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1));
    let first = usize::try_from(*lines.start()).unwrap_or(1).max(1);
    let count = usize::try_from(lines.end() - lines.start()).unwrap_or(0) + 1;
    let start = starts.nth(first - 1).unwrap_or(file.text.len());
    let end = starts.nth(count - 1).unwrap_or(file.text.len());
    let text = &file.text[start..end];
    let found = word.filter(|word| !word.is_empty()).and_then(|word| Some((text.find(word)?, word.len())));
    let span = found.map_or_else(
        || start..start + text.lines().next().unwrap_or_default().len(),
        |(at, length)| start + at..start + at + length,
    );
    Picture { name: file.name.to_owned(), text: file.text.to_owned(), span }
}

impl<'a> Lowering<'a> {
    fn new(
        file: Dockerfile<'a>,
        options: &'a Options,
        resolver: Resolver<'a>,
        escape: char,
    ) -> Result<Self, DockerfileError> {
        let mut build_args = options.build_args.clone();
        let epoch = match build_args.get("SOURCE_DATE_EPOCH").map(String::as_str) {
            None => None,
            Some("") => {
                build_args.remove("SOURCE_DATE_EPOCH");
                None
            }
            Some(text) => Some(text.parse::<i64>().map_err(|_| DockerfileError::Option {
                what: "build argument SOURCE_DATE_EPOCH",
                value: text.to_owned(),
                reason: "it is no number of seconds since 1970".to_owned(),
            })?),
        };
        if let Some(epoch) = epoch {
            build_args.insert("SOURCE_DATE_EPOCH".to_owned(), epoch.to_string());
        }
        let created = match epoch.map(jiff::Timestamp::from_second) {
            None => None,
            Some(Ok(time)) => Some(time.to_string()),
            Some(Err(error)) => {
                return Err(DockerfileError::Option {
                    what: "build argument SOURCE_DATE_EPOCH",
                    value: build_args["SOURCE_DATE_EPOCH"].clone(),
                    reason: error.to_string(),
                });
            }
        };
        let mut lowering = Self {
            file,
            options,
            resolver,
            lexer: Lexer::new(escape),
            build_args,
            globals: Env::default(),
            created,
            epoch,
            nodes: Vec::new(),
            paths: vec![BTreeSet::new()],
            stages: Vec::new(),
            order: Vec::new(),
            by_name: BTreeMap::new(),
            context: 0,
            context_paths: Vec::new(),
            warnings: Vec::new(),
        };
        lowering.context = lowering.main_context()?;
        Ok(lowering)
    }

    fn main_context(&mut self) -> Result<NodeId, DockerfileError> {
        match &self.options.context {
            Context::Local { name, excludes } => {
                let (name, excludes) = (name.clone(), excludes.clone());
                let local = Local { shared_key: name.clone(), name, excludes, paths: CONTEXT };
                Ok(self.push(local_node(local, "[internal] load build context")))
            }
            Context::Git(address) => {
                let node = Self::git_node(address, &format!("[internal] load git source {address}"));
                let node = node.map_err(|fault| DockerfileError::Option {
                    what: "build context",
                    value: address.clone(),
                    reason: fault.message,
                })?;
                Ok(self.push(node))
            }
            Context::Image(name) | Context::Layout { store: name, .. } => Err(DockerfileError::Option {
                what: "build context",
                value: name.clone(),
                reason: "the main context is a directory or a repository".to_owned(),
            }),
        }
    }

    pub(super) fn git_node(address: &str, name: &str) -> Result<Node, Fault> {
        match super::git::GitRef::parse(address)? {
            Some(git) => Ok(git.node(name)),
            None => Err(Fault::new(format!("`{address}` is no address of a repository"))),
        }
    }

    pub(super) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn error(&self, fault: Fault, lines: &Lines) -> DockerfileError {
        error_at(self.file, fault, lines)
    }

    pub(super) fn warn(&mut self, rule: &'static str, message: impl Into<String>, line: u32) {
        let warning = Warning { rule, message: message.into(), line };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Makes the arguments that `FROM` may use (`platform.go defaultArgs`, `buildMetaArgs`).
    fn globals(&mut self, arguments: &[Instruction], target: &str) -> Result<(), DockerfileError> {
        let (build, wanted) = (&self.options.build_platform, self.options.target_platform());
        let target = if target.is_empty() { "default" } else { target };
        for (name, default) in [
            ("BUILDPLATFORM", platform::name(build)),
            ("BUILDOS", build.os.clone()),
            ("BUILDOSVERSION", build.os_version.clone()),
            ("BUILDARCH", build.architecture.clone()),
            ("BUILDVARIANT", build.variant.clone()),
            ("TARGETPLATFORM", platform::name(wanted)),
            ("TARGETOS", wanted.os.clone()),
            ("TARGETOSVERSION", wanted.os_version.clone()),
            ("TARGETARCH", wanted.architecture.clone()),
            ("TARGETVARIANT", wanted.variant.clone()),
            ("TARGETSTAGE", target.to_owned()),
        ] {
            self.globals.set(name, self.build_args.get(name).unwrap_or(&default));
        }
        for instruction in arguments {
            let Kind::Arg(list) = &instruction.kind else { continue };
            for Argument { name, value } in list {
                let value = match (self.build_args.get(name), value) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(default)) => {
                        let expanded = self.lexer.word(default, &|name| self.globals.get(name));
                        Some(expanded.map_err(|fault| self.error(fault, &instruction.lines))?)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    self.globals.set(name, &value);
                }
            }
        }
        Ok(())
    }

    /// Ends with the graph of the target and its config (`finalizeResultImage`).
    fn finish(mut self, target: StageId) -> Result<Lowered, DockerfileError> {
        let wanted = self.options.target_platform();
        let stage = &mut self.stages[target];
        let image = &mut stage.image;
        image.config.labels.extend(self.options.labels.clone());
        if self.options.platform.is_some() {
            let same = wanted.os == image.os && wanted.architecture == image.architecture;
            image.os.clone_from(&wanted.os);
            image.architecture.clone_from(&wanted.architecture);
            if !wanted.variant.is_empty() || !same {
                image.variant.clone_from(&wanted.variant);
            }
            if !wanted.os_version.is_empty() || !same {
                image.os_version.clone_from(&wanted.os_version);
            }
        }
        let normal = crate::llb::normalise(&platform::Platform {
            os: image.os.clone(),
            architecture: image.architecture.clone(),
            variant: image.variant.clone(),
            ..platform::Platform::default()
        });
        (image.os, image.architecture, image.variant) = (normal.os, normal.architecture, normal.variant);
        let image = image.clone();
        let around = Surroundings {
            nodes: &self.nodes,
            paths: &self.paths,
            unique: &self.options.unique,
            filename: self.file.name,
            text: self.file.text,
        };
        let graph = match self.stages[target].state.out {
            Some(output) => Some(Graph::try_from(&marshal(&around, output))?),
            None => None,
        };
        let (context_paths, warnings) = (self.context_paths, self.warnings);
        Ok(Lowered { graph, image, context_paths, warnings, epoch: self.epoch })
    }
}

pub(super) fn local_node(local: Local, name: &str) -> Node {
    Node { act: Act::Local(local), platform: None, metadata: metadata(name, &["source.local"]), lines: None }
}
