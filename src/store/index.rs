//! Tags: named roots in `index.json`.

use std::fs;

use oci_spec::image::{Descriptor, ImageIndex};

use super::error::StoreError;
use super::layout::Store;
use super::lock;
use super::record::{Sync, publish};

/// The annotation that carries a tag (`image-spec annotations.md#pre-defined-annotation-keys`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

impl Store {
    /// Gives a manifest a name, taking it away from whatever had it.
    ///
    /// # Errors
    /// `Missing` where the manifest is not in the store, `Damaged` for an unreadable index, `Io`.
    pub fn tag(&self, name: &str, manifest: &Descriptor) -> Result<(), StoreError> {
        let digest = manifest.digest().to_string().parse().map_err(|error: crate::oci::DigestError| {
            StoreError::Damaged { path: self.root().join("index.json"), reason: error.to_string() }
        })?;
        if self.contains(&digest).is_none() {
            return Err(StoreError::Missing { digest, root: self.root().to_owned() });
        }
        let mut tagged = manifest.clone();
        let mut annotations = tagged.annotations().clone().unwrap_or_default();
        annotations.insert(REF_NAME.to_owned(), name.to_owned());
        tagged.set_annotations(Some(annotations));
        self.edit_index(|manifests| {
            manifests.retain(|other| tag_of(other) != Some(name));
            manifests.push(tagged);
        })
    }

    /// Returns the manifest that has a name.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        Ok(self.tags()?.into_iter().find(|(tag, _)| tag == name).map(|(_, descriptor)| descriptor))
    }

    /// Takes a name away; fine where nothing has it. The blobs stay until garbage collection.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn untag(&self, name: &str) -> Result<(), StoreError> {
        self.edit_index(|manifests| manifests.retain(|other| tag_of(other) != Some(name)))
    }

    /// Returns all names and their manifests, sorted by name.
    ///
    /// # Errors
    /// `Damaged`, `Io`.
    pub fn tags(&self) -> Result<Vec<(String, Descriptor)>, StoreError> {
        let index = self.index()?;
        Ok(index.manifests().iter().filter_map(|it| Some((tag_of(it)?.to_owned(), it.clone()))).collect())
    }

    fn index(&self) -> Result<ImageIndex, StoreError> {
        let path = self.root().join("index.json");
        let text = fs::read(&path).map_err(StoreError::io("read", &path))?;
        serde_json::from_slice(&text).map_err(|error| StoreError::Damaged { path, reason: error.to_string() })
    }

    fn edit_index(&self, edit: impl FnOnce(&mut Vec<Descriptor>)) -> Result<(), StoreError> {
        let _lock = lock::lock(self.root().join("locks/.index"))?;
        let mut index = self.index()?;
        let mut manifests = index.manifests().clone();
        edit(&mut manifests);
        manifests.sort_by(|a, b| tag_of(a).cmp(&tag_of(b)).then_with(|| a.digest().as_ref().cmp(b.digest().as_ref())));
        index.set_manifests(manifests);
        // Through a value, whose keys are sorted: annotations alone would come in a different order every time.
        let value = serde_json::to_value(&index).expect("an image index is representable in JSON");
        publish(&self.inner.run, &self.root().join("index.json"), value.to_string().as_bytes(), Sync::Yes)
    }
}

fn tag_of(descriptor: &Descriptor) -> Option<&str> {
    descriptor.annotations().as_ref()?.get(REF_NAME).map(String::as_str)
}
