//! Lists validate against the official schemas, whatever is in them.

use std::fs;
use std::path::Path;

use dockless::attest::{self, Bom, Component, Kind, License};
use dockless::oci::Digest;
use proptest::prelude::*;
use serde_json::Value;

use crate::attestations::{document, json, python};
use crate::attestations_trees::{APK, STATUS, tree};
use crate::support::{schema, skip};

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schemas").join(name);
    serde_json::from_slice(&fs::read(path).expect("a schema")).expect("JSON")
}

fn assert_valid(bom: &Bom) {
    for (name, document) in [("spdx-2.3.json", attest::spdx(bom)), ("cyclonedx-1.6.json", attest::cyclonedx(bom))] {
        let errors = schema::errors(&schema(name), &json(&document));
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn the_lists_of_python_and_of_foreign_trees_are_valid() {
    let (_, materials) = python();
    let place = tree(&[
        ("var/lib/dpkg/status", STATUS),
        ("lib/apk/db/installed", APK),
        ("etc/os-release", "ID=debian\nVERSION_ID=12\nNAME=Debian\n"),
        ("a.dist-info/METADATA", "Name: a\nVersion: 1\nLicense: whatever\n"),
    ]);
    let found = attest::of_tree(place.path()).expect("reads").components;
    assert!(found.len() > 4);
    for (format, name) in [(attest::Format::Spdx, "spdx-2.3.json"), (attest::Format::CycloneDx, "cyclonedx-1.6.json")] {
        let errors = schema::errors(&schema(name), &json(&document(format, &materials, &found).bytes));
        assert!(errors.is_empty(), "{name}: {errors:#?}");
    }
}

#[test]
fn what_the_schemas_forbid_is_noticed() {
    let bom = Bom { root: Component::new(Kind::Image, "x", ""), components: Vec::new(), tools: Vec::new(), created: 0 };
    assert_valid(&bom);
    let mut document = json(&attest::spdx(&bom));
    document["packages"][0]["primaryPackagePurpose"] = "PAPER".into();
    document["more"] = 1.into();
    assert_eq!(schema::errors(&schema("spdx-2.3.json"), &document).len(), 2);
    let mut document = json(&attest::cyclonedx(&bom));
    document["serialNumber"] = "1".into();
    document["components"] = serde_json::json!([{ "type": "library" }]);
    assert_eq!(schema::errors(&schema("cyclonedx-1.6.json"), &document).len(), 2);
}

fn component() -> impl Strategy<Value = Component> {
    let kind = prop_oneof![
        Just(Kind::Library),
        Just(Kind::Application),
        Just(Kind::OperatingSystem),
        Just(Kind::Image),
        Just(Kind::Archive),
    ];
    let text = || prop_oneof!["[a-z0-9.+~-]{0,12}", "\\PC{0,12}", Just("é \u{1f600}\n\0".to_owned())];
    (kind, text(), text(), text(), text(), any::<Option<[u8; 32]>>()).prop_map(
        |(kind, name, version, license, more, digest)| Component {
            license: License::of(&license),
            purl: Some(attest::purl("generic", &more, &name, &version, &[("download_url", &more)])),
            cpe: attest::cpe("vendor:product", &version),
            supplier: Some(more.clone()),
            originator: Some(more.clone()),
            digest: digest.map(Digest::from_bytes),
            origins: vec![format!("https://example.org/{more}"), "debian:pool/main/x/x_1.deb".to_owned()],
            evidence: Some(more),
            ..Component::new(kind, &name, &version)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_component_makes_a_valid_list(
        root in component(),
        components in prop::collection::vec(component(), 0..4),
        tools in prop::collection::vec(component(), 0..3),
        created in any::<u64>(),
    ) {
        let bom = Bom { root, components, tools, created };
        assert_valid(&bom);
        prop_assert_eq!(attest::spdx(&bom), attest::spdx(&bom));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test reads the environment to find what only it needs")]
fn the_tools_of_those_who_made_the_formats_read_our_documents() {
    let Ok(tools) = std::env::var("DOCKLESS_VALIDATORS") else {
        let why = "DOCKLESS_VALIDATORS names no directory for them; ./scripts/validate-documents fills it from the package index";
        return skip("validators", why);
    };
    let place = crate::support::release::release();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/validate-documents");
    let run = std::process::Command::new(script).arg(place.path()).env("DOCKLESS_VALIDATORS", tools).output();
    let run = run.expect("the script runs");
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    if run.status.code() == Some(3) {
        return skip("validators", &said);
    }
    assert!(run.status.success(), "{said}");
    assert_eq!(said.matches(": valid").count(), 3, "{said}");
}
