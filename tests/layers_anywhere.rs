//! One tree packs to the same bytes wherever it lies, in whatever order it was made, and however many pack it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use dockless::layer::{Compression, Compressor, Owner, PackOptions, PackTimes, pack, tree_digest};
use dockless::oci::Digest;
use dockless::sys;
use tempfile::TempDir;

use crate::support::skip;

/// Names of plain files in one directory: more than fit into one answer of any file system.
const NAMES: usize = 1500;

/// Which part of the tree to make.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// What a lower layer brings, other content among it.
    Below,
    /// What comes on top.
    Above,
}

/// Makes the tree; `salt` changes the order and nothing else, `attributes` says whether files may have any.
fn make(root: &Path, part: Part, salt: usize, attributes: bool) {
    let make = |path: &str, content: &[u8], mode: u32| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::write(&path, content).expect("file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
    };
    if part != Part::Above {
        for index in 0..NAMES {
            let index = (index * 7919 + salt * 1013) % NAMES;
            make(&format!("many/{index}-{}", "n".repeat(index % 200)), index.to_string().as_bytes(), 0o644);
        }
        make("kept", b"kept", 0o600);
        make("changed/mode", b"mode", 0o644);
        make("changed/content", b"before", 0o644);
        make("gone/away", b"away", 0o644);
    }
    if part == Part::Below {
        return;
    }
    fs::remove_dir_all(root.join("gone")).expect("removed");
    make("changed/content", b"after", 0o644);
    fs::set_permissions(root.join("changed/mode"), fs::Permissions::from_mode(0o4755)).expect("mode");
    let mut links = ["links/b", "links/c", "zz/d", "aa"];
    links.rotate_left(salt % 4);
    make(links[0], b"one file with four names", 0o640);
    for link in &links[1..] {
        let path = root.join(link);
        fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        fs::hard_link(root.join(links[0]), path).expect("hard link");
    }
    make(&format!("{}file", "deep/".repeat(60)), b"", 0o644);
    fs::write(root.join(OsStr::from_bytes(b"\xff not text")), "x").expect("file");
    symlink("links/b", root.join("link")).expect("link");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::from_raw_mode(0o644)).expect("pipe");
    let mut sparse = fs::File::create(root.join("sparse")).expect("file");
    sparse.set_len(3 << 20).expect("length");
    sparse.seek(SeekFrom::Start(1 << 20)).and_then(|_| sparse.write_all(b"in the middle")).expect("written");
    drop(sparse);
    make(
        "large",
        &(0..1_300_000_u32).map(|it| (it.wrapping_mul(it) >> 9).to_le_bytes()[0]).collect::<Vec<u8>>(),
        0o644,
    );
    if attributes {
        let mut names = ["user.z", "user.a", "user.long-name.with.dots"];
        names.rotate_left(salt % 3);
        for name in names {
            set(&root.join("large"), name, name.as_bytes()).expect("attribute");
        }
    }
    let old = UNIX_EPOCH + Duration::new(500, 123_456_789);
    for path in ["kept", "large"] {
        fs::File::options().write(true).open(root.join(path)).and_then(|file| file.set_modified(old)).expect("time");
    }
}

fn set(path: &Path, name: &str, value: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
}

/// Outside of a user namespace nobody but root mounts anything: the other test does it there.
fn lacking(why: &str) {
    if rustix::process::geteuid().is_root() {
        skip("overlay", why);
    }
}

fn keeps_attributes(place: &Path) -> bool {
    let probe = place.join("probe");
    fs::write(&probe, "").expect("file");
    let kept = set(&probe, "user.probe", b"x").is_ok();
    fs::remove_file(&probe).expect("removed");
    kept
}

/// Digests of the tree, of its archives with one time and with its own, and of those compressed by few and by many.
fn digests(tree: &Path) -> Vec<(String, Digest)> {
    let mut found = vec![("tree".to_owned(), tree_digest(tree).expect("a digest"))];
    for times in [PackTimes::All(1_700_000_000), PackTimes::Kept(Some(1000))] {
        let options =
            PackOptions { times, overlay: false, root: true, owner: Owner::Keep, prefix: PathBuf::from("opt/x") };
        let mut tar = Vec::new();
        pack(tree, &options, &mut tar).expect("packed");
        found.push((format!("{times:?}"), Digest::of(&tar)));
        for jobs in [1, 4] {
            for compression in [Compression::Gzip { level: 6 }, Compression::Zstd { level: 3 }] {
                let jobs = NonZeroUsize::new(jobs).expect("not zero");
                let mut out = Vec::new();
                let mut compressor = Compressor::new(&mut out, compression, jobs).expect("an encoder");
                // In pieces that fit nobody's blocks.
                tar.chunks(77_777).try_for_each(|piece| compressor.write_all(piece)).expect("compressed");
                compressor.finish().expect("compressed");
                found.push((format!("{times:?} {compression:?}"), Digest::of(&out)));
            }
        }
    }
    found
}

#[test]
fn a_tree_packs_to_the_same_bytes_on_every_file_system() {
    let reference = |attributes| {
        let place = TempDir::new().expect("a place");
        make(place.path(), Part::All, 0, attributes);
        let found = digests(place.path());
        // Whatever the number of jobs.
        for (name, digest) in &found {
            assert!(found.iter().all(|(other, it)| other != name || it == digest), "{name}");
        }
        found
    };
    let with = TempDir::new().is_ok_and(|place| keeps_attributes(place.path()));
    let expected = [reference(false), reference(with)];
    let check = |what: &str, tree: &Path, attributes: bool| {
        let attributes = attributes && with;
        assert_eq!(digests(tree), expected[usize::from(attributes)], "on {what}");
    };

    let other = TempDir::new().expect("a place");
    make(other.path(), Part::All, 5, with);
    check("the same file system, in another order", other.path(), true);

    match TempDir::new_in("/dev/shm") {
        Ok(shared) => {
            let attributes = with && keeps_attributes(shared.path());
            make(shared.path(), Part::All, 11, attributes);
            check("/dev/shm", shared.path(), attributes);
        }
        Err(error) => skip("shm", &format!("/dev/shm: {error}")),
    }

    match sys::tmpfs(None, 0o755) {
        Ok(memory) => {
            let tree = PathBuf::from(format!("/proc/self/fd/{}", memory.as_fd().as_raw_fd())).join(".");
            let attributes = with && keeps_attributes(&tree);
            make(&tree, Part::All, 2, attributes);
            check("a tmpfs", &tree, attributes);
        }
        Err(error) => lacking(&format!("this process may not mount a tmpfs: {error}")),
    }

    let parts = ["lower", "upper", "work"].map(|name| other.path().with_extension(name));
    for path in &parts {
        fs::create_dir(path).expect("made");
    }
    make(&parts[0], Part::Below, 3, with);
    let opened = parts.each_ref().map(|path| sys::open_path(path).expect("opened"));
    let [lower, upper, work] = opened.each_ref().map(|fd| fd.as_fd());
    match sys::overlay(&[lower], Some((upper, work))) {
        Ok(overlay) => {
            let tree = PathBuf::from(format!("/proc/self/fd/{}", overlay.as_fd().as_raw_fd())).join(".");
            make(&tree, Part::Above, 3, with);
            check("an overlay", &tree, true);
        }
        Err(error) => lacking(&format!("this process may not mount layers: {error}")),
    }
    for path in &parts {
        dockless::store::remove_tree(path).expect("removed");
    }
}

/// The command packs in a user namespace of its own, where it may mount.
#[test]
fn the_same_holds_inside_the_users_namespace() {
    let inside = Command::new(env!("CARGO_BIN_EXE_dockless"))
        .args(["--dockless-life", "enter"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["a_tree_packs_to_the_same_bytes_on_every_file_system", "--nocapture"])
        .output()
        .expect("started");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if inside.status.code() == Some(3) {
        return skip("userns", &words(&inside.stderr));
    }
    let said = words(&inside.stderr);
    assert!(inside.status.success(), "{}{said}", words(&inside.stdout));
    said.lines().filter(|line| line.starts_with("SKIPPED")).for_each(|line| skip("overlay", line));
}
