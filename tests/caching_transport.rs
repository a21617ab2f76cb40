//! A cache travels: what one machine built, another does not build again, and what is wrong with a cache never matters.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dockless::llb::{Graph, GraphBuilder, op, pb};
use dockless::oci::{Arch, Digest};
use serde_json::Value;

use crate::support::registry::DockerRegistry;
use crate::support::solve::{Bench, read};

/// Steps that really ran, by the lines that say they started.
fn ran(said: &str) -> Vec<&str> {
    said.lines()
        .filter_map(|line| line.split_once(' ')?.1.strip_suffix(" started"))
        .filter(|name| name.starts_with("step"))
        .collect()
}

/// Solves in the store `store` of the bench, which must succeed; returns the tree and what was said.
fn solved(bench: &Bench, store: &str, graph: &Graph, arguments: &[&str]) -> (PathBuf, String) {
    let store = bench.store().with_file_name(store);
    let out = bench
        .store()
        .with_file_name(format!("out-{}", Digest::of(format!("{}{arguments:?}", store.display()).as_bytes()).short()));
    let _ = fs::remove_dir_all(&out);
    let output = format!("type=dir,dest={}", out.display());
    let mut all = vec!["-o", &output];
    all.extend(arguments);
    let run = bench.solve_in(&store, graph, &all);
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{said}");
    (out, said)
}

fn at(bench: &Bench, name: &str) -> PathBuf {
    bench.store().with_file_name(name)
}

fn to(path: &Path, rest: &str) -> String {
    format!("--cache-to=type=local,dest={}{rest}", path.display())
}

fn from(path: &Path) -> String {
    format!("--cache-from=type=local,src={}", path.display())
}

/// Everything of a tree that a step could notice, but for times that the clock gave.
fn listing(tree: &Path) -> Vec<String> {
    let walk = walkdir::WalkDir::new(tree).sort_by_file_name().into_iter().map(|entry| entry.expect("listed"));
    walk.map(|entry| {
        let it = fs::symlink_metadata(entry.path()).expect("examined");
        let content = match it.file_type() {
            kind if kind.is_symlink() => fs::read_link(entry.path()).expect("a link").display().to_string(),
            kind if kind.is_file() => Digest::of(&fs::read(entry.path()).expect("read")).to_string(),
            _ => String::new(),
        };
        let path = entry.path().strip_prefix(tree).expect("below").display().to_string();
        format!("{path} {:o} {}:{} {content}", it.mode(), it.uid(), it.gid())
    })
    .collect()
}

/// A root filesystem that is changed twice by steps: files added, replaced, deleted, directories made anew.
fn layered(last: &str) -> Graph {
    let scripts = [
        "mkdir -p /d/e /n; echo 1 > /d/e/x; echo 1 > /d/y; echo 1 > /d/z; echo 1 > /k; touch -d 2001-02-03T04:05:06.789 /k",
        "cd /d; cp /bin/chmod /n/b; chmod 4755 /n/b; chown 3:4 /n/b || true; /bin/rm -rf e y z; mkdir e; echo 2 > e/new",
        last,
    ];
    let mut builder = GraphBuilder::new();
    let mut root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
    for (i, script) in scripts.iter().enumerate() {
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![pb::Mount { input: 0, dest: "/".to_owned(), output: 0, ..pb::Mount::default() }],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        root = builder.add(&format!("step {i}"), pb::op::Op::Exec(exec), &[root], Arch::X86_64, &[]);
    }
    builder.finish(root)
}

/// The program that the bench's root does not have.
fn with_rm(bench: &Bench) {
    let program = ["/bin/rm", "/usr/bin/rm"].iter().find(|path| Path::new(path).exists()).expect("rm");
    fs::copy(program, bench.store().with_file_name("root").join("bin/rm")).expect("copied");
}

#[test]
fn what_one_store_has_built_another_one_does_not_build_again() {
    let Some(bench) = Bench::new() else { return };
    with_rm(&bench);
    let cache = at(&bench, "cache");
    for graph in [layered("echo 3 > /d/e/three"), Bench::graph(&["date +%N > /out/a", "cat /in/a > /out/b"])] {
        let (first, said) = solved(&bench, "a", &graph, &[&to(&cache, "")]);
        assert!(said.contains("cache ") && said.contains("sha256:"), "{said}");
        let (second, said) = solved(&bench, "b", &graph, &[&from(&cache)]);
        assert!(ran(&said).is_empty() && !said.contains("not used"), "{said}");
        assert_eq!(listing(&first), listing(&second));
    }
    // What has come is kept: all that the last tree lies on.
    let (_, said) = solved(&bench, "b", &layered("echo 3 > /d/e/three"), &[]);
    assert!(ran(&said).is_empty(), "{said}");
}

#[test]
fn a_later_step_runs_on_trees_that_came_from_elsewhere() {
    let Some(bench) = Bench::new() else { return };
    with_rm(&bench);
    let cache = at(&bench, "cache");
    solved(&bench, "a", &layered("echo 3 > /d/e/three"), &[&to(&cache, ",mode=max,compression=gzip")]);
    let other = layered("ls -R /d /n > /list; ls -l /n >> /list; echo 4 > /k");
    let (first, said) = solved(&bench, "a", &other, &[]);
    assert_eq!(ran(&said), ["step 2"], "{said}");
    let (second, said) = solved(&bench, "b", &other, &[&from(&cache)]);
    assert_eq!(ran(&said), ["step 2"], "{said}");
    assert_eq!(read(&first, "list"), read(&second, "list"));
    assert_eq!(listing(&first), listing(&second));
}

#[test]
fn min_carries_the_layers_of_the_result_and_max_those_of_every_step() {
    let Some(bench) = Bench::new() else { return };
    let (min, max) = (at(&bench, "min"), at(&bench, "max"));
    let graph = Bench::graph(&["date +%N > /out/a", "date +%N > /out/b; cat /in/a >> /out/b", "cat /in/b > /out/c"]);
    solved(&bench, "a", &graph, &[&to(&min, ""), &to(&max, ",mode=max")]);
    let changed =
        Bench::graph(&["date +%N > /out/a", "date +%N > /out/b; cat /in/a >> /out/b", "cat /in/b > /out/changed"]);
    let (_, said) = solved(&bench, "b", &changed, &[&from(&max)]);
    assert_eq!(ran(&said), ["step 2"], "{said}");
    let (_, said) = solved(&bench, "c", &graph, &[&from(&min)]);
    assert!(ran(&said).is_empty(), "{said}");
    // What it needs and the cache does not have is built, with what that needs.
    let (tree, said) = solved(&bench, "d", &changed, &[&from(&min)]);
    assert_eq!(ran(&said), ["step 0", "step 1", "step 2"], "{said}");
    assert_eq!(read(&tree, "changed").lines().count(), 2);
}

#[test]
fn an_equal_cache_has_equal_bytes_and_what_nothing_names_goes() {
    let Some(bench) = Bench::new() else { return };
    let (one, two) = (at(&bench, "one"), at(&bench, "two"));
    let graph = Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b"]);
    solved(&bench, "a", &graph, &[&to(&one, ",mode=max")]);
    let blobs = |cache: &Path| listing(&cache.join("blobs"));
    let before = (blobs(&one), fs::read(one.join("index.json")).expect("an index"));
    solved(&bench, "a", &graph, &[&to(&one, ",mode=max"), &to(&two, ",mode=max")]);
    assert_eq!(before, (blobs(&one), fs::read(one.join("index.json")).expect("an index")));
    assert_eq!(before, (blobs(&two), fs::read(two.join("index.json")).expect("an index")));
    solved(&bench, "a", &Bench::graph(&["echo 2 > /out/a"]), &[&to(&one, "")]);
    assert_eq!(blobs(&one).len(), 2 + 3, "{:?}", blobs(&one));
}

/// The blobs of a cache: manifest, config, and a layer.
fn blobs(cache: &Path) -> [PathBuf; 3] {
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).expect("read")).expect("JSON") };
    let blob = |digest: &Value| cache.join("blobs").join(digest.as_str().expect("a digest").replace(':', "/"));
    let manifest = blob(&json(&cache.join("index.json"))["manifests"][0]["digest"]);
    let document = json(&manifest);
    [blob(&document["config"]["digest"]), blob(&document["layers"][0]["digest"]), manifest]
}

/// Replaces the config of a cache, with all digests as they must be.
fn forge(cache: &Path, change: impl FnOnce(&mut Value)) {
    let [config, _, manifest] = blobs(cache);
    let mut value: Value = serde_json::from_slice(&fs::read(config).expect("read")).expect("JSON");
    change(&mut value);
    let put = |value: &Value| {
        let bytes = value.to_string().into_bytes();
        let digest = Digest::of(&bytes);
        fs::write(cache.join("blobs/sha256").join(digest.hex()), &bytes).expect("written");
        (digest.to_string(), bytes.len())
    };
    let (digest, size) = put(&value);
    let mut document: Value = serde_json::from_slice(&fs::read(manifest).expect("read")).expect("JSON");
    document["config"]["digest"] = digest.into();
    document["config"]["size"] = size.into();
    let (digest, size) = put(&document);
    let path = cache.join("index.json");
    let mut index: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    index["manifests"][0]["digest"] = digest.into();
    index["manifests"][0]["size"] = size.into();
    fs::write(path, index.to_string()).expect("written");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

fn cut(path: &Path) {
    let bytes = fs::read(path).expect("read");
    fs::write(path, &bytes[..bytes.len() / 2]).expect("written");
}

fn each_layer(value: &mut Value, change: impl Fn(&mut Value)) {
    value["layers"].as_object_mut().expect("layers").values_mut().for_each(change);
}

/// What is done to a cache, and its name.
type Damage<'a> = (&'a str, Box<dyn Fn(&Path) + 'a>);

/// Everything that may be wrong with a cache; `wrong` is a digest of nothing in it.
fn damages(wrong: &str) -> Vec<Damage<'_>> {
    vec![
        ("layer cut", Box::new(move |cache| cut(&blobs(cache)[1]))),
        ("layer flipped", Box::new(move |cache| flip(&blobs(cache)[1]))),
        ("layer missing", Box::new(move |cache| fs::remove_file(&blobs(cache)[1]).expect("removed"))),
        ("config cut", Box::new(move |cache| cut(&blobs(cache)[0]))),
        ("config flipped", Box::new(move |cache| flip(&blobs(cache)[0]))),
        ("config missing", Box::new(move |cache| fs::remove_file(&blobs(cache)[0]).expect("removed"))),
        ("manifest flipped", Box::new(move |cache| flip(&blobs(cache)[2]))),
        ("manifest missing", Box::new(move |cache| fs::remove_file(&blobs(cache)[2]).expect("removed"))),
        ("index garbage", Box::new(move |cache| fs::write(cache.join("index.json"), "[[[[").expect("written"))),
        ("no directory", Box::new(move |cache| fs::remove_dir_all(cache).expect("removed"))),
        ("huge sizes", Box::new(move |cache| forge(cache, |it| each_layer(it, |it| it["size"] = u64::MAX.into())))),
        ("tiny length", Box::new(move |cache| forge(cache, |it| each_layer(it, |it| it["length"] = 1.into())))),
        ("wrong tree", Box::new(move |cache| forge(cache, |it| each_layer(it, |it| it["tree"] = wrong.into())))),
        (
            "own parent",
            Box::new(move |cache| {
                forge(cache, |it| {
                    for (name, layer) in it["layers"].as_object_mut().expect("layers") {
                        layer["parent"] = name.clone().into();
                    }
                });
            }),
        ),
        (
            "another content",
            Box::new(move |cache| {
                forge(cache, |it| {
                    for record in it["records"].as_object_mut().expect("records").values_mut() {
                        record[0]["content"] = wrong.into();
                    }
                });
            }),
        ),
        (
            "another name",
            Box::new(move |cache| {
                forge(cache, |it| {
                    let names: Vec<String> = it["layers"].as_object().expect("layers").keys().cloned().collect();
                    let text = names.iter().fold(it.to_string(), |text, name| text.replace(name, wrong));
                    let tree = format!("\"tree\":\"{}\"", names[0]);
                    let text = text.replace(&format!("\"tree\":\"{wrong}\""), &tree);
                    *it = serde_json::from_str(&text).expect("JSON");
                });
            }),
        ),
        (
            "no outputs",
            Box::new(move |cache| {
                forge(cache, |it| {
                    it["records"]
                        .as_object_mut()
                        .expect("records")
                        .values_mut()
                        .for_each(|it| *it = Value::Array(vec![]));
                });
            }),
        ),
        (
            "other trees under the names",
            Box::new(move |cache| {
                forge(cache, |it| {
                    let layers: Vec<Value> = it["layers"].as_object().expect("layers").values().cloned().collect();
                    let names = it["layers"].as_object_mut().expect("layers").values_mut();
                    names.zip(layers.into_iter().rev()).for_each(|(to, from)| *to = from);
                });
            }),
        ),
        ("another version", Box::new(move |cache| forge(cache, |it| it["version"] = 2.into()))),
    ]
}

#[test]
fn a_damaged_or_forged_cache_is_said_aloud_and_changes_nothing() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a", "cat /in/a > /out/b"]);
    let wrong = Digest::of(b"wrong").to_string();
    let (expected, _) = solved(&bench, "a", &graph, &[]);
    for (number, (what, damage)) in damages(&wrong).iter().enumerate() {
        let cache = at(&bench, &format!("cache-{number}"));
        solved(&bench, "a", &graph, &[&to(&cache, if what.starts_with("other") { ",mode=max" } else { "" })]);
        damage(&cache);
        let (tree, said) = solved(&bench, &format!("b-{number}"), &graph, &[&from(&cache)]);
        assert_eq!(listing(&expected), listing(&tree), "{what}");
        assert!(ran(&said).contains(&"step 1"), "{what}: {said}");
        assert!(said.contains("not used"), "{what}: {said}");
        // Nothing of it stays: the store answers as if it had built all alone.
        let (tree, said) = solved(&bench, &format!("b-{number}"), &graph, &[]);
        assert!(ran(&said).is_empty(), "{what}: {said}");
        assert_eq!(listing(&expected), listing(&tree), "{what}");
    }
}

#[test]
fn a_cache_does_not_replace_what_is_none() {
    let Some(bench) = Bench::new() else { return };
    let graph = Bench::graph(&["echo 1 > /out/a"]);
    let place = at(&bench, "home");
    fs::create_dir(&place).expect("made");
    fs::write(place.join("letter"), "dear").expect("written");
    let (_, said) = solved(&bench, "a", &graph, &[&to(&place, "")]);
    assert!(said.contains("was not written"), "{said}");
    assert_eq!(listing(&place).len(), 2);
}

#[test]
fn cache_mounts_travel() {
    let Some(bench) = Bench::new() else { return };
    let cache = at(&bench, "cache");
    let graph = |script: &str| {
        let mut builder = GraphBuilder::new();
        let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
        let mount = pb::Mount {
            input: -1,
            dest: "/cache".to_owned(),
            output: -1,
            mount_type: pb::MountType::Cache.into(),
            cache_opt: Some(pb::CacheOpt { id: "kept".to_owned(), ..pb::CacheOpt::default() }),
            ..pb::Mount::default()
        };
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![op::bind(0, "/"), op::scratch("/out", Some(0)), mount],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        let step = builder.add("step", pb::op::Op::Exec(exec), &[root], Arch::X86_64, &[]);
        builder.finish(step)
    };
    for ids in ["all", "kept", "other;kept"] {
        solved(&bench, "a", &graph("echo 1 > /cache/x; echo > /out/a"), &[&to(&cache, &format!(",mounts={ids}"))]);
        let store = format!("b-{}", ids.len());
        let (tree, said) = solved(&bench, &store, &graph("cat /cache/x > /out/x"), &[&from(&cache)]);
        assert_eq!(read(&tree, "x"), "1\n", "{said}");
    }
}

#[test]
fn a_registry_carries_a_cache_and_one_that_is_gone_fails_no_build() {
    let Some(bench) = Bench::new() else { return };
    let Some(server) = DockerRegistry::start(&[]) else { return };
    let graph = Bench::graph(&["date +%N > /out/a", "cat /in/a > /out/b"]);
    let reference = server.reference("team/cache:ci");
    let (to, from) = (
        format!("--cache-to=type=registry,ref={reference},mode=max"),
        format!("--cache-from=type=registry,ref={reference}"),
    );
    let (first, said) = solved(&bench, "a", &graph, &[&to]);
    assert!(!said.contains("not written"), "{said}");
    let (second, said) = solved(&bench, "b", &graph, &[&from]);
    assert!(ran(&said).is_empty(), "{said}");
    assert_eq!(listing(&first), listing(&second));
    drop(server);
    let (_, said) = solved(&bench, "c", &graph, &[&from, &to]);
    assert_eq!(ran(&said).len(), 2, "{said}");
    assert!(said.contains("is not used") && said.contains("was not written"), "{said}");
}

#[test]
fn file_operations_travel_also_when_the_cache_was_ignored() {
    use dockless::llb::pb::file_action::Action;

    let Some(bench) = Bench::new() else { return };
    with_rm(&bench);
    let graph = |text: &str| {
        let mut builder = GraphBuilder::new();
        let root = builder.add("root", op::local("root", &[]), &[], Arch::X86_64, &[]);
        let mkfile = pb::FileActionMkFile {
            path: "/made".to_owned(),
            mode: 0o640,
            data: b"made".to_vec(),
            timestamp: 981_173_106_789_000_000,
            ..pb::FileActionMkFile::default()
        };
        let action = pb::FileAction { input: 0, secondary_input: -1, output: 0, action: Some(Action::Mkfile(mkfile)) };
        let made = pb::op::Op::File(pb::FileOp { actions: vec![action] });
        let made = builder.add("step file", made, &[root], Arch::X86_64, &[]);
        let exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-eu", "-c", text].map(str::to_owned).to_vec(),
                env: vec!["PATH=/bin".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![pb::Mount { input: 0, dest: "/".to_owned(), output: 0, ..pb::Mount::default() }],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        let end = builder.add("step exec", pb::op::Op::Exec(exec), &[made], Arch::X86_64, &[]);
        builder.finish(end)
    };
    for (number, flags) in [vec![], vec!["--no-cache"]].into_iter().enumerate() {
        let cache = at(&bench, &format!("cache-{number}"));
        let there = to(&cache, "");
        let (first, _) =
            solved(&bench, "a", &graph("cat /made > /copy; rm /made"), &[flags, vec![there.as_str()]].concat());
        let store = format!("b-{number}");
        let (second, said) = solved(&bench, &store, &graph("cat /made > /copy; rm /made"), &[&from(&cache)]);
        assert!(ran(&said).is_empty() && !said.contains("not used"), "{said}");
        assert_eq!(listing(&first), listing(&second));
        let (third, said) = solved(&bench, &store, &graph("ls -l /made > /list"), &[&from(&cache)]);
        assert_eq!(ran(&said), ["step exec"], "{said}");
        assert!(read(&third, "list").contains("made"));
    }
}
