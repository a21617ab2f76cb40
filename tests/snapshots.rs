//! Trees on disk: whole or not at all, equal where they must be, and gone when they are dropped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use dockless::layer::{layer_digest, tree_digest};
use dockless::oci::Digest;
use dockless::sandbox::{Mount, StepMount};
use dockless::snapshot::{Active, PackedLayer, Sharing, Snapshot, SnapshotError, Snapshots, Times};
use dockless::store::Store;
use dockless::sys;
use rustix::thread::CapabilitySet;
use tempfile::TempDir;

use crate::support::cell::Cell;

struct Room {
    dir: TempDir,
    store: Store,
    snapshots: Snapshots,
}

/// Whether owners can be told apart on disk here, as the command finds out when it enters its namespace.
fn single_id() -> bool {
    let (uids, gids) = sys::current_map().expect("readable");
    uids.is_single() || gids.is_single() || !sys::has_capability(CapabilitySet::CHOWN)
}

fn room() -> Room {
    let dir = tempfile::Builder::new().prefix("snapshots-").tempdir().expect("a directory");
    let store = Store::open(&dir.path().join("store")).expect("a store");
    let snapshots = Snapshots::open(&store, single_id()).expect("a room");
    Room { dir, store, snapshots }
}

impl Room {
    /// What is in the making right now.
    fn unfinished(&self) -> Vec<PathBuf> {
        let runs = fs::read_dir(self.store.root().join("tmp")).expect("readable").flatten();
        let runs = runs.filter(|entry| entry.path().is_dir());
        runs.flat_map(|run| fs::read_dir(run.path()).expect("readable").flatten()).map(|entry| entry.path()).collect()
    }

    /// A snapshot with these files.
    fn snapshot(&self, files: &[(&str, &str)]) -> Snapshot {
        let active = self.snapshots.prepare().expect("prepared");
        write(&active.path(), files);
        active.commit(Times::Ignored).expect("committed")
    }
}

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("made");
        fs::write(path, content).expect("written");
    }
}

fn read(snapshot: &Snapshot, path: &str) -> String {
    fs::read_to_string(snapshot.path().join(path)).expect("readable")
}

/// Runs a script with `active` mounted at `/o`; `false`, said aloud, where no step can run.
fn change(active: &Active, script: &str) -> bool {
    let Some(cell) = Cell::new(script) else { return false };
    cell.with(|step| step.mounts.push(StepMount::new("/o", active.mount()))).output();
    true
}

#[test]
fn a_dropped_tree_leaves_nothing() {
    let room = room();
    let parent = room.snapshot(&[("a", "a")]);
    let active = room.snapshots.prepare_over(&parent).expect("prepared");
    let closed = active.path().join("closed");
    fs::create_dir_all(closed.join("deep")).expect("made");
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).expect("closed");
    assert_eq!(room.unfinished().len(), 1);
    drop(active);
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
    assert_eq!(room.snapshots.list().expect("listed"), [parent.id()]);
}

#[test]
fn equal_trees_are_one_snapshot_and_others_are_not() {
    let room = room();
    let first = room.snapshot(&[("x/a", "1"), ("b", "22")]);
    let second = room.snapshot(&[("b", "22"), ("x/a", "1")]);
    assert_eq!(first, second);
    assert_eq!(first.digest(), tree_digest(&first.path()).expect("hashed"));
    assert_ne!(room.snapshot(&[("x/a", "1"), ("b", "23")]).digest(), first.digest());
    assert_eq!(room.snapshots.get(first.id()).expect("found"), Some(first));
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
}

#[test]
fn two_runs_that_commit_one_id_get_the_same_snapshot() {
    let room = room();
    let barrier = Barrier::new(6);
    let committed: Vec<Snapshot> = thread::scope(|scope| {
        let commit = |number: usize| {
            let store = Store::open(room.store.root()).expect("opened again");
            let blob = room.dir.path().join(number.to_string());
            fs::write(&blob, number.to_string()).expect("written");
            let snapshots = Snapshots::open(&store, single_id()).expect("a room");
            barrier.wait();
            snapshots.file(&Digest::of(b"key"), &blob, "who").expect("committed")
        };
        let threads: Vec<_> = (0..6).map(|number| scope.spawn(move || commit(number))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(committed.iter().all(|snapshot| *snapshot == committed[0]), "{committed:?}");
    assert_eq!(read(&committed[0], "who").len(), 1);
    assert_eq!(room.snapshots.list().expect("listed"), [Digest::of(b"key").hex()]);
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
}

#[test]
fn of_merged_trees_the_later_one_wins() {
    let room = room();
    let first =
        room.snapshot(&[("lib/a", "first"), ("lib/only", "1"), ("file", "x"), ("dir/in", "x"), ("target/f", "t")]);
    let second = {
        let active = room.snapshots.prepare().expect("prepared");
        write(&active.path(), &[("lib/a", "second"), ("file/now", "a directory"), ("dir", "now a file")]);
        symlink("lib", active.path().join("target")).expect("made");
        active.commit(Times::Ignored).expect("committed")
    };
    let third = room.snapshot(&[("target/g", "a directory again")]);
    let merged =
        room.snapshots.merge(&Digest::of(b"1"), &[first.clone(), second.clone(), third.clone()]).expect("merged");
    assert_eq!(read(&merged, "lib/a"), "second");
    assert_eq!(read(&merged, "lib/only"), "1");
    assert_eq!(read(&merged, "file/now"), "a directory");
    assert_eq!(read(&merged, "dir"), "now a file");
    assert_eq!(read(&merged, "target/g"), "a directory again");
    // The link was replaced, not followed.
    assert!(!merged.path().join("lib/g").exists() && !merged.path().join("target/f").exists());
    let inode = |snapshot: &Snapshot, path: &str| fs::metadata(snapshot.path().join(path)).expect("there").ino();
    assert_eq!(inode(&merged, "lib/only"), inode(&first, "lib/only"), "files are shared");
    for source in [&first, &second, &third] {
        assert_eq!(tree_digest(&source.path()).expect("hashed"), source.digest());
    }
    let reverse = room.snapshots.merge(&Digest::of(b"2"), &[third, second, first]).expect("merged");
    assert_eq!(read(&reverse, "lib/a"), "first");
    let empty = room.snapshots.merge(&Digest::of(b"3"), &[]).expect("merged");
    assert_eq!(fs::read_dir(empty.path()).expect("read").count(), 0);
}

/// Everything that overlayfs has its own way to remember.
const CHANGES: &str = "cd /o; rm gone; rm -r gonedir; echo new > changed; mkdir fresh; echo f > fresh/f; chmod 700 kept; \
    rm -r swapped; mkdir swapped; echo s > swapped/new; rm -r todir; echo file > todir; rm tofile; mkdir tofile; \
    mv moved elsewhere; ln changed again; ln -s nowhere link; mkfifo pipe; touch -d @1000 old; chmod 4755 suid; mkdir 'odd \n name'";

#[test]
fn a_commit_over_a_parent_is_the_same_with_and_without_overlay() {
    let room = room();
    let parent = room.snapshot(&[
        ("gone", "g"),
        ("gonedir/x", "x"),
        ("changed", "old"),
        ("kept/untouched", "u"),
        ("swapped/old", "hidden"),
        ("todir/x", "x"),
        ("tofile", "t"),
        ("moved", "m"),
        ("old", "o"),
        ("suid", "s"),
    ]);
    let before = tree_digest(&parent.path()).expect("hashed");
    let [with, without] = [room.snapshots.clone(), room.snapshots.clone().without_overlay()].map(|snapshots| {
        let active = snapshots.prepare_over(&parent).expect("prepared");
        change(&active, CHANGES).then(|| active.commit(Times::Ignored).expect("committed"))
    });
    let (Some(with), Some(without)) = (with, without) else { return };
    assert_eq!((with.layer(), with.id()), (without.layer(), without.id()), "the same layer");
    let is_overlay = |snapshots: &Snapshots| {
        matches!(snapshots.prepare_over(&parent).expect("prepared").mount(), Mount::Overlay { .. })
    };
    assert!(!is_overlay(&room.snapshots.clone().without_overlay()));
    if !is_overlay(&room.snapshots) {
        crate::support::skip("overlay", "the machine has none, or the test is not inside its user namespace");
    }
    let trees = [&with, &without].map(|snapshot| room.snapshots.read(snapshot).expect("opened"));
    let [digest, other] = [&trees[0], &trees[1]].map(|tree| tree_digest(tree.path()).expect("hashed"));
    assert_eq!(digest, other);
    let tree = trees[0].path();
    let content = |path: &str| fs::read_to_string(tree.join(path)).expect("readable");
    assert_eq!(content("changed"), "new\n");
    assert_eq!(content("elsewhere"), "m");
    assert_eq!(content("todir"), "file\n");
    assert_eq!(content("kept/untouched"), "u");
    for path in ["gone", "gonedir", "moved", "swapped/old"] {
        assert!(!tree.join(path).exists(), "{path}");
    }
    let metadata = |path: &str| fs::symlink_metadata(tree.join(path)).expect("there");
    assert_eq!(metadata("changed").ino(), metadata("again").ino());
    assert_eq!(metadata("kept").mode() & 0o7777, 0o700);
    assert_eq!(metadata("suid").mode() & 0o7777, 0o4755);
    assert_eq!(metadata("old").mtime(), 1000);
    assert!(metadata("link").is_symlink());
    assert_eq!(tree_digest(&parent.path()).expect("hashed"), before, "the parent changed");
    drop(trees);
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
}

#[test]
fn trees_of_other_owners_and_closed_directories_can_be_removed() {
    let room = room();
    let active = room.snapshots.prepare().expect("prepared");
    let script =
        "cd /o; mkdir -p a/b/c; echo x > a/b/c/f; chown 5:6 a/b/c/f a/b 2>/dev/null; chmod 000 a/b/c a/b a; true";
    if !change(&active, script) {
        return;
    }
    let closed = fs::metadata(active.path().join("a")).expect("there");
    assert_eq!(closed.mode() & 0o7777, 0);
    drop(active);
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
    if !sys::has_capability(CapabilitySet::DAC_OVERRIDE) {
        return crate::support::skip("enter", "a closed directory can only be hashed inside the user namespace");
    }
    let active = room.snapshots.prepare().expect("prepared");
    change(&active, script);
    let snapshot = active.commit(Times::Ignored).expect("committed");
    room.snapshots.remove(snapshot.id()).expect("removed");
    assert_eq!(room.snapshots.get(snapshot.id()).expect("looked up"), None);
    assert_eq!((room.snapshots.list().expect("listed").len(), room.unfinished().len()), (0, 0));
    room.snapshots.remove(snapshot.id()).expect("nothing to remove is fine");
}

#[test]
fn layers_become_one_tree_or_none() {
    let room = room();
    let packed = |digest: Digest| PackedLayer { digest, size: 0, diff_id: digest, media_type: String::new() };
    let layer = |files: &[(&str, &str)]| -> PackedLayer {
        let mut writer = room.store.writer().expect("a writer");
        let mut archive = tar::Builder::new(&mut writer);
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            archive.append_data(&mut header, path, content.as_bytes()).expect("packed");
        }
        archive.into_inner().expect("finished");
        packed(writer.commit().expect("stored").digest)
    };
    let layers = [layer(&[("etc/a", "lower"), ("etc/gone", "g")]), layer(&[("etc/a", "upper"), ("etc/.wh.gone", "")])];
    let id = Digest::of(b"image");
    let snapshot = room.snapshots.import(&id, &layers).expect("imported");
    assert_eq!((snapshot.id(), snapshot.digest()), (id.hex().as_str(), id));
    assert_eq!(read(&snapshot, "etc/a"), "upper");
    assert_eq!(fs::read_dir(snapshot.path().join("etc")).expect("read").count(), 1);
    assert_eq!(room.snapshots.get(&id.hex()).expect("looked up"), Some(snapshot));
    let missing = packed(Digest::of(b"no such layer"));
    room.snapshots.import(&Digest::of(b"other"), &[layers[0].clone(), missing]).expect_err("not in the store");
    assert_eq!((room.snapshots.list().expect("listed").len(), room.unfinished().len()), (1, 0));
}

#[test]
fn copied_files_are_the_wanted_ones_and_do_not_depend_on_the_umask() {
    let room = room();
    let source = tempfile::tempdir().expect("a directory");
    write(source.path(), &[("run.sh", "#!/bin/sh\n"), ("lib/step.sh", "s"), ("lib/deep/x", "x"), ("secret", "no")]);
    symlink("run.sh", source.path().join("lib/link")).expect("made");
    let mode = |path: &str, mode| fs::set_permissions(source.path().join(path), Permissions::from_mode(mode));
    mode("run.sh", 0o700).expect("set");
    mode("lib", 0o700).expect("set");
    let wanted = ["run.sh".to_owned(), "lib".to_owned()];
    let first = room.snapshots.copy_in(source.path(), &wanted).expect("copied");
    assert_eq!(read(&first, "lib/deep/x"), "x");
    assert!(!first.path().join("secret").exists());
    assert_eq!(fs::read_link(first.path().join("lib/link")).expect("a link"), Path::new("run.sh"));
    let modes =
        ["run.sh", "lib", "lib/step.sh"].map(|path| fs::metadata(first.path().join(path)).expect("there").mode());
    assert_eq!(modes.map(|mode| mode & 0o7777), [0o755, 0o755, 0o644]);
    mode("run.sh", 0o755).expect("set");
    mode("lib", 0o775).expect("set");
    mode("lib/step.sh", 0o600).expect("set");
    assert_eq!(room.snapshots.copy_in(source.path(), &wanted).expect("copied"), first);
    // The source can change afterwards without changing the snapshot.
    fs::write(source.path().join("lib/deep/x"), "changed").expect("written");
    assert_eq!(read(&first, "lib/deep/x"), "x");
    let whole = room.snapshots.copy_in(source.path(), &[]).expect("copied");
    assert_eq!((read(&whole, "secret"), read(&whole, "lib/deep/x")), ("no".to_owned(), "changed".to_owned()));
}

#[test]
fn copying_in_never_leaves_the_directory() {
    let room = room();
    let outside = tempfile::tempdir().expect("a directory");
    write(outside.path(), &[("passwd", "secret")]);
    let source = tempfile::tempdir().expect("a directory");
    symlink(outside.path(), source.path().join("escape")).expect("made");
    let copy = |path: &str| room.snapshots.copy_in(source.path(), &[path.to_owned()]);
    for path in ["", "../x", "/etc/passwd", "a/../../x", "*", "lib/*.sh"] {
        let error = copy(path).expect_err(path);
        assert!(matches!(error, SnapshotError::Pattern { .. }), "{path}: {error}");
    }
    let error = copy("escape/passwd").expect_err("the link leads out");
    assert!(matches!(error, SnapshotError::Detour { .. }), "{error}");
    let linked = copy("escape").expect("the link itself is fine");
    assert!(fs::symlink_metadata(linked.path().join("escape")).expect("there").is_symlink());
    rustix::net::bind(
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).expect("a socket"),
        &rustix::net::SocketAddrUnix::new(source.path().join("socket")).expect("an address"),
    )
    .expect("bound");
    assert!(matches!(copy("socket"), Err(SnapshotError::Kind { .. })));
    copy("missing").expect_err("nothing there");
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
}

#[test]
fn what_cannot_be_an_id_names_nothing() {
    let room = room();
    for id in ["", "..", "a/b", ".x", "../../blobs", &"x".repeat(129)] {
        assert_eq!(room.snapshots.get(id).expect("no error"), None, "{id}");
        assert!(matches!(room.snapshots.remove(id), Err(SnapshotError::Id { .. })), "{id}");
    }
    for name in ["", "..", "a/b", "/x"] {
        room.snapshots.file(&Digest::of(b"x"), Path::new("/dev/null"), name).expect_err(name);
    }
    assert_eq!((room.snapshots.list().expect("listed").len(), room.unfinished().len()), (0, 0));
}

#[test]
fn a_snapshot_that_a_power_cut_may_have_damaged_is_verified_or_made_again() {
    let room = room();
    let whole = room.snapshot(&[("a", "whole")]);
    let torn = room.snapshot(&[("a", "torn")]);
    let derived = room.snapshots.merge(&Digest::of(b"derived"), &[whole.clone(), torn.clone()]).expect("merged");
    let nonsense = room.snapshot(&[("a", "nonsense")]);
    fs::remove_file(torn.path().join("a")).expect("removed");
    fs::write(torn.path().join("a"), "").expect("truncated");
    let meta = |snapshot: &Snapshot| snapshot.path().with_file_name("meta");
    for snapshot in [&whole, &torn, &derived] {
        let text = fs::read_to_string(meta(snapshot)).expect("readable");
        let mut value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        value["boot"] = "another".into();
        fs::write(meta(snapshot), value.to_string()).expect("written");
    }
    fs::write(meta(&nonsense), "").expect("truncated");
    for gone in [&torn, &derived, &nonsense] {
        assert_eq!(room.snapshots.get(gone.id()).expect("looked up"), None);
    }
    assert_eq!(room.snapshots.get(whole.id()).expect("looked up"), Some(whole.clone()));
    assert_eq!(room.snapshots.list().expect("listed"), [whole.id()]);
    // Made again, it takes the place.
    assert_eq!(room.snapshot(&[("a", "torn")]).path(), torn.path());
    assert_eq!(read(&torn, "a"), "torn");
}

#[test]
fn a_run_that_is_killed_leaves_only_whole_snapshots() {
    let room = room();
    let place = room.store.root().to_owned();
    for round in 0..5 {
        let mut run = Command::new(std::env::current_exe().expect("a path"))
            .args(["--exact", "snapshots::run_to_be_killed", "--ignored"])
            .env("DOCKLESS_TEST_STORE", &place)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        while room.snapshots.list().expect("listed").len() < 3 * (round + 1) {
            assert!(run.try_wait().expect("asked").is_none(), "the other run ended by itself");
            thread::sleep(Duration::from_millis(2));
        }
        run.kill().expect("killed");
        run.wait().expect("reaped");
    }
    let ids = room.snapshots.list().expect("listed");
    assert!(ids.len() >= 15);
    for id in &ids {
        let snapshot = room.snapshots.get(id).expect("readable").expect("whole");
        let layer = snapshot.layer().unwrap_or_else(|| snapshot.digest());
        let hashed = if snapshot.layer().is_some() {
            layer_digest(&snapshot.path(), None)
        } else {
            tree_digest(&snapshot.path())
        };
        assert_eq!(hashed.expect("hashed"), layer, "{id}");
    }
    drop(Store::open(&place).expect("opening sweeps"));
    assert_eq!(room.unfinished(), Vec::<PathBuf>::new());
    assert_eq!(room.dir.path().join("store").canonicalize().expect("there"), place);
}

#[test]
#[ignore = "run by a_run_that_is_killed_leaves_only_whole_snapshots"]
#[expect(clippy::disallowed_methods, reason = "the store comes from the test that starts this one")]
fn run_to_be_killed() {
    let root = std::env::var_os("DOCKLESS_TEST_STORE").expect("started by the other test");
    let snapshots = Snapshots::open(&Store::open(Path::new(&root)).expect("opened"), single_id()).expect("a room");
    let mut parent: Option<Snapshot> = None;
    for number in 0.. {
        let active = snapshots.prepare().expect("prepared");
        for file in 0..20 {
            write(&active.path(), &[(&format!("{file}"), &format!("{}-{number}-{file}", std::process::id()))]);
        }
        let next = active.commit(Times::Ignored).expect("committed");
        let over = snapshots.prepare_over(parent.as_ref().unwrap_or(&next)).expect("prepared");
        write(&over.path(), &[("last", &format!("{}-{number}", std::process::id()))]);
        parent = Some(over.commit(Times::Ignored).expect("committed"));
    }
}

/// The command lives in a user namespace of its own; all of this must hold there, for root and ordinary users.
#[test]
fn all_of_this_holds_inside_the_users_namespace() {
    let inside = Command::new(env!("CARGO_BIN_EXE_dockless"))
        .args(["--dockless-life", "enter"])
        .arg(std::env::current_exe().expect("a path"))
        .args(["snapshots::", "isolation::a_", "--skip", "all_of_this_holds"])
        .output()
        .expect("started");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if inside.status.code() == Some(3) {
        return crate::support::skip("userns", &words(&inside.stderr));
    }
    assert!(inside.status.success(), "{}", words(&inside.stdout));
}

#[test]
fn a_difference_of_strangers_shows_only_what_the_upper_one_has() {
    let room = room();
    let lower = room.snapshot(&[("d/gone", "1"), ("d/same", "s")]);
    let upper = room.snapshot(&[("d/new", "2"), ("d/same", "t")]);
    let id = dockless::oci::Digest::of(b"a difference");
    let difference = room.snapshots.difference(&id, Some(&lower), Some(&upper)).expect("compared");
    let Ok(tree) = room.snapshots.read(&difference) else {
        crate::support::skip("overlay", "this process may not mount layers");
        return;
    };
    let entries = fs::read_dir(tree.path().join("d")).expect("listed");
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["new", "same"]);
}

#[test]
fn a_cache_mount_that_died_with_a_step_begins_anew() {
    let room = room();
    let mount = || room.snapshots.cache_mount("name", None, Sharing::Private).expect("made").expect("free");
    let first = mount();
    fs::write(first.path().join("file"), "x").expect("written");
    // A step without mounts has it in its root, and somebody else wants it.
    fs::rename(first.path(), room.dir.path().join("taken")).expect("moved");
    let shared = room.snapshots.cache_mount("name", None, Sharing::Shared).expect("made").expect("free");
    assert_ne!(shared.path(), first.path());
    // And now nobody will bring it back.
    let path = first.path();
    drop(first);
    let second = mount();
    assert_eq!((second.path(), fs::read_dir(&path).expect("there").count()), (path, 0));
}
