//! The operations that recipes use, with the attribute names of `attr.go` in one place.

use std::collections::BTreeMap;

use super::pb;
use super::pb::op::Op;
use crate::oci::Digest;

/// Scheme of an image in an OCI layout.
pub const OCI_LAYOUT: &str = "oci-layout://";
/// Scheme of one blob of an OCI layout, delivered as a file (`source/containerblob`).
pub const OCI_BLOB: &str = "oci-layout+blob://";
/// Scheme of a directory of the client.
pub const LOCAL: &str = "local://";
/// Attribute: file name of a fetched file.
pub const FILENAME: &str = super::source::HTTP_FILENAME;
/// Attribute: permissions of a fetched file, octal.
pub const PERM: &str = super::source::HTTP_PERM;
/// Attribute: JSON list of patterns a local source is limited to.
pub const INCLUDE: &str = super::source::LOCAL_INCLUDE;
/// Attribute: what local sources that may share a transfer have in common.
pub const SHARED_KEY: &str = super::source::LOCAL_SHARED_KEY;

/// Returns the image of a registry that `reference` names.
pub fn image(reference: &str) -> Op {
    source(format!("{}://{reference}", super::source::IMAGE), &[])
}

/// Returns the image `manifest` of the client's layout `name`.
pub fn oci_layout(name: &str, manifest: &Digest) -> Op {
    source(format!("{OCI_LAYOUT}{name}@{manifest}"), &[])
}

/// Returns the blob `digest` as one file `filename`.
pub fn blob(name: &str, digest: &Digest, filename: &str) -> Op {
    source(format!("{OCI_BLOB}{name}@{digest}"), &[(FILENAME, filename), (PERM, "0644")])
}

/// Returns the client's directory `name`, limited to `include` (patterns as in `.dockerignore`).
pub fn local(name: &str, include: &[String]) -> Op {
    let patterns = serde_json::to_string(include).expect("strings are JSON");
    source(format!("{LOCAL}{name}"), &[(INCLUDE, &patterns), (SHARED_KEY, name)])
}

fn source(identifier: String, attrs: &[(&str, &str)]) -> Op {
    let attrs: BTreeMap<String, String> = attrs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Op::Source(pb::SourceOp { identifier, attrs })
}

/// Returns a merge of `count` inputs; later ones win.
pub fn merge(count: usize) -> Op {
    let inputs = (0..count).map(|i| pb::MergeInput { input: i64::try_from(i).expect("few inputs") }).collect();
    Op::Merge(pb::MergeOp { inputs })
}

/// Returns a read-only bind of input `index` at `dest`.
pub fn bind(index: usize, dest: &str) -> pb::Mount {
    pb::Mount { input: i64::try_from(index).expect("few inputs"), output: -1, readonly: true, ..mount(dest) }
}

/// Returns an empty writable directory at `dest` that becomes output `output`, or is thrown away.
pub fn scratch(dest: &str, output: Option<i64>) -> pb::Mount {
    pb::Mount { input: -1, output: output.unwrap_or(-1), ..mount(dest) }
}

/// Returns an empty file system in memory at `dest`.
pub fn tmpfs(dest: &str) -> pb::Mount {
    pb::Mount { input: -1, output: -1, mount_type: pb::MountType::Tmpfs.into(), ..mount(dest) }
}

fn mount(dest: &str) -> pb::Mount {
    pb::Mount { dest: dest.to_owned(), mount_type: pb::MountType::Bind.into(), ..pb::Mount::default() }
}
