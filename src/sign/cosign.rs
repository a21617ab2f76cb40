//! Sigstore bundles by cosign (`sigstore protobuf-specs sigstore_bundle.proto`, media type
//! `application/vnd.dev.sigstore.bundle.v0.3+json`).
//!
//! With a key nothing leaves the machine: no entry in a public log is made, and none is asked for when it is checked. What
//! such a bundle says is what an OpenPGP signature says: the holder of the key signed this. Without a key, cosign gets a
//! certificate for an identity (an OIDC token of a CI job) and writes an entry into the public log, which is the proof that the
//! certificate was valid then.

use std::fmt;
use std::path::Path;
use std::process::Command;

use super::error::SignError;
use super::gpg::{fed, last};
use super::secret::Secret;
use super::signer::{KEY_VARIABLE, PASSPHRASE_VARIABLE};

const PROGRAM: &str = "cosign";
/// Where cosign itself looks for the password of a key (`cosign sign-blob --help`).
const PASSWORD: &str = "COSIGN_PASSWORD";

/// Services to tell and roots to believe: none. Without these cosign 3 asks the network for those of the public instance.
const NOWHERE: [(&str, &str, &str); 2] = [
    ("--signing-config", "services.json", r#"{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json"}"#),
    ("--trusted-root", "roots.json", r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#),
];

/// A cosign that is there.
#[derive(Debug, Clone)]
pub struct Cosign {
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    Check,
    Key { key: String, password: Option<Secret> },
    Identity,
}

/// Whose bundles are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundles {
    /// A public key: a file, or what else cosign takes for `--key`.
    Key(String),
    /// Certificates of an identity, confirmed by an issuer of OIDC tokens.
    Identity {
        /// An address, or of GitHub's jobs `https://github.com/OWNER/NAME/.github/workflows/FILE@REF`.
        identity: String,
        /// `https://token.actions.githubusercontent.com`
        issuer: String,
    },
}

impl fmt::Display for Bundles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "signed by the key {key}; no public log was asked"),
            Self::Identity { identity, .. } => write!(f, "signed by {identity}"),
        }
    }
}

impl Cosign {
    /// Looks for the program.
    ///
    /// # Errors
    /// `NoProgram`, `Failed`.
    pub fn installed() -> Result<Self, SignError> {
        let cosign = Self { how: How::Check };
        let output = fed(command(&["version"]), PROGRAM, b"")?;
        if output.status.success() { Ok(cosign) } else { Err(failed(&output)) }
    }

    /// Looks for the program, and has it sign a trial by a key: a file, or what else cosign takes for `--key`, such as
    /// `env://COSIGN_PRIVATE_KEY`. Nothing of it stays.
    ///
    /// # Errors
    /// `NoProgram`, `Failed`, `Io`.
    pub fn with_key(key: &str, password: Option<Secret>) -> Result<Self, SignError> {
        Self::installed()?;
        let cosign = Self { how: How::Key { key: key.to_owned(), password } };
        cosign.sign(Path::new("/dev/null"))?;
        Ok(cosign)
    }

    /// Looks for the program, which is to sign by the identity of this CI job. There is no trial: it would stay in the
    /// public log for ever.
    ///
    /// # Errors
    /// `NoProgram`, `Failed`.
    pub fn keyless() -> Result<Self, SignError> {
        Self::installed()?;
        Ok(Self { how: How::Identity })
    }

    /// Returns a bundle of a file.
    pub(super) fn sign(&self, file: &Path) -> Result<Vec<u8>, SignError> {
        let place = std::env::temp_dir();
        let directory = tempfile::Builder::new().prefix("dockless-cosign-").tempdir();
        let directory = directory.map_err(SignError::io("create a directory in", &place))?;
        let bundle = directory.path().join("bundle");
        let mut command = command(&["sign-blob", "--yes"]);
        match &self.how {
            How::Check | How::Identity => {}
            How::Key { key, password } => {
                for (option, name, text) in NOWHERE {
                    let path = directory.path().join(name);
                    std::fs::write(&path, text).map_err(SignError::io("write", &path))?;
                    command.arg(option).arg(path);
                }
                command.args(["--key", key]);
                // Empty means a key without one; unset, cosign would ask.
                command.env(PASSWORD, password.as_ref().map(Secret::expose).unwrap_or_default());
            }
        }
        let output = fed(with_files(command, &bundle, file)?, PROGRAM, b"")?;
        if !output.status.success() {
            return Err(failed(&output));
        }
        std::fs::read(&bundle).map_err(SignError::io("read", &bundle))
    }

    /// Checks the bundle of a file, offline where a key is believed. The inner error is what cosign said.
    ///
    /// # Errors
    /// `NoProgram`, `Io`.
    pub fn check(&self, bundle: &Path, file: &Path, believed: &Bundles) -> Result<Result<(), String>, SignError> {
        let mut command = command(&["verify-blob"]);
        match believed {
            Bundles::Key(key) => command.args(["--insecure-ignore-tlog=true", "--key", key]),
            Bundles::Identity { identity, issuer } => {
                command.args(["--certificate-identity", identity, "--certificate-oidc-issuer", issuer])
            }
        };
        let output = fed(with_files(command, bundle, file)?, PROGRAM, b"")?;
        Ok(if output.status.success() { Ok(()) } else { Err(last(&String::from_utf8_lossy(&output.stderr))) })
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_remove(KEY_VARIABLE).env_remove(PASSPHRASE_VARIABLE);
    command
}

fn with_files(mut command: Command, bundle: &Path, file: &Path) -> Result<Command, SignError> {
    let file = std::path::absolute(file).map_err(SignError::io("find", file))?;
    let bundle = std::path::absolute(bundle).map_err(SignError::io("find", bundle))?;
    command.arg("--bundle").arg(bundle).arg(file);
    Ok(command)
}

fn failed(output: &std::process::Output) -> SignError {
    SignError::Failed { program: PROGRAM, said: last(&String::from_utf8_lossy(&output.stderr)) }
}
