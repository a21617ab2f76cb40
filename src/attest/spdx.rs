//! SPDX 2.3 as JSON (`spdx-spec schemas/spdx-schema-2-3.json`).
//!
//! Packages only, no files: what a package's own database says is in it is no finding of ours.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::bom::{PROJECT, TOOL, timestamp, uuid};
use super::{Bom, Component, Kind, License};
use crate::oci::Digest;

const NO_ASSERTION: &str = "NOASSERTION";

/// Returns the document's bytes.
pub fn spdx(bom: &Bom) -> Vec<u8> {
    let (contained, used) = (bom.contained(), bom.used());
    let root = reference(&bom.root.id());
    let components = || contained.values().chain(used.values()).copied();
    let whole = License::all(contained.values().map(|component| &component.license));
    let packages = [package(&bom.root, Some(&whole))].into_iter().chain(components().map(|c| package(c, None)));
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", &root)];
    relations.extend(contained.keys().map(|id| relation(&root, "CONTAINS", &reference(id))));
    relations.extend(used.keys().map(|id| relation(&reference(id), "BUILD_TOOL_OF", &root)));
    for (id, component) in contained.iter().chain(&used) {
        let known = component.needs.iter().filter(|need| contained.contains_key(*need) || used.contains_key(*need));
        relations.extend(known.map(|need| relation(&reference(id), "DEPENDS_ON", &reference(need))));
    }
    let mut texts: BTreeMap<&String, &String> = bom.root.license.texts.iter().collect();
    texts.extend(components().flat_map(|component| &component.license.texts));
    let mut document = json!({
        "SPDXID": "SPDXRef-DOCUMENT",
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "name": bom.root.name,
        "creationInfo": {
            "created": timestamp(bom.created),
            "creators": [format!("Tool: {}-{}", TOOL.0, TOOL.1)],
            "licenseListVersion": list_version(),
        },
        "packages": packages.collect::<Vec<_>>(),
        "relationships": relations,
    });
    if !texts.is_empty() {
        let quoted = |(id, text): (&String, &String)| json!({ "licenseId": id, "name": id, "extractedText": text });
        document["hasExtractedLicensingInfos"] = texts.into_iter().map(quoted).collect();
    }
    // A namespace is for one document only: it is named by what the document says.
    let name = uuid(&Digest::of(&bytes(&document)));
    document["documentNamespace"] = format!("{PROJECT}/spdx/{name}").into();
    bytes(&document)
}

fn bytes(document: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("values are JSON");
    bytes.push(b'\n');
    bytes
}

/// The list has three numbers, the field two.
fn list_version() -> String {
    spdx::license_version().trim_start_matches('v').split('.').take(2).collect::<Vec<_>>().join(".")
}

fn reference(id: &str) -> String {
    format!("SPDXRef-{id}")
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// `whole` is what was concluded for a component that declares nothing itself.
fn package(component: &Component, whole: Option<&License>) -> Value {
    let declared = component.license.expression.as_deref();
    let concluded = declared.or(whole.and_then(|whole| whole.expression.as_deref()));
    let mut package = Map::new();
    let mut put = |key: &str, value: Value| _ = package.insert(key.to_owned(), value);
    put("SPDXID", reference(&component.id()).into());
    put("name", component.name.as_str().into());
    if !component.version.is_empty() {
        put("versionInfo", component.version.as_str().into());
    }
    put("primaryPackagePurpose", purpose(component.kind).into());
    put("downloadLocation", component.address().unwrap_or(NO_ASSERTION).into());
    put("filesAnalyzed", false.into());
    put("licenseDeclared", declared.unwrap_or(NO_ASSERTION).into());
    put("licenseConcluded", concluded.unwrap_or(NO_ASSERTION).into());
    put("copyrightText", NO_ASSERTION.into());
    let organisation = |name: &Option<String>| name.as_ref().map(|name| format!("Organization: {name}"));
    put("supplier", organisation(&component.supplier).unwrap_or_else(|| NO_ASSERTION.to_owned()).into());
    if let Some(originator) = organisation(&component.originator) {
        put("originator", originator.into());
    }
    if let Some(digest) = component.digest {
        put("checksums", json!([{ "algorithm": "SHA256", "checksumValue": digest.hex() }]));
    }
    let mut references = Vec::new();
    if let Some(cpe) = &component.cpe {
        let (category, kind) = ("SECURITY", "cpe23Type");
        references.push(json!({ "referenceCategory": category, "referenceType": kind, "referenceLocator": cpe }));
    }
    if let Some(purl) = &component.purl {
        let (category, kind) = ("PACKAGE-MANAGER", "purl");
        references.push(json!({ "referenceCategory": category, "referenceType": kind, "referenceLocator": purl }));
    }
    if !references.is_empty() {
        put("externalRefs", references.into());
    }
    let mut information: Vec<String> =
        component.origins.iter().filter(|origin| Some(origin.as_str()) != component.address()).cloned().collect();
    information.extend(component.evidence.as_ref().map(|path| format!("found in {path}")));
    if !information.is_empty() {
        put("sourceInfo", information.join("; ").into());
    }
    package.into()
}

const fn purpose(kind: Kind) -> &'static str {
    match kind {
        Kind::Library => "LIBRARY",
        Kind::Application => "APPLICATION",
        Kind::OperatingSystem => "OPERATING_SYSTEM",
        Kind::Image => "CONTAINER",
        Kind::Archive => "ARCHIVE",
    }
}
