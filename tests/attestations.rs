//! Documents say what is in a result and how it was made: completely, the same bytes each time, of hostile trees too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use dockless::attest::{self, Asked, Bom, Component, Document, Format, Kind, License, Materials};
use dockless::build::{Project, SETS};
use dockless::llb::{Graph, GraphBuilder, pb};
use dockless::oci::{Arch, Digest};
use dockless::recipe::{Lowered, Profile, Request};
use serde_json::Value;

use crate::attestations_trees::{APK, STATUS, tree};

const EPOCH: u64 = 1_767_225_600;

fn project() -> Project {
    Project::open(Path::new(env!("CARGO_MANIFEST_DIR")), &SETS.map(str::to_owned)).expect("the project reads")
}

pub(crate) fn python() -> (Lowered, Materials) {
    let project = project();
    let requests = ["python@3.11".parse::<Request>().expect("a request")];
    let lowered = project.recipes.lower(&requests, Arch::X86_64, Profile::Quick, EPOCH).expect("lowers");
    let scripts = attest::directory(&project.root.join("scripts"), &attest::scripts(&lowered.graph)).expect("is there");
    let asked = Asked {
        requests: &requests,
        arch: Arch::X86_64,
        profile: Profile::Quick,
        epoch: EPOCH,
        scripts: Some(scripts),
    };
    let materials = attest::of_lowered(&lowered, &project.recipes, &project.rootfs, &asked);
    (lowered, materials)
}

pub(crate) fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

pub(crate) fn document(format: Format, materials: &Materials, found: &[Component]) -> Document {
    let digest = Digest::of(b"manifest");
    Document::of(format, materials, found, (Kind::Image, "registry.example/team/python:3.11", &digest), EPOCH)
}

/// Every string of `key` anywhere below.
fn strings<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    match value {
        Value::Array(items) => items.iter().flat_map(|item| strings(item, key)).collect(),
        Value::Object(map) => {
            let own = map.get(key).and_then(Value::as_str);
            own.into_iter().chain(map.values().flat_map(|item| strings(item, key))).collect()
        }
        _ => Vec::new(),
    }
}

/// Sources of a foreign definition.
fn graph(sources: &[(&str, &[(&str, &str)])]) -> Graph {
    let mut builder = GraphBuilder::new();
    let mut edges = Vec::new();
    for (identifier, attrs) in sources {
        let attrs = attrs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let source = pb::SourceOp { identifier: (*identifier).to_owned(), attrs };
        edges.push(builder.add(identifier, pb::op::Op::Source(source), &[], Arch::X86_64, &[]));
    }
    let merge = dockless::llb::op::merge(edges.len());
    let output = builder.add("all", merge, &edges, Arch::X86_64, &[]);
    builder.finish(output)
}

#[test]
fn every_source_of_python_is_listed_with_its_digest_and_licence() {
    // No product of these names is known to us.
    const WITHOUT_CPE: [&str; 7] = ["libxau", "libxcb", "tk", "xcb-proto", "xcbgen", "xorgproto", "xtrans"];

    let (lowered, materials) = python();
    assert!(lowered.sources.len() > 10);
    let (spdx, cdx) = (document(Format::Spdx, &materials, &[]), document(Format::CycloneDx, &materials, &[]));
    let (spdx, cdx) = (json(&spdx.bytes), json(&cdx.bytes));
    let statement = json(&document(Format::Provenance, &materials, &[]).bytes);
    let inputs = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().expect("a list");
    let recipes = project().recipes.recipes;
    let firsts: BTreeSet<&str> =
        recipes.values().filter_map(|recipe| recipe.sources.first()).map(String::as_str).collect();
    assert!(firsts.len() > 15, "{firsts:?}");
    for choice in lowered.sources.values() {
        let source = &choice.source;
        let (name, version, digest) = (source.name.as_str(), source.version.as_str(), source.digest.hex());
        let packages = spdx["packages"].as_array().expect("a list");
        let package = packages.iter().find(|p| p["name"] == name && p["versionInfo"] == version);
        let package = package.unwrap_or_else(|| panic!("{name} {version} is not in the SPDX document"));
        assert_eq!(package["checksums"][0]["checksumValue"], digest.as_str(), "{name}");
        assert_eq!(package["licenseDeclared"], source.license.as_str(), "{name}");
        assert_eq!(package["licenseConcluded"], source.license.as_str(), "{name}");
        let known = strings(package, "referenceLocator").iter().any(|l| l.starts_with("cpe:2.3:a:"));
        assert_eq!(known, !WITHOUT_CPE.contains(&name), "{name} has a CPE");
        // A recipe says whose work its first source is.
        if firsts.contains(name) {
            assert!(package["originator"].as_str().is_some_and(|o| o.starts_with("Organization: ")), "{name}");
        }
        // What only helps to build is a tool.
        let place = if firsts.contains(name) { &cdx["components"] } else { &cdx["formulation"][0]["components"] };
        let component = place.as_array().expect("a list").iter().find(|c| c["name"] == name);
        let component = component.unwrap_or_else(|| panic!("{name} is not in the CycloneDX document"));
        assert_eq!(component["version"], version);
        assert_eq!(component["licenses"][0]["expression"], source.license.as_str(), "{name}");
        assert!(component["purl"].as_str().is_some_and(|purl| purl.contains(&digest)), "{name}");
        let input = inputs.iter().find(|i| i["digest"]["sha256"] == digest.as_str()).expect("it is an input");
        assert_eq!(input["annotations"]["dockless.file"], source.file.as_str());
    }
    let root = &spdx["packages"][0];
    assert_ne!(root["licenseConcluded"], "NOASSERTION", "what is known of all parts is known of the whole");
    assert_eq!(root["licenseDeclared"], "NOASSERTION", "nobody declared anything for the whole");
}

#[test]
fn packages_of_the_toolchain_are_tools_and_not_in_the_result() {
    let (lowered, materials) = python();
    let project = project();
    // Two root filesystems of one suite share most packages.
    let locked = lowered.images.values().flat_map(|name| &project.rootfs[name].lock.packages);
    let locked: Vec<_> =
        locked.map(|package| (&package.path, package)).collect::<BTreeMap<_, _>>().into_values().collect();
    assert!(locked.len() > 50);
    let first = |name: &String| project.recipes.recipes.values().any(|recipe| recipe.sources.first() == Some(name));
    let built = lowered.sources.values().filter(|choice| first(&choice.source.name)).count();
    let tools = locked.len() + lowered.sources.len() - built;
    // Code of others in CPython 3.11, and the compiler's own.
    let contained = built + ["mpdecimal", "libb2", "libgcc"].len();
    let spdx = json(&document(Format::Spdx, &materials, &[]).bytes);
    let relations = spdx["relationships"].as_array().expect("a list");
    let count = |kind: &str| relations.iter().filter(|relation| relation["relationshipType"] == kind).count();
    assert_eq!((count("DESCRIBES"), count("BUILD_TOOL_OF")), (1, tools));
    assert_eq!(count("CONTAINS"), contained);
    assert!(count("DEPENDS_ON") > lowered.sources.len());
    let cdx = json(&document(Format::CycloneDx, &materials, &[]).bytes);
    assert_eq!(cdx["components"].as_array().map(Vec::len), Some(contained));
    assert_eq!(cdx["formulation"][0]["components"].as_array().map(Vec::len), Some(tools));
    let gcc = locked.iter().find(|package| package.name == "gcc-12").expect("a compiler");
    let purls = strings(&cdx["formulation"], "purl");
    let purl = format!("pkg:deb/debian/gcc-12@{}?arch=amd64&distro=bookworm", gcc.version.replace('+', "%2B"));
    assert!(purls.contains(&purl.as_str()), "{purl} among {purls:?}");
    let statement = json(&document(Format::Provenance, &materials, &[]).bytes);
    let pool = format!("debian:{}", gcc.path);
    assert!(strings(&statement, "uri").contains(&pool.as_str()));
}

#[test]
fn every_reference_within_a_document_leads_somewhere() {
    let (_, materials) = python();
    let found = attest::of_tree(tree(&[("var/lib/dpkg/status", STATUS), ("lib/apk/db/installed", APK)]).path());
    let found = found.expect("a tree").components;
    let spdx = json(&document(Format::Spdx, &materials, &found).bytes);
    let ids = strings(&spdx, "SPDXID");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len(), "each element has a name of its own");
    for key in ["spdxElementId", "relatedSpdxElement"] {
        assert!(strings(&spdx, key).iter().all(|id| unique.contains(id)), "{key}");
    }
    assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))));
    let quoted = strings(&spdx["hasExtractedLicensingInfos"], "licenseId");
    let declared = strings(&spdx["packages"], "licenseDeclared");
    for reference in declared.iter().flat_map(|text| text.split(' ')).filter(|word| word.starts_with("LicenseRef-")) {
        assert!(quoted.contains(&reference), "{reference} is quoted");
    }
    let cdx = json(&document(Format::CycloneDx, &materials, &found).bytes);
    let ids = strings(&cdx, "bom-ref");
    let unique: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(unique.len(), ids.len());
    assert!(strings(&cdx["dependencies"], "ref").iter().all(|id| unique.contains(id)));
    for edges in cdx["dependencies"].as_array().expect("a list") {
        let edges = edges["dependsOn"].as_array().expect("a list");
        assert!(edges.iter().all(|id| unique.contains(id.as_str().expect("a name"))));
    }
}

#[test]
fn the_same_build_has_the_same_documents_and_another_has_other_names() {
    let formats = [Format::Spdx, Format::CycloneDx, Format::Provenance];
    let all = || formats.map(|format| document(format, &python().1, &[]).bytes);
    assert_eq!(all(), all());
    let (_, mut materials) = python();
    let before = formats.map(|format| document(format, &materials, &[]));
    materials.components.reverse();
    materials.tools.reverse();
    materials.inputs.reverse();
    materials.components.extend(materials.components.clone());
    assert_eq!(formats.map(|format| document(format, &materials, &[])), before, "order and repetition mean nothing");
    materials.components.retain(|component| component.name != "zlib");
    materials.inputs.pop();
    let names = |documents: [Document; 3]| {
        let [spdx, cdx, statement] = documents.map(|document| json(&document.bytes));
        [
            spdx["documentNamespace"].clone(),
            cdx["serialNumber"].clone(),
            statement["predicate"]["runDetails"]["metadata"]["invocationId"].clone(),
        ]
    };
    let (before, after) = (names(before), names(formats.map(|format| document(format, &materials, &[]))));
    for (before, after) in before.iter().zip(&after) {
        assert_ne!(before, after);
        assert!(before.as_str().is_some_and(|name| name.len() > 36));
    }
}

#[test]
fn documents_say_nothing_of_the_machine() {
    let (_, materials) = python();
    let mut host = vec![env!("CARGO_MANIFEST_DIR").to_owned()];
    host.extend(fs::read_to_string("/etc/hostname").ok().map(|name| name.trim().to_owned()));
    for format in [Format::Spdx, Format::CycloneDx, Format::Provenance] {
        let text = String::from_utf8(document(format, &materials, &[]).bytes).expect("UTF-8");
        // A name of three letters may be part of any word.
        for word in host.iter().filter(|word| word.len() > 6) {
            assert!(!text.contains(word), "{format:?} holds `{word}`");
        }
        assert!(format != Format::Spdx || text.contains("\"created\": \"2026-01-01T00:00:00Z\""));
    }
}

#[test]
fn provenance_is_a_statement_about_a_manifest() {
    let (lowered, materials) = python();
    let document = document(Format::Provenance, &materials, &[]);
    assert_eq!(document.media_type(), "application/vnd.in-toto+json");
    assert_eq!(document.annotations()[attest::PREDICATE_TYPE], attest::SLSA_PROVENANCE);
    assert_eq!(String::from_utf8_lossy(&document.bytes).lines().count(), 1, "one statement is one line");
    let statement = json(&document.bytes);
    assert_eq!(statement["_type"], attest::STATEMENT);
    assert_eq!(statement["predicateType"], attest::SLSA_PROVENANCE);
    assert_eq!(statement["subject"][0]["digest"]["sha256"], Digest::of(b"manifest").hex());
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["buildType"], attest::RECIPE_BUILD);
    let external = &definition["externalParameters"];
    assert_eq!(external["recipes"][0], "python@3.11");
    assert_eq!((external["architecture"].as_str(), external["profile"].as_str()), (Some("x86_64"), Some("quick")));
    let digest = Digest::of(&lowered.graph.to_bytes()).to_string();
    assert_eq!(definition["internalParameters"]["definition"], digest.as_str());
    let inputs = definition["resolvedDependencies"].as_array().expect("a list");
    assert!(inputs.iter().all(|input| input["digest"].as_object().is_some_and(|digest| !digest.is_empty())));
    let scripts = inputs.iter().find(|input| input["uri"] == "local://scripts").expect("scripts are an input");
    assert!(scripts["annotations"]["dockless.files"].as_str().is_some_and(|files| files.contains("cpython.sh")));
    let metadata = &statement["predicate"]["runDetails"]["metadata"];
    assert!(metadata.get("startedOn").is_none(), "a time that nobody gave is not there");
}

#[test]
fn every_source_of_a_definition_is_an_input_with_the_digest_it_names() {
    let (image, file) = (Digest::of(b"image"), Digest::of(b"file"));
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let pinned = format!("docker-image://registry.example:5000/a/b:1@{image}");
    let blob = format!("oci-layout+blob://store/x@{file}");
    let repository = format!("git://git.example/a/b.git#{commit}:sub");
    let checksum = file.to_string();
    let graph = graph(&[
        ("docker-image://docker.io/library/debian:bookworm", &[]),
        (&pinned, &[]),
        (&blob, &[]),
        (&repository, &[("git.fullurl", "https://me:secret@git.example/a/b.git")]),
        ("git://git.example/other#main", &[]),
        ("https://me:secret@files.example/x.tar", &[("http.checksum", &checksum)]),
        ("local://context", &[("local.includepattern", "[\"a\"]")]),
    ]);
    let resolved = graph.vertices().find(|vertex| vertex.name().contains("debian")).expect("a vertex").digest;
    let resolved = BTreeMap::from([(resolved, BTreeMap::from([("sha256".to_owned(), image.hex())]))]);
    let materials = attest::of_graph(&graph, &resolved);
    let bytes = document(Format::Provenance, &materials, &[]).bytes;
    assert!(!String::from_utf8_lossy(&bytes).contains("secret"), "passwords are not published");
    let statement = json(&bytes);
    let definition = &statement["predicate"]["buildDefinition"];
    assert_eq!(definition["buildType"], attest::DEFINITION_BUILD);
    let digest = Digest::of(&graph.to_bytes()).to_string();
    assert_eq!(definition["externalParameters"]["definition"], digest.as_str());
    let inputs = definition["resolvedDependencies"].as_array().expect("a list");
    let of = |uri: &str| {
        let input = inputs.iter().find(|input| input["uri"] == uri);
        input.unwrap_or_else(|| panic!("{uri} among {:?}", strings(definition, "uri"))).clone()
    };
    let platform = "platform=linux%2Famd64";
    assert_eq!(of(&format!("pkg:docker/library/debian@bookworm?{platform}"))["digest"]["sha256"], image.hex());
    let purl = format!("pkg:docker/registry.example:5000/a/b@1?digest={image}&{platform}");
    assert_eq!(of(&purl)["digest"]["sha256"], image.hex());
    assert_eq!(of(&blob)["digest"]["sha256"], file.hex());
    assert_eq!(of(&format!("git+https://git.example/a/b.git@{commit}"))["digest"]["gitCommit"], commit);
    assert_eq!(of("https://files.example/x.tar")["digest"]["sha256"], file.hex());
    for unknown in ["git+https://git.example/other@main", "local://context"] {
        assert!(of(unknown).get("digest").is_none());
        assert_eq!(of(unknown)["annotations"]["dockless.digest"], "unknown", "it is said that nobody knows");
    }
    assert_eq!(inputs.len(), 7);
}

#[test]
fn licences_that_are_none_of_the_list_are_quoted_in_both_forms() {
    let component = |name: &str, license: &str| Component {
        license: License::of(license),
        ..Component::new(Kind::Library, name, "1")
    };
    let components =
        vec![component("known", "MIT or Zlib"), component("odd", "Whoever\nlikes \"it\""), component("none", "")];
    let root = Component::new(Kind::Archive, "x.tar.gz", "");
    let bom = Bom { root, components, tools: Vec::new(), created: EPOCH };
    let spdx = json(&attest::spdx(&bom));
    let of = |name: &str| {
        let packages = spdx["packages"].as_array().expect("a list");
        packages.iter().find(|package| package["name"] == name).expect("a package")["licenseDeclared"].clone()
    };
    assert_eq!((of("known"), of("none")), ("MIT OR Zlib".into(), "NOASSERTION".into()));
    let quoted = &spdx["hasExtractedLicensingInfos"][0];
    assert_eq!(quoted["licenseId"], of("odd"));
    assert_eq!(quoted["extractedText"], "Whoever\nlikes \"it\"");
    assert_eq!(spdx["packages"][0]["licenseConcluded"], "NOASSERTION", "one unknown licence makes the whole unknown");
    let cdx = json(&attest::cyclonedx(&bom));
    let of = |name: &str| {
        let components = cdx["components"].as_array().expect("a list");
        components.iter().find(|component| component["name"] == name).expect("a component").clone()
    };
    assert_eq!(of("odd")["licenses"][0]["license"]["text"]["content"], "Whoever\nlikes \"it\"");
    assert_eq!(of("known")["licenses"][0]["expression"], "MIT OR Zlib");
    assert!(of("none").get("licenses").is_none());
}

#[test]
fn the_digest_of_scripts_is_what_sha256sum_says() {
    let tree = tree(&[("b.sh", "b"), ("d/a", "a"), ("other", "no")]);
    let names = ["b.sh", "d"].map(str::to_owned).into();
    let lines = format!("{}  b.sh\n{}  d/a\n", Digest::of(b"b").hex(), Digest::of(b"a").hex());
    assert_eq!(attest::directory(tree.path(), &names).expect("is there"), Digest::of(lines.as_bytes()));
    let missing = attest::directory(tree.path(), &["gone".to_owned()].into()).expect_err("is not there");
    assert!(missing.to_string().contains("gone"), "{missing}");
}
