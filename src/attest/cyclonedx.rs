//! CycloneDX 1.6 as JSON (`specification schema/bom-1.6.schema.json`).
//!
//! What a result was made with is in `formulation` and not among its `components`: it is not in the result, and whoever
//! looks for what is vulnerable there must not be told of it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::bom::{TOOL, timestamp, uuid};
use super::{Bom, Component, Kind, License};
use crate::oci::Digest;

/// Returns the document's bytes.
pub fn cyclonedx(bom: &Bom) -> Vec<u8> {
    let (contained, used) = (bom.contained(), bom.used());
    let root = bom.root.id();
    let edges = |component: &Component| -> Vec<String> {
        let known = |need: &&String| contained.contains_key(*need);
        component.needs.iter().filter(known).cloned().collect()
    };
    let mut dependencies = vec![json!({ "ref": root, "dependsOn": contained.keys().collect::<Vec<_>>() })];
    // Of the result only: readers that know no formulation would miss what they are told that something depends on.
    for (id, component) in &contained {
        dependencies.push(json!({ "ref": id, "dependsOn": edges(component) }));
    }
    let mut subject = described(&bom.root);
    if bom.root.license.expression.is_none()
        && let Some(licenses) = licenses(&License::all(contained.values().map(|component| &component.license)))
    {
        subject["licenses"] = licenses;
    }
    let mut document = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": timestamp(bom.created),
            "tools": { "components": [{ "type": "application", "name": TOOL.0, "version": TOOL.1 }] },
            "component": subject,
        },
        "components": contained.values().map(|component| described(component)).collect::<Vec<_>>(),
        "dependencies": dependencies,
    });
    if !used.is_empty() {
        let tools: Vec<Value> = used.values().map(|component| described(component)).collect();
        document["formulation"] = json!([{ "bom-ref": "build", "components": tools }]);
    }
    let name = uuid(&Digest::of(&bytes(&document)));
    document["serialNumber"] = format!("urn:uuid:{name}").into();
    bytes(&document)
}

fn bytes(document: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(document).expect("values are JSON");
    bytes.push(b'\n');
    bytes
}

fn described(component: &Component) -> Value {
    let mut described = Map::new();
    let mut put = |key: &str, value: Value| _ = described.insert(key.to_owned(), value);
    put("bom-ref", component.id().into());
    put("type", kind(component.kind).into());
    put("name", component.name.as_str().into());
    if !component.version.is_empty() {
        put("version", component.version.as_str().into());
    }
    if let Some(name) = &component.supplier {
        put("supplier", json!({ "name": name }));
    }
    if let Some(name) = &component.originator {
        put("manufacturer", json!({ "name": name }));
    }
    if let Some(licenses) = licenses(&component.license) {
        put("licenses", licenses);
    }
    if let Some(cpe) = &component.cpe {
        put("cpe", cpe.as_str().into());
    }
    if let Some(purl) = &component.purl {
        put("purl", purl.as_str().into());
    }
    let hashes = component.digest.map(|digest| json!([{ "alg": "SHA-256", "content": digest.hex() }]));
    // The digest is that of a file: of the result itself, or of a file that can be fetched.
    let own = matches!(component.kind, Kind::Image | Kind::Archive);
    if let (true, Some(hashes)) = (own, &hashes) {
        put("hashes", hashes.clone());
    }
    let source = |origin: &String| {
        let kind = if Path::new(origin).extension().is_some_and(|ending| ending == "deb") {
            "distribution"
        } else {
            "source-distribution"
        };
        let mut reference = json!({ "type": kind, "url": origin });
        if let Some(hashes) = &hashes {
            reference["hashes"] = hashes.clone();
        }
        reference
    };
    if !component.origins.is_empty() {
        put("externalReferences", component.origins.iter().map(source).collect());
    }
    if let Some(path) = &component.evidence {
        put("evidence", json!({ "occurrences": [{ "location": path }] }));
    }
    described.into()
}

/// One expression, or the text of what is none.
fn licenses(license: &License) -> Option<Value> {
    let expression = license.expression.as_ref()?;
    Some(match license.texts.get(expression) {
        Some(text) => json!([{ "license": { "name": expression, "text": { "content": text } } }]),
        None => json!([{ "expression": expression }]),
    })
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Library => "library",
        Kind::Application => "application",
        Kind::OperatingSystem => "operating-system",
        Kind::Image => "container",
        Kind::Archive => "file",
    }
}
