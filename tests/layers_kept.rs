//! What layers keep: what a machine does not allow is recorded, forms of other tars are read, times are clamped.

use std::fs;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use std::io::Write as _;

use dockless::layer::{
    Compression, Compressor, LayerError, Limits, Owner, PackOptions, PackTimes, UnpackOptions, clamp_times, pack,
    tree_digest, unpack,
};
use dockless::oci::{DiffId, Digest};
use rustix::fs::{XattrFlags, lsetxattr};
use tar::EntryType::{Char, Fifo, Regular};
use tempfile::TempDir;

use crate::support::skip;

fn temporary() -> TempDir {
    TempDir::new().expect("temporary directory")
}

fn packed(tree: &Path, times: PackTimes, owner: Owner) -> Vec<u8> {
    let options = PackOptions { times, overlay: false, root: false, owner, prefix: PathBuf::new() };
    let mut tar = Vec::new();
    pack(tree, &options, &mut tar).expect("packed");
    tar
}

fn options() -> UnpackOptions {
    UnpackOptions { single_id: true, ..UnpackOptions::default() }
}

#[test]
fn what_is_recorded_is_packed_as_if_it_were_there() {
    let tree = temporary();
    for (name, record, value) in [
        ("null", "user.dockless.node", "c 1 3"),
        ("pipe", "user.dockless.node", "p"),
        ("not-empty", "user.dockless.node", "c 1 3"),
        ("given", "user.dockless.owner", "1000 100"),
    ] {
        let path = tree.path().join(name);
        fs::write(&path, if name == "not-empty" { "x" } else { "" }).expect("file");
        if let Err(error) = lsetxattr(&path, record, value.as_bytes(), XattrFlags::empty()) {
            return skip("xattr", &format!("the file system takes no attributes: {error}"));
        }
    }
    let tar = packed(tree.path(), PackTimes::All(7), Owner::Keep);
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut seen = Vec::new();
    for entry in archive.entries().expect("archive") {
        let mut entry = entry.expect("entry");
        let extensions = entry.pax_extensions().expect("extensions").map_or(0, Iterator::count);
        assert_eq!(extensions, 0, "a record leaves the store");
        let (header, path) = (entry.header(), entry.path().expect("path"));
        let device = header.device_major().expect("major").zip(header.device_minor().expect("minor"));
        seen.push((path.display().to_string(), header.entry_type(), device, header.uid().expect("uid")));
    }
    let kinds: Vec<_> = seen.iter().map(|(path, kind, ..)| (path.as_str(), *kind)).collect();
    assert_eq!(kinds, [("given", Regular), ("not-empty", Regular), ("null", Char), ("pipe", Fifo)]);
    assert_eq!((seen[0].3, seen[2].2), (1000, Some((1, 3))));
}

#[test]
fn a_tree_is_the_same_whether_the_machine_allows_its_owners_and_devices_or_not() {
    let (one, two) = (temporary(), temporary());
    let mut layer = tar::Builder::new(Vec::new());
    for (path, kind, uid) in [("null", tar::EntryType::Char, 0), ("given", tar::EntryType::Regular, 1000)] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_size(0);
        header.set_device_major(u32::from(uid == 0)).expect("GNU");
        header.set_device_minor(3 * u32::from(uid == 0)).expect("GNU");
        layer.append_data(&mut header, path, &b""[..]).expect("memory");
    }
    let layer = layer.into_inner().expect("memory");
    let done = unpack(layer.as_slice(), one.path(), &options()).expect("unpacked");
    if done.nodes_refused > 0 || done.owners_recorded < done.owners_refused {
        // A device made by us belongs to us: its own owner cannot be recorded.
        return skip("xattr", "what is not allowed here cannot be recorded either");
    }
    let tar = packed(one.path(), PackTimes::Kept(None), Owner::Keep);
    let names: Vec<(u64, tar::EntryType)> = tar::Archive::new(tar.as_slice())
        .entries()
        .expect("archive")
        .map(|entry| entry.expect("entry").header().clone())
        .map(|header| (header.uid().expect("uid"), header.entry_type()))
        .collect();
    assert_eq!(names, [(1000, tar::EntryType::Regular), (0, tar::EntryType::Char)]);
    unpack(tar.as_slice(), two.path(), &options()).expect("unpacked");
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
}

#[test]
fn sparse_files_of_gnu_tar_have_their_content_and_keep_their_holes() {
    let source = temporary();
    let file = fs::File::create(source.path().join("holes")).expect("file");
    for (at, text) in [(0u64, "begin"), (3 << 20, "middle"), (9 << 20, "later")] {
        std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), at).expect("written");
    }
    file.set_len((12 << 20) + 7).expect("hole");
    // Many regions: more than the four of a header and the twenty-one of a block behind it.
    let many = fs::File::create(source.path().join("many")).expect("file");
    for index in 0..60u64 {
        std::os::unix::fs::FileExt::write_all_at(&many, b"x", index * (64 << 10)).expect("written");
    }
    fs::write(source.path().join("plain"), "x").expect("file");
    for format in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output =
            Command::new("tar").args(format).args(["--sparse", "-cf", "-", "-C"]).arg(source.path()).arg(".").output();
        let output = output.expect("GNU tar");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let target = temporary();
        unpack(output.stdout.as_slice(), target.path(), &options()).expect("unpacked");
        for name in ["holes", "many", "plain"] {
            let read = |root: &TempDir| fs::read(root.path().join(name)).expect("file");
            assert!(read(&source) == read(&target), "`{name}` differs, {format:?}");
        }
        let blocks = |root: &TempDir| fs::metadata(root.path().join("holes")).expect("file").blocks();
        if blocks(&source) < 1000 {
            assert!(blocks(&target) < 1000, "the holes are filled, {format:?}");
        }
    }
}

#[test]
fn a_clamped_layer_is_what_packing_with_that_bound_gives() {
    let tree = temporary();
    fs::create_dir(tree.path().join("d")).expect("directory");
    for (name, seconds, nanoseconds) in
        [("old", 1000, 0), ("new", 4_000_000_000, 0), ("fraction", 4_000_000_000, 5), ("half", 5000, 500)]
    {
        let path = tree.path().join("d").join(name);
        fs::write(&path, name).expect("file");
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, nanoseconds);
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(time)).expect("time");
    }
    let long = tree.path().join("n".repeat(120));
    fs::write(&long, "x").expect("file");
    let clamp = |tar: &[u8], newest: u64| {
        let mut out = Vec::new();
        let changed = clamp_times(&mut &tar[..], newest, &Limits::default(), &mut out).expect("clamped");
        (out, changed)
    };
    let kept = packed(tree.path(), PackTimes::Kept(None), Owner::Keep);
    let (lower, changed) = clamp(&kept, 6000);
    assert!(changed > 0);
    let (twice, none) = clamp(&lower, 6000);
    assert!(none == 0 && lower == twice, "twice is not the same as once");
    assert!(clamp(&kept, u64::MAX) == (kept.clone(), 0), "without a later time it is another archive");
    let whole = kept.len() - 1024;
    assert!(clamp(&kept[..whole], 6000).0 == lower[..whole], "an end mark was made");
    let cut = clamp_times(&mut &kept[..whole - 1], 6000, &Limits::default(), &mut Vec::new());
    assert!(matches!(cut, Err(LayerError::Truncated { .. })), "{cut:?}");
    let (one, two) = (temporary(), temporary());
    unpack(lower.as_slice(), one.path(), &options()).expect("unpacked");
    unpack(packed(tree.path(), PackTimes::Kept(Some(6000)), Owner::Keep).as_slice(), two.path(), &options())
        .expect("unpacked");
    let times = |root: &Path| -> Vec<(i64, i64)> {
        let names = ["d", "d/old", "d/new", "d/fraction", "d/half"].map(|name| root.join(name));
        names.iter().map(|path| fs::metadata(path).expect("there")).map(|it| (it.mtime(), it.mtime_nsec())).collect()
    };
    assert_eq!(times(one.path()), times(two.path()));
    assert_eq!(times(one.path())[1..], [(1000, 0), (6000, 0), (6000, 0), (5000, 500)]);
    // GNU tar's own formats, with times of access and change.
    for format in ["--format=gnu", "--format=pax"] {
        let output =
            Command::new("tar").args([format, "-cf", "-", "-C"]).arg(tree.path()).arg(".").output().expect("GNU tar");
        let (clamped, _) = clamp(&output.stdout, 6000);
        let target = temporary();
        unpack(clamped.as_slice(), target.path(), &options()).expect("unpacked");
        // Its own format has no fractions of a second.
        let seconds = |root: &Path| times(root).into_iter().map(|(seconds, _)| seconds).collect::<Vec<_>>();
        assert_eq!(seconds(target.path()), seconds(one.path()), "{format}");
    }
    let cut = clamp_times(&mut &kept[..700], 1, &Limits::default(), &mut Vec::new()).expect_err("cut");
    assert!(matches!(cut, LayerError::Truncated { .. }), "{cut}");
}

#[test]
fn a_layer_that_is_not_the_one_of_the_configuration_is_refused() {
    let (tree, root) = (temporary(), temporary());
    fs::write(tree.path().join("f"), "x").expect("file");
    let tar = packed(tree.path(), PackTimes::All(7), Owner::Keep);
    let mut gzip = Compressor::new(Vec::new(), Compression::Gzip { level: 6 }, NonZeroUsize::MIN).expect("memory");
    gzip.write_all(&tar).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let right = UnpackOptions { diff_id: Some(DiffId(Digest::of(&tar))), ..options() };
    unpack(gzip.as_slice(), root.path(), &right).expect("the right one");
    let wrong = UnpackOptions { diff_id: Some(DiffId(Digest::of(&gzip))), ..options() };
    let error = unpack(gzip.as_slice(), root.path(), &wrong).expect_err("the wrong one");
    assert!(matches!(error, LayerError::DiffId { .. }), "{error}");
}

/// The bytes must not change from version to version: a digest that moves needs a reason in its commit.
#[test]
fn a_fixed_tree_has_fixed_bytes() {
    let tree = temporary();
    fs::create_dir(tree.path().join("d")).expect("directory");
    fs::write(tree.path().join("d/f"), "content ".repeat(200_000)).expect("file");
    fs::hard_link(tree.path().join("d/f"), tree.path().join("d/g")).expect("link");
    std::os::unix::fs::symlink("f", tree.path().join("d/l")).expect("link");
    fs::write(tree.path().join("n".repeat(150)), "x").expect("file");
    let set = |name: &str, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        fs::set_permissions(tree.path().join(name), mode).expect("mode");
    };
    set("d", 0o755);
    set("d/f", 0o640);
    set(&"n".repeat(150), 0o4755);
    let tar = packed(tree.path(), PackTimes::All(1_700_000_000), Owner::Root);
    let digest = |compression, jobs| {
        let mut compressor =
            Compressor::new(Vec::new(), compression, NonZeroUsize::new(jobs).expect("not zero")).expect("memory");
        compressor.write_all(&tar).expect("memory");
        Digest::of(&compressor.finish().expect("memory")).to_string()
    };
    let found =
        [Compression::None, Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }].map(|compression| {
            let one = digest(compression, 1);
            assert_eq!(one, digest(compression, 3), "{compression:?} depends on the number of jobs");
            one
        });
    assert_eq!(found, GOLDEN);
}

/// Plain; gzip of flate2 with zlib-rs; zstd of libzstd 1.5.
const GOLDEN: [&str; 3] = [
    "sha256:147b7bf697098b675a13a4ce5ccaec5ca520c23c64785a14f950e99b2fdb821b",
    "sha256:c5dc76a3c368267f0a31e1b1642de0e0404cb093c729b9057f65a296764bb887",
    "sha256:d613cbebf8684d471a8829ea697ed9064c4fc7b56dc33f548160e4c34f006bb5",
];
