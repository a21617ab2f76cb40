//! The acts of a plan, done by process 1 of the step.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::inside::{self, Kind};
use super::patchwork;
use super::plan::SetupOp;
use super::step::Mount;
use crate::sys::{self, Attributes, Detached, Namespaces};

/// Directories one of which every machine has, to mount a new root on for the moment until it is the root.
const STAGES: [&str; 6] = ["/tmp", "/run", "/mnt", "/var", "/opt", "/usr"];

const NO_PRIVILEGE: Attributes = Attributes { read_only: false, no_suid: true, no_dev: true, no_exec: false };

/// The group of terminals in every distribution.
const TTY_GROUP: u32 = 5;

/// What has been done so far.
#[derive(Debug)]
pub(super) struct Setup {
    sources: BTreeMap<PathBuf, OwnedFd>,
    root: Option<Detached>,
    /// Mount points made below mounts that outlive the step, outer first.
    stubs: Vec<PathBuf>,
    /// Places mounted on, with whether what is made there outlives the step.
    mounted: BTreeMap<PathBuf, bool>,
    overlay: bool,
}

impl Setup {
    pub(super) fn new(overlay: bool) -> Self {
        Self { sources: BTreeMap::new(), root: None, stubs: Vec::new(), mounted: BTreeMap::new(), overlay }
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
            SetupOp::Open { source } => {
                self.sources.insert(source.clone(), sys::open_path(source)?);
                Ok(())
            }
            SetupOp::HostName { name } => sys::set_host_name(name),
            SetupOp::LoopbackUp => sys::loopback_up(),
            SetupOp::Root { mount, throwaway, replaceable, wanted } => {
                self.mounted.insert("/".into(), mount.is_kept());
                self.make_root(mount, *throwaway, replaceable.then_some(wanted.as_slice()))
            }
            SetupOp::Mount { destination, mount } => self.mount(destination, mount),
            SetupOp::Memory { destination, size, mode, no_exec } => {
                let attributes = Attributes { no_exec: *no_exec, ..NO_PRIVILEGE };
                self.place(destination, &sys::tmpfs(*size, *mode)?, attributes, false)
            }
            SetupOp::Device { path } => {
                let device = sys::bind(self.source(path)?)?;
                let attributes = Attributes { no_suid: true, no_exec: true, ..Attributes::default() };
                self.place(path, &device, attributes, false)
            }
            SetupOp::Link { path, target } => {
                let (parent, name) = split(path)?;
                let parent = inside::open(self.root()?, parent)?;
                Ok(rustix::fs::symlinkat(target, parent, name)?)
            }
            SetupOp::Terminals { destination } => {
                let group = sys::current_map()?.1.contains(TTY_GROUP).then_some(TTY_GROUP);
                self.place(destination, &sys::devpts(group)?, Attributes::default(), false)
            }
            SetupOp::Proc { destination } => self.place(destination, &sys::proc_fs()?, Attributes::default(), false),
            SetupOp::Mask { path } => self.mask(path),
            SetupOp::Protect { path } => self.protect(path),
            SetupOp::SealRoot => {
                let root = self.root.as_ref().ok_or(io::ErrorKind::NotFound)?;
                sys::set_attributes(root, Attributes { read_only: true, ..Attributes::default() }, false)
            }
            SetupOp::Pivot => {
                sys::pivot(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?)?;
                self.sources.clear();
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Takes back, after the program has ended, the mount points that would outlive the step.
    pub(super) fn tidy(&self) {
        let Some(root) = self.root.as_ref().filter(|_| !self.stubs.is_empty()) else { return };
        // Errors leave an empty directory more in the result of the step, which is no reason to fail it.
        for place in self.mounted.keys().rev().filter(|place| place.as_path() != Path::new("/")) {
            let _ = rustix::mount::unmount(place.as_path(), rustix::mount::UnmountFlags::DETACH);
            // Before the mount that it lies in goes as well; one that is still needed is not empty.
            for stub in self.stubs.iter().rev().filter(|stub| place.starts_with(stub)) {
                let _ = inside::unmake(root.as_fd(), stub);
            }
        }
    }

    fn root(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.root.as_ref().ok_or(io::ErrorKind::NotFound)?.as_fd())
    }

    fn source(&self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        Ok(self.sources.get(path).ok_or(io::ErrorKind::NotFound)?.as_fd())
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
            Mount::Tmpfs { size } => sys::tmpfs(*size, 0o755),
        }
    }

    fn make_root(&mut self, mount: &Mount, throwaway: bool, replaceable: Option<&[PathBuf]>) -> io::Result<()> {
        let stage = STAGES.iter().find_map(|path| sys::open_path(Path::new(path)).ok());
        let stage = stage.ok_or(io::ErrorKind::NotFound)?;
        let memory = sys::tmpfs(None, 0o755)?;
        sys::attach(&memory, &stage)?;
        for name in ["root", "upper", "work"] {
            rustix::fs::mkdirat(&memory, name, Mode::from_raw_mode(0o755))?;
        }
        let open = |name: &str| rustix::fs::openat(&memory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        let place = open("root")?;
        let Mount::Bind { source, .. } = mount else {
            return self.settle_root(self.make(mount)?, &place);
        };
        if !throwaway {
            return self.settle_root(self.make(mount)?, &place);
        }
        let source = self.source(source)?;
        let (upper, work) = (open("upper")?, open("work")?);
        let layered = if self.overlay {
            sys::overlay(&[source], Some((upper.as_fd(), work.as_fd())))
        } else {
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        };
        match (layered, replaceable) {
            (Ok(root), _) => self.settle_root(root, &place),
            (Err(_), Some(wanted)) => {
                let root = sys::tmpfs(None, 0o755)?;
                sys::attach(&root, &place)?;
                patchwork::fill(source, root.as_fd(), &wanted.iter().cloned().collect::<BTreeSet<_>>())?;
                self.root = Some(root);
                Ok(())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn settle_root(&mut self, root: Detached, place: &OwnedFd) -> io::Result<()> {
        sys::attach(&root, place)?;
        sys::set_attributes(&root, NO_PRIVILEGE, true)?;
        self.root = Some(root);
        Ok(())
    }

    fn mount(&mut self, destination: &Path, mount: &Mount) -> io::Result<()> {
        let read_only = matches!(mount, Mount::Bind { readonly: true, .. });
        self.place(destination, &self.make(mount)?, Attributes { read_only, ..NO_PRIVILEGE }, mount.is_kept())
    }

    /// Attaches `mount` at `destination`, which is made where it is missing.
    fn place(&mut self, destination: &Path, mount: &Detached, attributes: Attributes, kept: bool) -> io::Result<()> {
        let kind = inside::kind(mount)?;
        let mut made = Vec::new();
        let place = inside::ensure(self.root()?, destination, kind, &mut made)?;
        for path in made {
            let below = path.ancestors().skip(1).find_map(|place| self.mounted.get(place));
            if below == Some(&true) {
                self.stubs.push(path);
            }
        }
        sys::attach(mount, &place)?;
        self.mounted.insert(destination.to_owned(), kept);
        if attributes == Attributes::default() {
            return Ok(());
        }
        sys::set_attributes(mount, attributes, true)
    }

    fn mask(&self, path: &Path) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let cover = match inside::kind(&place)? {
            Kind::Directory => sys::tmpfs(Some(0), 0o555)?,
            Kind::File => sys::bind(self.source(Path::new("/dev/null"))?)?,
        };
        sys::attach(&cover, &place)?;
        sys::set_attributes(&cover, Attributes { read_only: true, ..Attributes::default() }, true)
    }

    fn protect(&self, path: &Path) -> io::Result<()> {
        let Some(place) = self.existing(path)? else { return Ok(()) };
        let cover = sys::bind(&place)?;
        sys::attach(&cover, &place)?;
        sys::set_attributes(&cover, Attributes { read_only: true, ..Attributes::default() }, true)
    }

    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        match inside::open(self.root()?, path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }
}

fn split(path: &Path) -> io::Result<(&Path, &Path)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}
