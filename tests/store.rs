//! The store: what is in it is whole, whatever happens to those who write.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use dockless::oci::Digest;
use dockless::store::{Store, StoreError, remove_tree};
use oci_spec::image::{Descriptor, MediaType};
use tempfile::TempDir;

use crate::support::skip;

fn put(store: &Store, bytes: &[u8]) -> Digest {
    let mut writer = store.writer().expect("writer");
    writer.write_all(bytes).expect("write");
    writer.commit().expect("commit").digest
}

fn read(store: &Store, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.read(digest).expect("blob").read_to_end(&mut bytes).expect("read");
    bytes
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path)
        .expect("directory")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_blob_is_found_under_the_digest_of_its_bytes() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let digest = put(&store, b"hello");
    assert_eq!(digest, Digest::of(b"hello"));
    assert_eq!(store.contains(&digest), Some(5));
    assert_eq!(read(&store, &digest), b"hello");
    assert_eq!(fs::metadata(store.path(&digest)).expect("blob").permissions().mode() & 0o7777, 0o444);
    let missing = Digest::of(b"other");
    assert_eq!(store.contains(&missing), None);
    assert!(matches!(store.read(&missing), Err(StoreError::Missing { .. })));
}

#[test]
fn a_store_is_an_oci_image_layout() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let json = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(store.root().join(name)).expect(name)).expect("JSON")
    };
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    assert_eq!(json("index.json")["schemaVersion"], 2);
    assert!(store.root().join("blobs/sha256").is_dir());
}

#[test]
fn a_wrong_digest_names_both_and_leaves_nothing() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let mut writer = store.writer().expect("writer");
    writer.write_all(b"evil").expect("write");
    let expected = Digest::of(b"good");
    let error = writer.commit_as(&expected).expect_err("mismatch");
    let message = error.to_string();
    assert!(message.contains(&expected.to_string()) && message.contains(&Digest::of(b"evil").to_string()), "{message}");
    assert!(names(&store.root().join("blobs/sha256")).is_empty());
    drop(store);
    assert!(names(&root.path().join("tmp")).is_empty());
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let mut writer = store.writer().expect("writer");
    writer.write_all(b"half").expect("write");
    drop(store);
    writer.write_all(b" and half").expect("a writer keeps its store open");
    drop(writer);
    assert!(names(&root.path().join("blobs/sha256")).is_empty());
    assert!(names(&root.path().join("tmp")).is_empty());
}

#[test]
fn many_writers_of_one_blob_end_with_one_whole_blob() {
    let root = TempDir::new().expect("temporary directory");
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let store = Store::open(root.path()).expect("store");
                assert_eq!(put(&store, &bytes), Digest::of(&bytes));
            });
        }
    });
    let store = Store::open(root.path()).expect("store");
    assert_eq!(names(&root.path().join("blobs/sha256")), [Digest::of(&bytes).hex()]);
    assert_eq!(read(&store, &Digest::of(&bytes)), bytes);
}

#[test]
fn a_blob_truncated_from_outside_is_mended_by_the_next_writer() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let digest = put(&store, b"whole");
    fs::remove_file(store.path(&digest)).expect("remove");
    fs::write(store.path(&digest), b"who").expect("damage");
    put(&store, b"whole");
    assert_eq!(read(&store, &digest), b"whole");
}

/// Starts this test binary again as the ignored test `name`, which reads the path of the store from its input.
fn another_process(name: &str, wrapper: &[&str], root: &Path) -> Child {
    let program = std::env::current_exe().expect("this binary");
    let mut args: Vec<&str> = wrapper.to_vec();
    args.push(program.to_str().expect("UTF-8 path"));
    let name = format!("store::{name}");
    args.extend([name.as_str(), "--exact", "--ignored", "--nocapture"]);
    let mut child = Command::new(args[0])
        .args(&args[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("another process");
    writeln!(child.stdin.as_mut().expect("stdin"), "{}", root.display()).expect("path");
    child
}

fn path_from_input() -> PathBuf {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("path");
    PathBuf::from(line.trim_end())
}

fn wait_for(child: &mut Child, word: &str) {
    let lines = BufReader::new(child.stdout.as_mut().expect("stdout")).lines();
    for line in lines.map_while(Result::ok) {
        // The harness prints `test ... ` in front of the first line.
        if line.ends_with(word) {
            return;
        }
    }
    panic!("the other process ended without `{word}`");
}

#[test]
#[ignore = "the victim of kill_9_in_the_middle_leaves_a_usable_store, started by it"]
fn a_writer_that_never_ends() {
    let store = Store::open(&path_from_input()).expect("store");
    let mut writer = store.writer().expect("writer");
    writer.write_all(&vec![7; 100_000]).expect("write");
    let directory = store.temporary_directory().expect("directory");
    fs::create_dir_all(directory.path().join("work/work")).expect("directories");
    fs::write(directory.path().join("work/file"), "x").expect("file");
    // As overlayfs leaves its work directory.
    fs::set_permissions(directory.path().join("work/work"), fs::Permissions::from_mode(0o0)).expect("mode");
    let _lock = store.lock("vertex").expect("lock");
    println!("\nready");
    thread::sleep(Duration::from_mins(10));
}

#[test]
fn either_half_of_a_dead_runs_corner_is_swept() {
    let root = TempDir::new().expect("temporary directory");
    drop(Store::open(root.path()).expect("store"));
    let tmp = root.path().join("tmp");
    // It died when it had its directory and no lock yet, or when its directory was gone already.
    fs::create_dir(tmp.join("run-AAAAAA")).expect("a directory");
    fs::write(tmp.join("run-BBBBBB.lock"), "").expect("a file");
    drop(Store::open(root.path()).expect("store"));
    assert!(names(&tmp).is_empty(), "{:?}", names(&tmp));
}

#[test]
fn kill_9_in_the_middle_leaves_a_usable_store() {
    let root = TempDir::new().expect("temporary directory");
    let mut child = another_process("a_writer_that_never_ends", &[], root.path());
    wait_for(&mut child, "ready");

    let beside = Store::open(root.path()).expect("a second run beside the first");
    assert_eq!(names(&root.path().join("tmp")).len(), 4, "the living run's files are left alone");
    assert!(beside.try_lock("vertex").expect("lock").is_none(), "the living run has the lock");
    drop(beside);

    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    let store = Store::open(root.path()).expect("the store after a crash");
    assert_eq!(names(&root.path().join("tmp")).len(), 2, "only the new run's own corner is left");
    assert!(store.try_lock("vertex").expect("lock").is_some(), "a dead run has no lock");
    assert!(names(&root.path().join("blobs/sha256")).is_empty());
    let digest = put(&store, &vec![7; 100_000]);
    assert_eq!(store.contains(&digest), Some(100_000));
}

#[test]
#[ignore = "started by a_full_disk_is_a_clear_error_and_no_damage on a small file system"]
fn fill_the_disk() {
    let root = path_from_input();
    let store = Store::open(&root).expect("store");
    let small = put(&store, b"small");
    let mut writer = store.writer().expect("writer");
    let error = writer.write_all(&vec![1; 4 << 20]).expect_err("no room");
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    // The half-written blob still fills the disk: everything else must fail cleanly.
    let error = store.put_record("cache", "key", &vec![2; 1 << 20]).expect_err("no room");
    assert!(error.is_disk_full(), "{error}");
    assert!(error.to_string().contains("--store DIR"), "{error}");
    assert_eq!(store.get_record("cache", "key").expect("readable"), None);
    drop(writer);
    assert_eq!(read(&store, &small), b"small");
    put(&store, &vec![3; 100_000]);
}

#[test]
fn a_full_disk_is_a_clear_error_and_no_damage() {
    let root = TempDir::new().expect("temporary directory");
    let place = root.path().to_str().expect("UTF-8");
    let mount = "mount -t tmpfs -o size=1m none \"$0\" && echo mounted && exec \"$@\"";
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, place];
    let child = another_process("fill_the_disk", &wrapper, root.path());
    let output = child.wait_with_output().expect("the other process");
    if !String::from_utf8_lossy(&output.stdout).starts_with("mounted") {
        return skip("userns", "a small file system cannot be mounted to fill it");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn records_are_replaced_whole_and_listed() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    assert_eq!(store.get_record("cache/exec", "a").expect("readable"), None);
    store.put_record("cache/exec", "b", b"1").expect("record");
    store.put_record("cache/exec", "a", b"1").expect("record");
    store.put_record("cache/exec", "a", b"22").expect("record");
    assert_eq!(store.get_record("cache/exec", "a").expect("readable").as_deref(), Some(&b"22"[..]));
    assert_eq!(store.records("cache/exec").expect("list"), ["a", "b"]);
    store.remove_record("cache/exec", "a").expect("remove");
    store.remove_record("cache/exec", "a").expect("removing twice is fine");
    assert_eq!(store.records("cache/exec").expect("list"), ["b"]);
}

#[test]
fn no_key_reaches_outside_its_room() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    for key in ["", ".", "..", "../x", "a/b", "/etc/passwd", ".hidden", "a\0b", "a\nb", &"x".repeat(300)] {
        let error = store.put_record("cache", key, b"x").expect_err(key);
        assert!(matches!(error, StoreError::Name { .. }), "{key}: {error}");
        assert!(store.get_record("cache", key).is_err(), "{key}");
        assert!(store.remove_record("cache", key).is_err(), "{key}");
    }
    for room in ["", "..", "../x", "/tmp", "a//b", "a/../b"] {
        assert!(store.room(room).is_err(), "{room}");
    }
}

#[test]
fn a_lock_lets_one_in_at_a_time() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    // Any name will do, also one that is no file name.
    for name in ["vertex", "../x y", &"z".repeat(500)] {
        let held = store.lock(name).expect("lock");
        assert!(store.try_lock(name).expect("try").is_none());
        assert!(store.try_lock("another").expect("try").is_some());
        drop(held);
        assert!(store.try_lock(name).expect("try").is_some());
    }
    let counter = root.path().join("counter");
    fs::write(&counter, "0").expect("counter");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let store = Store::open(root.path()).expect("store");
                for _ in 0..50 {
                    let _lock = store.lock("counter").expect("lock");
                    let count: u32 = fs::read_to_string(&counter).expect("counter").parse().expect("number");
                    fs::write(&counter, (count + 1).to_string()).expect("counter");
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&counter).expect("counter"), "200");
    assert!(names(&root.path().join("locks")).is_empty(), "free locks leave no files");
}

#[test]
fn who_opens_exclusively_is_alone() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let lock = File::open(root.path().join("lock")).expect("lock file");
    assert!(lock.try_lock().is_err(), "a shared user keeps the exclusive one out");
    drop(store);
    let _alone = Store::open_exclusive(root.path()).expect("store");
    assert!(lock.try_lock_shared().is_err(), "the exclusive user keeps shared ones out");
}

#[test]
fn a_newer_format_and_a_foreign_directory_are_refused_untouched() {
    let root = TempDir::new().expect("temporary directory");
    fs::write(root.path().join("version"), "2\n").expect("version");
    let error = Store::open(root.path()).expect_err("newer");
    assert!(matches!(error, StoreError::Newer { found: 2, supported: 1, .. }), "{error}");
    assert_eq!(names(root.path()), ["version"]);

    fs::write(root.path().join("version"), "one\n").expect("version");
    assert!(matches!(Store::open(root.path()), Err(StoreError::Damaged { .. })));

    let home = TempDir::new().expect("temporary directory");
    fs::write(home.path().join("thesis.tex"), "x").expect("file");
    assert!(matches!(Store::open(home.path()), Err(StoreError::Foreign { .. })));
    assert_eq!(names(home.path()), ["thesis.tex"]);
}

#[test]
fn an_unwritable_place_says_so() {
    let error = Store::open(Path::new("/proc/dockless")).expect_err("not writable");
    let message = error.to_string();
    assert!(message.starts_with("failed to create `/proc/dockless`"), "{message}");
}

#[test]
fn tags_name_manifests_and_move() {
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let descriptor = |bytes: &[u8]| {
        let digest: oci_spec::image::Digest = put(&store, bytes).to_string().parse().expect("digest");
        Descriptor::new(MediaType::ImageManifest, bytes.len() as u64, digest)
    };
    let (one, two) = (descriptor(b"one"), descriptor(b"two"));
    store.tag("rootfs/bookworm:x86_64", &one).expect("tag");
    store.tag("another", &one).expect("tag");
    store.tag("rootfs/bookworm:x86_64", &two).expect("tag");
    let found = store.resolve("rootfs/bookworm:x86_64").expect("index").expect("tagged");
    assert_eq!(found.digest(), two.digest());
    assert_eq!(store.resolve("another").expect("index").expect("tagged").digest(), one.digest());
    assert_eq!(store.resolve("none").expect("index"), None);
    store.untag("another").expect("untag");
    let tags: Vec<String> = store.tags().expect("index").into_iter().map(|(name, _)| name).collect();
    assert_eq!(tags, ["rootfs/bookworm:x86_64"]);

    let absent: oci_spec::image::Digest = Digest::of(b"absent").to_string().parse().expect("digest");
    let error = store.tag("x", &Descriptor::new(MediaType::ImageManifest, 6, absent)).expect_err("missing");
    assert!(matches!(error, StoreError::Missing { .. }));

    fs::write(root.path().join("index.json"), "{").expect("damage");
    let error = store.resolve("another").expect_err("damaged");
    assert!(error.to_string().contains("index.json` is damaged"), "{error}");
}

#[test]
fn removing_a_tree_follows_no_link_and_opens_closed_directories() {
    let root = TempDir::new().expect("temporary directory");
    let outside = root.path().join("outside");
    fs::create_dir_all(&outside).expect("directory");
    fs::write(outside.join("kept"), "x").expect("file");
    let tree = root.path().join("tree");
    fs::create_dir_all(tree.join("closed/inner")).expect("directories");
    fs::write(tree.join("closed/inner/file"), "x").expect("file");
    std::os::unix::fs::symlink(&outside, tree.join("closed/link")).expect("link");
    fs::set_permissions(tree.join("closed/inner"), fs::Permissions::from_mode(0o0)).expect("mode");
    fs::set_permissions(tree.join("closed"), fs::Permissions::from_mode(0o0)).expect("mode");
    remove_tree(&tree).expect("removed");
    remove_tree(&tree).expect("removing nothing is fine");
    assert_eq!(names(root.path()), ["outside"]);
    assert_eq!(names(&outside), ["kept"]);
}
