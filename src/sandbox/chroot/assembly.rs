//! The plan of a step, done with copies and renames.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};

use super::super::error::SandboxError;
use super::super::inside::{self, Kind};
use super::super::mount::{Mount, Secret};
use super::super::op::{Content, SetupOp};
use super::super::stub::{Owner, Rule, Stubs};
use super::cover::{Cover, Covering};
use super::furniture;
use super::ground::Ground;
use super::guard::Base;
use super::links::separate;
use super::replica::{Look, Replica};
use crate::store::remove_tree;
use crate::sys;

/// Most bytes of a small file of the machine.
const SMALL: u64 = 1 << 20;

/// When a directory was last changed: seconds and nanoseconds.
type Changed = (i64, i64);

/// A directory in which something was replaced or made.
#[derive(Debug)]
struct Touched {
    fd: OwnedFd,
    look: Look,
    /// Its time, to be given back; `None` where something was made in it, which is news.
    before: Option<Changed>,
    /// Its time once everything was in place.
    after: Changed,
    /// It belongs to the root itself, not to what covers a part of it.
    in_root: bool,
}

/// The root of a step with everything in place; taken apart when dropped.
#[derive(Debug)]
pub(in crate::sandbox) struct Assembly {
    ground: Arc<Ground>,
    /// Of this step alone.
    scratch: PathBuf,
    names: u32,
    root: Option<(PathBuf, OwnedFd)>,
    replica: Option<(Vec<PathBuf>, Replica)>,
    /// The root itself is what the step leaves.
    kept: bool,
    covers: Vec<Cover>,
    touched: BTreeMap<PathBuf, Touched>,
    stubs: Stubs,
    rule: Rule,
    secrets: Vec<PathBuf>,
    log: Option<PathBuf>,
}

impl Assembly {
    /// Does `ops`.
    pub(in crate::sandbox) fn make(ground: &Arc<Ground>, ops: &[SetupOp], rule: Rule) -> Result<Self, SandboxError> {
        let scratch = ground.directory();
        let scratch =
            scratch.map_err(|error| SandboxError::io("make", Path::new("a directory for the step"), error))?;
        let mut assembly = Self {
            ground: Arc::clone(ground),
            scratch,
            names: 0,
            root: None,
            replica: None,
            kept: false,
            covers: Vec::new(),
            touched: BTreeMap::new(),
            stubs: Stubs::default(),
            rule,
            secrets: Vec::new(),
            log: None,
        };
        for op in ops {
            assembly.act(op).map_err(|error| {
                let (operation, operand) = op.describe();
                SandboxError::setup(operation, &operand, error, &sys::facts())
            })?;
        }
        for touched in assembly.touched.values_mut() {
            touched.after = rustix::fs::fstat(&touched.fd).map_or((0, 0), |stat| changed(&stat));
        }
        Ok(assembly)
    }

    /// What the guard has to know.
    pub(in crate::sandbox) fn base(&self) -> Base {
        let root = self.root.as_ref().map(|(path, _)| path.clone()).unwrap_or_default();
        Base { root, secrets: self.secrets.clone() }
    }

    /// The pipe that is the step's standard output, where it has our `/dev`.
    pub(in crate::sandbox) fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Puts everything back; no process of the step may be left.
    pub(in crate::sandbox) fn take_apart(mut self) -> Result<(), SandboxError> {
        let path = self.base().root;
        self.undo().map_err(|error| SandboxError::io("take apart the root of the step", &path, error))
    }

    fn act(&mut self, op: &SetupOp) -> io::Result<()> {
        match op {
            SetupOp::Root { mount, .. } => self.make_root(mount),
            SetupOp::Mount { destination, mount, selector, readonly, .. } => {
                self.mount(destination, mount, selector, *readonly)
            }
            SetupOp::File { destination, content } => {
                let data = match content {
                    Content::Text(text) => text.clone().into_bytes(),
                    Content::Of(path) => read(path)?,
                };
                let file = self.file(&data, None, 0o644)?;
                self.cover(destination, file, None, Owner::Step)
            }
            SetupOp::Memory { destination, mode, .. } => {
                let directory = self.directory(*mode)?;
                if destination == Path::new("/dev") {
                    furniture::devices(&directory)?;
                    self.cover(destination, directory, None, Owner::System)?;
                    let covers = self.covers.last().map(|cover| cover.place().join("stdout"));
                    self.log = covers.and_then(|place| Some(self.root.as_ref()?.0.join(place.strip_prefix("/").ok()?)));
                    return Ok(());
                }
                self.cover(destination, directory, None, Owner::System)
            }
            SetupOp::Terminals { destination } | SetupOp::Sys { destination, .. } => {
                let directory = self.directory(0o755)?;
                self.cover(destination, directory, None, Owner::System)
            }
            SetupOp::Queues { destination } => {
                let directory = self.directory(0o1777)?;
                self.cover(destination, directory, None, Owner::System)
            }
            SetupOp::Proc { destination } => {
                let directory = self.directory(0o755)?;
                furniture::proc(&directory)?;
                self.cover(destination, directory, None, Owner::System)
            }
            _ => Ok(()),
        }
    }

    fn make_root(&mut self, mount: &Mount) -> io::Result<()> {
        let path = match mount {
            Mount::Bind { source, readonly: false } => {
                self.kept = true;
                source.clone()
            }
            Mount::Bind { .. } | Mount::Layers { .. } => {
                let layers = layers(mount);
                let replica = self.ground.replica(&layers)?;
                let path = replica.tree();
                self.replica = Some((layers, replica));
                // Nobody sees what stays in a copy, and without it the copy serves again.
                self.rule = Rule { all: true, parents: true };
                path
            }
            Mount::Tmpfs { .. } => self.directory(0o755)?,
            Mount::Overlay { .. } | Mount::Secret(_) => return Err(io::ErrorKind::InvalidInput.into()),
        };
        self.stubs.mount("/".into(), true);
        let root = sys::open_path(&path)?;
        self.root = Some((path, root));
        Ok(())
    }

    fn mount(&mut self, destination: &Path, mount: &Mount, selector: &Path, readonly: bool) -> io::Result<()> {
        match mount {
            Mount::Secret(Secret { data, uid, gid, mode }) => {
                let file = self.file(data, Some((*uid, *gid)), *mode)?;
                self.cover(destination, file, None, Owner::Step)?;
                self.secrets.extend(self.covers.last().map(|cover| cover.place().to_owned()));
                Ok(())
            }
            Mount::Tmpfs { .. } => {
                let covered = inside::open(self.root()?, destination).and_then(|place| Ok(rustix::fs::fstat(place)?));
                let directory = self.directory(covered.map_or(0o1777, |stat| stat.st_mode & 0o7777))?;
                self.cover(destination, directory, None, Owner::Step)
            }
            Mount::Bind { source, .. } if !readonly => {
                let content = select(source, selector)?;
                self.cover(destination, content, Some(mount.is_kept()), Owner::Step)
            }
            Mount::Bind { source, .. } => {
                let (from, to) = (select(source, selector)?, self.name());
                if inside::kind(sys::open_path(&from)?)? == Kind::Directory {
                    self.ground.lay(&[from], &to)?;
                } else {
                    self.ground.copy(&from, &to)?;
                }
                self.cover(destination, to, None, Owner::Step)
            }
            Mount::Layers { lower } => {
                let whole = self.name();
                self.ground.lay(lower, &whole)?;
                let content = select(&whole, selector)?;
                self.cover(destination, content, None, Owner::Step)
            }
            Mount::Overlay { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Shows `content` at `destination`; `returns` says of what goes back whether mount points made in it stay.
    fn cover(&mut self, destination: &Path, content: PathBuf, returns: Option<bool>, owner: Owner) -> io::Result<()> {
        let stat = rustix::fs::lstat(&content)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let kind = if is_directory { Kind::Directory } else { Kind::File };
        let place = inside::ensure(self.root()?, destination, kind)?;
        let ours = self.stubs.ours(&place.made, owner, self.rule);
        match place.made.first().and_then(|made| made.parent()) {
            Some(parent) => self.touch(parent, true)?,
            None => self.touch(place.path.parent().ok_or(io::ErrorKind::InvalidInput)?, false)?,
        }
        let with = Covering {
            content,
            returns: returns.is_some(),
            drop: self.name(),
            aside: self.name(),
            stays: !place.made.is_empty() && !ours.contains(&place.path),
            made: ours.into_iter().filter(|path| *path != place.path).collect(),
        };
        let cover = Cover::lay(self.root()?, &place, with)?;
        self.stubs.mount(place.path, returns.unwrap_or_default());
        self.covers.push(cover);
        Ok(())
    }

    /// Remembers a directory before something in it is replaced, or after something was made in it.
    fn touch(&mut self, path: &Path, made: bool) -> io::Result<()> {
        if !self.touched.contains_key(path) {
            let fd = inside::open(self.root()?, path)?;
            let stat = rustix::fs::fstat(&fd)?;
            let in_root = !self.covers.iter().any(|cover| path.starts_with(cover.place()));
            let look = (stat.st_mode, stat.st_uid, stat.st_gid);
            let touched = Touched { fd, look, before: Some(changed(&stat)), after: (0, 0), in_root };
            self.touched.insert(path.to_owned(), touched);
        }
        if let Some(touched) = self.touched.get_mut(path).filter(|_| made) {
            touched.before = None;
        }
        Ok(())
    }

    fn undo(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        let mut note = |done: io::Result<()>| {
            if result.is_ok() {
                result = done;
            }
        };
        let mut times = Vec::new();
        let mut whole: BTreeMap<PathBuf, Look> = BTreeMap::new();
        for (path, touched) in std::mem::take(&mut self.touched) {
            let Ok(stat) = rustix::fs::fstat(&touched.fd) else { continue };
            let now = changed(&stat);
            let is_left = now == touched.after;
            times.push((touched.fd, if is_left { touched.before.unwrap_or(now) } else { now }));
            if is_left && touched.in_root {
                whole.insert(inner(&path), touched.look);
            }
        }
        let mut trees = Vec::new();
        if let Some((_, root)) = &self.root {
            for cover in std::mem::take(&mut self.covers).into_iter().rev() {
                trees.extend(cover.origin().map(Path::to_owned));
                let (place, replaces) = (cover.place().to_owned(), cover.is_replacing());
                note(cover.lift(root.as_fd()));
                if replaces
                    && let Ok(stat) = inside::open(root.as_fd(), &place).and_then(|fd| Ok(rustix::fs::fstat(fd)?))
                {
                    // It was away while the step ran, and only its change time tells of that.
                    whole.insert(inner(&place), (stat.st_mode, stat.st_uid, stat.st_gid));
                }
            }
        }
        for (fd, (seconds, nanoseconds)) in times {
            let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = Timestamps { last_access: time, last_modification: time };
            note(rustix::fs::utimensat(fd, c".", &times, AtFlags::empty()).map_err(io::Error::from));
        }
        if let Some((path, _)) = self.root.take().filter(|_| self.kept) {
            trees.push(path);
        }
        for tree in trees {
            note(separate(&self.ground, &tree));
        }
        if let Some((layers, replica)) = self.replica.take()
            && replica.is_whole(&whole)
        {
            self.ground.keep(layers, replica);
        }
        note(remove_tree(&self.scratch));
        result
    }

    fn root(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?.1.as_fd())
    }

    /// A path in the scratch directory where nothing is.
    fn name(&mut self) -> PathBuf {
        self.names += 1;
        self.scratch.join(self.names.to_string())
    }

    fn directory(&mut self, mode: u32) -> io::Result<PathBuf> {
        let path = self.name();
        fs::create_dir(&path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
        Ok(path)
    }

    fn file(&mut self, data: &[u8], owner: Option<(u32, u32)>, mode: u32) -> io::Result<PathBuf> {
        let path = self.name();
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
        io::Write::write_all(&mut file, data)?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
        Ok(path)
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        if self.scratch.exists() {
            let _ = self.undo();
        }
    }
}

fn changed(stat: &rustix::fs::Stat) -> Changed {
    (stat.st_mtime, stat.st_mtime_nsec.try_into().unwrap_or_default())
}

fn inner(path: &Path) -> PathBuf {
    path.strip_prefix("/").unwrap_or(path).to_owned()
}

fn layers(mount: &Mount) -> Vec<PathBuf> {
    mount.sources().into_iter().map(Path::to_owned).collect()
}

/// Reads a small file of the machine; one that is not there is empty.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        file => {
            file?.take(SMALL).read_to_end(&mut text)?;
        }
    }
    Ok(text)
}

/// Returns the path of what `selector` names in the tree at `source`, without ever leaving that.
fn select(source: &Path, selector: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    let tree = sys::open_path(source)?;
    let whole = selector.components().all(|part| !matches!(part, std::path::Component::Normal(_)));
    let chosen = if whole { tree } else { inside::open(tree.as_fd(), selector)? };
    fs::read_link(format!("/proc/self/fd/{}", chosen.as_raw_fd()))
}
