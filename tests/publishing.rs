//! Release directories are read strictly, and go to directories and registries whole.

use std::fs;
use std::path::Path;

use dockless::dist::{Dist, DistError};
use dockless::http::Settings;
use dockless::oci::Digest;
use dockless::progress::{Progress, Silent};
use dockless::publish::{ARTIFACT, Publication, PublishError, to_directory, to_registry};
use dockless::registry::{Credentials, Registry, referrers};
use dockless::store::Store;
use tempfile::TempDir;

use crate::support::forge::{TAG, dist, publication, seal};
use crate::support::registry::{DockerRegistry, With};

const TOLD: (&dyn Progress, Digest) = (&Silent, Digest::from_bytes([0; 32]));

fn registry() -> Registry {
    let mut settings = Settings::default();
    settings.patience.pause = std::time::Duration::from_millis(1);
    Registry::new(settings, Credentials::default())
}

fn store() -> (TempDir, Store) {
    let directory = TempDir::new().expect("a place");
    let store = Store::open(&directory.path().join("store")).expect("a store");
    (directory, store)
}

#[test]
fn a_directory_that_was_changed_after_it_was_made_is_no_release() {
    let fault = |change: &dyn Fn(&Path)| -> DistError {
        let place = dist();
        change(place.path());
        Dist::open(place.path()).expect_err("no release")
    };
    let tarball = "release-3.12-x86.tar.gz";
    let error = fault(&|root| fs::write(root.join(tarball), "other").expect("written"));
    assert!(matches!(&error, DistError::Tampered { name, .. } if name == tarball), "{error}");
    assert!(error.help().expect("a way out").contains("nothing was published"));
    let error = fault(&|root| fs::remove_file(root.join(tarball)).expect("removed"));
    assert!(matches!(&error, DistError::Missing { name, .. } if name == tarball), "{error}");
    let error = fault(&|root| fs::write(root.join("release-3.9-x86.tar.gz"), "x").expect("written"));
    assert!(matches!(error, DistError::Unlisted { .. }), "{error}");
    let error = fault(&|root| fs::remove_file(root.join("SHA256SUMS")).expect("removed"));
    assert!(matches!(error, DistError::NoSums { .. }), "{error}");
    let error = fault(&|root| {
        let sum = format!("{}  {tarball}\n", Digest::of(b"other").hex());
        fs::write(root.join(format!("{tarball}.sha256")), sum).expect("written");
    });
    assert!(matches!(error, DistError::Tampered { .. }), "{error}");
    let error = fault(&|root| std::os::unix::fs::symlink("/etc/passwd", root.join("x.log")).expect("linked"));
    assert!(matches!(error, DistError::NotAFile { .. }), "{error}");
    let error = fault(&|root| fs::create_dir(root.join("more")).expect("made"));
    assert!(matches!(error, DistError::NotAFile { .. }), "{error}");
    // Logs of steps stay where they are, and hidden files are nobody's.
    let place = dist();
    fs::create_dir(place.path().join("logs")).expect("made");
    fs::write(place.path().join(".half"), "x").expect("written");
    assert_eq!(Dist::open(place.path()).expect("a release").tarballs().count(), 2);
}

#[test]
fn release_json_must_agree_with_the_sums() {
    let described = |sha256: &Digest, tarball: &str| {
        let place = dist();
        let variant = format!(r#"{{"version":"3.12","arch":"x86","tarball":"{tarball}","sha256":"{sha256}"}}"#);
        let text = format!(r#"{{"format":1,"tag":"v1","variants":[{variant}]}}"#);
        fs::write(place.path().join("release.json"), text).expect("written");
        seal(&place);
        Dist::open(place.path())
    };
    let tarball = "release-3.12-x86.tar.gz";
    let right = Dist::open(dist().path()).expect("a release");
    let digest = right.assets().iter().find(|asset| asset.name == tarball).expect("there").digest;
    let dist = described(&digest, tarball).expect("a release");
    assert_eq!(dist.description().and_then(|it| it.tag.as_deref()), Some("v1"));
    assert!(matches!(described(&Digest::of(b""), tarball), Err(DistError::Tampered { .. })));
    assert!(matches!(described(&digest, "release-9.9-x86.tar.gz"), Err(DistError::Missing { .. })));
}

#[test]
fn a_directory_gets_all_or_nothing_and_goes_on() {
    let (place, goal) = (dist(), TempDir::new().expect("a place"));
    let dist = Dist::open(place.path()).expect("a release");
    // What an earlier run left, some of it whole, some not.
    let aside = goal.path().join(format!(".{TAG}.partial"));
    fs::create_dir(&aside).expect("made");
    fs::copy(place.path().join("RELEASE_NOTES.md"), aside.join("RELEASE_NOTES.md")).expect("copied");
    fs::write(aside.join("SHA256SUMS"), "half").expect("written");
    fs::write(aside.join("stranger"), "x").expect("written");
    let published = to_directory(goal.path(), &publication(&dist), &Silent).expect("published");
    let to = goal.path().join(TAG);
    assert_eq!(Path::new(&published.address), to);
    assert_eq!(published.acts, dist.assets().len(), "one was there, and the rename is one");
    let there = Dist::open(&to).expect("the same release");
    assert_eq!(there.assets(), dist.assets());
    assert!(!aside.exists());
    assert_eq!(to_directory(goal.path(), &publication(&dist), &Silent).expect("published").acts, 0);
}

#[test]
fn a_directory_with_other_content_is_replaced_only_when_asked() {
    let (place, goal) = (dist(), TempDir::new().expect("a place"));
    let dist = Dist::open(place.path()).expect("a release");
    let to = goal.path().join(TAG);
    fs::create_dir(&to).expect("made");
    fs::write(to.join("mine"), "x").expect("written");
    let error = to_directory(goal.path(), &publication(&dist), &Silent).expect_err("refused");
    assert!(matches!(&error, PublishError::Different { names, .. } if names.contains(&"mine".to_owned())), "{error}");
    assert_eq!(fs::read_dir(goal.path()).expect("listed").count(), 1);
    to_directory(goal.path(), &Publication { replace: true, ..publication(&dist) }, &Silent).expect("replaced");
    assert_eq!(Dist::open(&to).expect("a release").assets(), dist.assets());
    assert_eq!(fs::read_dir(goal.path()).expect("listed").count(), 1);
}

#[test]
fn unsigned_tarballs_and_files_of_the_future_are_refused_where_that_counts() {
    let (place, goal) = (dist(), TempDir::new().expect("a place"));
    let signed = |dist: &Dist| to_directory(goal.path(), &Publication { signed: true, ..publication(dist) }, &Silent);
    let dist = Dist::open(place.path()).expect("a release");
    let error = signed(&dist).expect_err("refused");
    assert!(matches!(&error, PublishError::Unsigned { names } if names.len() == 2), "{error}");
    for arch in ["x86", "x86_64"] {
        fs::write(place.path().join(format!("release-3.12-{arch}.tar.gz.asc")), "signature").expect("written");
    }
    signed(&Dist::open(place.path()).expect("a release")).expect("published");
    let past = Publication { now: 1_000_000_000, ..publication(&dist) };
    let error = to_directory(goal.path(), &past, &Silent).expect_err("refused");
    assert!(error.to_string().contains("2001-09-09") && error.is_machine(), "{error}");
}

#[test]
fn a_registry_gets_an_index_of_tarballs_with_everything_referring_to_them() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let name = format!("{}/team/python", server.host());
    let (_aside, aside) = store();
    let published = to_registry(&registry(), &name, &publication(&dist), &aside, &Silent).expect("published");
    let digest: Digest = published.address.rsplit('@').next().expect("a digest").parse().expect("a digest");
    let repository = registry().repository(&server.reference("team/python")).expect("a repository");
    let index = repository.get_manifest(TAG, &Silent).expect("tagged");
    assert_eq!(index.descriptor.digest, digest);
    let index: serde_json::Value = serde_json::from_slice(&index.bytes).expect("JSON");
    let platforms: Vec<&str> = index["manifests"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry["platform"]["architecture"].as_str().expect("one"))
        .collect();
    assert_eq!(platforms, ["386", "amd64"]);
    let member = repository.get_manifest(&format!("{TAG}-3.12-x86_64"), &Silent).expect("tagged");
    let manifest: serde_json::Value = serde_json::from_slice(&member.bytes).expect("JSON");
    assert_eq!(manifest["artifactType"], ARTIFACT);
    let tarball = dist.assets().iter().find(|asset| asset.name.ends_with("x86_64.tar.gz")).expect("there");
    assert_eq!(manifest["layers"][0]["digest"], tarball.digest.to_string());
    assert_eq!(manifest["layers"][0]["annotations"]["org.opencontainers.image.title"], tarball.name.as_str());
    let types = |digest: &Digest| -> Vec<String> {
        let found = referrers(&registry(), &server.reference(&format!("team/python@{digest}")), TOLD).expect("asked");
        let mut types: Vec<String> = found.into_iter().map(|referrer| referrer.artifact_type).collect();
        types.sort();
        types
    };
    assert_eq!(types(&member.descriptor.digest), ["application/spdx+json", "text/plain"]);
    assert_eq!(types(&digest), ["text/markdown", "text/plain"]);
    // From another place and store: the same, and nothing is sent.
    let (_other, other) = store();
    let again = to_registry(&registry(), &name, &publication(&dist), &other, &Silent).expect("published");
    assert_eq!((again.address, again.acts), (published.address, 0));
}

#[test]
fn a_tag_of_a_registry_that_leads_elsewhere_is_moved_only_when_asked() {
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let place = dist();
    let name = format!("{}/team/python", server.host());
    let (_aside, aside) = store();
    to_registry(&registry(), &name, &publication(&Dist::open(place.path()).expect("a release")), &aside, &Silent)
        .expect("published");
    fs::write(place.path().join("RELEASE_NOTES.md"), "others").expect("written");
    fs::write(place.path().join("release-3.12-x86.spdx.json"), "{\"other\":1}").expect("written");
    seal(&place);
    // Other documents refer to the same tarballs: no tag has to move.
    let dist = Dist::open(place.path()).expect("a release");
    to_registry(&registry(), &name, &publication(&dist), &aside, &Silent).expect("published");
    fs::remove_file(place.path().join("release-3.12-x86.tar.gz.sha256")).expect("removed");
    fs::write(place.path().join("release-3.12-x86.tar.gz"), "other").expect("written");
    seal(&place);
    let dist = Dist::open(place.path()).expect("a release");
    let error = to_registry(&registry(), &name, &publication(&dist), &aside, &Silent).expect_err("refused");
    let moved = [format!("{TAG}-3.12-x86"), TAG.to_owned()];
    assert!(matches!(&error, PublishError::Different { names, .. } if *names == moved), "{error}");
    let replacing = Publication { replace: true, ..publication(&dist) };
    let published = to_registry(&registry(), &name, &replacing, &aside, &Silent).expect("moved");
    let tag = registry().repository(&server.reference("team/python")).expect("one").get_manifest(TAG, &Silent);
    assert!(published.address.ends_with(&tag.expect("tagged").descriptor.digest.to_string()));
}

#[test]
fn a_registry_that_takes_nothing_is_told_of_and_no_tag_leads_to_halves() {
    let Some(server) = DockerRegistry::start(&[With::ReadOnly]) else { return };
    let place = dist();
    let dist = Dist::open(place.path()).expect("a release");
    let name = format!("{}/team/python", server.host());
    let (_aside, aside) = store();
    let error = to_registry(&registry(), &name, &publication(&dist), &aside, &Silent).expect_err("refused");
    assert!(error.to_string().contains("no tag leads to it yet"), "{error}");
    assert!(error.help().expect("a way out").contains("read-only"), "{error}");
}
