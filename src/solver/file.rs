//! File operations: their keys, and what they do to trees (`ops.proto FileOp`).
//!
//! Indexes of actions first count the inputs of the operation and then its own actions; whatever an action changes
//! without being asked for as an output lives in the same tree as what is changed after it, so that a chain of actions
//! costs one layer. Only an intermediate that is used twice is committed on its own.

use std::collections::BTreeMap;

use prost::Message as _;

use super::SolveError;
use super::exec::Answer;
use super::key::{self, Ingredients};
use super::run::{Work, file_error, snapshot_error, unsupported};
use super::value::Value;
use crate::file::{self, FileOptions, Owner, Selection};
use crate::llb::pb::file_action::Action;
use crate::llb::{Vertex, pb};
use crate::oci::Digest;
use crate::snapshot::{Active, Snapshot, Tree};

/// What an index of an action stands for while the operation runs.
enum State {
    /// A tree that nobody changes any more.
    Done(Snapshot),
    /// The tree that the next action changes further, unless that is not the one that wants it.
    Open(Active),
}

impl Work<'_> {
    /// Returns the values of a file operation.
    pub(super) fn file(&self, vertex: &Vertex, op: &pb::FileOp) -> Result<Answer, SolveError> {
        let mut whole = file_parts(vertex, op, false);
        for (index, edge) in vertex.inputs.iter().enumerate() {
            whole.add(format!("the content of input {index}"), self.value(*edge).content);
        }
        self.cached(vertex, &whole, || self.selected_file_parts(vertex, op), |key| self.file_trees(vertex, op, key))
    }

    /// The parts of the key with, of inputs that are only read, just what the actions read.
    fn selected_file_parts(&self, vertex: &Vertex, op: &pb::FileOp) -> Result<Option<Ingredients>, SolveError> {
        let mut parts = file_parts(vertex, op, true);
        for (index, edge) in vertex.inputs.iter().enumerate() {
            let is = |input: i64| usize::try_from(input) == Ok(index);
            if op.actions.iter().any(|action| is(action.input)) {
                parts.add(format!("the content of input {index}"), self.value(*edge).content);
                continue;
            }
            let tree = self.open(vertex, *edge)?;
            for (number, selection) in selections(op, is).into_iter().enumerate() {
                let content = file::content(tree.path(), &selection).map_err(|error| file_error(vertex, error))?;
                parts.add(format!("what is read of input {index} ({number})"), content);
            }
        }
        Ok(Some(parts))
    }

    /// Does what the operation says; the contents of its outputs follow from `key`.
    pub(super) fn file_trees(&self, vertex: &Vertex, op: &pb::FileOp, key: &Digest) -> Result<Vec<Value>, SolveError> {
        let inputs: Result<Vec<Snapshot>, SolveError> = vertex.inputs.iter().map(|edge| self.tree(*edge)).collect();
        let mut states: BTreeMap<usize, State> = inputs?.into_iter().map(State::Done).enumerate().collect();
        let uses = uses(op, vertex.inputs.len());
        let mut outputs = BTreeMap::new();
        for (index, action) in op.actions.iter().enumerate() {
            let active = self.target(vertex, &mut states, action.input)?;
            self.act(vertex, &states, action, &active)?;
            let place = vertex.inputs.len() + index;
            let output = usize::try_from(action.output).ok();
            // One that is changed further by exactly one action stays open for it.
            let only_changed = uses.get(&place) == Some(&(1, 0));
            if output.is_none() && only_changed {
                states.insert(place, State::Open(active));
                continue;
            }
            let content = key::output(key, output.unwrap_or(op.actions.len() + index));
            let snapshot = self.commit_file(vertex, active, &content)?;
            states.insert(place, State::Done(snapshot.clone()));
            if let Some(output) = output {
                outputs.insert(output, Value::made(content, snapshot));
            }
        }
        Ok(outputs.into_values().collect())
    }

    /// Publishes what an action made. Ignoring the cache, the tree gets a name of its own: one of that content may be
    /// there already, with older times.
    fn commit_file(&self, vertex: &Vertex, active: Active, content: &Digest) -> Result<Snapshot, SolveError> {
        let ignore = self.solver.ignore_cache || vertex.metadata.ignore_cache;
        let id = if ignore { active.unique(content) } else { *content };
        active.commit_noted(&id).map_err(|error| snapshot_error(vertex.name(), error))
    }

    /// Returns the tree that an action changes.
    fn target(&self, vertex: &Vertex, states: &mut BTreeMap<usize, State>, input: i64) -> Result<Active, SolveError> {
        let fail = |error| snapshot_error(vertex.name(), error);
        let snapshots = self.solver.snapshots;
        let Ok(input) = usize::try_from(input) else { return snapshots.prepare().map_err(fail) };
        match states.get(&input) {
            Some(State::Done(snapshot)) => snapshots.prepare_over(snapshot).map_err(fail),
            Some(State::Open(_)) => match states.remove(&input) {
                Some(State::Open(active)) => Ok(active),
                _ => Err(unsupported(vertex, format!("index {input}"))),
            },
            None => Err(unsupported(vertex, format!("index {input}"))),
        }
    }

    fn act(
        &self,
        vertex: &Vertex,
        states: &BTreeMap<usize, State>,
        action: &pb::FileAction,
        active: &Active,
    ) -> Result<(), SolveError> {
        let fail = |error| snapshot_error(vertex.name(), error);
        let snapshots = self.solver.snapshots;
        let read = |input: i64| -> Result<Option<Tree>, SolveError> {
            let Ok(index) = usize::try_from(input) else { return Ok(None) };
            match states.get(&index) {
                Some(State::Done(snapshot)) => snapshots.read(snapshot).map(Some).map_err(fail),
                _ => Err(unsupported(vertex, format!("index {input}"))),
            }
        };
        let options = FileOptions { single_id: snapshots.single_id() };
        let owner = |chown: Option<&pb::ChownOpt>| -> Result<Option<Owner>, SolveError> {
            let users = tree_of(chown.and_then(|chown| chown.user.as_ref())).map_or(Ok(None), &read)?;
            let groups = tree_of(chown.and_then(|chown| chown.group.as_ref())).map_or(Ok(None), &read)?;
            file::owner(chown, users.as_ref().map(Tree::path), groups.as_ref().map(Tree::path))
                .map_err(|error| file_error(vertex, error))
        };
        let to = active.open().map_err(fail)?;
        let to = to.path();
        let acted = match &action.action {
            Some(Action::Copy(copy)) => {
                let owner = owner(copy.owner.as_ref())?;
                let empty;
                let from = if let Some(tree) = read(action.secondary_input)? {
                    tree
                } else {
                    empty = snapshots.prepare().map_err(fail)?;
                    empty.open().map_err(fail)?
                };
                file::copy(from.path(), to, copy, owner, options)
            }
            Some(Action::Mkfile(mkfile)) => file::mkfile(to, mkfile, owner(mkfile.owner.as_ref())?, options),
            Some(Action::Mkdir(mkdir)) => file::mkdir(to, mkdir, owner(mkdir.owner.as_ref())?, options),
            Some(Action::Symlink(symlink)) => file::symlink(to, symlink, owner(symlink.owner.as_ref())?, options),
            Some(Action::Rm(rm)) => file::rm(to, rm),
            None => return Err(unsupported(vertex, "an action of no kind")),
        };
        acted.map_err(|error| file_error(vertex, error))
    }
}

/// The parts of the key that the operation itself brings. Where a copy's source is known by content, only the last
/// part of its name is left, which the destination may get (`solver/llbsolver/ops/file.go`).
fn file_parts(vertex: &Vertex, op: &pb::FileOp, by_content: bool) -> Ingredients {
    let mut parts = Ingredients::default();
    parts.bytes("the kind of operation", b"file");
    parts.bytes("the platform", &key::platform(vertex));
    for (index, action) in op.actions.iter().enumerate() {
        let mut action = action.clone();
        if let Some(Action::Copy(copy)) = &mut action.action
            && by_content
            && usize::try_from(action.secondary_input).is_ok_and(|input| input < vertex.inputs.len())
        {
            let last = copy.src.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            copy.src = last.to_owned();
        }
        parts.bytes(format!("action {index}"), &action.encode_to_vec());
    }
    parts
}

/// How often each index is changed and read by later actions.
fn uses(op: &pb::FileOp, inputs: usize) -> BTreeMap<usize, (usize, usize)> {
    let mut uses: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for action in &op.actions {
        if let Ok(input) = usize::try_from(action.input) {
            uses.entry(input).or_default().0 += 1;
        }
        let copied = usize::try_from(action.secondary_input).ok();
        let named = owner_of(action).into_iter().flat_map(|chown| [&chown.user, &chown.group]);
        let named = named.filter_map(|user| usize::try_from(tree_of(user.as_ref())?).ok());
        for read in copied.into_iter().chain(named) {
            uses.entry(read).or_default().1 += 1;
        }
    }
    uses.retain(|index, _| *index >= inputs);
    uses
}

fn owner_of(action: &pb::FileAction) -> Option<&pb::ChownOpt> {
    match action.action.as_ref()? {
        Action::Copy(copy) => copy.owner.as_ref(),
        Action::Mkfile(mkfile) => mkfile.owner.as_ref(),
        Action::Mkdir(mkdir) => mkdir.owner.as_ref(),
        Action::Symlink(symlink) => symlink.owner.as_ref(),
        Action::Rm(_) => None,
    }
}

/// The index of the tree in whose files a name is looked up.
fn tree_of(user: Option<&pb::UserOpt>) -> Option<i64> {
    match user?.user.as_ref()? {
        pb::user_opt::User::ByName(named) => Some(named.input),
        pb::user_opt::User::ById(_) => None,
    }
}

/// What the actions read of one input: the sources of copies, and the files that names of owners are looked up in.
fn selections(op: &pb::FileOp, is: impl Fn(i64) -> bool) -> Vec<Selection> {
    let mut selections = Vec::new();
    for action in &op.actions {
        if let Some(Action::Copy(copy)) = &action.action
            && is(action.secondary_input)
        {
            selections.push(Selection {
                path: copy.src.clone(),
                follow_links: copy.follow_symlink,
                wildcard: copy.allow_wildcard,
                include: copy.include_patterns.clone(),
                exclude: copy.exclude_patterns.clone(),
                required: copy.required_paths.clone(),
            });
        }
        for (user, path) in owner_of(action)
            .into_iter()
            .flat_map(|chown| [(chown.user.as_ref(), "/etc/passwd"), (chown.group.as_ref(), "/etc/group")])
        {
            if tree_of(user).is_some_and(&is) {
                selections.push(Selection { path: path.to_owned(), follow_links: true, ..Selection::default() });
            }
        }
    }
    selections
}
