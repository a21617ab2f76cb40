//! The image around a layer: config and manifest (`image-spec manifest.md`, `config.md`).

use oci_spec::image::{
    Arch as OciArch, ConfigBuilder, DescriptorBuilder, Digest as OciDigest, ImageConfigurationBuilder, ImageManifest,
    ImageManifestBuilder, MediaType, Os, RootFsBuilder,
};

use super::error::RootfsError;
use crate::oci::{Arch, Digest};

/// A blob that the image consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

/// Returns the config of an image with one uncompressed layer: the same bytes for the same layer, without a date.
///
/// # Errors
/// `Describe`.
pub fn config(name: &str, arch: Arch, layer: &Blob) -> Result<Vec<u8>, RootfsError> {
    let describe = |source| RootfsError::Describe { name: name.to_owned(), source };
    let rootfs =
        RootFsBuilder::default().typ("layers").diff_ids(vec![layer.digest.to_string()]).build().map_err(describe)?;
    let config = ConfigBuilder::default()
        .env(vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()])
        .cmd(vec!["/bin/sh".to_owned()])
        .build()
        .map_err(describe)?;
    let config = ImageConfigurationBuilder::default()
        .architecture(OciArch::from(arch.oci()))
        .os(Os::Linux)
        .config(config)
        .rootfs(rootfs)
        .history(Vec::new())
        .build()
        .map_err(describe)?;
    config.to_string().map(String::into_bytes).map_err(describe)
}

/// Returns the manifest of an image with `config` and one uncompressed layer.
///
/// # Errors
/// `Describe`.
pub fn manifest(name: &str, config: &Blob, layer: &Blob) -> Result<Vec<u8>, RootfsError> {
    let describe = |source| RootfsError::Describe { name: name.to_owned(), source };
    let descriptor = |media_type, blob: &Blob| {
        let digest: OciDigest = blob.digest.to_string().parse().map_err(describe)?;
        DescriptorBuilder::default().media_type(media_type).digest(digest).size(blob.size).build().map_err(describe)
    };
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config)?)
        .layers(vec![descriptor(MediaType::ImageLayer, layer)?])
        .build()
        .map_err(describe)?;
    manifest.to_string().map(String::into_bytes).map_err(describe)
}

/// Reads a manifest that `manifest` made: its config and layers.
///
/// # Errors
/// `Manifest`.
pub fn blobs(digest: Digest, bytes: &[u8]) -> Result<(Blob, Vec<Blob>), RootfsError> {
    let unreadable = |source| RootfsError::Manifest { digest, source };
    let manifest = ImageManifest::from_reader(bytes).map_err(unreadable)?;
    let blob = |descriptor: &oci_spec::image::Descriptor| {
        let digest = descriptor
            .digest()
            .to_string()
            .parse()
            .map_err(|_| unreadable(oci_spec::OciSpecError::Other("a digest that is not SHA-256".to_owned())))?;
        Ok(Blob { digest, size: descriptor.size() })
    };
    Ok((blob(manifest.config())?, manifest.layers().iter().map(blob).collect::<Result<_, _>>()?))
}
