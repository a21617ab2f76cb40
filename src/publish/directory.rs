//! A directory: `DEST/TAG/`, for a web server or a shared disk.
//!
//! ```text
//! DEST/.TAG.partial/   what has come so far; another run goes on with it
//! DEST/TAG/            all of it, by one rename
//! DEST/.TAG.expired/   on its way out
//! ```

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::error::PublishError;
use super::expire::{Found, Place};
use super::publication::{Publication, Published};
use super::steps::{Did, Steps};
use crate::dist::{Asset, SUMS, hash};
use crate::progress::Progress;

/// What the name of a directory on its way out ends in.
const EXPIRED: &str = ".expired";

/// Publishes below a directory.
///
/// # Errors
/// `Different`, `Unsigned`, `Future`, `Dist`, `Io`, `Unfinished`.
pub fn to_directory(
    dest: &Path,
    publication: &Publication<'_>,
    progress: &dyn Progress,
) -> Result<Published, PublishError> {
    publication.check()?;
    let mut steps = Steps::new(progress, &dest.display().to_string(), &publication.tag);
    let result = publish(dest, publication, &mut steps);
    let acts = steps.acts();
    steps.told(result).map(|path| Published { address: path.display().to_string(), acts })
}

fn publish(dest: &Path, publication: &Publication<'_>, steps: &mut Steps<'_>) -> Result<PathBuf, PublishError> {
    let to = dest.join(&publication.tag);
    let assets = publication.dist.assets();
    if to.symlink_metadata().is_ok() {
        let names = unlike(&to, assets)?;
        if names.is_empty() {
            steps.planned(1);
            steps.step(&format!("check {}", to.display()), || Ok(((), Did::Nothing)))?;
            return Ok(to);
        }
        if !publication.replace {
            return Err(PublishError::Different { place: to.display().to_string(), names });
        }
    }
    steps.planned(assets.len() + 1);
    fs::create_dir_all(dest).map_err(PublishError::io("create directory", dest))?;
    let aside = dest.join(format!(".{}.partial", publication.tag));
    match fs::create_dir(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(PublishError::io("create directory", &aside)(error));
        }
        _ => {}
    }
    // Held until the rename is done: a second run waits, and finds all there.
    let held = File::open(&aside).map_err(PublishError::io("open", &aside))?;
    flock(&held, FlockOperation::LockExclusive).map_err(|error| PublishError::io("lock", &aside)(error.into()))?;
    clear(&aside, assets)?;
    for asset in assets {
        steps.step(&asset.name, || Ok(((), copy(publication, asset, &aside)?)))?;
    }
    steps.step("publish", || {
        held.set_permissions(fs::Permissions::from_mode(0o755))
            .map_err(PublishError::io("set permissions of", &aside))?;
        held.sync_all().map_err(PublishError::io("sync", &aside))?;
        show(&aside, &to)?;
        File::open(dest).and_then(|dest| dest.sync_all()).map_err(PublishError::io("sync", dest))?;
        Ok((to.clone(), Did::Act))
    })
}

/// Finds the directories with sums, which were written when they were published; and removes what is left of expired ones.
pub(super) fn published(dest: &Path) -> Result<Found, PublishError> {
    let mut found = Found::new();
    for entry in fs::read_dir(dest).map_err(PublishError::io("read directory", dest))? {
        let entry = entry.map_err(PublishError::io("read directory", dest))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if name.starts_with('.') && name.ends_with(EXPIRED) {
            fs::remove_dir_all(&path).map_err(PublishError::io("remove", &path))?;
            continue;
        }
        let sums = path.join(SUMS);
        let Some(written) = sums.symlink_metadata().ok().filter(fs::Metadata::is_file).map(|it| it.mtime()) else {
            continue;
        };
        found.insert(name, (written, Place::Directory(path)));
    }
    Ok(found)
}

/// Removes a directory: nobody sees half of it.
pub(super) fn remove(dest: &Path, tag: &str, path: &Path) -> Result<(), PublishError> {
    let aside = dest.join(format!(".{tag}{EXPIRED}"));
    fs::rename(path, &aside).map_err(PublishError::io("rename", path))?;
    fs::remove_dir_all(&aside).map_err(PublishError::io("remove", &aside))
}

/// Returns what of a directory is not as it should be.
fn unlike(to: &Path, assets: &[Asset]) -> Result<Vec<String>, PublishError> {
    let mut names = Vec::new();
    for asset in assets {
        match hash(&to.join(&asset.name)) {
            Ok((digest, _)) if digest == asset.digest => {}
            _ => names.push(asset.name.clone()),
        }
    }
    for entry in fs::read_dir(to).map_err(PublishError::io("read directory", to))? {
        let name = entry.map_err(PublishError::io("read directory", to))?.file_name();
        let name = name.to_string_lossy().into_owned();
        if !assets.iter().any(|asset| asset.name == name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes what an earlier run of another release left.
fn clear(aside: &Path, assets: &[Asset]) -> Result<(), PublishError> {
    for entry in fs::read_dir(aside).map_err(PublishError::io("read directory", aside))? {
        let path = entry.map_err(PublishError::io("read directory", aside))?.path();
        let known = assets.iter().any(|asset| path.file_name().is_some_and(|name| name == asset.name.as_str()));
        if !known {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(PublishError::io("remove", &path))?;
        }
    }
    Ok(())
}

fn copy(publication: &Publication<'_>, asset: &Asset, aside: &Path) -> Result<Did, PublishError> {
    let (from, to) = (publication.dist.path(asset), aside.join(&asset.name));
    let there = to.symlink_metadata().is_ok_and(|it| it.is_file() && it.len() == asset.size);
    if there && hash(&to)?.0 == asset.digest {
        return Ok(Did::Nothing);
    }
    let half = tempfile::Builder::new().prefix(".half-").tempfile_in(aside);
    let half = half.map_err(PublishError::io("create a file in", aside))?;
    let mut source = File::open(&from).map_err(PublishError::io("open", &from))?;
    io::copy(&mut source, &mut half.as_file())
        .and_then(|_| half.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| half.as_file().sync_all())
        .map_err(PublishError::io("write", &to))?;
    // The directory was checked when it was opened; what is published is what was checked.
    let (actual, _) = hash(half.path())?;
    if actual != asset.digest {
        let (name, by) = (asset.name.clone(), "its check a moment ago".to_owned());
        return Err(crate::dist::DistError::Tampered { name, by, expected: asset.digest, actual }.into());
    }
    half.persist(&to).map_err(|failed| PublishError::io("rename to", &to)(failed.error))?;
    Ok(Did::Act)
}

/// Renames `aside` to `to`; what is there already changes places with it and is removed then.
fn show(aside: &Path, to: &Path) -> Result<(), PublishError> {
    let failed = |action, path| move |error: rustix::io::Errno| PublishError::io(action, path)(error.into());
    match renameat_with(CWD, aside, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => {
            renameat_with(CWD, aside, CWD, to, RenameFlags::EXCHANGE).map_err(failed("put in place", to))?;
            fs::remove_dir_all(aside).map_err(PublishError::io("remove", aside))
        }
        // File systems that know no flags (NFS).
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if !to.exists() => {
            fs::rename(aside, to).map_err(PublishError::io("rename to", to))
        }
        Err(error) => Err(failed("rename to", to)(error)),
    }
}
