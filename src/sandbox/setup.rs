//! The acts of a plan, done by process 1 of the step.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};

use super::error::UNMAPPED;
use super::inside::{self, Kind};
use super::mount::{Mount, Secret};
use super::op::{Content, SetupOp};
use super::patchwork;
use super::stage::Stage;
use super::stub::{Owner, Rule, Stubs};
use super::user::{self, Identity};
use crate::ownership;
use crate::sys::{self, Attributes, Detached, Namespaces};

const NO_DEVICES: Attributes = Attributes { read_only: false, no_suid: false, no_dev: true, no_exec: false };
const NO_PRIVILEGE: Attributes = Attributes { no_suid: true, ..NO_DEVICES };
const READ_ONLY: Attributes = Attributes { read_only: true, no_suid: false, no_dev: false, no_exec: false };

/// The group of terminals in every distribution.
const TTY_GROUP: u32 = 5;

/// Most bytes of a small file of the machine.
const SMALL: u64 = 1 << 20;

/// What has been done so far.
#[derive(Debug)]
pub(super) struct Setup {
    sources: BTreeMap<PathBuf, OwnedFd>,
    texts: BTreeMap<PathBuf, Vec<u8>>,
    stage: Option<Stage>,
    root: Option<Detached>,
    stubs: Stubs,
    rule: Rule,
    overlay: bool,
    /// Ids that do not exist here are emulated.
    emulates: bool,
    identity: Identity,
}

impl Setup {
    pub(super) fn new(overlay: bool, rule: Rule, emulates: bool) -> Self {
        Self {
            sources: BTreeMap::new(),
            texts: BTreeMap::new(),
            stage: None,
            root: None,
            stubs: Stubs::default(),
            rule,
            overlay,
            emulates,
            identity: Identity::root(),
        }
    }

    /// Who the program is.
    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Does one act.
    pub(super) fn act(&mut self, op: &SetupOp) -> io::Result<()> {
        match op {
            SetupOp::Unshare { network } => sys::unshare(Namespaces {
                mount: true,
                ipc: true,
                uts: true,
                cgroup: true,
                network: *network,
                ..Namespaces::default()
            }),
            SetupOp::MakePrivate => sys::make_private(),
            SetupOp::Open { source, optional } => self.open(source, *optional),
            SetupOp::Read { source } => self.read(source),
            SetupOp::HostName { name } => sys::set_host_name(name),
            SetupOp::LoopbackUp => sys::loopback_up(),
            SetupOp::Root { .. } => self.make_root(op),
            SetupOp::Mount { destination, mount, selector, readonly, no_suid } => {
                let attributes = Attributes { read_only: *readonly, no_suid: *no_suid, ..NO_DEVICES };
                self.mount(destination, mount, selector, attributes)
            }
            SetupOp::File { destination, content } => self.file(destination, content),
            SetupOp::Memory { destination, size, mode, no_exec } => {
                let attributes = Attributes { no_exec: *no_exec, ..NO_PRIVILEGE };
                self.system(destination, &sys::tmpfs(*size, *mode)?, attributes)
            }
            SetupOp::Device { path } => self.device(path),
            SetupOp::Link { path, target } => {
                let (parent, name) = split(path)?;
                let parent = inside::open(self.root()?, parent)?;
                Ok(rustix::fs::symlinkat(target, parent, name)?)
            }
            SetupOp::Terminals { destination } => {
                let group = sys::current_map()?.1.contains(TTY_GROUP).then_some(TTY_GROUP);
                self.system(destination, &sys::devpts(group)?, Attributes::default())
            }
            SetupOp::Queues { destination } => match sys::queues() {
                // A kernel without them: no program can ask for more than that.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
                queues => self.system(destination, &queues?, Attributes::default()),
            },
            SetupOp::Proc { destination } => self.system(destination, &sys::proc_fs()?, Attributes::default()),
            SetupOp::ProtectOwned { directory, except } => self.protect_owned(directory, except),
            SetupOp::Sys { destination, fresh, writable } => self.sys(destination, *fresh, *writable),
            SetupOp::Mask { path } => self.mask(path),
            SetupOp::MaskEach { directory, name } => self.mask_each(directory, name),
            SetupOp::Protect { path } => self.protect(path),
            SetupOp::User { user } => {
                self.identity = identify(self.root()?, user, self.emulates)?;
                Ok(())
            }
            SetupOp::MakeDirectory { path } => make_directory(self.root()?, path, &self.identity, self.emulates),
            SetupOp::SealRoot => {
                sys::set_attributes(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?, READ_ONLY, false)
            }
            SetupOp::Pivot => {
                sys::pivot(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?)?;
                self.sources.clear();
                self.texts.clear();
                self.stage = None;
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Takes back, after the program has ended, the mount points that would outlive the step.
    pub(super) fn tidy(&self) {
        if let Some(root) = &self.root {
            self.stubs.remove(root.as_fd());
        }
    }

    fn root(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?.as_fd())
    }

    fn stage(&mut self) -> io::Result<&mut Stage> {
        self.stage.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn source(&self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        Ok(self.sources.get(path).ok_or(io::ErrorKind::NotFound)?.as_fd())
    }

    fn open(&mut self, source: &Path, optional: bool) -> io::Result<()> {
        match sys::open_path(source) {
            Err(_) if optional => Ok(()),
            opened => {
                self.sources.insert(source.to_owned(), opened?);
                Ok(())
            }
        }
    }

    fn read(&mut self, source: &Path) -> io::Result<()> {
        let mut text = Vec::new();
        match File::open(source) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => {
                file?.take(SMALL).read_to_end(&mut text)?;
            }
        }
        self.texts.insert(source.to_owned(), text);
        Ok(())
    }

    fn make_root(&mut self, op: &SetupOp) -> io::Result<()> {
        let SetupOp::Root { mount, throwaway, replaceable, no_suid, wanted } = op else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let stage = self.stage.insert(Stage::new()?);
        let place = stage.directory(0o755)?;
        self.stubs.mount("/".into(), mount.is_kept());
        let attributes = Attributes { no_suid: *no_suid, ..NO_DEVICES };
        let below: Vec<PathBuf> = mount.sources().into_iter().map(Path::to_owned).collect();
        if !*throwaway {
            let root = self.make(mount)?;
            return self.settle_root(root, &place, attributes);
        }
        let lowest = below.first().ok_or(io::ErrorKind::InvalidInput)?;
        let stat = rustix::fs::fstat(self.source(lowest)?)?;
        let (upper, work) = (self.stage()?.directory_like(&stat)?, self.stage()?.directory(0o755)?);
        let lower = below.iter().map(|path| self.source(path)).collect::<io::Result<Vec<_>>>()?;
        let layered = if self.overlay {
            sys::overlay(&lower, Some((upper.as_fd(), work.as_fd())))
        } else {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        };
        match (layered, lower.as_slice()) {
            (Ok(root), _) => self.settle_root(root, &place, attributes),
            (Err(_), [source]) if *replaceable => {
                let root = sys::tmpfs(None, 0o755)?;
                sys::attach(&root, &place)?;
                patchwork::fill(*source, root.as_fd(), &wanted.iter().cloned().collect::<BTreeSet<_>>())?;
                self.root = Some(root);
                Ok(())
            }
            (Err(error), _) => Err(error),
        }
    }

    fn settle_root(&mut self, root: Detached, place: &OwnedFd, attributes: Attributes) -> io::Result<()> {
        sys::attach(&root, place)?;
        sys::set_attributes(&root, attributes, true)?;
        self.root = Some(root);
        Ok(())
    }

    fn make(&self, mount: &Mount) -> io::Result<Detached> {
        match mount {
            Mount::Bind { source, .. } => sys::bind(self.source(source)?),
            Mount::Layers { lower } => {
                let lower = lower.iter().map(|path| self.source(path)).collect::<io::Result<Vec<_>>>()?;
                sys::overlay(&lower, None)
            }
            Mount::Overlay { lower, upper, work } => {
                let lower = lower.iter().map(|path| self.source(path)).collect::<io::Result<Vec<_>>>()?;
                sys::overlay(&lower, Some((self.source(upper)?, self.source(work)?)))
            }
            // Only as the root; see `mount`.
            Mount::Tmpfs { size } => sys::tmpfs(*size, 0o755),
            Mount::Secret(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn mount(&mut self, destination: &Path, mount: &Mount, selector: &Path, attributes: Attributes) -> io::Result<()> {
        let kept = mount.is_kept() && !attributes.read_only;
        let whole = selector.components().all(|part| !matches!(part, std::path::Component::Normal(_)));
        let (tree, attributes) = match mount {
            Mount::Secret(secret) => (self.secret(secret)?, secret_attributes(secret)),
            Mount::Tmpfs { size } => {
                // As the runtimes that BuildKit starts do it.
                let covered = inside::open(self.root()?, destination).and_then(|place| Ok(rustix::fs::fstat(place)?));
                let mode = covered.map_or(0o1777, |stat| stat.st_mode & 0o7777);
                (sys::tmpfs(*size, mode)?, Attributes { no_suid: true, ..attributes })
            }
            _ if whole => (self.make(mount)?, attributes),
            Mount::Bind { source, .. } => (sys::bind(inside::open(self.source(source)?, selector)?)?, attributes),
            Mount::Layers { .. } | Mount::Overlay { .. } => {
                let tree = self.make(mount)?;
                sys::attach(&tree, self.stage()?.directory(0o755)?)?;
                (sys::bind(inside::open(tree.as_fd(), selector)?)?, attributes)
            }
        };
        self.place(destination, &tree, attributes, kept, Owner::Step)
    }

    fn secret(&mut self, secret: &Secret) -> io::Result<Detached> {
        let owner = (secret.uid, secret.gid);
        if self.emulates {
            let file = self.stage()?.file(&secret.data, (0, 0), secret.mode)?;
            // Memory may keep no records; then it is shown as root's, and can be read all the same.
            let _ = ownership::record_owner(ownership::held(file.as_fd()), FileType::RegularFile, Some(owner));
            return sys::bind(file);
        }
        has_ids(owner.0, owner.1)?;
        sys::bind(self.stage()?.file(&secret.data, owner, secret.mode)?)
    }

    fn file(&mut self, destination: &Path, content: &Content) -> io::Result<()> {
        let data = match content {
            Content::Text(text) => text.clone().into_bytes(),
            Content::Of(path) => self.texts.get(path).cloned().unwrap_or_default(),
        };
        let file = sys::bind(self.stage()?.file(&data, (0, 0), 0o644)?)?;
        let attributes = Attributes { read_only: true, no_exec: true, ..NO_PRIVILEGE };
        self.place(destination, &file, attributes, false, Owner::Step)
    }

    fn device(&mut self, path: &Path) -> io::Result<()> {
        // One that is not there was optional.
        let Some(device) = self.sources.get(path).map(sys::bind) else { return Ok(()) };
        // The node is the machine's own, and where ids are too, its mode could be changed; data passes all the same.
        let attributes = Attributes { read_only: true, no_suid: true, no_exec: true, no_dev: false };
        self.system(path, &device?, attributes)
    }

    fn sys(&mut self, destination: &Path, fresh: bool, writable: bool) -> io::Result<()> {
        let made = if fresh { sys::sys_fs(!writable) } else { self.source(destination).and_then(sys::bind) };
        // The kernel refuses it where parts of the machine's are covered, as in containers; rootless BuildKit has none
        // either. The directory is made all the same, so that a result does not tell where it was made.
        let Ok(mount) = made else {
            let place = inside::ensure(self.root()?, destination, Kind::Directory)?;
            self.stubs.note(&place.made, Owner::System, self.rule);
            return Ok(());
        };
        let attributes = Attributes { read_only: !writable, no_exec: true, ..NO_PRIVILEGE };
        self.system(destination, &mount, if fresh { Attributes::default() } else { attributes })?;
        if fresh
            && let (Some(place), Ok(groups)) = (self.existing(&destination.join("fs/cgroup"))?, sys::cgroups(!writable))
        {
            sys::attach(&groups, &place)?;
        }
        Ok(())
    }

    fn system(&mut self, destination: &Path, mount: &Detached, attributes: Attributes) -> io::Result<()> {
        self.place(destination, mount, attributes, false, Owner::System)
    }

    /// Attaches `mount` at `destination`, which is made where it is missing.
    fn place(
        &mut self,
        destination: &Path,
        mount: &Detached,
        attributes: Attributes,
        kept: bool,
        owner: Owner,
    ) -> io::Result<()> {
        let place = inside::ensure(self.root()?, destination, inside::kind(mount)?)?;
        self.stubs.note(&place.made, owner, self.rule);
        sys::attach(mount, &place.fd)?;
        self.stubs.mount(place.path, kept);
        if attributes == Attributes::default() {
            return Ok(());
        }
        sys::set_attributes(mount, attributes, true)
    }

    fn mask(&mut self, path: &Path) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let cover = match inside::kind(&place)? {
            Kind::Directory => sys::bind(self.stage()?.nothing()?)?,
            Kind::File => sys::bind(self.source(Path::new("/dev/null"))?)?,
        };
        sys::attach(&cover, &place)?;
        sys::set_attributes(&cover, READ_ONLY, true)
    }

    fn mask_each(&mut self, directory: &Path, name: &str) -> io::Result<()> {
        for (entry, kind) in self.list(directory)? {
            if kind == FileType::Directory {
                self.mask(&directory.join(entry).join(name))?;
            }
        }
        Ok(())
    }

    /// Leaves what belongs to processes as it is, in `/proc`.
    fn protect_owned(&self, directory: &Path, except: &[PathBuf]) -> io::Result<()> {
        let Some(version) = self.existing(&directory.join("version"))? else { return Ok(()) };
        let owner = rustix::fs::fstat(version)?.st_uid;
        if !sys::current_map()?.0.contains(owner) {
            return Ok(());
        }
        for (entry, kind) in self.list(directory)? {
            let is_process = entry.as_bytes().iter().all(u8::is_ascii_digit);
            let path = directory.join(&entry);
            if kind != FileType::Symlink && !is_process && !except.contains(&path) {
                self.protect(&path)?;
            }
        }
        Ok(())
    }

    /// What is in a directory below the root, which may not be there.
    fn list(&self, directory: &Path) -> io::Result<Vec<(OsString, FileType)>> {
        let Some(place) = self.existing(directory)? else { return Ok(Vec::new()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut found = Vec::new();
        for entry in Dir::new(rustix::fs::openat(place, c".", flags, Mode::empty())?)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                found.push((OsStr::from_bytes(name).to_owned(), entry.file_type()));
            }
        }
        Ok(found)
    }

    fn protect(&self, path: &Path) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let cover = sys::bind(&place)?;
        sys::attach(&cover, &place)?;
        sys::set_attributes(&cover, READ_ONLY, true)
    }

    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match inside::open(self.root()?, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

/// Looks up the user in the root; an id that does not exist here is an error, unless it is `emulated`.
pub(super) fn identify(root: BorrowedFd<'_>, user: &str, emulated: bool) -> io::Result<Identity> {
    let mut found = user::find(root, user)?;
    if emulated {
        return Ok(found);
    }
    has_ids(found.uid, found.gid)?;
    let (_, gids) = sys::current_map()?;
    if let Some(groups) = &mut found.groups {
        // Those that do not exist here could give no right either.
        groups.retain(|gid| gids.contains(*gid));
    }
    Ok(found)
}

/// Makes what is missing of a directory below `root`, owned by the user.
pub(super) fn make_directory(root: BorrowedFd<'_>, path: &Path, id: &Identity, emulated: bool) -> io::Result<()> {
    let made = inside::ensure(root, path, Kind::Directory)?.made;
    for path in made.iter().filter(|_| (id.uid, id.gid) != (0, 0)) {
        let place = inside::open(root, path)?;
        if emulated {
            let place = ownership::held(place.as_fd());
            ownership::record_owner(place, FileType::Directory, Some((id.uid, id.gid)))?;
            continue;
        }
        let (uid, gid) = (Uid::from_raw(id.uid), Gid::from_raw(id.gid));
        rustix::fs::chownat(place, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    }
    Ok(())
}

fn secret_attributes(secret: &Secret) -> Attributes {
    Attributes { read_only: true, no_exec: secret.mode & 0o111 == 0, ..NO_PRIVILEGE }
}

/// Refuses ids that do not exist in this user namespace.
fn has_ids(uid: u32, gid: u32) -> io::Result<()> {
    let (uids, gids) = sys::current_map()?;
    if uids.contains(uid) && gids.contains(gid) { Ok(()) } else { Err(io::Error::from_raw_os_error(UNMAPPED)) }
}

fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
