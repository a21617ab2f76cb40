//! What a step sees: mounts of the graph become mounts of the sandbox.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::SolveError;
use super::key::Ingredients;
use super::run::{Work, snapshot_error, timeout, unsupported};
use super::value::Value;
use crate::llb::{Edge, Vertex, pb};
use crate::oci::Arch;
use crate::recipe;
use crate::sandbox::{Mount, Network, Step, StepMount};
use crate::snapshot::Active;

/// What a step takes as descriptors 3 and 4: the ends of the jobserver.
const JOBSERVER: (i32, i32) = (3, 4);

/// A step and the directories it writes; dropped without commit they vanish.
pub(super) struct Prepared {
    pub(super) step: Step,
    /// In the order of their numbers.
    pub(super) outputs: Vec<Output>,
    _scratch: Vec<Active>,
}

/// What becomes an output of a step.
pub(super) enum Output {
    /// A tree that the step may write to.
    Written(Active),
    /// An input that it cannot change.
    Input(Value),
}

/// What is made for the mounts of one step.
#[derive(Default)]
struct Made {
    outputs: BTreeMap<usize, Output>,
    scratch: Vec<Active>,
}

impl Work<'_> {
    /// Adds to the parts of a step's key the content of each input as a whole.
    pub(super) fn whole_parts(&self, vertex: &Vertex, exec: &pb::ExecOp, mut parts: Ingredients) -> Ingredients {
        for mount in &exec.mounts {
            if let Some(edge) = input(vertex, mount) {
                parts.add(format!("the content at {}", mount.dest), self.value(edge).content);
                parts.bytes(format!("the path selected for {}", mount.dest), mount.selector.as_bytes());
            }
        }
        parts
    }

    /// Returns the parts of a step's key with what its read-only mounts select instead of whole inputs.
    pub(super) fn selected_parts(&self, _: &Vertex, _: &pb::ExecOp) -> Result<Option<Ingredients>, SolveError> {
        Ok(None)
    }

    /// Makes trees of all inputs, empty ones for what is written, and the step over them.
    pub(super) fn prepare(&self, vertex: &Vertex, exec: &pb::ExecOp) -> Result<Prepared, SolveError> {
        let meta = exec.meta.as_ref().ok_or_else(|| unsupported(vertex, "an exec without meta"))?;
        let mut made = Made::default();
        let mut root = None;
        let mut mounts = Vec::new();
        for mount in &exec.mounts {
            let tree = match mount.mount_type() {
                pb::MountType::Tmpfs => {
                    let size = mount.tmpfs_opt.as_ref().and_then(|opt| u64::try_from(opt.size).ok());
                    Mount::Tmpfs { size: size.filter(|size| *size > 0) }
                }
                pb::MountType::Bind => self.bind(vertex, mount, &mut made)?,
                _ => return Err(unsupported(vertex, format!("the mount at {}", mount.dest))),
            };
            if mount.dest == "/" {
                root = Some((tree, mount.readonly));
            } else {
                mounts.push(StepMount { destination: PathBuf::from(&mount.dest), mount: tree });
            }
        }
        let (root, root_readonly) = root.ok_or_else(|| unsupported(vertex, "a step without a root mount"))?;
        let (env, inherit) = self.jobserver(vertex, meta.env.clone())?;
        let step = Step {
            root,
            root_readonly,
            mounts,
            args: meta.args.clone(),
            env,
            cwd: PathBuf::from(&meta.cwd),
            hostname: meta.hostname.clone(),
            network: Network::None,
            arch: arch(vertex)?,
            timeout: timeout(vertex).map(Duration::from_secs),
            inherit,
        };
        Ok(Prepared { step, outputs: made.outputs.into_values().collect(), _scratch: made.scratch })
    }

    /// Returns what a bind mount shows, and notes what becomes of it.
    fn bind(&self, vertex: &Vertex, mount: &pb::Mount, made: &mut Made) -> Result<Mount, SolveError> {
        let fail = |source| snapshot_error(vertex.name(), source);
        let snapshots = self.solver.snapshots;
        let edge = input(vertex, mount);
        let output = usize::try_from(mount.output).ok();
        if mount.readonly {
            let edge =
                edge.ok_or_else(|| unsupported(vertex, format!("a read-only mount of nothing at {}", mount.dest)))?;
            let tree = self.tree(edge)?;
            if let Some(output) = output {
                let value = self.value(edge);
                made.outputs.insert(output, Output::Input(Value::named(value.content, value.id)));
            }
            return snapshots.view(&tree).map_err(fail);
        }
        let active = match edge {
            Some(edge) => snapshots.prepare_over(&self.tree(edge)?),
            None => snapshots.prepare(),
        };
        let active = active.map_err(fail)?;
        let shown = active.mount();
        match output {
            Some(output) => {
                made.outputs.insert(output, Output::Written(active));
            }
            None => made.scratch.push(active),
        }
        Ok(shown)
    }

    /// Adds the jobserver to a recipe's step.
    #[expect(clippy::type_complexity, reason = "the two fields of a step")]
    fn jobserver(
        &self,
        vertex: &Vertex,
        mut env: Vec<String>,
    ) -> Result<(Vec<String>, Vec<(i32, std::os::fd::OwnedFd)>), SolveError> {
        let mut inherit = Vec::new();
        if vertex.metadata.description.contains_key(recipe::JOBSERVER) {
            env.push(format!("MAKEFLAGS=-j --jobserver-auth={},{}", JOBSERVER.0, JOBSERVER.1));
            let (read, write) = self.solver.jobs.ends();
            for (number, end) in [(JOBSERVER.0, read), (JOBSERVER.1, write)] {
                let path = || PathBuf::from("jobserver pipe");
                let end = end.try_clone_to_owned();
                let end = end.map_err(|source| SolveError::Io { action: "duplicate", path: path(), source })?;
                inherit.push((number, end));
            }
        }
        Ok((env, inherit))
    }
}

/// Returns the edge that a mount shows; `None` for scratch.
pub(super) fn input(vertex: &Vertex, mount: &pb::Mount) -> Option<Edge> {
    usize::try_from(mount.input).ok().and_then(|index| vertex.inputs.get(index)).copied()
}

fn arch(vertex: &Vertex) -> Result<Arch, SolveError> {
    match &vertex.platform {
        None => Ok(Arch::X86_64),
        Some(platform) => Arch::from_oci(&platform.architecture)
            .filter(|_| platform.os == "linux")
            .ok_or_else(|| unsupported(vertex, format!("platform {}/{}", platform.os, platform.architecture))),
    }
}
