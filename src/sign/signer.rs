//! Making OpenPGP signatures.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::error::SignError;
use super::gpg::{Gpg, Status};
use super::home::Home;
use super::key::{Key, find};
use super::secret::Secret;

/// Holds an armoured secret key in CI. Kept from the programs that we run.
pub const KEY_VARIABLE: &str = "DOCKLESS_GPG_KEY";
/// Holds the passphrase of the key.
pub const PASSPHRASE_VARIABLE: &str = "DOCKLESS_GPG_PASSPHRASE";

/// Low 16 bits of libgpg-error's codes (`gpg-error.h`).
const BAD_PASSPHRASE: u32 = 11;
const NO_PASSPHRASE: [u32; 5] = [85, 86, 99, 174, 177];

/// With which key to sign, and how to get at it.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Fingerprint, key ID or address; without it the only secret key that there is in `secret`.
    pub id: Option<String>,
    /// An armoured secret key; without it the user's keyring has the key.
    pub secret: Option<Secret>,
    /// Its passphrase; without it gpg-agent asks for that of a key of the user's keyring.
    pub passphrase: Option<Secret>,
    /// Directories to look for one in memory, for the time that `secret` is needed.
    pub places: Vec<PathBuf>,
    /// This machine's time, seconds since 1970.
    pub now: i64,
}

/// Signs a trial, so that what is missing is known before anything is built: the program, the key, the passphrase, the
/// clock. Nothing of it stays.
///
/// # Errors
/// All of [`SignError`] that is not about a directory.
pub fn check(asked: &Asked) -> Result<Key, SignError> {
    Ok(Signer::open(asked)?.key)
}

/// A key that has shown that it can sign. While it lives, a key of `Asked::secret` lies in a directory in memory.
#[derive(Debug)]
pub(super) struct Signer<'a> {
    gpg: Gpg,
    key: Key,
    passphrase: Option<&'a Secret>,
    /// Last, so that its agent ends after everything.
    home: Option<Home>,
}

impl<'a> Signer<'a> {
    pub(super) fn open(asked: &'a Asked) -> Result<Self, SignError> {
        let home = asked.secret.as_ref().map(|secret| import(secret, &asked.places)).transpose()?;
        let (gpg, place) = match &home {
            Some(home) => (Gpg::at(home.path()), KEY_VARIABLE),
            None => (Gpg::of_user(), "gpg's keyring"),
        };
        let key = find(&gpg, asked.id.as_deref(), place, asked.now)?;
        let signer = Self { gpg, key, passphrase: asked.passphrase.as_ref(), home };
        signer.sign(Path::new("/dev/null"))?;
        Ok(signer)
    }

    pub(super) fn into_key(self) -> Key {
        self.key
    }

    /// Returns an armoured detached signature of a file.
    pub(super) fn sign(&self, file: &Path) -> Result<Vec<u8>, SignError> {
        let mut arguments: Vec<OsString> =
            ["--armor", "--digest-algo", "SHA512", "--no-emit-version"].map(Into::into).into();
        let mut input: &[u8] = b"";
        if let Some(passphrase) = self.passphrase {
            arguments.extend(["--pinentry-mode", "loopback", "--passphrase-fd", "0"].map(Into::into));
            input = passphrase.expose().as_bytes();
        } else if self.home.is_some() {
            arguments.extend(["--pinentry-mode", "error"].map(Into::into));
        }
        arguments
            .extend(["--local-user", &self.key.fingerprint, "--output", "-", "--detach-sign", "--"].map(Into::into));
        arguments.push(absolute(file)?.into());
        let answer = self.gpg.run::<OsString>(Status::Error, &arguments, input)?;
        if answer.fine && answer.status("SIG_CREATED").is_some() && !answer.out.is_empty() {
            return Ok(answer.out);
        }
        let code = answer.status("FAILURE").and_then(|rest| rest.rsplit(' ').next()?.parse::<u32>().ok());
        let fingerprint = self.key.fingerprint.clone();
        Err(match code.map(|code| code & 0xffff) {
            Some(BAD_PASSPHRASE) if self.passphrase.is_some() => SignError::WrongPassphrase { fingerprint },
            Some(code) if code == BAD_PASSPHRASE || NO_PASSPHRASE.contains(&code) => {
                SignError::NoPassphrase { fingerprint }
            }
            _ => answer.failed(),
        })
    }
}

/// Puts a secret key into a gpg of its own in memory. It goes through a pipe, and keeps its passphrase there.
fn import(secret: &Secret, places: &[PathBuf]) -> Result<Home, SignError> {
    let refused = || SignError::NotAKey { place: KEY_VARIABLE.to_owned() };
    if !secret.expose().contains("-----BEGIN PGP PRIVATE KEY BLOCK-----") {
        return Err(refused());
    }
    let home = Home::in_memory(places)?;
    let arguments: [&OsStr; 3] = ["--pinentry-mode", "loopback", "--import"].map(OsStr::new);
    let answer = Gpg::at(home.path()).run(Status::Output, &arguments, secret.expose().as_bytes())?;
    if answer.status("IMPORT_OK").is_none() { Err(refused()) } else { Ok(home) }
}

/// A name that begins with neither `-` nor what gpg takes for something else.
fn absolute(file: &Path) -> Result<PathBuf, SignError> {
    std::path::absolute(file).map_err(SignError::io("find", file))
}
