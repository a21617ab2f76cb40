//! What is generated and checked in is what its source says.

use std::fs;
use std::path::Path;

use prost_build::Config;
use protox::prost_reflect::prost_types::DescriptorProto;
use protox::prost_reflect::prost_types::field_descriptor_proto::{Label, Type};

/// Generates Rust from `ops.proto` exactly as the checked-in file was made.
fn generate() -> String {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/llb");
    let descriptors = protox::compile([room.join("ops.proto")], [&room]).expect("ops.proto is valid");
    let out = tempfile::tempdir().expect("temporary directory");
    let mut config = Config::new();
    config.btree_map(["."]).type_attribute(".", "#[derive(serde::Serialize)]");
    for message in &descriptors.file[0].message_type {
        json_names(&mut config, message);
    }
    config.out_dir(out.path()).compile_fds(descriptors).expect("code generation");
    fs::read_to_string(out.path().join("pb.rs")).expect("generated file")
}

/// Gives a message the JSON of BuildKit's `json.go`: original field names, defaults left out, oneofs as one object.
fn json_names(config: &mut Config, message: &DescriptorProto) {
    let name = message.name();
    for field in message.field.iter().filter(|field| field.oneof_index.is_none()) {
        let path = format!("pb.{name}.{}", field.name());
        let always = name == "FileAction";
        let skip = if always { "" } else { ", skip_serializing_if = \"crate::llb::json::is_default\"" };
        let with = match (field.r#type(), field.label()) {
            (Type::Bytes, Label::Repeated) => ", serialize_with = \"crate::llb::json::base64_list\"",
            (Type::Bytes, _) => ", serialize_with = \"crate::llb::json::base64\"",
            _ => "",
        };
        config.field_attribute(path, format!("#[serde(rename = \"{}\"{skip}{with})]", field.name()));
    }
    for oneof in &message.oneof_decl {
        let key = match oneof.name() {
            "op" => "Op",
            "action" => "Action",
            other => {
                if other == "user" {
                    "User"
                } else {
                    other
                }
            }
        };
        let path = format!("pb.{name}.{}", oneof.name());
        let with = if key == "User" { "user" } else { "oneof" };
        let attribute = format!("#[serde(rename = \"{key}\", serialize_with = \"crate::llb::json::{with}\")]");
        config.field_attribute(&path, attribute);
        config.type_attribute(&path, "#[serde(rename_all = \"camelCase\")]");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "asked for by whoever changes the protocol file")]
fn the_checked_in_protobuf_is_generated_from_its_protocol_file() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/llb/pb.rs");
    let generated = generate();
    if std::env::var_os("DOCKLESS_WRITE_GENERATED").is_some() {
        fs::write(&path, &generated).expect("writable source tree");
    }
    let checked_in = fs::read_to_string(&path).expect("checked-in protobuf");
    assert!(
        checked_in == generated,
        "src/llb/pb.rs is stale: run `just proto` (DOCKLESS_WRITE_GENERATED=1 cargo test generated)"
    );
}
