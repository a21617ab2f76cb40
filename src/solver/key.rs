//! Cache keys: what must be equal for a result to be taken from the cache.
//!
//! Two keys lead to the same record. The *whole* key of an exec or file operation is a hash over the operation, the
//! platform and the content of each input as a whole: it costs nothing, for contents are known. The *selected* key
//! takes of inputs that are only read just what the operation selects (`contenthash` in BuildKit's words): the
//! subtree under a mount's selector, the files of a copy, the ids that an owner's name stands for. It costs a look
//! into the trees, and is asked for only when the whole key finds nothing.
//!
//! Not in either: digests of input vertices, names and other metadata, the job budget (`MAKEFLAGS` is the engine's, not
//! the op's), secrets' values, proxies, addresses of extra hosts, names and sharing of cache mounts.

use prost::Message as _;

use crate::llb::{Vertex, pb};
use crate::oci::{Digest, Hasher};
use crate::source::{Downloaded, FileAttributes};

/// Changed when the meaning of a record or the way steps are run changes, so that old records are not found.
const FORMAT: &[u8] = b"dockless cache 2";

/// What one key consists of: each part with the name by which a person knows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ingredients(pub(crate) Vec<(String, Digest)>);

impl Ingredients {
    /// Adds a part.
    pub(crate) fn add(&mut self, name: impl Into<String>, digest: Digest) {
        self.0.push((name.into(), digest));
    }

    /// Adds a part by its bytes.
    pub(crate) fn bytes(&mut self, name: impl Into<String>, bytes: &[u8]) {
        self.add(name, Digest::of(bytes));
    }

    /// Says in which parts this differs from the parts of an earlier key.
    pub(crate) fn difference(&self, last: &[(String, Digest)]) -> String {
        let changed = self.0.iter().filter(|part| !last.contains(part)).map(|(name, _)| name.as_str());
        let gone = last.iter().filter(|(name, _)| self.0.iter().all(|(other, _)| other != name));
        let words: Vec<String> = changed
            .map(|name| format!("{name} changed"))
            .chain(gone.map(|(name, _)| format!("{name} is gone")))
            .collect();
        if words.is_empty() { "its result is no longer there".to_owned() } else { words.join(", ") }
    }

    /// Returns the key.
    pub(crate) fn key(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field(FORMAT);
        for (name, digest) in &self.0 {
            hasher.field(name.as_bytes());
            hasher.field(digest.as_bytes());
        }
        hasher.finish()
    }
}

/// Returns the parts of an exec's key without its inputs.
pub(crate) fn exec(vertex: &Vertex, exec: &pb::ExecOp) -> Ingredients {
    let mut parts = Ingredients::default();
    let meta = exec.meta.clone().unwrap_or_default();
    parts.bytes("the kind of operation", b"exec");
    parts.bytes("the command", &list(&meta.args));
    parts.bytes("the environment", &list(&meta.env));
    parts.bytes("the working directory", meta.cwd.as_bytes());
    parts.bytes("the user", meta.user.as_bytes());
    parts.bytes("the host name", meta.hostname.as_bytes());
    let hosts: Vec<String> = meta.extra_hosts.iter().map(|host| host.host.clone()).collect();
    parts.bytes("extra hosts", &list(&hosts));
    let limits = meta.ulimit.iter().map(|limit| format!("{} {} {}", limit.name, limit.soft, limit.hard)).collect();
    parts.bytes("resource limits", &list::<String>(&limits));
    let codes: Vec<String> = meta.valid_exit_codes.iter().map(ToString::to_string).collect();
    parts.bytes("valid exit codes", &list(&codes));
    parts.bytes("removal of mount points", &[u8::from(meta.remove_mount_stubs_recursive)]);
    parts.bytes("the network mode", &exec.network.to_le_bytes());
    parts.bytes("the security mode", &exec.security.to_le_bytes());
    let secrets: Vec<Vec<u8>> = exec.secretenv.iter().map(pb::SecretEnv::encode_to_vec).collect();
    parts.bytes("names of secrets", &list(&secrets));
    let devices: Vec<Vec<u8>> = exec.cdi_devices.iter().map(pb::CdiDevice::encode_to_vec).collect();
    parts.bytes("devices", &list(&devices));
    parts.bytes("the platform", &platform(vertex));
    for mount in &exec.mounts {
        parts.bytes(format!("the mount at {}", mount.dest), &mount_without_inputs(mount).encode_to_vec());
    }
    parts
}

/// A mount as far as it is in the key by itself: inputs, selectors, and names of caches are elsewhere or nowhere.
fn mount_without_inputs(mount: &pb::Mount) -> pb::Mount {
    let mut mount = mount.clone();
    mount.selector = String::new();
    mount.input = i64::from(mount.input >= 0);
    mount.cache_opt = mount.cache_opt.map(|_| pb::CacheOpt::default());
    mount.result_id = String::new();
    mount.content_cache = 0;
    mount
}

/// Returns the platform's bytes.
pub(crate) fn platform(vertex: &Vertex) -> Vec<u8> {
    vertex.platform.as_ref().map(pb::Platform::encode_to_vec).unwrap_or_default()
}

/// A list that cannot be taken for another one.
fn list<T: AsRef<[u8]>>(items: &Vec<T>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for item in items {
        bytes.extend_from_slice(&(item.as_ref().len() as u64).to_le_bytes());
        bytes.extend_from_slice(item.as_ref());
    }
    bytes
}

/// Returns the content digest of a merge.
pub(crate) fn merge(inputs: &[Digest]) -> Digest {
    hash(&[b"merge"], inputs)
}

/// Returns the content digest of a difference; `None` is scratch.
pub(crate) fn difference(lower: Option<Digest>, upper: Option<Digest>) -> Digest {
    let sides = [u8::from(lower.is_some()), u8::from(upper.is_some())];
    hash(&[b"difference", &sides], &lower.into_iter().chain(upper).collect::<Vec<_>>())
}

/// Returns the content digest of the empty tree.
pub(crate) fn empty() -> Digest {
    hash(&[b"empty"], &[])
}

/// Returns the content digest of output `index` of an operation with this key, whose result follows from its inputs.
pub(crate) fn output(key: &Digest, index: usize) -> Digest {
    hash(&[b"output", &(index as u64).to_le_bytes()], &[*key])
}

/// Returns the content digest of a directory that holds one file with the bytes of `digest`.
pub(crate) fn file(name: &str, digest: &Digest) -> Digest {
    hash(&[b"file", name.as_bytes()], &[*digest])
}

/// Returns the content digest of a directory that holds one blob as a file that looks as asked for.
pub(crate) fn looks(digest: &Digest, file: &FileAttributes) -> Digest {
    let name = file.filename.clone().unwrap_or_default();
    let numbers = format!("{:?} {} {}", file.mode, file.uid, file.gid);
    hash(&[b"blob", name.as_bytes(), numbers.as_bytes()], &[*digest])
}

/// Returns the content digest of a directory that holds a file that came from a server, with its time.
pub(crate) fn downloaded(file: &Downloaded) -> Digest {
    let numbers = format!("{} {} {} {}", file.mode, file.uid, file.gid, file.mtime);
    hash(&[b"download", file.filename.as_bytes(), numbers.as_bytes()], &[file.blob.digest])
}

/// Returns the content digest of a checkout.
pub(crate) fn commit(key: &str) -> Digest {
    hash(&[b"commit", key.as_bytes()], &[])
}

/// Returns the content digest of an image's lowest layers.
pub(crate) fn lowest(image: &Digest, layers: usize) -> Digest {
    hash(&[b"lowest", &(layers as u64).to_le_bytes()], &[*image])
}

/// Returns the content digest of an unpacked image.
pub(crate) fn image(manifest: &Digest) -> Digest {
    hash(&[b"image"], &[*manifest])
}

fn hash(fields: &[&[u8]], digests: &[Digest]) -> Digest {
    let mut hasher = Hasher::default();
    hasher.field(FORMAT);
    for field in fields {
        hasher.field(field);
    }
    for digest in digests {
        hasher.field(digest.as_bytes());
    }
    hasher.finish()
}
