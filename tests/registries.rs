//! Images come from and go to a real registry, and come from layouts that another program wrote.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use dockless::http::{Settings, Stop};
use dockless::oci::{Arch, DiffId, Digest};
use dockless::progress::{Progress, Silent};
use dockless::registry::{Credentials, Layout, Platform, Registry, RegistryError, pull, push, resolve};
use dockless::store::{Store, Stored};
use tempfile::TempDir;

use crate::support::registry::DockerRegistry;
use crate::support::skip;

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

pub(crate) fn put(store: &Store, bytes: &[u8]) -> Stored {
    let mut writer = store.writer().expect("a blob");
    writer.write_all(bytes).expect("written");
    writer.commit().expect("stored")
}

/// An image of two layers that differ by `name`, and its manifest's digest.
pub(crate) fn image(store: &Store, name: &str) -> Digest {
    let layers: Vec<Stored> = (0..2).map(|i| put(store, format!("{name} {i} ").repeat(50_000).as_bytes())).collect();
    let ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", layer.digest)).collect();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    );
    let config = put(store, config.as_bytes());
    let blob = |kind: &str, blob: &Stored| {
        format!(r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{}","size":{}}}"#, blob.digest, blob.size)
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[{},{}]}}"#,
        blob("config.v1+json", &config),
        blob("layer.v1.tar", &layers[0]),
        blob("layer.v1.tar", &layers[1]),
    );
    put(store, manifest.as_bytes()).digest
}

/// An index of images by architecture.
pub(crate) fn index(store: &Store, images: &[(&str, Digest)]) -> Digest {
    let entries: Vec<String> = images
        .iter()
        .map(|(arch, digest)| {
            let size = store.contains(digest).expect("a manifest");
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size},
                    "platform":{{"os":"linux","architecture":"{arch}"}}}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{}]}}"#,
        entries.join(",")
    );
    put(store, text.as_bytes()).digest
}

pub(crate) fn store() -> (TempDir, Store) {
    let place = TempDir::new().expect("a place");
    let store = Store::open(&place.path().join("store")).expect("a store");
    (place, store)
}

fn registry() -> Registry {
    Registry::new(Settings::default(), Credentials::default())
}

fn amd64() -> Platform {
    Platform::linux(Arch::X86_64)
}

#[test]
fn an_image_goes_to_a_registry_and_comes_back_the_same() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "a");
    let reference = server.reference("some/name:1.0");
    let pushed = push(&registry(), &reference, &manifest, &from, TOLD).expect("pushed");
    assert_eq!(pushed.digest, manifest);

    let image = pull(&registry(), &reference, &amd64(), &to, TOLD).expect("pulled");
    assert_eq!(image.manifest.digest, manifest);
    assert_eq!(image.diff_ids, image.layers.iter().map(|layer| DiffId(layer.digest)).collect::<Vec<_>>());
    for digest in image.layers.iter().map(|layer| layer.digest).chain([image.config.digest, manifest]) {
        assert_eq!(fs::read(from.path(&digest)).expect("a blob"), fs::read(to.path(&digest)).expect("a blob"));
    }

    // Named by digest and whole, it needs no server; without one the tag is not to be had.
    let pinned = server.reference(&format!("some/name@{manifest}"));
    drop(server);
    assert_eq!(pull(&registry(), &pinned, &amd64(), &to, TOLD).expect("in the store"), image);
    let offline = Registry::new(Settings { offline: true, ..Settings::default() }, Credentials::default());
    assert_eq!(pull(&offline, &pinned, &amd64(), &to, TOLD).expect("in the store"), image);
    let error = pull(&offline, &reference, &amd64(), &to, TOLD).expect_err("a tag must be asked for");
    assert!(matches!(error, RegistryError::Offline { .. }), "{error}");
    let mut settings = Settings::default();
    settings.patience.pause = Duration::from_millis(1);
    let error = pull(&Registry::new(settings, Credentials::default()), &reference, &amd64(), &to, TOLD);
    let error = error.expect_err("nobody answers").to_string();
    assert!(error.contains("refused") && error.contains("(3 attempts)"), "{error}");
}

#[test]
fn of_an_index_the_manifest_of_the_platform_is_taken() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let ((_there, from), (_here, to)) = (store(), store());
    let (big, small, arm) = (image(&from, "amd64"), image(&from, "386"), image(&from, "arm"));
    let list = index(&from, &[("arm64", arm), ("386", small), ("amd64", big)]);
    let reference = server.reference("many:latest");
    push(&registry(), &reference, &list, &from, TOLD).expect("pushed");

    let found = |platform: &Platform| resolve(&registry(), &reference, platform, &to, TOLD).map(|it| it.digest);
    assert_eq!(found(&amd64()).expect("amd64"), big);
    assert_eq!(found(&Platform::linux(Arch::X86)).expect("386"), small);
    assert_eq!(found(&Platform::new("linux", "aarch64", "v8")).expect("arm64"), arm);
    let error = found(&Platform::new("linux", "riscv64", "")).expect_err("nothing for it").to_string();
    assert!(error.contains("linux/riscv64") && error.contains("linux/386"), "{error}");
    let missing = resolve(&registry(), &server.reference("many:none"), &amd64(), &to, TOLD).expect_err("no such tag");
    assert!(missing.is_missing() && missing.to_string().contains("none"), "{missing}");
}

#[test]
fn what_another_program_wrote_is_read_and_what_we_push_is_read_by_it() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let ((place, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "b");
    push(&registry(), &server.reference("b:x"), &manifest, &from, TOLD).expect("pushed");
    let layout = place.path().join("layout");
    let copied = Command::new("skopeo")
        .env("HOME", place.path())
        .args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false"])
        .arg(format!("docker://{}", server.reference("b:x")))
        .arg(format!("oci:{}:here", layout.display()))
        .output();
    let Ok(copied) = copied else { return skip("skopeo", "the program is not on this machine") };
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));

    let opened = Layout::open(&layout, Stop::default()).expect("a layout");
    let image = opened.import(Some("here"), None, &amd64(), &to).expect("imported");
    assert_eq!(image.layers.len(), 2);
    assert!(image.layers.iter().all(|layer| to.contains(&layer.digest) == Some(layer.size)));
    let by_digest = opened.import(None, Some(&image.manifest.digest), &amd64(), &to).expect("by digest");
    assert_eq!(by_digest, image);
    let error = opened.resolve(Some("there"), None, &amd64()).expect_err("no such tag").to_string();
    assert!(error.contains("`there`") && error.contains("here"), "{error}");

    damage(&layout, &image.layers[1].digest);
    let (_other, third) = store();
    let error = opened.import(Some("here"), None, &amd64(), &third).expect_err("damaged");
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert_eq!(third.contains(&image.layers[1].digest), None);
}

fn damage(layout: &Path, blob: &Digest) {
    let path = layout.join("blobs/sha256").join(blob.hex());
    let mut bytes = fs::read(&path).expect("a blob");
    bytes[7] ^= 1;
    fs::write(&path, bytes).expect("damaged");
}

#[test]
fn our_own_store_is_a_layout_like_any_other() {
    let ((place, from), (_here, to)) = (store(), store());
    let manifest = image(&from, "c");
    let list = index(&from, &[("amd64", manifest)]);
    let root = place.path().join("store");
    let layout = Layout::open(&root, Stop::default()).expect("a layout");
    let image = layout.import(None, Some(&list), &amd64(), &to).expect("imported");
    assert_eq!(image.manifest.digest, manifest);
    let error = layout.resolve(None, None, &amd64()).expect_err("nothing has a name there").to_string();
    assert!(error.contains("0 images"), "{error}");
    assert!(matches!(Layout::open(place.path(), Stop::default()), Err(RegistryError::Layout { .. })));
    let stopped = Layout::open(&root, Stop::new(|| true)).expect("a layout");
    let (_other, third) = store();
    let error = stopped.import(None, Some(&list), &amd64(), &third).expect_err("stopped");
    assert!(matches!(error, RegistryError::Stopped { .. }), "{error}");
}
