//! Caches in image layouts (`image-spec image-layout.md`), which a daemon reads and writes through us.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::oci::{Digest, Hasher};

/// The annotation that carries a tag (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The most bytes of an index.
const MOST: u64 = 4 << 20;

/// Returns where a layout has a blob.
pub(super) fn blob_path(root: &Path, digest: &Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

/// A blob of a layout in the making; dropped, it leaves nothing.
pub(super) struct LayoutWriter {
    root: PathBuf,
    file: NamedTempFile,
    hasher: Hasher,
}

impl LayoutWriter {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        let file = NamedTempFile::new_in(root)?;
        Ok(Self { root: root.to_owned(), file, hasher: Hasher::default() })
    }

    pub(super) fn size(&self) -> u64 {
        self.hasher.size()
    }

    pub(super) fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    pub(super) fn commit(self) -> io::Result<()> {
        let path = blob_path(&self.root, &self.hasher.finish());
        readable(&self.file)?;
        self.file.persist(path).map(drop).map_err(|error| error.error)
    }
}

impl Write for LayoutWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Temporary files are their owner's alone; a cache may be shared.
fn readable(file: &NamedTempFile) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))
}

/// Returns the digest of the manifest that a layout has under `tag`.
pub(in crate::buildkit) fn tagged(root: &Path, tag: &str) -> Option<Digest> {
    let index = index(root).ok()?;
    let manifests = index.get("manifests")?.as_array()?;
    let named = |entry: &&Value| entry.pointer("/annotations").and_then(|all| all.get(REF_NAME)?.as_str()) == Some(tag);
    let digest = manifests.iter().find(named)?.get("digest")?.as_str()?.parse().ok()?;
    blob_path(root, &digest).is_file().then_some(digest)
}

/// Gives a manifest of a layout a tag, and takes it from the one that had it.
pub(in crate::buildkit) fn tag(root: &Path, descriptor: &str, tag: &str) -> io::Result<()> {
    let mut descriptor: Value = serde_json::from_str(descriptor)?;
    descriptor["annotations"][REF_NAME] = json!(tag);
    let mut index = match index(root) {
        Ok(index) => index,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})
        }
        Err(error) => return Err(error),
    };
    let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
    let manifests = manifests.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
    manifests.retain(|entry| entry.pointer("/annotations").and_then(|all| all.get(REF_NAME)?.as_str()) != Some(tag));
    manifests.push(descriptor);
    for (name, value) in [("oci-layout", json!({"imageLayoutVersion": "1.0.0"})), ("index.json", index)] {
        let mut file = NamedTempFile::new_in(root)?;
        serde_json::to_writer(&mut file, &value)?;
        readable(&file)?;
        file.persist(root.join(name)).map_err(|error| error.error)?;
    }
    Ok(())
}

fn index(root: &Path) -> io::Result<Value> {
    let path = root.join("index.json");
    if fs::metadata(&path)?.len() > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_moves_to_the_newest_manifest() {
        let place = tempfile::tempdir().expect("temporary directory");
        let root = place.path();
        let mut digests = Vec::new();
        for text in ["one", "two"] {
            let mut writer = LayoutWriter::new(root).expect("layout");
            writer.write_all(text.as_bytes()).expect("written");
            digests.push(writer.digest());
            writer.commit().expect("committed");
        }
        assert_eq!(tagged(root, "latest"), None);
        for digest in &digests {
            tag(root, &format!("{{\"digest\":\"{digest}\",\"size\":3}}"), "latest").expect("tagged");
        }
        tag(root, &format!("{{\"digest\":\"{}\",\"size\":3}}", digests[0]), "other").expect("tagged");
        assert_eq!((tagged(root, "latest"), tagged(root, "other")), (Some(digests[1]), Some(digests[0])));
        fs::remove_file(blob_path(root, &digests[1])).expect("removed");
        assert_eq!(tagged(root, "latest"), None);
    }
}
