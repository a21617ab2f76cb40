//! A tarball, unpacked to be tried.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use super::super::prove::ProofError;
use super::error::TrialError;
use crate::layer::{self, UnpackOptions};
use crate::oci::{Arch, Digest, Hasher};
use crate::sandbox::{Mount, Step, StepMount};

/// Files that scripts find below `/trial`. The key of server.pem is for loopback only, and known to everybody.
const FILES: [(&str, &str); 4] = [
    ("authority.pem", include_str!("authority.pem")),
    ("packages.py", include_str!("packages.py")),
    ("roots.py", include_str!("roots.py")),
    ("server.pem", include_str!("server.pem")),
];

/// The authority's certificate, which roots are told to trust, and its name as OpenSSL looks for it.
pub(super) const AUTHORITY: (&str, &str) = (include_str!("authority.pem"), "19749069.0");

/// An unpacked tarball and a place beside it, both gone with this.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) digest: Digest,
    pub(super) version: String,
    /// `3.11`
    pub(super) series: String,
    pub(super) arch: Arch,
    tarball: PathBuf,
    scratch: TempDir,
}

#[derive(Deserialize)]
struct Description {
    version: String,
    series: String,
    architecture: String,
}

impl Tree {
    /// Unpacks the tarball at `path`.
    pub(super) fn unpack(path: &Path) -> Result<Self, TrialError> {
        let scratch = tempfile::Builder::new().prefix("dockless-test-").tempdir();
        let scratch = scratch.map_err(TrialError::io("create a directory in", &std::env::temp_dir()))?;
        let mut hasher = Hasher::default();
        let mut file = File::open(path).map_err(TrialError::io("open", path))?;
        io::copy(&mut file, &mut hasher).map_err(TrialError::io("read", path))?;
        unpack(path, &scratch.path().join("tree"))?;
        let lacks = |what| TrialError::Description { path: path.to_owned(), what };
        let described = fs::read(scratch.path().join("tree/opt/python/PYTHON.json"));
        let described = described.map_err(|_| lacks("what it is"))?;
        let Description { version, series, architecture } =
            serde_json::from_slice(&described).map_err(|_| lacks("its version, series and architecture"))?;
        let arch = architecture.parse().map_err(|_| lacks("an architecture of ours"))?;
        let trial = scratch.path().join("trial");
        fs::create_dir(&trial).map_err(TrialError::io("create directory", &trial))?;
        for (name, content) in FILES {
            let file = trial.join(name);
            fs::write(&file, content).map_err(TrialError::io("write", &file))?;
        }
        Ok(Self { digest: hasher.finish(), version, series, arch, tarball: path.to_owned(), scratch })
    }

    /// Unpacks the tarball once more, to be written to; returns its `opt/python`.
    pub(super) fn copy(&self, name: &str) -> Result<PathBuf, TrialError> {
        let place = self.scratch.path().join(name);
        unpack(&self.tarball, &place)?;
        Ok(place.join("opt/python"))
    }

    /// Returns `opt/python`, which nobody writes to.
    pub(super) fn python(&self) -> PathBuf {
        self.scratch.path().join("tree/opt/python")
    }

    /// Makes an empty directory beside the tree.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, TrialError> {
        let place = self.scratch.path().join(name);
        fs::create_dir_all(&place).map_err(TrialError::io("create directory", &place))?;
        Ok(place)
    }

    /// Returns a step that runs a script of `/trial` in `root`, with `python` at `/opt/python`.
    pub(super) fn step(&self, root: &Path, python: Mount, args: &[&str], timeout: Duration) -> Step {
        let trial = Mount::Bind { source: self.scratch.path().join("trial"), readonly: true };
        let args = ["/opt/python/bin/python3"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let environment =
            ["PATH=/opt/python/bin", "HOME=/tmp", "LC_ALL=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"];
        Step {
            mounts: vec![
                StepMount::new("/opt/python", python),
                StepMount::new("/trial", trial),
                StepMount::new("/tmp", Mount::Tmpfs { size: None }),
            ],
            env: environment.map(str::to_owned).to_vec(),
            hostname: "test".to_owned(),
            arch: self.arch,
            timeout: Some(timeout),
            ..Step::bare(Mount::Bind { source: root.to_owned(), readonly: true }, args)
        }
    }
}

fn unpack(tarball: &Path, place: &Path) -> Result<(), TrialError> {
    fs::create_dir_all(place).map_err(TrialError::io("create directory", place))?;
    // A tarball for tar(1): `.wh.` means nothing in it, and all of it may be ours.
    let options = UnpackOptions { single_id: true, whiteouts: false, ..UnpackOptions::default() };
    let file = File::open(tarball).map_err(TrialError::io("open", tarball))?;
    layer::unpack(file, place, &options)
        .map_err(|source| ProofError::Unpack { path: tarball.to_owned(), source: Box::new(source) })?;
    Ok(())
}
