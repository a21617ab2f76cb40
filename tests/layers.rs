//! Layers: equal trees give equal bytes, and bytes give the tree back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dockless::layer::{
    Compression, Compressor, Hashed, Limits, Owner, PackOptions, PackTimes, UnpackOptions, decompress, pack,
    tree_digest, unpack,
};
use dockless::oci::{DiffId, Digest};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::support::skip;

fn options() -> PackOptions {
    PackOptions {
        times: PackTimes::All(1_700_000_000),
        overlay: false,
        root: false,
        owner: Owner::Keep,
        prefix: PathBuf::new(),
    }
}

fn packed(tree: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    let packed = pack(tree, &options(), &mut tar).expect("packed");
    assert_eq!(packed.size, tar.len() as u64);
    tar
}

fn unpacked(tar: &[u8], root: &Path) {
    let single_id = !rustix::process::geteuid().is_root();
    unpack(tar, root, &UnpackOptions { single_id, ..UnpackOptions::default() }).expect("unpacked");
}

fn temporary() -> TempDir {
    TempDir::new().expect("temporary directory")
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("mode");
}

/// A tree with one of everything.
fn everything(root: &Path) {
    fs::create_dir_all(root.join("bin")).expect("directory");
    fs::write(root.join("bin/tool"), "tool").expect("file");
    mode(&root.join("bin/tool"), 0o4755);
    fs::hard_link(root.join("bin/tool"), root.join("bin/alias")).expect("hard link");
    symlink("tool", root.join("bin/link")).expect("link");
    symlink(format!("/{}", "very/long/".repeat(30)), root.join("long-link")).expect("link");
    fs::create_dir(root.join("empty")).expect("directory");
    mode(&root.join("empty"), 0o1777);
    let deep = root.join(vec!["directory-with-a-name"; 20].join("/"));
    fs::create_dir_all(&deep).expect("directories");
    fs::write(deep.join("äöü \n file"), vec![9; 100_000]).expect("file");
    fs::hard_link(deep.join("äöü \n file"), root.join("zlink")).expect("hard link");
    fs::write(root.join("empty-file"), "").expect("file");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("fifo"), rustix::fs::Mode::from_raw_mode(0o640)).expect("fifo");
    mode(&root.join("fifo"), 0o640);
}

#[test]
fn the_same_tree_made_in_another_order_packs_to_the_same_bytes() {
    let (one, two) = (temporary(), temporary());
    for (root, names) in [(&one, ["a", "b", "c"]), (&two, ["c", "a", "b"])] {
        for name in names {
            fs::create_dir(root.path().join(name)).expect("directory");
            fs::write(root.path().join(name).join("file"), name).expect("file");
        }
    }
    let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
    fs::File::open(two.path().join("a/file")).and_then(|file| file.set_modified(epoch)).expect("time");
    assert_eq!(packed(one.path()), packed(two.path()));
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
}

#[test]
fn everything_comes_back_as_it_was() {
    let (one, two) = (temporary(), temporary());
    everything(one.path());
    let tar = packed(one.path());
    unpacked(&tar, two.path());
    assert_eq!(packed(two.path()), tar);
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
    let at = |name: &str| fs::symlink_metadata(two.path().join(name)).expect("there");
    assert_eq!(at("bin/tool").ino(), at("bin/alias").ino());
    assert_eq!(at("bin/tool").mode() & 0o7777, 0o4755);
    assert_eq!(at("empty").mode() & 0o7777, 0o1777);
    assert_eq!((at("empty").mtime(), at("bin/tool").mtime()), (1_700_000_000, 1_700_000_000));
    assert_eq!(fs::read_link(two.path().join("bin/link")).expect("link"), Path::new("tool"));
}

#[test]
fn other_tars_read_what_we_pack() {
    let (one, two) = (temporary(), temporary());
    everything(one.path());
    let mut child = Command::new("tar")
        .args(["-xpf", "-", "--same-permissions", "-C"])
        .arg(two.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("GNU tar");
    child.stdin.take().expect("stdin").write_all(&packed(one.path())).expect("pipe");
    assert!(child.wait().expect("GNU tar").success());
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
}

#[test]
fn we_read_what_other_tars_pack() {
    for format in ["gnu", "pax", "ustar-short"] {
        let (one, two) = (temporary(), temporary());
        if format == "ustar-short" {
            fs::create_dir(one.path().join("d")).expect("directory");
            fs::write(one.path().join("d/f"), "x").expect("file");
        } else {
            everything(one.path());
        }
        let output = Command::new("tar")
            .args(["-cf", "-", "--format", format.trim_end_matches("-short"), "-C"])
            .arg(one.path())
            .arg(".")
            .output()
            .expect("GNU tar");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        unpacked(&output.stdout, two.path());
        assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"), "{format}");
    }
}

#[test]
fn holes_do_not_change_the_bytes() {
    let (one, two) = (temporary(), temporary());
    let file = fs::File::create(one.path().join("f")).expect("file");
    file.set_len(1 << 20).expect("hole");
    fs::write(two.path().join("f"), vec![0; 1 << 20]).expect("file");
    assert_eq!(packed(one.path()), packed(two.path()));
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
}

#[test]
fn a_prefix_becomes_directories_of_root() {
    let tree = temporary();
    fs::create_dir(tree.path().join("lib")).expect("directory");
    fs::write(tree.path().join("lib/f"), "x").expect("file");
    fs::hard_link(tree.path().join("lib/f"), tree.path().join("lib/g")).expect("hard link");
    let options = PackOptions {
        times: PackTimes::All(7),
        overlay: false,
        root: false,
        owner: Owner::Root,
        prefix: PathBuf::from("/opt/python"),
    };
    let mut tar = Vec::new();
    assert_eq!(pack(tree.path(), &options, &mut tar).expect("packed").entries, 5);
    let mut archive = tar::Archive::new(tar.as_slice());
    let mut names = Vec::new();
    for entry in archive.entries().expect("archive") {
        let entry = entry.expect("entry");
        let header = entry.header();
        let owner = (header.uid().expect("uid"), header.gid().expect("gid"), header.mtime().expect("mtime"));
        assert_eq!(owner, (0, 0, 7));
        names.push(String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8"));
        if let Some(link) = entry.link_name().expect("link") {
            assert_eq!(link, Path::new("opt/python/lib/f"));
        }
    }
    assert_eq!(names, ["opt/", "opt/python/", "opt/python/lib/", "opt/python/lib/f", "opt/python/lib/g"]);
}

#[test]
fn attributes_travel_and_labels_of_the_host_do_not() {
    use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};
    let (one, two) = (temporary(), temporary());
    let file = one.path().join("f");
    fs::write(&file, "x").expect("file");
    let plain = tree_digest(one.path()).expect("digest");
    if let Err(error) = lsetxattr(&file, "user.note", b"va\0lue\n", XattrFlags::empty()) {
        return skip("xattr", &format!("the file system takes no attributes: {error}"));
    }
    lsetxattr(&file, "user.overlay.opaque", b"y", XattrFlags::empty()).expect("attribute");
    assert_ne!(tree_digest(one.path()).expect("digest"), plain);
    unpacked(&packed(one.path()), two.path());
    let mut value = [0; 64];
    let length = lgetxattr(two.path().join("f"), "user.note", &mut value[..]).expect("attribute");
    assert_eq!(&value[..length], b"va\0lue\n");
    assert!(lgetxattr(two.path().join("f"), "user.overlay.opaque", &mut value[..]).is_err());
    assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
}

#[test]
fn owners_and_devices_travel_where_the_kernel_lets_them() {
    use rustix::fs::{CWD, FileType, Gid, Mode, Uid, makedev, mknodat};
    if !rustix::process::geteuid().is_root() {
        return skip("root", "only root can give files away and make devices");
    }
    let (one, two) = (temporary(), temporary());
    let file = one.path().join("f");
    fs::write(&file, "x").expect("file");
    if rustix::fs::chown(&file, Some(Uid::from_raw(3_000_000)), Some(Gid::from_raw(42))).is_err() {
        return skip("root", "this root is one of a user namespace without that id");
    }
    let mode = Mode::from_raw_mode(0o620);
    let node = mknodat(CWD, one.path().join("null"), FileType::CharacterDevice, mode, makedev(1, 3));
    if node.is_err() {
        return skip("devices", "this root may not make device nodes");
    }
    let tar = packed(one.path());
    unpacked(&tar, two.path());
    assert_eq!(packed(two.path()), tar);
    let copy = fs::metadata(two.path().join("f")).expect("file");
    assert_eq!((copy.uid(), copy.gid()), (3_000_000, 42));
    assert_eq!(fs::symlink_metadata(two.path().join("null")).expect("device").rdev(), makedev(1, 3));
}

#[test]
fn sockets_are_left_out_and_counted() {
    let tree = temporary();
    let _socket = std::os::unix::net::UnixListener::bind(tree.path().join("s")).expect("socket");
    let empty = temporary();
    let mut tar = Vec::new();
    let packed = pack(tree.path(), &options(), &mut tar).expect("packed");
    assert_eq!((packed.entries, packed.sockets), (0, 1));
    assert_eq!(tree_digest(tree.path()).expect("digest"), tree_digest(empty.path()).expect("digest"));
}

#[test]
fn a_name_that_would_delete_is_not_packed() {
    let tree = temporary();
    fs::write(tree.path().join(".wh.etc"), "").expect("file");
    let error = pack(tree.path(), &options(), &mut Vec::new()).expect_err("refused");
    assert!(error.to_string().contains(".wh.etc"), "{error}");
}

#[test]
fn the_digest_of_a_tree_sees_every_difference() {
    let change = |act: &dyn Fn(&Path)| {
        let tree = temporary();
        fs::create_dir(tree.path().join("d")).expect("directory");
        fs::write(tree.path().join("d/f"), "one").expect("file");
        fs::write(tree.path().join("d/g"), "one").expect("file");
        symlink("f", tree.path().join("d/l")).expect("link");
        act(tree.path());
        tree_digest(tree.path()).expect("digest")
    };
    let relink = |root: &Path, target: &str| {
        fs::remove_file(root.join("d/l")).expect("remove");
        symlink(target, root.join("d/l")).expect("link");
    };
    let digests = [
        change(&|_| ()),
        change(&|root| fs::write(root.join("d/f"), "two").expect("file")),
        change(&|root| mode(&root.join("d/f"), 0o755)),
        change(&|root| mode(&root.join("d"), 0o700)),
        change(&|root| fs::rename(root.join("d/f"), root.join("d/h")).expect("rename")),
        change(&|root| fs::rename(root.join("d/f"), root.join("f")).expect("rename")),
        change(&|root| relink(root, "g")),
        change(&|root| fs::write(root.join("d/x"), "").expect("file")),
        change(&|root| fs::create_dir(root.join("d/x")).expect("directory")),
        change(&|root| {
            fs::remove_file(root.join("d/g")).expect("remove");
            fs::hard_link(root.join("d/f"), root.join("d/g")).expect("hard link");
        }),
    ];
    for (index, digest) in digests.iter().enumerate() {
        assert!(!digests[..index].contains(digest), "difference {index} is not seen");
    }
    assert_eq!(change(&|_| ()), digests[0]);
}

#[test]
fn layers_stack_and_whiteouts_delete_what_is_below() {
    let lower = temporary();
    for path in ["keep/f", "gone/f", "opaque/old", "opaque/sub/old", "replaced/f"] {
        let path = lower.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, "lower").expect("file");
    }
    fs::write(lower.path().join("file"), "lower").expect("file");
    let mut upper = tar::Builder::new(Vec::new());
    let mut add = |path: &str, content: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(u64::from(rustix::process::getuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getgid().as_raw()));
        header.set_size(content.len() as u64);
        upper.append_data(&mut header, path, content.as_bytes()).expect("memory");
    };
    add(".wh.gone", "");
    add(".wh.file", "");
    add("opaque/new", "upper");
    add("opaque/sub/new", "upper");
    add("opaque/.wh..wh..opq", "");
    add("replaced", "upper");
    add(".wh..wh.plnk", "");
    unpacked(&upper.into_inner().expect("memory"), lower.path());
    let mut left: Vec<_> = walkdir::WalkDir::new(lower.path())
        .into_iter()
        .map(|entry| entry.expect("entry"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(lower.path()).expect("below").display().to_string())
        .collect();
    left.sort();
    assert_eq!(left, ["keep/f", "opaque/new", "opaque/sub/new", "replaced"]);
}

#[test]
fn without_whiteouts_the_names_are_plain() {
    let root = temporary();
    fs::write(root.path().join("x"), "x").expect("file");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    archive.append_data(&mut header, ".wh.x", &b""[..]).expect("memory");
    let options = UnpackOptions { whiteouts: false, single_id: true, ..UnpackOptions::default() };
    unpack(archive.into_inner().expect("memory").as_slice(), root.path(), &options).expect("unpacked");
    assert!(root.path().join("x").exists() && root.path().join(".wh.x").exists());
}

#[test]
fn a_merged_usr_stays_merged() {
    let root = temporary();
    fs::create_dir_all(root.path().join("usr/lib")).expect("directory");
    symlink("usr/lib", root.path().join("lib")).expect("link");
    let package = temporary();
    fs::create_dir_all(package.path().join("lib")).expect("directory");
    fs::write(package.path().join("lib/libc.so.6"), "x").expect("file");
    let options = UnpackOptions { keep_directory_links: true, single_id: true, ..UnpackOptions::default() };
    unpack(packed(package.path()).as_slice(), root.path(), &options).expect("unpacked");
    assert!(root.path().join("lib").is_symlink());
    assert_eq!(fs::read_to_string(root.path().join("usr/lib/libc.so.6")).expect("file"), "x");
}

fn noise(size: usize) -> Vec<u8> {
    // Compressible, but not the same everywhere: words from a small generator.
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(size + 16);
    while bytes.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(format!("{:x} ", (state >> 50) & 0xfff).as_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn compressed(bytes: &[u8], compression: Compression, jobs: usize, piece: usize) -> Vec<u8> {
    let jobs = NonZeroUsize::new(jobs).expect("not zero");
    let mut compressor = Compressor::new(Vec::new(), compression, jobs).expect("memory");
    for piece in bytes.chunks(piece) {
        compressor.write_all(piece).expect("memory");
    }
    compressor.finish().expect("memory")
}

fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    decompress(bytes, &Limits::default()).expect("decoder").read_to_end(&mut plain).expect("decompressed");
    plain
}

#[test]
fn gzip_is_the_same_for_any_number_of_jobs_and_everybody_reads_it() {
    const MIB: usize = 1 << 20;
    for size in [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB, 4 * MIB, 5 * MIB + 123_456] {
        let bytes = noise(size);
        let one = compressed(&bytes, Compression::Gzip { level: 6 }, 1, 64 << 10);
        for (jobs, piece) in [(2, 1 << 20), (3, 777_777), (7, 10 << 20)] {
            let other = compressed(&bytes, Compression::Gzip { level: 6 }, jobs, piece);
            assert!(one == other, "{size} bytes with {jobs} jobs");
        }
        assert!(plain(&one) == bytes, "{size} bytes");
        let mut child =
            Command::new("gzip").arg("-t").stdin(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("gzip");
        child.stdin.take().expect("stdin").write_all(&one).expect("pipe");
        assert!(child.wait().expect("gzip").success(), "{size} bytes");
    }
    let bytes = noise(3 * MIB);
    let sizes: Vec<usize> = [1, 9].map(|level| compressed(&bytes, Compression::Gzip { level }, 2, MIB).len()).to_vec();
    assert!(sizes[1] < sizes[0], "level 9 is smaller than level 1: {sizes:?}");
    // Splitting costs next to nothing, because blocks see the window before them.
    let mut serial = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    serial.write_all(&bytes).expect("memory");
    let serial = serial.finish().expect("memory").len();
    assert!(sizes[1] < serial + serial / 500, "{} against {serial}", sizes[1]);
}

#[test]
fn every_compression_is_known_by_its_bytes() {
    let bytes = noise(300_000);
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 3);
        encoder.write_all(&bytes).expect("memory");
        encoder.finish().expect("memory")
    };
    assert!(plain(&xz) == bytes);
    for compression in [Compression::None, Compression::Gzip { level: 1 }, Compression::Zstd { level: 3 }] {
        let once = compressed(&bytes, compression, 2, 4096);
        assert!(plain(&once) == bytes, "{compression:?}");
        assert!(once == compressed(&bytes, compression, 1, 100_000), "{compression:?}");
        if compression != Compression::None {
            let joined = [once.clone(), once].concat();
            assert!(plain(&joined) == [bytes.clone(), bytes.clone()].concat(), "joined streams, {compression:?}");
        }
    }
    for short in [&b""[..], b"x", b"\x1f", b"abcde"] {
        assert_eq!(plain(short), short);
    }
}

#[test]
fn a_hashed_writer_gives_the_diff_id() {
    let mut hashed = Hashed::new(Vec::new());
    hashed.write_all(b"layer").expect("memory");
    assert_eq!(hashed.finish(), (b"layer".to_vec(), DiffId(Digest::of(b"layer")), 5));
}

#[derive(Debug, Clone)]
enum Leaf {
    File(Vec<u8>, u32),
    Link(String),
    Hard(usize),
}

fn trees() -> impl Strategy<Value = BTreeMap<Vec<String>, Leaf>> {
    let name = prop_oneof!["[a-c]", "[a-zA-Z0-9 ._ä-]{1,12}", "[x-z]{90,110}"]
        .prop_filter("plain names", |name| name != "." && name != ".." && !name.starts_with(".wh."));
    let leaf = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..1500), 0o400u32..=0o777)
            .prop_map(|(content, mode)| Leaf::File(content, mode)),
        "[a-z./]{1,150}".prop_map(Leaf::Link),
        any::<usize>().prop_map(Leaf::Hard),
    ];
    prop::collection::btree_map(prop::collection::vec(name, 1..4), leaf, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn packing_what_was_unpacked_gives_the_same_bytes(tree in trees()) {
        let (one, two) = (temporary(), temporary());
        let mut files: Vec<PathBuf> = Vec::new();
        for (parts, leaf) in tree {
            let path = one.path().join(parts.iter().collect::<PathBuf>());
            if fs::create_dir_all(path.parent().expect("parent")).is_err() || fs::symlink_metadata(&path).is_ok() {
                continue;
            }
            match leaf {
                Leaf::File(content, bits) => {
                    fs::write(&path, content).expect("file");
                    mode(&path, bits);
                    files.push(path);
                }
                Leaf::Link(target) => symlink(target, &path).expect("link"),
                Leaf::Hard(index) if !files.is_empty() => fs::hard_link(&files[index % files.len()], &path).expect("link"),
                Leaf::Hard(_) => fs::create_dir(&path).expect("directory"),
            }
        }
        let tar = packed(one.path());
        unpacked(&tar, two.path());
        prop_assert_eq!(tree_digest(one.path()).expect("digest"), tree_digest(two.path()).expect("digest"));
        prop_assert!(packed(two.path()) == tar);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(mut bytes in prop::collection::vec(any::<u8>(), 512..2048), fix in any::<bool>()) {
        let root = temporary();
        if fix {
            // A valid checksum lets the noise in.
            bytes[148..156].fill(b' ');
            let sum: u32 = bytes[..512].iter().map(|byte| u32::from(*byte)).sum();
            bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = unpack(bytes.as_slice(), root.path(), &UnpackOptions { single_id: true, ..UnpackOptions::default() });
    }
}
