//! Stages while they are lowered (`dockerfile2llb dispatchState`).

use std::collections::BTreeSet;

use super::image::Image;
use super::instruction::Instruction;
use super::lines::Lines;
use super::nodes::PathsId;
use super::options::Context;
use super::platform::Platform;
use super::state::State;

/// A stage of the arena.
pub(super) type StageId = usize;

/// An instruction, and the stages it takes files from.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) instruction: Instruction,
    pub(super) sources: Vec<StageId>,
    pub(super) on_build: bool,
}

/// A context that stands for an image or a stage.
#[derive(Debug, Clone)]
pub(super) struct Named {
    /// The name it was found under.
    pub(super) name: String,
    pub(super) context: Context,
}

/// One stage, or an image that an instruction takes files from.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own, as in BuildKit")]
pub(super) struct Stage {
    /// For people.
    pub(super) name: String,
    /// As written, in lower case.
    pub(super) declared: String,
    pub(super) base_name: String,
    pub(super) code: String,
    pub(super) lines: Option<Lines>,
    pub(super) platform: Option<Platform>,
    /// The stage it begins with.
    pub(super) base: Option<StageId>,
    pub(super) named: Option<Named>,
    pub(super) deps: BTreeSet<StageId>,
    pub(super) commands: Vec<Command>,
    /// Which of its paths others need.
    pub(super) paths: PathsId,
    pub(super) image: Image,
    pub(super) state: State,
    pub(super) dispatched: bool,
    pub(super) resolved: bool,
    pub(super) on_build_done: bool,
    /// No stage of the Dockerfile, but an image that an instruction names.
    pub(super) unregistered: bool,
    /// Instructions that make a layer, for names of vertices.
    pub(super) total: usize,
    pub(super) index: usize,
    /// Whether the instruction at hand is a trigger.
    pub(super) on_build: bool,
    /// `ARG`s so far.
    pub(super) args: Vec<(String, Option<String>)>,
    pub(super) ignore_cache: bool,
    /// Whether a `CMD` was in this stage, which an `ENTRYPOINT` does not take back.
    pub(super) has_cmd: bool,
}
