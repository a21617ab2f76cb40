//! A tree in root filesystems that are not ours.
//!
//! Lists are `rootfs/roots/<name>.toml` and serve both architectures; a locked one has `<name>-<arch>.lock` beside it. A suite
//! that moves has no lock, for the files that it would name are gone from mirrors in days: apt resolves it on the day.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::error::TrialError;
use super::tree::{AUTHORITY, Tree};
use super::trial::{Trial, Trials, Verdict, Word, report, timed};
use crate::layer::{self, UnpackOptions};
use crate::oci::Digest;
use crate::progress::{Event, Progress};
use crate::rootfs::Blob;
use crate::sandbox::{Cancel, Launcher, Mount, StepMount};
use crate::source::{self, Origins, SourceError};
use crate::store::Store;

/// How long everything in one root may take.
const PATIENCE: Duration = Duration::from_mins(40);

/// A kind of root.
struct Root {
    name: &'static str,
    /// Made of packages: `rootfs/roots/<name>.toml`.
    listed: bool,
    /// Where its certificates are.
    bundle: Option<&'static str>,
    /// And by hash, as OpenSSL looks for them, below `/etc/ssl/certs`.
    hashed: bool,
    proc: bool,
}

const fn root(name: &'static str, bundle: Option<&'static str>) -> Root {
    Root { name, listed: true, bundle, hashed: false, proc: true }
}

const DEBIAN: Option<&str> = Some("/etc/ssl/certs/ca-certificates.crt");

const ROOTS: [Root; 11] = [
    Root { listed: false, ..root("empty", None) },
    Root { listed: false, proc: false, ..root("empty-no-proc", None) },
    root("busybox", None),
    Root { hashed: true, ..root("bullseye", DEBIAN) },
    Root { hashed: true, ..root("bookworm", DEBIAN) },
    Root { hashed: true, ..root("trixie", DEBIAN) },
    Root { hashed: true, ..root("forky", DEBIAN) },
    // As sid, but nobody ran c_rehash: the bundle alone.
    root("sid", DEBIAN),
    root("rhel", Some("/etc/pki/tls/certs/ca-bundle.crt")),
    root("suse", Some("/var/lib/ca-certificates/ca-bundle.pem")),
    root("alpine", DEBIAN),
];

const ASPECTS: [&str; 10] =
    ["start", "scripts", "LD_*", "TLS", "venv", "processes", "curses", "ctypes", "zoneinfo", "names"];

/// What roots are made of.
#[derive(Debug)]
pub struct Supplies<'a> {
    /// `rootfs/`, which has `roots/`.
    pub lists: &'a Path,
    /// Where packages and images are kept.
    pub store: &'a Store,
    /// Where packages come from.
    pub origins: &'a Origins,
    /// Threads that unpack packages.
    pub jobs: std::num::NonZeroUsize,
}

/// Tries the tarball at `path` in all roots, or in those that `names` names.
///
/// # Errors
/// `Unknown`, `Proof`, `Description`, `Source` where a list or lock is wrong. A root that cannot be had is skipped.
pub fn roots(
    path: &Path,
    names: &[String],
    supplies: &Supplies<'_>,
    (launcher, cancel): (&Launcher, &Cancel),
    view: &dyn Progress,
) -> Result<Trials, TrialError> {
    let start = Instant::now();
    if let Some(name) = names.iter().find(|name| ROOTS.iter().all(|root| root.name != *name)) {
        let known = ROOTS.iter().map(|root| root.name.to_owned()).collect();
        return Err(TrialError::Unknown { what: "root", name: name.clone(), known });
    }
    let tree = Tree::unpack(path)?;
    let mut trials = Trials::new("roots", &tree);
    for root in ROOTS.iter().filter(|root| names.is_empty() || names.iter().any(|name| name == root.name)) {
        if cancel.is_cancelled() {
            return Err(source_stopped(root.name).into());
        }
        view.event(&Event::Note { message: &format!("trying {} in {}", tree.version, root.name) });
        match furnish(root, &tree, supplies, view)? {
            Ok(place) => trials.trials.extend(enter(root, &place, &tree, (launcher, cancel))?),
            Err(why) => trials
                .trials
                .extend(ASPECTS.iter().map(|aspect| Trial::new(root.name, aspect, Verdict::Skipped, why.clone()))),
        }
    }
    Ok(timed(trials, start))
}

/// Makes a root on disk; the inner error says why it cannot be had here.
fn furnish(
    root: &Root,
    tree: &Tree,
    supplies: &Supplies<'_>,
    view: &dyn Progress,
) -> Result<Result<PathBuf, String>, TrialError> {
    let place = tree.directory(&format!("root-{}", root.name))?;
    if !root.listed {
        return Ok(Ok(place));
    }
    let told: (&dyn Progress, Digest) = (view, Digest::of(b"dockless test"));
    let name = format!("roots/{}-{}", root.name, tree.arch);
    let assembled =
        source::assemble_root(supplies.store, (supplies.lists, &name), supplies.origins, supplies.jobs, told);
    let layers = match assembled {
        Ok(assembled) => assembled.layers,
        // A list or a lock that is wrong is ours to mend; a mirror or an apt that is not there is the machine's.
        Err(error @ (SourceError::Rootfs(_) | SourceError::Image { .. } | SourceError::Store(_))) => {
            return Err(error.into());
        }
        Err(SourceError::Stopped { file }) => return Err(SourceError::Stopped { file }.into()),
        Err(error) => return Ok(Err(said(&error))),
    };
    for Blob { digest, .. } in layers {
        let options = UnpackOptions { single_id: true, ..UnpackOptions::default() };
        layer::unpack(supplies.store.read(&digest)?, &place, &options).map_err(|source| {
            super::super::prove::ProofError::Unpack { path: supplies.store.path(&digest), source: Box::new(source) }
        })?;
    }
    certify(root, &place, &tree.python())?;
    Ok(Ok(place))
}

/// Puts certificates where the root keeps them: those that come with the tree, and one of our own.
fn certify(root: &Root, place: &Path, python: &Path) -> Result<(), TrialError> {
    let Some(bundle) = root.bundle else { return Ok(()) };
    let (authority, hashed) = AUTHORITY;
    let shipped = python.join("share/ca-certificates/cacert.pem");
    let known = fs::read_to_string(&shipped).map_err(TrialError::io("read", &shipped))?;
    let file = place.join(bundle.trim_start_matches('/'));
    fs::write(&file, format!("{known}\n{authority}")).map_err(TrialError::io("write", &file))?;
    if root.hashed {
        let link = place.join("etc/ssl/certs").join(hashed);
        let own = place.join("etc/ssl/certs/dockless.pem");
        fs::write(&own, authority).map_err(TrialError::io("write", &own))?;
        symlink("dockless.pem", &link).map_err(TrialError::io("link", &link))?;
    }
    Ok(())
}

/// Runs `roots.py` in a root.
fn enter(
    root: &Root,
    place: &Path,
    tree: &Tree,
    (launcher, cancel): (&Launcher, &Cancel),
) -> Result<Vec<Trial>, TrialError> {
    let facts = json!({ "bundle": root.bundle, "hashed": root.hashed, "proc": root.proc }).to_string();
    let python = || Mount::Bind { source: tree.python(), readonly: true };
    let step = if root.proc {
        tree.step(place, python(), &["/trial/roots.py", &facts], PATIENCE)
    } else {
        // A root in the root: our sandbox gives /proc and /dev to every step.
        let enter = "import os, sys; os.chroot('/empty'); os.chdir('/'); os.execv(sys.argv[1], sys.argv[1:])";
        let args = ["-c", enter, "/opt/python/bin/python3", "/trial/roots.py", &facts];
        let outer = tree.directory("outer")?;
        let mut step = tree.step(&outer, python(), &args, PATIENCE);
        let within = |mount: &StepMount| StepMount {
            destination: Path::new("/empty").join(mount.destination.strip_prefix("/").unwrap_or(&mount.destination)),
            ..mount.clone()
        };
        let inner: Vec<StepMount> = step.mounts.iter().map(within).collect();
        // It is shown read-only, so the places of its mounts have to be there.
        for mount in &step.mounts {
            let point = place.join(mount.destination.strip_prefix("/").unwrap_or(&mount.destination));
            fs::create_dir_all(&point).map_err(TrialError::io("create directory", &point))?;
        }
        step.mounts.push(StepMount::new("/empty", Mount::Bind { source: place.to_owned(), readonly: true }));
        step.mounts.extend(inner);
        step
    };
    let reported = report(&step, launcher, cancel)?;
    let trial = |aspect: &&str| {
        let Some(told) = reported.told.get(*aspect) else {
            let why = reported.broken.as_deref().unwrap_or("the script did not come to it");
            return Trial::new(root.name, aspect, Verdict::Failed, why);
        };
        let verdict = match told.word {
            Word::Ok => Verdict::Works,
            Word::Skip => Verdict::Skipped,
            Word::Fail | Word::None | Word::Offline => Verdict::Failed,
        };
        Trial::new(root.name, aspect, verdict, told.detail.clone())
    };
    Ok(ASPECTS.iter().map(trial).collect())
}

/// An error with its causes, in one line.
fn said(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text.replace('\n', " ")
}

fn source_stopped(name: &str) -> SourceError {
    SourceError::Stopped { file: name.to_owned() }
}
