//! Signing a release directory, all of it or nothing.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::cosign::Cosign;
use super::error::SignError;
use super::key::{CLOCKS, Key};
use super::signer::{Asked, Signer};
use crate::dist::{Dist, Kind};

/// What names of OpenPGP signatures end with.
const PGP: &str = ".asc";

/// What names of sigstore bundles end with.
const BUNDLE: &str = ".sigstore.json";

/// Tells whether there is a signature in a directory.
pub fn is_signed(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter_map(|name| name.into_string().ok()).any(|name| name.ends_with(PGP) || name.ends_with(BUNDLE))
}

/// Signs every tarball of a release directory and its `SHA256SUMS` by gpg: `NAME.asc` beside each. The directory is read
/// strictly before, so that nothing is signed that does not belong to the release. Returns the key and the files written.
///
/// Signatures that are there are replaced only where `replace` says so.
///
/// # Errors
/// All of [`SignError`]; the directory is then as it was.
pub fn sign(asked: &Asked, directory: &Path, replace: bool) -> Result<(Key, Vec<PathBuf>), SignError> {
    let names = to_sign(directory, PGP, replace, asked.now)?;
    let signer = Signer::open(asked)?;
    let mut files = Vec::new();
    for name in names {
        files.push((format!("{name}{PGP}"), signer.sign(&directory.join(&name))?));
    }
    Ok((signer.into_key(), publish(directory, &files)?))
}

/// As [`sign`], by cosign: `NAME.sigstore.json` beside each.
///
/// # Errors
/// As [`sign`].
pub fn bundle(cosign: &Cosign, directory: &Path, replace: bool, now: i64) -> Result<Vec<PathBuf>, SignError> {
    let mut files = Vec::new();
    for name in to_sign(directory, BUNDLE, replace, now)? {
        files.push((format!("{name}{BUNDLE}"), cosign.sign(&directory.join(&name))?));
    }
    publish(directory, &files)
}

fn to_sign(directory: &Path, ending: &str, replace: bool, now: i64) -> Result<Vec<String>, SignError> {
    let dist = Dist::open(directory)?;
    for asset in dist.assets() {
        let path = dist.path(asset);
        let seconds = written(&path).map_err(SignError::io("examine", &path))?.saturating_sub(now);
        if seconds > CLOCKS {
            return Err(SignError::FileOfTheFuture { path, seconds });
        }
    }
    let signed = dist.assets().iter().filter(|asset| matches!(asset.kind, Kind::Tarball | Kind::Sums));
    let names: Vec<String> = signed.map(|asset| asset.name.clone()).collect();
    let there = names.iter().map(|name| directory.join(format!("{name}{ending}"))).find(|path| path.exists());
    match there {
        Some(path) if !replace => Err(SignError::Exists { path }),
        _ => Ok(names),
    }
}

/// When a file was written, seconds since 1970.
fn written(path: &Path) -> io::Result<i64> {
    use std::os::unix::fs::MetadataExt as _;
    Ok(fs::symlink_metadata(path)?.mtime())
}

/// Puts files into the directory: all on the disk before the first is renamed, and all taken back when one cannot be.
/// `SHA256SUMS` is named after no tarball, but comes first in ASCII: whoever looks meanwhile finds a directory that holds.
fn publish(directory: &Path, files: &[(String, Vec<u8>)]) -> Result<Vec<PathBuf>, SignError> {
    let mut ready = Vec::new();
    for (name, bytes) in files {
        let failed = |source| SignError::Io { action: "write into", path: directory.to_owned(), source };
        let mut file = tempfile::Builder::new().prefix(".sign-").tempfile_in(directory).map_err(failed)?;
        file.write_all(bytes)
            .and_then(|()| file.as_file().set_permissions(fs::Permissions::from_mode(0o644)))
            .and_then(|()| file.as_file().sync_all())
            .map_err(failed)?;
        let path = directory.join(name);
        let before = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(SignError::Io { action: "read", path, source }),
        };
        ready.push((path, file, before));
    }
    let mut done: Vec<(PathBuf, Option<Vec<u8>>)> = Vec::new();
    for (path, file, before) in ready {
        if let Err(error) = file.persist(&path) {
            for (path, before) in done {
                // What can be done after a failure; the first one is what is told.
                let _ = match before {
                    Some(bytes) => fs::write(&path, bytes),
                    None => fs::remove_file(&path),
                };
            }
            return Err(SignError::Io { action: "rename to", path, source: error.error });
        }
        done.push((path, before));
    }
    Ok(done.into_iter().map(|(path, _)| path).collect())
}
