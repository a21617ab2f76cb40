//! Content keys: hits and misses as a real BuildKit had them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink as link};
use std::path::PathBuf;

use dockless::file::{FileError, Selection, content};
use dockless::oci::Digest;
use tempfile::TempDir;

/// A tree with `a.txt`, `e/a.txt` and `zz.txt` of equal bytes, and `d` with `f` and `sub/g`.
struct Tree(TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(TempDir::new().expect("a directory"));
        fs::create_dir_all(tree.path("d/sub")).expect("made");
        fs::create_dir_all(tree.path("e")).expect("made");
        for (name, bytes) in [("a.txt", "a"), ("e/a.txt", "a"), ("zz.txt", "a"), ("d/f", "f"), ("d/sub/g", "g")] {
            fs::write(tree.path(name), bytes).expect("written");
            tree.chmod(name, 0o644);
        }
        for name in ["d", "d/sub", "e"] {
            tree.chmod(name, 0o755);
        }
        tree
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).expect("set");
    }

    fn touch(&self, name: &str) {
        let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, self.path(name), &times, rustix::fs::AtFlags::empty()).expect("set");
    }

    fn key(&self, selection: &Selection) -> Digest {
        content(self.0.path(), selection).expect("a key")
    }

    fn plain(&self, path: &str) -> Digest {
        self.key(&selection(path))
    }
}

fn selection(path: &str) -> Selection {
    Selection { path: path.into(), follow_links: true, wildcard: path.contains('*'), ..Selection::default() }
}

/// Tells whether an edit leaves the key of `path` as it was.
fn hits(path: &str, edit: impl FnOnce(&Tree)) -> bool {
    let tree = Tree::new();
    let before = tree.plain(path);
    edit(&tree);
    tree.plain(path) == before
}

#[test]
fn edits_hit_and_miss_as_in_buildkit() {
    let write = |name: &'static str| move |tree: &Tree| fs::write(tree.path(name), "new").expect("written");
    let rename = |tree: &Tree| fs::rename(tree.path("d/f"), tree.path("d/h")).expect("moved");
    assert!(hits("/a.txt", |tree| tree.touch("a.txt")), "touch source file");
    assert!(!hits("/a.txt", |tree| tree.chmod("a.txt", 0o600)), "chmod source file");
    assert!(hits("/a.txt", write("d/f")), "change unrelated file");
    assert!(!hits("/a.txt", write("a.txt")), "change content");
    assert!(hits("/d", |tree| tree.touch("d/sub/g")), "touch nested");
    assert!(hits("/d", |tree| tree.touch("d/sub")), "touch nested directory");
    assert!(!hits("/d", |tree| fs::create_dir(tree.path("d/empty")).expect("made")), "add empty directory");
    assert!(!hits("/d", rename), "rename nested file");
    assert!(!hits("/d", |tree| tree.chmod("d/sub", 0o700)), "nested directory mode differs");
    assert!(!hits("/d", |tree| tree.chmod("d", 0o700)), "top directory mode differs");
    assert!(hits("/*.txt", write("other.md")), "wildcard: unrelated file");
    assert!(!hits("/*.txt", write("b.txt")), "wildcard: new matching file");
    assert!(
        !hits("/*.txt", |tree| fs::rename(tree.path("zz.txt"), tree.path("y.txt")).expect("moved")),
        "renamed match"
    );
    assert!(hits("/d/f", write("d/other")), "producer adds unrelated file");
    assert!(hits("/", |tree| tree.touch("d/f")), "whole tree");
}

#[test]
fn the_name_of_what_is_selected_does_not_count_and_names_below_do() {
    let tree = Tree::new();
    assert_eq!(tree.plain("/a.txt"), tree.plain("/e/a.txt"));
    assert_eq!(tree.plain("/a.txt"), tree.plain("zz.txt"));
    fs::rename(tree.path("d"), tree.path("moved")).expect("moved");
    assert_eq!(tree.plain("/moved"), Tree::new().plain("/d"));
    assert_ne!(tree.plain("/e"), tree.plain("/moved"));
    // One match that is called as the pattern is what a plain path is; another name is not.
    assert_eq!(tree.plain("/*/a.txt"), tree.plain("/e/a.txt"));
    assert_ne!(tree.plain("/e/*"), tree.plain("/e/a.txt"));
    assert_eq!(tree.plain("/none*"), Digest::of(b""));
}

#[test]
fn links_count_for_what_they_are_or_for_what_they_lead_to() {
    let tree = Tree::new();
    link("d", tree.path("l")).expect("linked");
    link("/a.txt", tree.path("e/l")).expect("linked");
    let itself = Selection { follow_links: false, ..selection("/l") };
    assert_eq!(tree.plain("/l"), tree.plain("/d"));
    assert_ne!(tree.key(&itself), tree.plain("/d"));
    // In the middle they are always followed, below what is selected never.
    assert_eq!(tree.key(&Selection { path: "/l/f".into(), ..itself.clone() }), tree.plain("/d/f"));
    let before = tree.plain("/e");
    fs::write(tree.path("a.txt"), "changed").expect("written");
    assert_eq!(tree.plain("/e"), before);
    fs::remove_file(tree.path("l")).expect("removed");
    link("e", tree.path("l")).expect("linked");
    assert_ne!(tree.key(&itself), Tree::new().plain("/d"));
}

#[test]
fn only_what_the_patterns_take_counts() {
    let with = |include: &[&str], exclude: &[&str]| Selection {
        include: include.iter().map(|text| (*text).to_owned()).collect(),
        exclude: exclude.iter().map(|text| (*text).to_owned()).collect(),
        ..selection("/")
    };
    let change = |selection: &Selection, edit: &dyn Fn(&Tree)| {
        let tree = Tree::new();
        let before = tree.key(selection);
        edit(&tree);
        tree.key(selection) != before
    };
    let write = |name: &'static str| move |tree: &Tree| fs::write(tree.path(name), "new").expect("written");
    let some = with(&["d/sub/g"], &[]);
    assert!(change(&some, &write("d/sub/g")));
    assert!(!change(&some, &write("d/f")) && !change(&some, &write("a.txt")));
    assert!(change(&some, &|tree: &Tree| tree.chmod("d/sub", 0o700)), "a directory above comes along");
    let without = with(&[], &["d", "!d/f"]);
    assert!(change(&without, &write("d/f")) && change(&without, &write("a.txt")));
    assert!(!change(&without, &write("d/sub/g")) && !change(&without, &|tree: &Tree| tree.chmod("d/sub", 0o700)));
    assert_eq!(Tree::new().key(&with(&["nothing"], &[])), Digest::of(b""));
    let wildcard = Selection { path: "/d*".into(), wildcard: true, ..with(&["sub"], &[]) };
    assert!(change(&wildcard, &write("d/sub/g")) && !change(&wildcard, &write("d/f")));
}

#[test]
fn what_is_required_must_be_there() {
    let tree = Tree::new();
    let missing = |selection: &Selection| {
        let error = content(tree.0.path(), selection).expect_err("missing");
        assert!(matches!(error, FileError::NotFound { .. }), "{error}");
        error.to_string()
    };
    assert_eq!(missing(&selection("/no/such")), "`/no/such`: not found");
    let needs = |path: &str, include: &str| Selection {
        include: vec![include.into()],
        required: vec![path.into()],
        ..selection("/d")
    };
    tree.key(&needs("/d/sub/g", "sub/g"));
    tree.key(&needs("/d/sub", "sub/g"));
    assert_eq!(missing(&needs("/d/gone", "gone")), "`/d/gone`: not found");
    assert_eq!(missing(&needs("/d/su", "sub")), "`/d/su`: not found");
    assert_eq!(missing(&needs("/a.txt", "sub")), "`/a.txt`: not found");
}
