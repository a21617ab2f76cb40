//! `dockless sign`, and signing as part of other commands.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::command::println;
use super::failure::Failure;
use super::forge::now;
use super::progress::View;
use super::session::variable;
use crate::progress::{Event, Progress};
use crate::sign::{self, Asked, Cosign, KEY_VARIABLE, PASSPHRASE_VARIABLE, Secret, SignError};

pub(super) const EXAMPLES: &str = "Examples:
  dockless sign dist --key 0123456789ABCDEF0123456789ABCDEF01234567
  DOCKLESS_GPG_KEY=\"$(cat key.asc)\" DOCKLESS_GPG_PASSPHRASE=… dockless sign dist
  dockless sign dist --cosign-key cosign.key

Writes X.tar.gz.asc beside every tarball and SHA256SUMS.asc (with cosign .sigstore.json), all of them or none.
Sign last: what changes SHA256SUMS, such as `dockless describe`, comes before. docs/signing.md tells of keys in CI.";

/// With which keys to sign.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SigningArgs {
    /// Sign by gpg with this key of your keyring: fingerprint, key ID or address [default: the armoured secret key in
    /// `DOCKLESS_GPG_KEY`; its passphrase is in `DOCKLESS_GPG_PASSPHRASE`]
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Also make sigstore bundles by cosign with this key: a file, `env://VARIABLE`, or a KMS address; its password is in
    /// `COSIGN_PASSWORD`
    #[arg(long, value_name = "KEY", conflicts_with = "cosign_keyless")]
    pub(crate) cosign_key: Option<String>,
    /// Also make sigstore bundles by cosign with the identity of this CI job, which becomes public
    #[arg(long)]
    pub(crate) cosign_keyless: bool,
}

/// Arguments of `sign`.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// What `dockless release` made
    #[arg(value_name = "DIST", default_value = "dist")]
    dist: PathBuf,
    #[command(flatten)]
    signing: SigningArgs,
    /// Replace signatures that are there
    #[arg(long)]
    replace: bool,
    /// Only say whether signatures could be made
    #[arg(long)]
    check: bool,
}

/// What is ready to sign.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    gpg: Option<Asked>,
    cosign: Option<Cosign>,
}

/// Runs the command.
pub(super) fn sign(args: &Sign, view: &View) -> Result<ExitCode, Failure> {
    let signing = args.signing.check(view)?;
    if !signing.is_asked() {
        let message = format!("which key? write --key ID, set {KEY_VARIABLE}, or write --cosign-key KEY");
        return Err(Failure::Usage { message });
    }
    if !args.check {
        for path in signing.sign(&args.dist, args.replace, view)? {
            view.suspend(|| println(&path.display().to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl SigningArgs {
    /// Tries the keys that were asked for; to be called before anything is built. Without any, nothing will be signed.
    pub(crate) fn check(&self, view: &dyn Progress) -> Result<Signing, Failure> {
        let secret = variable(KEY_VARIABLE).map(Secret::new);
        let mut signing = Signing::default();
        if self.key.is_some() || secret.is_some() {
            let asked = Asked {
                id: self.key.clone(),
                secret,
                passphrase: variable(PASSPHRASE_VARIABLE).map(Secret::new),
                places: in_memory(),
                now: now(),
            };
            let key = sign::check(&asked)?;
            view.event(&Event::Note { message: &format!("the key {} ({}) can sign", key.fingerprint, key.user) });
            signing.gpg = Some(asked);
        }
        if let Some(key) = &self.cosign_key {
            signing.cosign = Some(Cosign::with_key(key, variable("COSIGN_PASSWORD").map(Secret::new))?);
            view.event(&Event::Note { message: "cosign can sign" });
        } else if self.cosign_keyless {
            signing.cosign = Some(Cosign::keyless()?);
        }
        Ok(signing)
    }
}

impl Signing {
    /// Tells whether anything is to be signed.
    pub(crate) const fn is_asked(&self) -> bool {
        self.gpg.is_some() || self.cosign.is_some()
    }

    /// Tells whether there will be `OpenPGP` signatures.
    pub(crate) const fn by_gpg(&self) -> bool {
        self.gpg.is_some()
    }

    /// Signs a directory that is about to be released, or was: every tarball and `SHA256SUMS`. Returns the files written.
    pub(crate) fn sign(&self, dist: &Path, replace: bool, view: &dyn Progress) -> Result<Vec<PathBuf>, SignError> {
        let mut written = Vec::new();
        if let Some(asked) = &self.gpg {
            let (key, files) = sign::sign(&Asked { now: now(), ..asked.clone() }, dist, replace)?;
            view.event(&Event::Note { message: &format!("signed with the key {} ({})", key.fingerprint, key.user) });
            written.extend(files);
        }
        if let Some(cosign) = &self.cosign {
            written.extend(sign::bundle(cosign, dist, replace, now())?);
            view.event(&Event::Note { message: "signed by cosign" });
        }
        Ok(written)
    }
}

/// Directories that usually lie in memory.
fn in_memory() -> Vec<PathBuf> {
    let own = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    own.into_iter().chain(["/dev/shm", "/run/shm"].map(PathBuf::from)).chain([std::env::temp_dir()]).collect()
}
