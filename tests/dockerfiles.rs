//! Dockerfiles become the graphs and image configs that BuildKit's front end makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use dockless::dockerfile::{self, Context, Dockerfile, Lowered, Options, ResolveError, Wanted, parse_platform};
use dockless::llb::{Graph, pb};
use dockless::oci::Digest;
use prost::Message as _;
use serde_json::Value;

use crate::corpus::case::{Case, cases, unpack};

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}

fn ignored(directory: &Path) -> Vec<String> {
    let text = fs::read(directory.join(".dockerignore")).unwrap_or_default();
    dockless::pattern::ignore_file(&text).expect("patterns")
}

/// The recorded options, in our words.
fn options(case: &Case, recorded: &pb::Definition) -> Options {
    let mut options = Options {
        context: Context::Local { name: "context".to_owned(), excludes: ignored(&case.directory.join("context")) },
        ..Options::default()
    };
    let described = json(&case.directory.join("case.json"));
    for (key, value) in described["frontend_opts"].as_object().expect("options") {
        let value = value.as_str().expect("a string");
        match key.split_once(':').unwrap_or((key, "")) {
            ("build-arg", name) => _ = options.build_args.insert(name.to_owned(), value.to_owned()),
            ("context", name) => {
                let context = match value.split_once(':').expect("a scheme") {
                    ("local", local) => {
                        let excludes = ignored(&case.directory.join("named").join(local));
                        Context::Local { name: local.to_owned(), excludes }
                    }
                    (_, image) => Context::Image(image.trim_start_matches("//").to_owned()),
                };
                options.contexts.insert(name.to_owned(), context);
            }
            ("add-hosts", _) => {
                let (host, address) = value.split_once('=').expect("a host");
                options.hosts.push((host.to_owned(), address.parse().expect("an address")));
            }
            ("ulimit", _) => {
                let (name, range) = value.split_once('=').expect("a limit");
                let (soft, hard) = range.split_once(':').expect("a range");
                let (soft, hard) = (soft.parse().expect("a number"), hard.parse().expect("a number"));
                options.ulimits.push(pb::Ulimit { name: name.to_owned(), soft, hard });
            }
            ("hostname", _) => value.clone_into(&mut options.hostname),
            ("shm-size", _) => options.shm_size = value.parse().expect("a size"),
            ("no-cache", _) => options.no_cache = Some(value.split(',').map(str::to_owned).collect()),
            ("target", _) => options.target = Some(value.to_owned()),
            ("platform" | "cgroup-parent", _) => {}
            (other, _) => panic!("{other} of {} is not understood", case.name),
        }
    }
    // Random in BuildKit.
    let unique = recorded.def.iter().find_map(|bytes| match pb::Op::decode(bytes.as_slice()).expect("an op").op {
        Some(pb::op::Op::Source(source)) => source.attrs.get("local.unique").cloned(),
        _ => None,
    });
    options.unique = unique.unwrap_or_default();
    options
}

fn lower(case: &Case, options: &Options) -> Lowered {
    let text = fs::read_to_string(case.directory.join("Dockerfile")).expect("a Dockerfile");
    // What the registry said when the corpus was recorded.
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let resolver = |wanted: &Wanted, platform: &pb::Platform| -> Result<(Digest, Vec<u8>), ResolveError> {
        let (digest, config) = match wanted {
            Wanted::Image(name) if name == "127.0.0.1:5000/debian:bookworm" => (
                "sha256:947a66840b277c7648f81d598aaee5d2de82c81fc237b979d9f84c8693bc1a2f",
                serde_json::json!({
                    "created": "2024-01-01T00:00:00Z", "architecture": "amd64", "os": "linux",
                    "config": { "Env": [path], "Cmd": ["bash"] },
                    "rootfs": {
                        "type": "layers",
                        "diff_ids": ["sha256:f1ac42875685aa850e19181eea42966a9ee035ef0dd855ce25322491dfe3314e"],
                    },
                    "history": [{
                        "created": "2024-01-01T00:00:00Z",
                        "created_by": "mmdebstrap --variant=minbase bookworm", "comment": "base",
                    }],
                }),
            ),
            Wanted::Image(name) if name == "docker.io/library/alpine:3.22" => (
                "sha256:0f4bfb376226b3c06ae0e3d986d61f3595c7c087c3d25918c875ddc3c3a10118",
                serde_json::json!({
                    "architecture": platform.architecture, "os": "linux",
                    "config": { "Env": [path], "Cmd": ["/bin/sh"] },
                    "rootfs": {
                        "type": "layers",
                        "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
                    },
                    "history": [{ "created": "2024-01-01T00:00:00Z", "created_by": "fake" }],
                }),
            ),
            other => return Err(format!("{other:?} was not recorded").into()),
        };
        Ok((digest.parse()?, serde_json::to_vec(&config)?))
    };
    let file = Dockerfile { name: "Dockerfile", text: &text };
    dockerfile::lower(file, options, &resolver).unwrap_or_else(|error| panic!("{}: {error:?}", case.name))
}

/// How a graph differs from the recorded one; nothing where every operation has the recorded digest.
fn differences(recorded: &pb::Definition, ours: &pb::Definition) -> Vec<String> {
    let shown =
        |bytes: &Vec<u8>| serde_json::to_string(&pb::Op::decode(bytes.as_slice()).expect("an op")).expect("JSON");
    let mut found = Vec::new();
    for (number, (theirs, mine)) in recorded.def.iter().zip(&ours.def).enumerate() {
        if theirs != mine {
            found.push(format!("op {number}:\n  theirs {}\n  ours   {}", shown(theirs), shown(mine)));
        }
    }
    if recorded.def.len() != ours.def.len() {
        found.push(format!("{} ops instead of {}", ours.def.len(), recorded.def.len()));
    }
    if !found.is_empty() {
        return found;
    }
    for (digest, theirs) in &recorded.metadata {
        let mut mine = ours.metadata.get(digest).cloned().unwrap_or_default();
        let mut theirs = theirs.clone();
        // Random in BuildKit.
        if let (Some(mine), Some(theirs)) = (&mut mine.progress_group, &mut theirs.progress_group) {
            mine.id.clone_from(&theirs.id);
            theirs.id.clone_from(&mine.id);
        }
        if mine != theirs {
            found.push(format!("metadata:\n  theirs {theirs:?}\n  ours   {mine:?}"));
        }
    }
    let (theirs, mine) = (recorded.source.clone().unwrap_or_default(), ours.source.clone().unwrap_or_default());
    for (digest, theirs) in &theirs.locations {
        if mine.locations.get(digest) != Some(theirs) {
            found.push(format!("lines:\n  theirs {theirs:?}\n  ours   {:?}", mine.locations.get(digest)));
        }
    }
    // Theirs also says how the Dockerfile itself was read, which names a directory of the client.
    let files = |source: &pb::Source| {
        source
            .infos
            .iter()
            .map(|info| (info.filename.clone(), info.data.clone(), info.language.clone()))
            .collect::<Vec<_>>()
    };
    if files(&theirs) != files(&mine) {
        found.push("the text of the Dockerfile".to_owned());
    }
    found
}

#[test]
fn every_recorded_dockerfile_becomes_the_recorded_graph_and_config() {
    let place = tempfile::tempdir().expect("a temporary directory");
    unpack(place.path());
    let mut table = BTreeMap::new();
    for case in cases(place.path()) {
        let platforms: &[&str] =
            if case.name.starts_with("030") { &["linux/amd64", "linux/arm64", "linux/386"] } else { &[""] };
        for ((file, bytes), platform) in case.definitions().iter().zip(platforms) {
            let recorded = pb::Definition::decode(bytes.as_slice()).expect("a definition");
            let mut options = options(&case, &recorded);
            let mut config = "frontend-config.json".to_owned();
            if !platform.is_empty() {
                options.platform = Some(parse_platform(platform).expect("a platform"));
                options.multi_platform = true;
                config = format!("frontend-config-{}.json", platform.replace('/', "-"));
            }
            let lowered = lower(&case, &options);
            let ours = lowered.graph.as_ref().map(Graph::marshal).unwrap_or_default();
            let mut found = differences(&recorded, &ours);
            let (theirs, mine) = (json(&case.directory.join(config)), Value::Object(lowered.image.to_object()));
            if theirs != mine {
                found.push(format!("config:\n  theirs {theirs}\n  ours   {mine}"));
            }
            let name = Path::new(file).file_name().expect("a name").to_string_lossy().into_owned();
            table.insert(format!("{} {name}", case.name), (ours.def.len(), found));
        }
    }
    for (case, (ops, found)) in &table {
        println!("{case}: {ops} ops, {}", if found.is_empty() { "equal".to_owned() } else { found.join("\n") });
    }
    let differing = table.values().filter(|(_, found)| !found.is_empty()).count();
    println!("{} of {} equal BuildKit's", table.len() - differing, table.len());
    assert_eq!((table.len(), differing), (32, 0));
}
