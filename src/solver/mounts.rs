//! What a step sees: mounts of the graph become mounts of the sandbox (`ops.proto Mount`).

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::SolveError;
use super::key::Ingredients;
use super::run::{Work, file_error, snapshot_error};
use super::value::Value;
use crate::file::{self, Selection};
use crate::llb::{Edge, Vertex, pb};
use crate::sandbox::{AgentSocket, Mount, Secret, StepMount};
use crate::snapshot::{Active, CacheMount, Sharing};

/// What becomes an output of a step.
pub(super) enum Output {
    /// A tree that the step may write to.
    Written(Active),
    /// An input that it cannot change.
    Input(Value),
}

/// What the mounts of one step are made of; dropped without commit all of it vanishes, but for what caches hold.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) root: Option<StepMount>,
    pub(super) others: Vec<StepMount>,
    /// By their numbers.
    pub(super) outputs: BTreeMap<usize, Output>,
    scratch: Vec<Active>,
    caches: Vec<CacheMount>,
    agents: Vec<(AgentSocket, tempfile::TempDir)>,
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

    /// Returns the parts of a step's key with what its mounts select instead of whole inputs; `None` where all of them
    /// are needed as wholes.
    ///
    /// The root is never one of them, nor what the step may keep changes of (`solver/llbsolver/ops/exec.go`).
    pub(super) fn selected_parts(
        &self,
        vertex: &Vertex,
        exec: &pb::ExecOp,
        mut parts: Ingredients,
    ) -> Result<Option<Ingredients>, SolveError> {
        let mut any = false;
        for mount in &exec.mounts {
            let Some(edge) = input(vertex, mount) else { continue };
            let is_read = mount.readonly || mount.output < 0;
            let name = format!("the content at {}", mount.dest);
            if mount.mount_type() == pb::MountType::Bind
                && is_read
                && clean(Path::new("/"), &mount.dest) != Path::new("/")
            {
                any = true;
                let tree = self.open(vertex, edge)?;
                let selection = Selection { path: mount.selector.clone(), follow_links: true, ..Selection::default() };
                let content = file::content(tree.path(), &selection).map_err(|error| file_error(vertex, error))?;
                parts.add(name, content);
            } else {
                parts.add(name, self.value(edge).content);
                parts.bytes(format!("the path selected for {}", mount.dest), mount.selector.as_bytes());
            }
        }
        Ok(any.then_some(parts))
    }

    /// Makes trees of all inputs, empty ones for what is written, and everything else that a step sees.
    pub(super) fn mounts(&self, vertex: &Vertex, exec: &pb::ExecOp, cwd: &Path) -> Result<Mounts, SolveError> {
        let mut made = Mounts::default();
        for mount in &exec.mounts {
            let destination = clean(cwd, &mount.dest);
            let tree = match mount.mount_type() {
                pb::MountType::Bind => Some(self.bind(vertex, mount, &mut made)?),
                pb::MountType::Cache => Some(self.cache(vertex, mount, &mut made)?),
                pb::MountType::Tmpfs => {
                    let size = mount.tmpfs_opt.as_ref().and_then(|opt| u64::try_from(opt.size).ok());
                    Some(Mount::Tmpfs { size: size.filter(|size| *size > 0) })
                }
                pb::MountType::Secret => self.secret(vertex, mount)?,
                pb::MountType::Ssh => self.agent(vertex, mount, &mut made)?,
            };
            let Some(tree) = tree else { continue };
            let selects = mount.mount_type() == pb::MountType::Bind;
            let selector = if selects { PathBuf::from(&mount.selector) } else { PathBuf::new() };
            let shown = StepMount { selector, readonly: mount.readonly, ..StepMount::new(destination, tree) };
            if shown.destination == Path::new("/") {
                // As BuildKit: what nobody will see cannot be written.
                made.root = Some(StepMount { readonly: shown.readonly || mount.output < 0, ..shown });
            } else {
                made.others.push(shown);
            }
        }
        Ok(made)
    }

    /// Returns what a bind mount shows, and notes what becomes of it.
    fn bind(&self, vertex: &Vertex, mount: &pb::Mount, made: &mut Mounts) -> Result<Mount, SolveError> {
        let fail = |source| snapshot_error(vertex.name(), source);
        let snapshots = self.solver.snapshots;
        let edge = input(vertex, mount);
        let output = usize::try_from(mount.output).ok();
        if mount.readonly
            && let Some(edge) = edge
        {
            let tree = self.tree(edge)?;
            if let Some(output) = output {
                made.outputs.insert(output, Output::Input(self.value(edge).again()));
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

    /// Returns a directory that lives longer than the build (`ops.proto CacheOpt`).
    fn cache(&self, vertex: &Vertex, mount: &pb::Mount, made: &mut Mounts) -> Result<Mount, SolveError> {
        let options = mount.cache_opt.clone().unwrap_or_default();
        let id = if options.id.is_empty() { &mount.dest } else { &options.id };
        let sharing = match options.sharing() {
            // Without mounts a directory can be in one place only.
            pb::CacheSharingOpt::Shared if self.solver.launcher.is_chroot() => Sharing::Private,
            pb::CacheSharingOpt::Shared => Sharing::Shared,
            pb::CacheSharingOpt::Private => Sharing::Private,
            pb::CacheSharingOpt::Locked => Sharing::Locked,
        };
        let edge = input(vertex, mount);
        let name = match edge {
            Some(edge) => format!("{id}:{}:{}", self.value(edge).content, mount.selector),
            None => id.clone(),
        };
        // What is in the cache is nobody's result; an output is what the cache began with.
        if let (Some(edge), Ok(output)) = (edge, usize::try_from(mount.output)) {
            made.outputs.insert(output, Output::Input(self.value(edge).again()));
        }
        self.carried_mount(vertex, &name)?;
        let seed = edge.map(|edge| self.tree(edge)).transpose()?;
        let seed = seed.as_ref().map(|tree| (tree, Path::new(&mount.selector)));
        let mut waited = 0;
        let cache = loop {
            let tried = self.solver.snapshots.cache_mount(&name, seed, sharing);
            if let Some(cache) = tried.map_err(|source| snapshot_error(vertex.name(), source))? {
                break cache;
            }
            self.pause(
                vertex,
                &format!("another step has the cache mount `{id}` for itself; waiting for it"),
                &mut waited,
            )?;
        };
        let source = cache.path();
        made.caches.push(cache);
        Ok(Mount::Bind { source, readonly: mount.readonly })
    }

    /// Returns the file of a secret; `None` where there is none and none is needed.
    fn secret(&self, vertex: &Vertex, mount: &pb::Mount) -> Result<Option<Mount>, SolveError> {
        let options = mount.secret_opt.clone().unwrap_or_default();
        let Some(secret) = self.solver.inputs.secrets.get(&options.id) else {
            let what = format!("secret `{}`", options.id);
            return if options.optional { Ok(None) } else { Err(missing(vertex, what)) };
        };
        let data = secret.0.clone();
        Ok(Some(Mount::Secret(Secret { data, uid: options.uid, gid: options.gid, mode: options.mode })))
    }

    /// Returns the socket of an agent; `None` where there is none and none is needed.
    fn agent(&self, vertex: &Vertex, mount: &pb::Mount, made: &mut Mounts) -> Result<Option<Mount>, SolveError> {
        let options = mount.ssh_opt.clone().unwrap_or_default();
        let id = if options.id.is_empty() { "default" } else { &options.id };
        let Some(target) = self.solver.inputs.agents.get(id) else {
            let what = format!("ssh agent `{id}`");
            return if options.optional { Ok(None) } else { Err(missing(vertex, what)) };
        };
        let directory = self.solver.store.temporary_directory()?;
        let owner = (options.uid, options.gid);
        let agent = AgentSocket::start(directory.path(), "agent", target, owner, options.mode);
        let agent =
            agent.map_err(|source| SolveError::Sandbox { name: vertex.name().to_owned(), source: Box::new(source) })?;
        let source = agent.path().to_owned();
        made.agents.push((agent, directory));
        Ok(Some(Mount::Bind { source, readonly: false }))
    }
}

pub(super) fn missing(vertex: &Vertex, what: String) -> SolveError {
    SolveError::MissingInput { name: vertex.name().to_owned(), what }
}

/// Returns the edge that a mount shows; `None` for scratch.
pub(super) fn input(vertex: &Vertex, mount: &pb::Mount) -> Option<Edge> {
    usize::try_from(mount.input).ok().and_then(|index| vertex.inputs.get(index)).copied()
}

/// Returns `path`, relative to `base`, as an absolute one without `.` and `..`, as Go's `filepath.Join` does.
pub(super) fn clean(base: &Path, path: &str) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in base.join(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_absolute_and_lead_nowhere_else() {
        for (path, cleaned) in [("/", "/"), ("a", "/w/a"), ("/a/./b//c/", "/a/b/c"), ("../../../x", "/x"), ("", "/w")] {
            assert_eq!(clean(Path::new("/w"), path), Path::new(cleaned), "{path}");
        }
    }
}
