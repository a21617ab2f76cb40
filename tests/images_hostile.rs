//! Archives that lie: each is refused by name, and the store is as it was.

use std::fs;
use std::io::Write as _;

use dockless::http::Stop;
use dockless::image::{Archive, ImageError, Naming, load};
use dockless::oci::Digest;
use tar::EntryType;

use crate::support::images::{Place, archive, layers, named, sample};

type Entries = Vec<(EntryType, String, String, Vec<u8>)>;

const FILE: EntryType = EntryType::Regular;

fn file(name: &str, bytes: &[u8]) -> (EntryType, String, String, Vec<u8>) {
    (FILE, name.to_owned(), String::new(), bytes.to_vec())
}

fn link(kind: EntryType, name: &str, target: &str) -> (EntryType, String, String, Vec<u8>) {
    (kind, name.to_owned(), target.to_owned(), Vec::new())
}

fn tar_of(entries: &Entries) -> Vec<u8> {
    let borrowed: Vec<(EntryType, &str, &str, &[u8])> = entries
        .iter()
        .map(|(kind, name, link, bytes)| (*kind, name.as_str(), link.as_str(), bytes.as_slice()))
        .collect();
    archive(&borrowed)
}

/// A docker archive of the sample; `change` makes it lie.
fn docker(change: impl FnOnce(&mut Entries, &mut String)) -> Vec<u8> {
    let [below, above] = layers("a");
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
        Digest::of(&below),
        Digest::of(&above)
    );
    let mut manifest =
        r#"[{"Config":"c.json","RepoTags":["evil:1"],"Layers":["a/layer.tar","b/layer.tar"]}]"#.to_owned();
    let mut entries = vec![file("c.json", config.as_bytes()), file("a/layer.tar", &below), file("b/layer.tar", &above)];
    change(&mut entries, &mut manifest);
    entries.push(file("manifest.json", manifest.as_bytes()));
    tar_of(&entries)
}

/// An OCI archive of the sample; `change` makes it lie.
fn oci(change: impl FnOnce(&mut Entries)) -> Vec<u8> {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "evil:1");
    let saved = place.image(&["save", "evil:1"]).output().expect("the binary ends").stdout;
    let mut archive = tar::Archive::new(&saved[..]);
    let mut entries: Entries = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a path").display().to_string();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).expect("read");
        entries.push((entry.header().entry_type(), name, String::new(), bytes));
    }
    change(&mut entries);
    tar_of(&entries)
}

fn index_of(entries: &mut Entries) -> &mut Vec<u8> {
    &mut entries.iter_mut().find(|entry| entry.1 == "index.json").expect("an index").3
}

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    *bytes = String::from_utf8(bytes.clone()).expect("text").replace(from, to).into_bytes();
}

fn refuse(name: &str, bytes: &[u8], wanted: &str) {
    let place = Place::new();
    let store = place.store();
    let before = place.blobs();
    let mut reader = bytes;
    let loaded = load(Archive::Stream(&mut reader, "the archive"), Naming::Own, &store, &Stop::default());
    let error = loaded.expect_err(name);
    assert!(error.is_input(), "{name}: {error:?}");
    let mut said = error.to_string();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(&error);
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    assert!(said.contains(wanted), "{name}: {said}");
    assert_eq!(place.blobs(), before, "{name} left something");
    assert!(store.tags().expect("tags").is_empty() && store.records("untagged").expect("records").is_empty(), "{name}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_docker_archive_that_lies_is_refused() {
    type Change = Box<dyn FnOnce(&mut Entries, &mut String)>;
    let cases: Vec<(&str, &str, Change)> = vec![
        ("a layer is missing", "lacks `b/layer.tar`", Box::new(|entries, _| drop(entries.remove(2)))),
        ("the config is missing", "lacks `c.json`", Box::new(|entries, _| drop(entries.remove(0)))),
        (
            "layers are swapped",
            "was promised",
            Box::new(|_, manifest| {
                *manifest = manifest.replace(r#""a/layer.tar","b/layer.tar""#, r#""b/layer.tar","a/layer.tar""#);
            }),
        ),
        ("a layer was changed", "was promised", Box::new(|entries, _| entries[1].3[600] ^= 1)),
        (
            "fewer layers",
            "names 2 layers",
            Box::new(|_, manifest| *manifest = manifest.replace(r#","b/layer.tar""#, "")),
        ),
        (
            "a layer from outside",
            "leads out of it",
            Box::new(|_, manifest| {
                *manifest = manifest.replace("b/layer.tar", "../../../../etc/passwd");
            }),
        ),
        (
            "an absolute layer",
            "leads out of it",
            Box::new(|_, manifest| {
                *manifest = manifest.replace("b/layer.tar", "/etc/passwd");
            }),
        ),
        (
            "a link to outside",
            "lacks `b/layer.tar`",
            Box::new(|entries, _| {
                entries[2] = link(EntryType::Symlink, "b/layer.tar", "../../../../../../etc/passwd");
            }),
        ),
        (
            "an absolute link",
            "lacks `b/layer.tar`",
            Box::new(|entries, _| {
                entries[2] = link(EntryType::Symlink, "b/layer.tar", "/etc/passwd");
            }),
        ),
        (
            "a hard link to outside",
            "lacks `b/layer.tar`",
            Box::new(|entries, _| {
                entries[2] = link(EntryType::Link, "b/layer.tar", "/etc/passwd");
            }),
        ),
        (
            "a link to itself",
            "without end",
            Box::new(|entries, _| {
                entries[2] = link(EntryType::Symlink, "b/layer.tar", "layer.tar");
            }),
        ),
        (
            "a device",
            "lacks `b/layer.tar`",
            Box::new(|entries, _| entries[2] = link(EntryType::Char, "b/layer.tar", "")),
        ),
        (
            "a name that is none",
            "cannot name an image",
            Box::new(|_, manifest| {
                *manifest = manifest.replace("evil:1", "../evil");
            }),
        ),
        ("a config that is none", "not the config of an image", Box::new(|entries, _| entries[0].3 = b"[]".to_vec())),
        (
            "a manifest that is none",
            "`manifest.json` is not as it must be",
            Box::new(|_, manifest| *manifest = "{}".to_owned()),
        ),
        ("no image", "no image is in it", Box::new(|_, manifest| *manifest = "[]".to_owned())),
        ("a huge config", "has more than", Box::new(|entries, _| entries[0].3 = vec![b' '; 9 << 20])),
    ];
    for (name, wanted, change) in cases {
        refuse(name, &docker(change), wanted);
    }
}

#[test]
fn an_oci_archive_that_lies_is_refused() {
    type Change = Box<dyn FnOnce(&mut Entries)>;
    let largest = |entries: &mut Entries| {
        let at =
            (0..entries.len()).filter(|at| entries[*at].1.starts_with("blobs/")).max_by_key(|at| entries[*at].3.len());
        at.expect("a blob")
    };
    let cases: Vec<(&str, &str, Change)> = vec![
        ("no index", "neither an image layout", Box::new(|entries| entries.retain(|entry| entry.1 != "index.json"))),
        (
            "a blob is missing",
            "lacks blob sha256:",
            Box::new(move |entries| {
                let at = largest(entries);
                entries.remove(at);
            }),
        ),
        (
            "a blob was changed",
            "was promised",
            Box::new(move |entries| {
                let at = largest(entries);
                entries[at].3[20] ^= 1;
            }),
        ),
        (
            "a manifest of another size",
            "promised",
            Box::new(|entries| replace(index_of(entries), r#""size":"#, r#""size":1"#)),
        ),
        (
            "an index that is a manifest too",
            "at the same time",
            Box::new(|entries| {
                replace(index_of(entries), r#""schemaVersion":2"#, r#""schemaVersion":2,"layers":[]"#);
            }),
        ),
        ("an index that is none", "not a manifest", Box::new(|entries| *index_of(entries) = b"x".to_vec())),
        (
            "an index of nothing",
            "no image is in it",
            Box::new(|entries| {
                *index_of(entries) = br#"{"schemaVersion":2,"manifests":[]}"#.to_vec();
            }),
        ),
        ("a huge index", "has more than", Box::new(|entries| *index_of(entries) = vec![b' '; 5 << 20])),
        (
            "an index that is a link to outside",
            "neither an image layout",
            Box::new(|entries| {
                let at = entries.iter().position(|entry| entry.1 == "index.json").expect("an index");
                entries[at] = link(EntryType::Symlink, "index.json", "../../etc/passwd");
            }),
        ),
    ];
    for (name, wanted, change) in cases {
        refuse(name, &oci(change), wanted);
    }
}

#[test]
fn what_is_no_archive_or_only_half_of_one_is_refused() {
    let whole = docker(|_, _| {});
    refuse("nothing", b"", "cut short");
    refuse("noise", &[7; 4096], "malformed");
    refuse("only an end", &[0; 1024], "nothing is in it");
    refuse("half", &whole[..whole.len() / 2], "cut short");
    refuse("a docker before 1.10", &tar_of(&vec![file("repositories", b"{}")]), "1.10");
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        let mut header = tar::Header::new_gnu();
        header.set_path("x").expect("a path");
        header.set_size(1 << 40);
        header.set_mode(0o644);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).expect("compressed");
        encoder.finish().expect("compressed")
    };
    refuse("a terabyte", &bomb, "more than");
}

#[test]
fn links_that_docker_writes_for_equal_layers_are_followed() {
    let place = Place::new();
    let store = place.store();
    let [below, _] = layers("a");
    let id = Digest::of(&below);
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{id}","{id}","{id}"]}}}}"#
    );
    let manifest = r#"[{"Config":"c.json","RepoTags":null,"Layers":["x/layer.tar","y/layer.tar","z/layer.tar"]}]"#;
    let bytes = tar_of(&vec![
        file("manifest.json", manifest.as_bytes()),
        link(EntryType::Symlink, "y/layer.tar", "../x/layer.tar"),
        link(EntryType::Link, "z/layer.tar", "y/layer.tar"),
        file("x/layer.tar", &below),
        file("c.json", config.as_bytes()),
        file("../outside", b"never written"),
    ]);
    let loaded = load(Archive::Stream(&mut &bytes[..], "the archive"), Naming::Own, &store, &Stop::default());
    let loaded = loaded.expect("loaded");
    assert!(loaded.len() == 1 && loaded[0].names.is_empty());
    assert!(store.contains(&id).is_some() && !place.path("outside").exists());
}

#[test]
fn a_layout_that_lies_is_refused_too() {
    let place = Place::new();
    let store = place.store();
    named(&store, &sample(&store, "a", "amd64"), "evil:1");
    place.done(&["save", "--format", "oci", "evil:1", "-o", "layout"]);
    let blobs = place.path("layout/blobs/sha256");
    let largest = fs::read_dir(&blobs).expect("blobs").flatten().max_by_key(|it| it.metadata().expect("there").len());
    let largest = largest.expect("a blob").path();
    let refused = |what: &str, wanted: &str| {
        let other = Place::new();
        let store = other.store();
        let before = other.blobs();
        let loaded = load(Archive::Directory(&place.path("layout")), Naming::Own, &store, &Stop::default());
        let error: ImageError = loaded.expect_err(what);
        assert!(error.to_string().contains(wanted), "{what}: {error}");
        assert_eq!(other.blobs(), before, "{what}");
    };
    let bytes = fs::read(&largest).expect("read");
    fs::write(&largest, [&bytes[..10], b"x", &bytes[11..]].concat()).expect("written");
    refused("a changed blob", "was promised");
    fs::remove_file(&largest).expect("removed");
    refused("a missing blob", "lacks blob");
    std::os::unix::fs::symlink("/dev/zero", &largest).expect("linked");
    refused("an endless blob", "is not a file");
    fs::remove_file(&largest).expect("removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &largest,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .expect("a pipe");
    refused("a pipe", "is not a file");
}
