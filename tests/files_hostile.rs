//! Trees and operations that nobody should send: each is refused or contained, and nothing blocks.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink as link};
use std::path::PathBuf;

use dockless::file::{FileError, FileOptions, Selection, content, copy, mkdir, mkfile, owner, rm, symlink};
use dockless::llb::pb;
use proptest::prelude::*;
use tempfile::TempDir;

const OURS: FileOptions = FileOptions { single_id: true };

/// Two trees with a secret beside them that must neither change nor be reached.
struct Cage {
    place: TempDir,
}

impl Cage {
    fn new() -> Self {
        let place = TempDir::new().expect("a directory");
        for name in ["from/d", "to/d", "outside"] {
            fs::create_dir_all(place.path().join(name)).expect("made");
        }
        fs::write(place.path().join("outside/secret"), "secret").expect("written");
        fs::write(place.path().join("from/d/file"), "plain").expect("written");
        Self { place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Links out of both trees, in every way there is.
    fn links(&self) -> Vec<String> {
        let outside = self.path("outside");
        let ways = [
            ("absolute", outside.clone()),
            ("relative", PathBuf::from("../outside")),
            (
                "deep",
                PathBuf::from("../../../../../../../../../../..").join(outside.strip_prefix("/").expect("absolute")),
            ),
            ("secret", outside.join("secret")),
            ("climb", PathBuf::from("d/../../outside/secret")),
            ("process", PathBuf::from("/proc/self/root")),
        ];
        for (name, target) in &ways {
            for tree in ["from", "to"] {
                link(target, self.path(tree).join(name)).expect("linked");
            }
        }
        ways.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    fn check(&self) {
        let names: Vec<_> = fs::read_dir(self.path("outside"))
            .expect("there")
            .map(|entry| entry.expect("readable").file_name())
            .collect();
        assert_eq!(names, ["secret"], "something was made or removed outside");
        assert_eq!(fs::read_to_string(self.path("outside/secret")).expect("there"), "secret");
        assert_eq!(fs::read_dir(self.place.path()).expect("there").count(), 3);
        for entry in walkdir::WalkDir::new(self.path("to")) {
            let entry = entry.expect("readable");
            if entry.file_type().is_file() {
                assert_ne!(fs::read(entry.path()).expect("readable"), b"secret", "{}", entry.path().display());
            }
        }
    }

    /// Everything that can be done with these two paths; errors are fine.
    fn attack(&self, src: &str, dest: &str) {
        let (from, to) = (self.path("from"), self.path("to"));
        for flags in 0..16 {
            let action = pb::FileActionCopy {
                follow_symlink: flags & 1 != 0,
                dir_copy_contents: flags & 2 != 0,
                always_replace_existing_dest_paths: flags & 4 != 0,
                attempt_unpack_docker_compatibility: flags & 8 != 0,
                allow_wildcard: flags & 1 != 0,
                create_dest_path: true,
                ..action(src, dest)
            };
            let _ = copy(&from, &to, &action, None, OURS);
        }
        let path = || dest.to_owned();
        for make_parents in [false, true] {
            let action = pb::FileActionMkDir { path: path(), mode: 0o700, make_parents, owner: None, timestamp: 5 };
            let _ = mkdir(&to, &action, None, OURS);
        }
        let action = pb::FileActionMkFile { path: path(), mode: 0o600, data: b"x".into(), owner: None, timestamp: 5 };
        let _ = mkfile(&to, &action, None, OURS);
        let action = pb::FileActionSymlink { oldpath: path(), newpath: path(), owner: None, timestamp: 5 };
        let _ = symlink(&to, &action, None, OURS);
        for allow_wildcard in [false, true] {
            let _ = content(&from, &Selection { path: src.into(), follow_links: true, ..Selection::default() });
            let _ = rm(&to, &pb::FileActionRm { path: path(), allow_not_found: true, allow_wildcard });
        }
    }
}

fn action(src: &str, dest: &str) -> pb::FileActionCopy {
    pb::FileActionCopy {
        src: src.into(),
        dest: dest.into(),
        mode: -1,
        timestamp: -1,
        follow_symlink: true,
        create_dest_path: true,
        dir_copy_contents: true,
        ..Default::default()
    }
}

#[test]
fn nothing_leaves_the_trees_by_dots_or_links() {
    for tail in ["", "/", "/secret", "/new/thing", "/../outside/secret", "/."] {
        for name in Cage::new().links().iter().map(String::as_str).chain(["..", "../..", "d/../..", "/../outside"]) {
            let cage = Cage::new();
            cage.links();
            cage.attack(&format!("/{name}{tail}"), "/landed");
            cage.check();
            cage.attack("/d/file", &format!("{name}{tail}"));
            cage.attack("/d", &format!("/{name}{tail}"));
            cage.check();
        }
    }
}

#[test]
fn links_in_a_copied_tree_are_copied_and_not_followed() {
    let cage = Cage::new();
    let links = cage.links();
    copy(&cage.path("from"), &cage.path("to/all"), &action("/", "/"), None, OURS).expect_err("no such tree");
    fs::create_dir(cage.path("to/all")).expect("made");
    copy(&cage.path("from"), &cage.path("to/all"), &action("/", "/"), None, OURS).expect("copied");
    for name in links {
        let read = |tree: &str| fs::read_link(cage.path(tree).join(&name)).expect("a link");
        assert_eq!(read("to/all"), read("from"));
    }
    // What is there as a link is replaced and not written through, also where a directory is to come.
    fs::remove_file(cage.path("from/absolute")).expect("removed");
    fs::create_dir(cage.path("from/absolute")).expect("made");
    fs::write(cage.path("from/absolute/evil"), "").expect("written");
    let error = copy(&cage.path("from"), &cage.path("to"), &action("/", "/"), None, OURS).expect_err("in the way");
    assert!(matches!(error, FileError::DirectoryOverFile { .. }), "{error}");
    cage.check();
}

#[test]
fn circles_of_links_end() {
    let cage = Cage::new();
    for tree in ["from", "to"] {
        link("b", cage.path(tree).join("a")).expect("linked");
        link("a", cage.path(tree).join("b")).expect("linked");
        link("self/self/self", cage.path(tree).join("self")).expect("linked");
    }
    for name in ["/a", "/self", "/a/x"] {
        let error = copy(&cage.path("from"), &cage.path("to"), &action(name, "/x"), None, OURS).expect_err("a circle");
        assert!(matches!(error, FileError::TooManyLinks { .. }), "{error}");
        copy(&cage.path("from"), &cage.path("to"), &action("/d/file", name), None, OURS).expect_err("a circle");
        let selection = Selection { path: name.into(), follow_links: true, ..Selection::default() };
        content(&cage.path("from"), &selection).expect_err("a circle");
    }
    copy(&cage.path("from"), &cage.path("to"), &action("/", "/copied"), None, OURS).expect("links are copied");
}

#[test]
fn fifos_and_sockets_are_copied_without_waiting() {
    let cage = Cage::new();
    let fifo = cage.path("from/fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::from_raw_mode(0o640)).expect("made");
    let _socket = std::os::unix::net::UnixListener::bind(cage.path("from/socket")).expect("bound");
    let unpacking = pb::FileActionCopy { attempt_unpack_docker_compatibility: true, ..action("/fifo", "/fifo") };
    copy(&cage.path("from"), &cage.path("to"), &unpacking, None, OURS).expect("copied");
    let is_fifo = |path: &str| {
        use std::os::unix::fs::FileTypeExt as _;
        fs::symlink_metadata(cage.path(path)).expect("there").file_type().is_fifo()
    };
    assert!(is_fifo("to/fifo"));
    copy(&cage.path("from"), &cage.path("to"), &action("/", "/all"), None, OURS).expect("copied");
    assert!(is_fifo("to/all/fifo"));
    assert_eq!(fs::symlink_metadata(cage.path("to/all/socket")).expect("there").len(), 0);
    content(&cage.path("from"), &Selection::default()).expect("a key");
    let file = pb::FileActionMkFile { path: "/fifo".into(), mode: 0, data: vec![], owner: None, timestamp: -1 };
    assert!(matches!(mkfile(&cage.path("to"), &file, None, OURS), Err(FileError::NotRegular { .. })));
    fs::create_dir(cage.path("to/etc")).expect("made");
    fs::rename(cage.path("to/fifo"), cage.path("to/etc/passwd")).expect("moved");
    let user =
        Some(pb::UserOpt { user: Some(pb::user_opt::User::ByName(pb::NamedUserOpt { name: "x".into(), input: 0 })) });
    let root = cage.path("to");
    owner(Some(&pb::ChownOpt { user, group: None }), Some(&root), None).expect_err("a FIFO has no users");
}

#[test]
fn devices_are_copied_by_those_who_may_and_refused_aloud_to_others() {
    use std::os::unix::fs::MetadataExt as _;
    let cage = Cage::new();
    let make = |name: &str, kind, device| {
        rustix::fs::mknodat(rustix::fs::CWD, cage.path(name), kind, rustix::fs::Mode::from_raw_mode(0o640), device)
    };
    let (character, block) = (rustix::fs::FileType::CharacterDevice, rustix::fs::FileType::BlockDevice);
    let copied = |name: &str| copy(&cage.path("from"), &cage.path("to"), &action(name, "/"), None, OURS);
    if make("from/null", character, rustix::fs::makedev(1, 3)).is_err() {
        return crate::support::skip("devices", "no device can be made here");
    }
    make("from/loop", block, rustix::fs::makedev(7, 0)).expect("made");
    make("from/gone", character, 0).expect("made");
    let before = content(&cage.path("from"), &Selection { path: "/null".into(), ..Selection::default() }).expect("key");
    for name in ["null", "loop"] {
        copied(name).expect("copied");
        let stat = |tree: &str| fs::symlink_metadata(cage.path(tree).join(name)).map(|it| (it.mode(), it.rdev()));
        assert_eq!(stat("to").expect("there"), stat("from").expect("there"));
    }
    assert!(matches!(copied("/gone"), Err(FileError::Whiteout { .. })));
    assert_eq!(
        content(&cage.path("to"), &Selection { path: "/null".into(), ..Selection::default() }).expect("key"),
        before
    );
}

#[test]
fn any_name_survives() {
    let cage = Cage::new();
    for name in [&b"new\nline"[..], b"\xff\xfe", b" ", b"*", b"\\", b"-rf", b"[", &[b'x'; 255]] {
        fs::write(cage.path("from/d").join(OsStr::from_bytes(name)), name).expect("written");
    }
    let all = pb::FileActionCopy { allow_wildcard: true, ..action("/d*", "/") };
    copy(&cage.path("from"), &cage.path("to"), &all, None, OURS).expect("copied");
    let count = |path: &str| fs::read_dir(cage.path(path)).expect("there").count();
    assert_eq!(count("to") - 1, count("from/d"));
    let select = |tree: &str, path: &str| {
        content(&cage.path(tree), &Selection { path: path.into(), wildcard: true, ..Selection::default() })
            .expect("key")
    };
    assert_ne!(select("from", "/d/*"), select("from", "/d/*\n*"));
    assert_eq!(select("from", "/d/new*"), select("to", "/new*"));
}

#[test]
fn trees_that_are_too_deep_are_refused_before_the_stack_ends() {
    let cage = Cage::new();
    let mut path = cage.path("from/deep");
    for _ in 0..300 {
        path.push("x");
    }
    fs::create_dir_all(&path).expect("made");
    let error =
        copy(&cage.path("from"), &cage.path("to"), &action("/deep", "/deep"), None, OURS).expect_err("too deep");
    assert!(matches!(error, FileError::TooDeep { .. }), "{error}");
    assert!(matches!(content(&cage.path("from"), &Selection::default()), Err(FileError::TooDeep { .. })));
}

#[test]
fn a_long_list_of_patterns_is_no_trouble() {
    let cage = Cage::new();
    let patterns: Vec<String> = (0..20_000).map(|number| format!("**/{number}*")).collect();
    let long = pb::FileActionCopy { exclude_patterns: patterns, ..action("/", "/") };
    copy(&cage.path("from"), &cage.path("to"), &long, None, OURS).expect("copied");
    assert!(cage.path("to/d/file").exists());
}

#[test]
fn a_closed_directory_arrives_closed_with_all_in_it() {
    let cage = Cage::new();
    fs::set_permissions(cage.path("from/d"), fs::Permissions::from_mode(0o500)).expect("set");
    copy(&cage.path("from"), &cage.path("to"), &action("/", "/all"), None, OURS).expect("copied");
    assert!(cage.path("to/all/d/file").exists());
    assert_eq!(fs::metadata(cage.path("to/all/d")).expect("there").permissions().mode() & 0o777, 0o500);
    for path in ["from/d", "to/all/d"] {
        fs::set_permissions(cage.path(path), fs::Permissions::from_mode(0o700)).expect("set");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_path_leaves_the_trees(
        src in "(/|\\.\\./|\\./|d/|absolute/|relative/|climb|secret|deep|\\*|outside/|[a\\[]){1,5}",
        dest in "(/|\\.\\./|\\./|d/|absolute/|relative/|climb|secret|deep|process/|outside/|new/?){0,5}",
    ) {
        let cage = Cage::new();
        cage.links();
        cage.attack(&src, &dest);
        cage.check();
    }
}
