//! What must hold of a file operation (`solver/llbsolver/ops/file.go Solve`).

use super::error::Defect;
use super::pb::{self, file_action::Action, user_opt::User};
use super::validate::{bound, index, index_or_scratch, numbered};

/// Actions of a file op. `COPY` makes one for each source, and command lines are shorter than this.
const ACTIONS: usize = 1 << 14;

pub(super) fn file(file: &pb::FileOp, inputs: usize) -> Result<(), Defect> {
    if file.actions.is_empty() {
        return Err(Defect::Missing { what: "action" });
    }
    bound("actions", file.actions.len(), ACTIONS)?;
    for (at, action) in file.actions.iter().enumerate() {
        // The result of action i is number inputs + i; only what is already there can be used.
        let there = inputs + at;
        index_or_scratch("the input of action", at, action.input, there)?;
        index_or_scratch("the secondary input of action", at, action.secondary_input, there)?;
        paths(at, action)?;
        let owner = owner(action);
        for user in owner.iter().flat_map(|owner| [&owner.user, &owner.group]).flatten() {
            if let Some(User::ByName(named)) = &user.user {
                text("a user name", &named.name)?;
                index("the owner of action", at, named.input, there)?;
            }
        }
    }
    if file.actions.iter().all(|action| action.output == -1) {
        return Err(Defect::Missing { what: "output" });
    }
    numbered("action", file.actions.iter().map(|action| action.output))
}

fn paths(at: usize, action: &pb::FileAction) -> Result<(), Defect> {
    let all = |what, list: &[String]| list.iter().try_for_each(|item| text(what, item));
    match action.action.as_ref() {
        None => Err(Defect::NoAction { at }),
        Some(Action::Copy(copy)) => {
            text("the source of a copy", &copy.src)?;
            text("the destination of a copy", &copy.dest)?;
            all("a pattern of a copy", &copy.include_patterns)?;
            all("a pattern of a copy", &copy.exclude_patterns)?;
            all("a required path of a copy", &copy.required_paths)
        }
        Some(Action::Mkfile(file)) => text("the path of a file", &file.path),
        Some(Action::Mkdir(directory)) => text("the path of a directory", &directory.path),
        Some(Action::Rm(rm)) => text("the path to remove", &rm.path),
        Some(Action::Symlink(link)) => {
            text("the target of a link", &link.oldpath)?;
            text("the path of a link", &link.newpath)
        }
    }
}

fn owner(action: &pb::FileAction) -> Option<&pb::ChownOpt> {
    match action.action.as_ref()? {
        Action::Copy(copy) => copy.owner.as_ref(),
        Action::Mkfile(file) => file.owner.as_ref(),
        Action::Mkdir(directory) => directory.owner.as_ref(),
        Action::Symlink(link) => link.owner.as_ref(),
        Action::Rm(_) => None,
    }
}

/// Refuses text with a NUL, which would end a path early.
pub(super) fn text(what: &'static str, text: &str) -> Result<(), Defect> {
    if !text.contains('\0') {
        return Ok(());
    }
    Err(Defect::Nul { what, text: super::graph::clean(&text.replace('\0', "\\0")) })
}
