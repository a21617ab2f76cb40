//! Hits and misses of BuildKit, measured by experiments, against ours.
//!
//! The corpus names for every experiment the steps of the second of two builds in one store and whether BuildKit found
//! them in its cache. Here the same two definitions are built, as its Dockerfile frontend would have made them. Where
//! our answer is another one, [`OURS`] says so and why; `docs/caching.md` is for users of that.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use dockless::llb::pb::file_action::Action;
use dockless::llb::{Edge, Graph, GraphBuilder, pb};
use dockless::oci::Arch;
use serde_json::Value;

use crate::corpus;
use crate::support::skip;
use crate::support::solve::Bench;

const SYNC: &str = "the mode is part of the result; BuildKit's transfer of local directories does not notice it";

/// Where our answer differs from BuildKit's: experiment, beginning of the step, our answer, reason.
const OURS: &[(&str, &str, &str, &str)] = &[
    ("dir: chmod nested dir", "[2/3]", "MISS", SYNC),
    ("dir: chmod nested dir", "[3/3]", "MISS", SYNC),
    // Its copy is a hit: the experiment before has made the same.
    ("dir: chmod nested dir (again)", "[3/3]", "MISS", SYNC),
    ("dir: chmod top copied dir", "[2/3]", "MISS", SYNC),
    ("dir: chmod top copied dir", "[3/3]", "MISS", SYNC),
];

/// One line of a Dockerfile as the experiments name it, and what its name does not say.
#[derive(Debug, Clone, Default)]
struct Build {
    /// Names of vertices: `[stage 2/3] COPY a.txt /x`.
    lines: Vec<String>,
    env: Vec<String>,
    hostname: String,
    proxy: String,
    host: String,
}

/// Returns the build before the edit: `lines` are those after it.
fn before(experiment: &str, after: &Build) -> Build {
    let mut build = after.clone();
    let mut replace = |from: &str, to: &str| {
        let lines = build.lines.iter().map(|line| line.replace(from, to)).collect();
        assert_ne!(build.lines, lines, "{experiment}: {from}");
        build.lines = lines;
    };
    match experiment {
        "replace by identical content, different src dir same basename" => replace("COPY e/a.txt", "COPY a.txt"),
        "identical content, different basename" => replace("COPY zz.txt", "COPY a.txt"),
        "multi-stage: producer RUN changes, same output bytes"
        | "multi-stage: producer re-run, same tree (only mtimes differ)" => replace("# v2", "# v1"),
        "multi-stage: producer adds unrelated file" => replace(" && touch /o/other", ""),
        "multi-stage: nested dir mode differs" | "multi-stage: top dir mode differs" => {
            replace("chmod 700", "chmod 755");
        }
        "multi-stage: nested dir owner differs" => replace("chown 5", "chown 0"),
        "cache mount id change" => replace(",id=", ",id=former-"),
        "cache mount sharing change" => replace(",sharing=locked", ""),
        "cache mount target change" => replace("target=/k2", "target=/k"),
        "network=none" => replace("--network=none ", ""),
        "ENV change" | "ARG (declared, unused) value change" => build.env.push("A=1".to_owned()),
        "proxy build-arg change (http_proxy)" => "http://proxy:1".clone_into(&mut build.proxy),
        "add-hosts IP change" => "10.0.0.1".clone_into(&mut build.host),
        "hostname change" => "one".clone_into(&mut build.hostname),
        _ => {}
    }
    build
}

/// What the build after the edit has beyond its lines.
fn after(experiment: &str, lines: Vec<String>) -> Build {
    let mut build = Build { lines, ..Build::default() };
    match experiment {
        "ENV change" | "ARG (declared, unused) value change" => build.env.push("A=2".to_owned()),
        "proxy build-arg change (http_proxy)" => "http://proxy:2".clone_into(&mut build.proxy),
        "add-hosts IP change" => "10.0.0.2".clone_into(&mut build.host),
        "hostname change" => "two".clone_into(&mut build.hostname),
        _ => {}
    }
    build
}

/// What the environment holds in all of them; a former value of `A` goes.
fn environment(build: &Build) -> Vec<String> {
    let last = build.env.last().cloned();
    ["PATH=/bin".to_owned()].into_iter().chain(last).collect()
}

/// A context that all experiments start from.
fn context(place: &Path) {
    for directory in ["d/sub", "d/moved", "e"] {
        fs::create_dir_all(place.join(directory)).expect("a directory");
    }
    for (name, text) in
        [("a.txt", "a\n"), ("zz.txt", "a\n"), ("e/a.txt", "a\n"), ("b.md", "b\n"), ("d/f", "f\n"), ("d/sub/g", "g\n")]
    {
        write(&place.join(name), text);
    }
    for directory in ["", "d", "d/sub", "d/moved", "e"] {
        mode(&place.join(directory), 0o755);
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    mode(path, 0o644);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
}

fn touch(path: &Path) {
    let time = UNIX_EPOCH + Duration::from_secs(1_234_567_890);
    File::options()
        .append(true)
        .open(path)
        .expect("a file")
        .set_times(FileTimes::new().set_modified(time))
        .expect("times");
}

/// The edit between the builds.
fn edit(experiment: &str, place: &Path) {
    match experiment {
        "touch source file (mtime only)" => touch(&place.join("a.txt")),
        "chmod source file" => mode(&place.join("a.txt"), 0o600),
        // Only root may give files away; for others the edit is none, which is a hit all the more.
        "chown source file (local ctx: uid/gid reset to 0)" => drop(chown(place.join("a.txt"), Some(7), Some(7))),
        "change unrelated context file" => write(&place.join("b.md"), "changed\n"),
        "change content" => write(&place.join("a.txt"), "changed\n"),
        "dir: touch nested" => touch(&place.join("d/f")),
        "dir: add empty dir" => fs::create_dir(place.join("d/new")).expect("a directory"),
        "dir: rename nested file" => fs::rename(place.join("d/f"), place.join("d/f2")).expect("a new name"),
        "dir: chmod nested dir" | "dir: chmod nested dir (again)" => mode(&place.join("d/sub"), 0o700),
        "dir: chmod nested dir + touch its file content" => {
            mode(&place.join("d/sub"), 0o700);
            write(&place.join("d/sub/g"), "changed\n");
        }
        "dir: chmod top copied dir" => mode(&place.join("d"), 0o700),
        "wildcard: unrelated non matching file" => write(&place.join("c.md"), "new\n"),
        "wildcard: new matching file" => write(&place.join("c.txt"), "new\n"),
        "RUN bind mount ro: unrelated ctx change" | "RUN bind mount rw: unrelated ctx change" => {
            write(&place.join("a.txt"), "changed\n");
        }
        "RUN bind mount ro: selected change" => write(&place.join("d/f"), "changed\n"),
        _ => {}
    }
}

/// Lowers a build as the Dockerfile frontend does; `unique` stands for what is random in every conversion.
fn lower(build: &Build, unique: &str) -> Graph {
    let mut builder = GraphBuilder::new();
    let local = |builder: &mut GraphBuilder, name: &str| {
        let attrs = [("local.sharedkeyhint", name), ("local.unique", unique)];
        let attrs = attrs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let source = pb::SourceOp { identifier: format!("local://{name}"), attrs };
        builder.add(&format!("load {name}"), pb::op::Op::Source(source), &[], Arch::X86_64, &[])
    };
    let (root, context) = (local(&mut builder, "root"), local(&mut builder, "context"));
    let mut stages: BTreeMap<String, Edge> = BTreeMap::new();
    let mut last = root;
    for line in &build.lines {
        let (place, text) = line.split_once("] ").expect("[stage n/m]");
        let stage = if place.contains("[s ") { "s" } else { "" };
        let below = stages.get(stage).copied().unwrap_or(root);
        last = match text.split_once(' ').expect("an instruction") {
            ("COPY", rest) => {
                let (from, rest) = match rest.strip_prefix("--from=s ") {
                    Some(rest) => (stages["s"], rest),
                    None => (context, rest),
                };
                let (src, dest) = rest.split_once(' ').expect("source and destination");
                builder.add(line, copy(src, dest), &[below, from], Arch::X86_64, &[])
            }
            ("RUN", rest) => {
                let (op, wants_context) = run(build, rest);
                let inputs: &[Edge] = if wants_context { &[below, context] } else { &[below] };
                builder.add(line, op, inputs, Arch::X86_64, &[])
            }
            other => panic!("{other:?}"),
        };
        stages.insert(stage.to_owned(), last);
    }
    builder.finish(last)
}

fn copy(src: &str, dest: &str) -> pb::op::Op {
    let copy = pb::FileActionCopy {
        src: format!("/{}", src.trim_start_matches('/')),
        dest: dest.to_owned(),
        mode: -1,
        follow_symlink: true,
        dir_copy_contents: true,
        create_dest_path: true,
        allow_wildcard: true,
        allow_empty_wildcard: true,
        timestamp: -1,
        ..pb::FileActionCopy::default()
    };
    let action = pb::FileAction { input: 0, secondary_input: 1, output: 0, action: Some(Action::Copy(copy)) };
    pb::op::Op::File(pb::FileOp { actions: vec![action] })
}

/// Returns a step, and whether it mounts the context.
fn run(build: &Build, text: &str) -> (pb::op::Op, bool) {
    let mut mounts = vec![pb::Mount { dest: "/".to_owned(), ..pb::Mount::default() }];
    let mut network = pb::NetMode::Unset;
    let mut script = text;
    let mut wants_context = false;
    while let Some((flag, rest)) = script.strip_prefix("--").and_then(|text| text.split_once(' ')) {
        match flag.split_once('=').expect("a flag with a value") {
            ("network", "none") => network = pb::NetMode::None,
            ("mount", options) => {
                let mount = mount(options);
                wants_context |= mount.input == 1;
                mounts.push(mount);
            }
            other => panic!("{other:?}"),
        }
        script = rest;
    }
    let proxy_env =
        (!build.proxy.is_empty()).then(|| pb::ProxyEnv { http_proxy: build.proxy.clone(), ..pb::ProxyEnv::default() });
    let hosts = (!build.host.is_empty()).then(|| pb::HostIp { host: "myhost".to_owned(), ip: build.host.clone() });
    let exec = pb::ExecOp {
        meta: Some(pb::Meta {
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: environment(build),
            cwd: "/".to_owned(),
            hostname: build.hostname.clone(),
            proxy_env,
            extra_hosts: hosts.into_iter().collect(),
            remove_mount_stubs_recursive: true,
            ..pb::Meta::default()
        }),
        mounts,
        network: network.into(),
        ..pb::ExecOp::default()
    };
    (pb::op::Op::Exec(exec), wants_context)
}

fn mount(options: &str) -> pb::Mount {
    let mut mount = pb::Mount { input: -1, output: -1, ..pb::Mount::default() };
    let (mut id, mut sharing) = (String::new(), pb::CacheSharingOpt::Shared);
    for option in options.split(',') {
        match option.split_once('=').unwrap_or((option, "")) {
            ("type", "bind") => {
                mount.input = 1;
                mount.readonly = true;
            }
            ("type", "cache") => mount.mount_type = pb::MountType::Cache.into(),
            ("type", "secret") => mount.mount_type = pb::MountType::Secret.into(),
            ("source", source) => mount.selector = format!("/{source}"),
            ("target", target) => target.clone_into(&mut mount.dest),
            ("id", name) => name.clone_into(&mut id),
            ("sharing", "locked") => sharing = pb::CacheSharingOpt::Locked,
            ("rw", "") => mount.readonly = false,
            other => panic!("{other:?}"),
        }
    }
    match mount.mount_type() {
        pb::MountType::Cache => mount.cache_opt = Some(pb::CacheOpt { id, sharing: sharing.into() }),
        pb::MountType::Secret => {
            mount.dest = format!("/run/secrets/{id}");
            mount.secret_opt = Some(pb::SecretOpt { id, mode: 0o400, ..pb::SecretOpt::default() });
        }
        _ => {}
    }
    mount
}

/// Builds and returns the names of the steps that ran.
fn build(bench: &Bench, place: &Path, graph: &Graph, secret: Option<&str>) -> Result<Vec<String>, String> {
    let mut arguments =
        vec![format!("--local=context={}", place.join("context").display()), "--progress=json".to_owned()];
    if let Some(secret) = secret {
        let file = place.join("secret");
        write(&file, secret);
        arguments.push(format!("--secret=id=q,src={}", file.display()));
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = bench.solve(graph, &arguments);
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        return Err(said.into_owned());
    }
    let events = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let started = events.filter(|event| event["event"] == "started");
    Ok(started.filter_map(|event| event["name"].as_str().map(str::to_owned)).collect())
}

#[test]
fn hits_and_misses_are_those_of_buildkit_or_better() {
    let Some(bench) = Bench::new() else { return };
    let experiments: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&corpus::member("cache-experiments.json")).expect("experiments");
    assert_eq!(experiments.len(), 36);
    let mut wrong = Vec::new();
    let mut used = 0;
    for (number, (experiment, lines)) in experiments.iter().enumerate() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = place.path().join("context");
        fs::create_dir(&directory).expect("a directory");
        context(&directory);
        let secret = experiment.starts_with("secret");
        let answers: Vec<(&str, &str)> =
            lines.iter().map(|line| line.split_at_checked(5).expect("an answer and a name")).collect();
        let build_after = after(experiment, answers.iter().map(|(_, name)| (*name).to_owned()).collect());
        let graphs = [
            lower(&before(experiment, &build_after), &format!("a{number}")),
            lower(&build_after, &format!("b{number}")),
        ];
        if let Err(said) = build(&bench, place.path(), &graphs[0], secret.then_some("one")) {
            wrong.push(format!("{experiment}: the first build failed: {said}"));
            continue;
        }
        edit(experiment, &directory);
        let ran = match build(&bench, place.path(), &graphs[1], secret.then_some("two")) {
            Ok(ran) => ran,
            Err(said) if said.contains("changing ownership") => {
                skip("subids", "files can belong to one user only");
                used += OURS.iter().filter(|(which, ..)| which == experiment).count();
                continue;
            }
            Err(said) => {
                wrong.push(format!("{experiment}: the second build failed: {said}"));
                continue;
            }
        };
        for (answer, name) in answers {
            let ours = OURS.iter().find(|(which, step, ..)| which == experiment && name.starts_with(step));
            used += usize::from(ours.is_some());
            let wanted = ours.map_or(answer.trim(), |(_, _, answer, _)| answer);
            let found = if ran.iter().any(|step| step == name) { "MISS" } else { "HIT" };
            if wanted != found {
                wrong.push(format!("{experiment}: {name}: {found}, should be {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!(used, OURS.len(), "every line of OURS is of an experiment");
}
