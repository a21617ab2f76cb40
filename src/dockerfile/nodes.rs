//! Operations before they have a digest (`client/llb`): what of the build context is needed is known only when every
//! stage was lowered, so vertices are marshalled at the end.

use super::error::Fault;
use super::lines::Lines;
use super::platform::Platform;
use crate::llb::pb;

/// An operation of the arena; its output 0 is what others take.
pub(super) type NodeId = usize;

/// Which set of paths limits a local source.
pub(super) type PathsId = usize;

/// One operation.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) act: Act,
    /// `None` for operations that no platform changes.
    pub(super) platform: Option<Platform>,
    pub(super) metadata: pb::OpMetadata,
    pub(super) lines: Option<Lines>,
}

/// What it does.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Source(pb::SourceOp),
    Local(Local),
    Exec(Box<Exec>),
    File(Vec<FileStep>),
    Merge(Vec<NodeId>),
}

/// A directory of the client.
#[derive(Debug, Clone, Default)]
pub(super) struct Local {
    pub(super) name: String,
    pub(super) shared_key: String,
    pub(super) excludes: Vec<String>,
    pub(super) paths: PathsId,
}

/// A step.
#[derive(Debug, Clone, Default)]
pub(super) struct Exec {
    pub(super) meta: pb::Meta,
    pub(super) network: i32,
    pub(super) security: i32,
    /// Sorted by destination: that is the order of inputs and outputs.
    pub(super) mounts: Vec<MountSpec>,
    /// Mounts of secrets, and then of agents: in the order given, behind the others.
    pub(super) secrets: Vec<pb::Mount>,
    pub(super) agents: Vec<pb::Mount>,
    pub(super) secret_env: Vec<pb::SecretEnv>,
    pub(super) devices: Vec<pb::CdiDevice>,
}

/// A mount whose input is not numbered yet.
#[derive(Debug, Clone, Default)]
pub(super) struct MountSpec {
    pub(super) mount: pb::Mount,
    pub(super) source: Option<NodeId>,
    /// It becomes no output though it can be written to.
    pub(super) no_output: bool,
}

/// One action on a tree.
#[derive(Debug, Clone)]
pub(super) struct FileStep {
    /// The tree; the same for all steps of one operation.
    pub(super) base: Option<NodeId>,
    /// What a copy copies from; `None` for an empty tree.
    pub(super) from: Option<NodeId>,
    pub(super) action: pb::file_action::Action,
}

impl Node {
    /// The nodes it takes something from, in the order that BuildKit visits them.
    pub(super) fn inputs(&self) -> Vec<NodeId> {
        let mut inputs = Vec::new();
        let mut add = |node: Option<NodeId>| {
            if let Some(node) = node
                && !inputs.contains(&node)
            {
                inputs.push(node);
            }
        };
        match &self.act {
            Act::Source(_) | Act::Local(_) => {}
            Act::Exec(exec) => exec.mounts.iter().for_each(|mount| add(mount.source)),
            // Backwards, as `FileAction.allOutputs` goes.
            Act::File(steps) => steps.iter().rev().for_each(|step| {
                add(step.base);
                add(step.from);
            }),
            Act::Merge(nodes) => nodes.iter().for_each(|node| add(Some(*node))),
        }
        inputs
    }
}

/// Returns metadata with a name for people and the capabilities an executor must have.
pub(super) fn metadata(name: &str, caps: &[&str]) -> pb::OpMetadata {
    pb::OpMetadata {
        description: [("llb.customname".to_owned(), name.to_owned())].into(),
        caps: caps.iter().map(|cap| ((*cap).to_owned(), true)).collect(),
        ..pb::OpMetadata::default()
    }
}

/// Notes the text of an instruction.
pub(super) fn with_command(mut metadata: pb::OpMetadata, command: &str) -> pb::OpMetadata {
    metadata.description.insert("com.docker.dockerfile.v1.command".to_owned(), command.to_owned());
    metadata
}

/// Returns who owns something, of `USER[:GROUP]` (`fileop.go WithUser`). Names are looked up in the tree that is changed,
/// and BuildKit fails in the middle of the build where there is none.
pub(super) fn owner(text: &str, has_tree: bool) -> Result<pb::ChownOpt, Fault> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let opt = pb::ChownOpt { user: Some(user_opt(user)), group: group.map(user_opt) };
    let is_named = |opt: &pb::UserOpt| matches!(opt.user, Some(pb::user_opt::User::ByName(_)));
    if !has_tree && opt.user.iter().chain(&opt.group).any(is_named) {
        let fault = Fault::new(format!("`{text}` cannot be looked up: there is no /etc/passwd below this instruction"));
        return Err(fault.about(text).help("write numbers, as 1000:1000"));
    }
    Ok(opt)
}

fn user_opt(name: &str) -> pb::UserOpt {
    use pb::user_opt::User;
    #[expect(clippy::cast_sign_loss, reason = "BuildKit wraps negative numbers, too")]
    let user = match name {
        "root" | "" => User::ById(0),
        name => match name.parse::<i32>() {
            Ok(id) => User::ById(id as u32),
            // The input is filled in when it is marshalled.
            Err(_) => User::ByName(pb::NamedUserOpt { name: name.to_owned(), input: 0 }),
        },
    };
    pb::UserOpt { user: Some(user) }
}
