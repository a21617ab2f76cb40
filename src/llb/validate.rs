//! What must hold of an operation for it to mean something (`solver/llbsolver/ops/opsutils/validate.go`).
//!
//! BuildKit checks some of it when it loads a graph and the rest when an operation runs. Here all of it is checked before
//! anything runs: a build that cannot end well costs nothing. Executors may rely on it.

use super::error::Defect;
use super::pb;
use super::validate_file::{self, text};

/// Inputs of an op. A merge of all packages of a distribution's base has some hundred.
const INPUTS: usize = 1 << 14;
/// Mounts of an exec; the kernel allows 100,000 in a namespace (`fs.mount-max`), tools that generate mounts make dozens.
const MOUNTS: usize = 1 << 12;

/// The only builder there is: LLB itself (`solver/pb/const.go LLBBuilder`).
const LLB_BUILDER: i64 = -1;
/// The input of a build that holds its definition (`solver/pb/const.go LLBDefinitionInput`).
const LLB_DEFINITION: &str = "buildkit.llb.definition";

/// Refuses an operation that contradicts itself, of a vertex with `inputs` inputs.
pub(super) fn operation(op: &pb::op::Op, inputs: usize) -> Result<(), Defect> {
    bound("inputs", inputs, INPUTS)?;
    match op {
        pb::op::Op::Source(source) => match source.identifier.split_once("://") {
            Some((scheme, _)) if !scheme.is_empty() => text("the identifier", &source.identifier),
            _ => Err(Defect::Scheme { identifier: super::graph::clean(&source.identifier) }),
        },
        pb::op::Op::Exec(op) => exec(op, inputs),
        pb::op::Op::File(file) => validate_file::file(file, inputs),
        pb::op::Op::Merge(merge) => {
            merge.inputs.iter().enumerate().try_for_each(|(at, side)| index("merged input", at, side.input, inputs))
        }
        pb::op::Op::Diff(diff) => {
            let lower = diff.lower.ok_or(Defect::Missing { what: "lower side" })?;
            let upper = diff.upper.ok_or(Defect::Missing { what: "upper side" })?;
            index_or_scratch("side", 0, lower.input, inputs)?;
            index_or_scratch("side", 1, upper.input, inputs)
        }
        pb::op::Op::Build(build) => {
            if build.builder != LLB_BUILDER {
                return Err(Defect::Value { what: "the builder", value: build.builder });
            }
            if !build.inputs.contains_key(LLB_DEFINITION) {
                return Err(Defect::Missing { what: "input `buildkit.llb.definition`" });
            }
            build.attrs.values().try_for_each(|value| text("an attribute", value))?;
            build.inputs.values().enumerate().try_for_each(|(at, input)| index("build input", at, input.input, inputs))
        }
        pb::op::Op::Passthrough(passthrough) => {
            if passthrough.id.is_empty() {
                return Err(Defect::Missing { what: "id" });
            }
            if passthrough.outputs.is_empty() {
                return Err(Defect::Missing { what: "output" });
            }
            passthrough.outputs.iter().enumerate().try_for_each(|(at, input)| index("output", at, *input, inputs))
        }
    }
}

/// Returns how many outputs an operation has.
pub(super) fn outputs(op: &pb::op::Op) -> usize {
    match op {
        pb::op::Op::Exec(exec) => exec.mounts.iter().filter(|mount| output(mount) >= 0).count(),
        pb::op::Op::File(file) => file.actions.iter().filter(|action| action.output >= 0).count(),
        pb::op::Op::Passthrough(passthrough) => passthrough.outputs.len(),
        pb::op::Op::Source(_) | pb::op::Op::Merge(_) | pb::op::Op::Diff(_) | pb::op::Op::Build(_) => 1,
    }
}

fn exec(exec: &pb::ExecOp, inputs: usize) -> Result<(), Defect> {
    let meta = exec.meta.as_ref().ok_or(Defect::Missing { what: "meta" })?;
    if meta.args.is_empty() {
        return Err(Defect::Missing { what: "args" });
    }
    bound("mounts", exec.mounts.len(), MOUNTS)?;
    let words = meta.args.iter().map(|arg| ("an argument", arg)).chain(meta.env.iter().map(|env| ("env", env)));
    let more = [("cwd", &meta.cwd), ("user", &meta.user), ("hostname", &meta.hostname)];
    words.chain(more).try_for_each(|(what, word)| text(what, word))?;
    exec.secretenv.iter().try_for_each(|secret| text("the name of a secret variable", &secret.name))?;
    let modes = [
        ("network", exec.network, pb::NetMode::try_from(exec.network).is_ok()),
        ("security", exec.security, pb::SecurityMode::try_from(exec.security).is_ok()),
    ];
    for (what, value, known) in modes {
        known_value(what, value, known)?;
    }
    let roots = exec.mounts.iter().filter(|mount| mount.dest == "/").count();
    if roots != 1 {
        return Err(Defect::Roots { count: roots });
    }
    exec.mounts.iter().enumerate().try_for_each(|(at, mount)| self::mount(at, mount, inputs))?;
    numbered("mount", exec.mounts.iter().map(output))
}

/// Returns the number of the output that a mount becomes, or -1 (`container.go PrepareMounts`).
///
/// Real secret and SSH mounts say 0 and mean nothing by it: BuildKit's client does not fill the field in.
fn output(mount: &pb::Mount) -> i64 {
    match pb::MountType::try_from(mount.mount_type) {
        Ok(pb::MountType::Bind) => mount.output,
        Ok(pb::MountType::Cache) if mount.input != -1 => mount.output,
        _ => -1,
    }
}

fn mount(at: usize, mount: &pb::Mount, inputs: usize) -> Result<(), Defect> {
    index_or_scratch("mount", at, mount.input, inputs)?;
    text("the destination of a mount", &mount.dest)?;
    text("the selector of a mount", &mount.selector)?;
    let kind = pb::MountType::try_from(mount.mount_type);
    known_value("the type of a mount", mount.mount_type, kind.is_ok())?;
    known_value(
        "the content cache of a mount",
        mount.content_cache,
        pb::MountContentCache::try_from(mount.content_cache).is_ok(),
    )?;
    let kind = kind.unwrap_or(pb::MountType::Bind);
    if mount.dest == "/" && kind != pb::MountType::Bind {
        return Err(Defect::RootKind { kind: kind.as_str_name() });
    }
    if mount.dest != "/" && mount.dest.starts_with('/') && is_root(&mount.dest) {
        return Err(Defect::CoversRoot { at, dest: super::graph::clean(&mount.dest) });
    }
    match kind {
        pb::MountType::Cache => {
            let cache = mount.cache_opt.as_ref().ok_or(Defect::Missing { what: "options of a cache mount" })?;
            known_value("the sharing of a cache", cache.sharing, pb::CacheSharingOpt::try_from(cache.sharing).is_ok())
        }
        pb::MountType::Secret => match &mount.secret_opt {
            Some(secret) if !secret.id.is_empty() => Ok(()),
            _ => Err(Defect::Missing { what: "ID of a secret mount" }),
        },
        pb::MountType::Ssh if mount.ssh_opt.is_none() => Err(Defect::Missing { what: "options of an SSH mount" }),
        pb::MountType::Tmpfs => match mount.tmpfs_opt {
            Some(tmpfs) if tmpfs.size < 0 => Err(Defect::Value { what: "the size of a tmpfs", value: tmpfs.size }),
            _ => Ok(()),
        },
        pb::MountType::Ssh | pb::MountType::Bind => Ok(()),
    }
}

/// Tells whether a path, taken word by word, ends at the root.
fn is_root(path: &str) -> bool {
    let depth = path.split('/').fold(0_usize, |depth, part| match part {
        "" | "." => depth,
        ".." => depth.saturating_sub(1),
        _ => depth + 1,
    });
    depth == 0
}

fn known_value(what: &'static str, value: i32, known: bool) -> Result<(), Defect> {
    if known { Ok(()) } else { Err(Defect::Value { what, value: value.into() }) }
}

pub(super) const fn bound(what: &'static str, count: usize, limit: usize) -> Result<(), Defect> {
    if count <= limit { Ok(()) } else { Err(Defect::TooMany { what, count, limit }) }
}

/// Checks an index into `count` things.
pub(super) fn index(what: &'static str, at: usize, index: i64, count: usize) -> Result<(), Defect> {
    match usize::try_from(index) {
        Ok(position) if position < count => Ok(()),
        _ => Err(Defect::Index { what, at, index, count }),
    }
}

/// Checks an index into `count` things, where -1 is the empty tree (`solver/pb/const.go Empty`).
pub(super) fn index_or_scratch(what: &'static str, at: usize, value: i64, count: usize) -> Result<(), Defect> {
    if value == -1 { Ok(()) } else { index(what, at, value, count) }
}

/// Checks that outputs are 0, 1, … in any order, each once; -1 is no output (`solver/pb/const.go SkipOutput`).
pub(super) fn numbered(what: &'static str, outputs: impl Iterator<Item = i64> + Clone) -> Result<(), Defect> {
    let count = outputs.clone().filter(|output| *output != -1).count();
    let mut seen = vec![false; count];
    for (at, output) in outputs.enumerate().filter(|(_, output)| *output != -1) {
        match usize::try_from(output).ok().and_then(|output| seen.get_mut(output)) {
            Some(seen) if !*seen => *seen = true,
            _ => return Err(Defect::Output { what, at, output }),
        }
    }
    Ok(())
}
