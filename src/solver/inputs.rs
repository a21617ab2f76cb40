//! What a graph may ask its client for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::oci::Digest;
use crate::rootfs::Rootfs;
use crate::source::Pinned;

/// What the sources, secrets and agents of a graph stand for on this machine.
#[derive(Debug, Default)]
pub struct Inputs {
    /// Directories by the name of `local://`.
    pub directories: BTreeMap<String, Directory>,
    /// Files by digest, for `oci-layout+blob://`.
    pub files: BTreeMap<Digest, Pinned>,
    /// Root filesystems by manifest digest, for `oci-layout://`.
    pub images: BTreeMap<Digest, Rootfs>,
    /// OCI image layouts by the name of `oci-layout://`.
    pub layouts: BTreeMap<String, PathBuf>,
    /// Secrets by id (`ops.proto SecretOpt`).
    pub secrets: BTreeMap<String, SecretValue>,
    /// Sockets of ssh agents by id (`ops.proto SSHOpt`).
    pub agents: BTreeMap<String, PathBuf>,
}

/// A directory of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where it is.
    pub path: PathBuf,
    /// Leave times and odd modes behind, so that two clones of one repository are the same.
    pub normal: bool,
}

/// The bytes of a secret, which are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(pub Vec<u8>);

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretValue({} bytes)", self.0.len())
    }
}
