//! What file operations do to a tree, as BuildKit does it.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink as link};
use std::path::{Path, PathBuf};

use dockless::file::{FileError, FileOptions, Owner, copy, mkdir, mkfile, owner, rm, symlink};
use dockless::llb::pb;
use tempfile::TempDir;

const OURS: FileOptions = FileOptions { single_id: true };
const TIME: i64 = 1_700_000_000;

/// Two trees: what is copied from, and what is copied to.
struct Trees {
    place: TempDir,
}

impl Trees {
    /// `a.txt`, `b.sh`, and `dir` with `one`, `ln -> sub/two`, `sub/two` (0600) and `sub/deep/three`; all at one time.
    fn new() -> Self {
        let trees = Self { place: TempDir::new().expect("a directory") };
        fs::create_dir_all(trees.from("dir/sub/deep")).expect("made");
        fs::create_dir(trees.to("")).expect("made");
        for (name, mode) in [("a.txt", 0o644), ("b.sh", 0o755), ("dir/one", 0o644), ("dir/sub/two", 0o600)] {
            fs::write(trees.from(name), name).expect("written");
            fs::set_permissions(trees.from(name), Permissions::from_mode(mode)).expect("set");
        }
        fs::write(trees.from("dir/sub/deep/three"), "three").expect("written");
        link("sub/two", trees.from("dir/ln")).expect("linked");
        for name in ["dir", "dir/sub", "dir/sub/deep"] {
            fs::set_permissions(trees.from(name), Permissions::from_mode(0o750)).expect("set");
        }
        for name in ["a.txt", "b.sh", "dir/one", "dir/sub/two", "dir/sub/deep/three", "dir/sub/deep", "dir/sub", "dir"]
        {
            trees.age(name);
        }
        trees
    }

    fn age(&self, name: &str) {
        let time = rustix::fs::Timespec { tv_sec: TIME, tv_nsec: 5 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::utimensat(rustix::fs::CWD, self.from(name), &times, flags).expect("set");
    }

    fn from(&self, name: &str) -> PathBuf {
        self.place.path().join("from").join(name)
    }

    fn to(&self, name: &str) -> PathBuf {
        self.place.path().join("to").join(name)
    }

    fn copy(&self, action: &pb::FileActionCopy) -> Result<(), FileError> {
        copy(&self.from(""), &self.to(""), action, None, OURS)
    }

    fn copied(&self, src: &str, dest: &str) {
        self.copy(&action(src, dest)).expect("copied");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.to(name)).expect(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::symlink_metadata(self.to(name)).expect(name).mode() & 0o7777
    }

    fn mtime(&self, name: &str) -> i64 {
        fs::symlink_metadata(self.to(name)).expect(name).mtime()
    }

    fn exists(&self, name: &str) -> bool {
        fs::symlink_metadata(self.to(name)).is_ok()
    }

    /// All names in the target, sorted.
    fn names(&self) -> Vec<String> {
        let root = self.to("");
        let walk = walkdir::WalkDir::new(&root).min_depth(1).sort_by_file_name();
        let name = |path: &Path| path.strip_prefix(&root).expect("below").display().to_string();
        walk.into_iter().map(|entry| name(entry.expect("readable").path())).collect()
    }
}

/// A copy as the Dockerfile frontend asks for it.
fn action(src: &str, dest: &str) -> pb::FileActionCopy {
    pb::FileActionCopy {
        src: src.to_owned(),
        dest: dest.to_owned(),
        mode: -1,
        timestamp: -1,
        follow_symlink: true,
        dir_copy_contents: true,
        create_dest_path: true,
        allow_wildcard: true,
        allow_empty_wildcard: true,
        ..Default::default()
    }
}

#[test]
fn a_file_goes_to_the_name_or_into_the_directory() {
    let trees = Trees::new();
    trees.copied("/a.txt", "/new/dir/b");
    trees.copied("/a.txt", "/x/");
    trees.copied("/b.sh", "/x");
    trees.copied("a.txt", "/y/.");
    assert_eq!(trees.names(), ["new", "new/dir", "new/dir/b", "x", "x/a.txt", "x/b.sh", "y", "y/a.txt"]);
    assert_eq!((trees.read("x/a.txt"), trees.mode("x/b.sh"), trees.mtime("x/a.txt")), ("a.txt".into(), 0o755, TIME));
    assert_eq!(fs::metadata(trees.to("x/a.txt")).expect("there").mtime_nsec(), 5);
    assert_eq!((trees.mode("new"), trees.mode("x")), (0o755, 0o755));
    assert_ne!(trees.mtime("x"), TIME);
}

#[test]
fn a_directory_gives_its_contents_and_its_time() {
    let trees = Trees::new();
    trees.copied("/dir", "/z");
    assert_eq!(trees.names(), ["z", "z/ln", "z/one", "z/sub", "z/sub/deep", "z/sub/deep/three", "z/sub/two"]);
    // The top is made as any parent; what is below is as it was.
    assert_eq!((trees.mode("z"), trees.mode("z/sub"), trees.mode("z/sub/two")), (0o755, 0o750, 0o600));
    assert_eq!((trees.mtime("z"), trees.mtime("z/sub"), trees.mtime("z/sub/deep")), (TIME, TIME, TIME));
    assert_eq!(fs::read_link(trees.to("z/ln")).expect("a link"), Path::new("sub/two"));

    let whole = pb::FileActionCopy { dir_copy_contents: false, ..action("/dir", "/z") };
    trees.copy(&whole).expect("copied");
    assert_eq!(trees.mode("z/dir"), 0o750);
    let contents = pb::FileActionCopy { allow_wildcard: false, ..whole.clone() };
    trees.copy(&pb::FileActionCopy { src: "/dir/.".into(), dest: "/w/".into(), ..contents }).expect("copied");
    assert!(trees.exists("w/one"));
}

#[test]
fn existing_targets_are_merged_replaced_or_refused() {
    let trees = Trees::new();
    fs::create_dir_all(trees.to("z/sub/kept")).expect("made");
    fs::set_permissions(trees.to("z"), Permissions::from_mode(0o711)).expect("set");
    fs::set_permissions(trees.to("z/sub"), Permissions::from_mode(0o711)).expect("set");
    fs::write(trees.to("victim"), "kept").expect("written");
    link("../victim", trees.to("z/one")).expect("linked");
    trees.copied("/dir", "/z");
    assert_eq!((trees.mode("z"), trees.mode("z/sub"), trees.mtime("z")), (0o711, 0o750, TIME));
    assert!(trees.exists("z/sub/kept"));
    assert_eq!((trees.read("z/one"), trees.read("victim")), ("dir/one".into(), "kept".into()));

    fs::create_dir_all(trees.to("q/one")).expect("made");
    let error = trees.copy(&action("/dir", "/q")).expect_err("a directory is in the way");
    assert_eq!(error.to_string(), "cannot replace to directory `/q/one` with file");
    fs::create_dir(trees.to("r")).expect("made");
    fs::write(trees.to("r/sub"), "").expect("written");
    let error = trees.copy(&action("/dir", "/r")).expect_err("a file is in the way");
    assert_eq!(error.to_string(), "cannot copy to non-directory: `/r/sub`");
    assert!(error.help().is_some());

    let onto_root = pb::FileActionCopy {
        allow_wildcard: false,
        always_replace_existing_dest_paths: true,
        ..action("/a.txt/.", "/")
    };
    assert!(matches!(trees.copy(&onto_root), Err(FileError::Root)));
    assert!(trees.exists("victim"));
    for place in ["/q", "/r"] {
        let replace = pb::FileActionCopy { always_replace_existing_dest_paths: true, ..action("/dir", place) };
        trees.copy(&replace).expect("replaced");
    }
    assert!(trees.to("q/one").is_file() && trees.to("r/sub/two").is_file());
}

#[test]
fn wildcards_are_matched_name_by_name() {
    let trees = Trees::new();
    trees.copied("/*.txt", "/w/");
    trees.copied("/d?r/s*", "/v/");
    assert_eq!(trees.names(), ["v", "v/deep", "v/deep/three", "v/two", "w", "w/a.txt"]);
    trees.copied("/no*", "/none/");
    assert!(!trees.exists("none"));
    let strict = pb::FileActionCopy { allow_empty_wildcard: false, ..action("/no*", "/none/") };
    assert!(matches!(trees.copy(&strict), Err(FileError::NoMatch { .. })));
    let error = trees.copy(&action("/missing", "/none")).expect_err("missing");
    assert_eq!(error.to_string(), "`/missing`: not found");
    let literal = pb::FileActionCopy { allow_wildcard: false, ..action("/*.txt", "/none") };
    assert!(matches!(trees.copy(&literal), Err(FileError::NotFound { .. })));
    assert!(matches!(trees.copy(&action("/[", "/none")), Err(FileError::Pattern(_))));
}

#[test]
fn links_are_followed_at_the_top_only() {
    let trees = Trees::new();
    link("/dir/sub", trees.from("dlink")).expect("linked");
    trees.copied("/dlink", "/z3");
    assert!(trees.exists("z3/two"));
    let itself = pb::FileActionCopy { follow_symlink: false, ..action("/dlink", "/l") };
    trees.copy(&itself).expect("copied");
    assert_eq!(fs::read_link(trees.to("l")).expect("a link"), Path::new("/dir/sub"));
    // A dangling link in the destination leads to a place that is made.
    link("/made/here", trees.to("dangling")).expect("linked");
    trees.copied("/a.txt", "/dangling/");
    assert_eq!(trees.read("made/here/a.txt"), "a.txt");
}

#[test]
fn destinations_are_only_made_if_that_is_asked_for() {
    let trees = Trees::new();
    let strict = pb::FileActionCopy { create_dest_path: false, ..action("/a.txt", "/no/such/a") };
    assert_eq!(trees.copy(&strict).expect_err("missing").to_string(), "`/no/such`: not found");
    trees.copy(&pb::FileActionCopy { create_dest_path: false, ..action("/a.txt", "/a") }).expect("copied");
    assert_eq!(trees.names(), ["a"]);
}

#[test]
fn modes_and_times_apply_to_everything_that_is_made() {
    let trees = Trees::new();
    let octal = pb::FileActionCopy { mode: 0o4741, timestamp: 7_000_000_001, ..action("/dir", "/p/n3/") };
    trees.copy(&octal).expect("copied");
    for (name, mode) in [("p", 0o741), ("p/n3", 0o741), ("p/n3/one", 0o4741), ("p/n3/sub", 0o4741), ("p/n3/ln", 0o777)]
    {
        assert_eq!((trees.mode(name), trees.mtime(name)), (mode, 7), "{name}");
    }
    let words = pb::FileActionCopy { mode: 0o777, mode_str: "u=rwX,go=rX".into(), ..action("/dir", "/n4/") };
    trees.copy(&words).expect("copied");
    assert_eq!((trees.mode("n4/sub"), trees.mode("n4/sub/two"), trees.mode("n4")), (0o755, 0o644, 0o755));
    let wrong = pb::FileActionCopy { mode_str: "u=q".into(), ..action("/dir", "/n5/") };
    assert_eq!(trees.copy(&wrong).expect_err("nonsense").to_string(), "invalid mode `u=q`");
}

#[test]
fn patterns_choose_and_parents_come_along_when_needed() {
    let with = |include: &[&str], exclude: &[&str]| {
        let trees = Trees::new();
        let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let action =
            pb::FileActionCopy { include_patterns: own(include), exclude_patterns: own(exclude), ..action("/", "/p/") };
        trees.copy(&action).expect("copied");
        let mut names = trees.names();
        names.retain(|name| name != "p");
        (names, trees)
    };
    let (names, trees) = with(&["dir/sub/deep/three"], &[]);
    assert_eq!(names, ["p/dir", "p/dir/sub", "p/dir/sub/deep", "p/dir/sub/deep/three"]);
    // As in BuildKit: what comes into a parent made on the way changes its time.
    assert_eq!(trees.mode("p/dir/sub"), 0o750);
    assert_ne!(trees.mtime("p/dir/sub"), TIME);
    let (names, trees) = with(&["*/sub/deep"], &[]);
    assert_eq!(names, ["p/dir", "p/dir/sub", "p/dir/sub/deep", "p/dir/sub/deep/three"]);
    assert_eq!(trees.mtime("p/dir/sub/deep"), TIME);
    assert_eq!(with(&["nothing"], &[]).0, [""; 0]);
    assert_eq!(with(&[], &["dir/*", "!dir/one", "b.sh"]).0, ["p/a.txt", "p/dir", "p/dir/one"]);
    assert_eq!(with(&[], &["dir", "!dir/sub/two", "*.*"]).0, ["p/dir", "p/dir/sub", "p/dir/sub/two"]);
    assert_eq!(with(&["dir"], &["**/two", "**/deep"]).0, ["p/dir", "p/dir/ln", "p/dir/one", "p/dir/sub"]);
}

#[test]
fn hard_links_stay_together_and_attributes_come_along() {
    let trees = Trees::new();
    fs::hard_link(trees.from("dir/one"), trees.from("dir/sub/again")).expect("linked");
    let value = rustix::fs::setxattr(trees.from("dir/one"), "user.note", b"kept", rustix::fs::XattrFlags::empty());
    trees.copied("/dir", "/z");
    let inode = |name: &str| fs::metadata(trees.to(name)).expect(name).ino();
    assert_eq!(inode("z/one"), inode("z/sub/again"));
    assert_ne!(inode("z/one"), fs::metadata(trees.from("dir/one")).expect("there").ino());
    if value.is_ok() {
        let mut buffer = [0; 8];
        let length = rustix::fs::getxattr(trees.to("z/one"), "user.note", &mut buffer[..]).expect("an attribute");
        assert_eq!(&buffer[..length], b"kept");
    } else {
        crate::support::skip("xattrs", "the file system has no user attributes");
    }
}

fn tar() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content, kind) in [("./", "", '5'), ("d/", "", '5'), ("d/f", "content", '0'), ("d/.wh.x", "plain", '0')]
    {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).expect("a name");
        header.set_entry_type(tar::EntryType::new(kind as u8));
        header.set_mode(if kind == '5' { 0o700 } else { 0o640 });
        header.set_uid(u64::from(rustix::process::getuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getgid().as_raw()));
        header.set_mtime(1_600_000_000);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).expect("appended");
    }
    tar.into_inner().expect("a tar")
}

#[test]
fn archives_unpack_whatever_they_are_compressed_with() {
    let trees = Trees::new();
    let tar = tar();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("written");
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&tar).expect("written");
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&tar).expect("written");
    for (name, bytes) in [
        ("plain", tar.clone()),
        ("gzip", gzip.finish().expect("compressed")),
        ("bzip2", bzip2.finish().expect("compressed")),
        ("xz", xz.finish().expect("compressed")),
        ("zstd", zstd::encode_all(&*tar, 1).expect("compressed")),
    ] {
        fs::write(trees.from(name), bytes).expect("written");
        let unpacking = pb::FileActionCopy {
            attempt_unpack_docker_compatibility: true,
            ..action(&format!("/{name}"), &format!("/{name}/"))
        };
        trees.copy(&unpacking).expect(name);
        assert_eq!(trees.read(&format!("{name}/d/f")), "content");
        // Names of whiteouts are names here, and the archive's root is not the directory.
        assert_eq!(trees.read(&format!("{name}/d/.wh.x")), "plain");
        assert_eq!((trees.mode(name), trees.mode(&format!("{name}/d"))), (0o755, 0o700));
    }
    for (name, content) in [("not.tar.gz", &b"this is no archive"[..]), ("empty", b""), ("zeros", &[0; 2048])] {
        fs::write(trees.from(name), content).expect("written");
        let plain = pb::FileActionCopy { attempt_unpack_docker_compatibility: true, ..action(name, "/t4/") };
        trees.copy(&plain).expect("copied");
        assert_eq!(trees.read(&format!("t4/{name}")).as_bytes(), content);
    }
}

#[test]
fn small_actions_do_what_they_say() {
    let trees = Trees::new();
    let root = trees.to("");
    let dir = |path: &str, make_parents| pb::FileActionMkDir {
        path: path.into(),
        mode: 0o4770,
        make_parents,
        owner: None,
        timestamp: 3_000_000_000,
    };
    mkdir(&root, &dir("/a/b", true), None, OURS).expect("made");
    mkdir(&root, &dir("/a/b", false), None, OURS).expect("there already");
    assert_eq!((trees.mode("a"), trees.mode("a/b"), trees.mtime("a/b")), (0o770, 0o770, 3));
    let error = mkdir(&root, &dir("/no/c", false), None, OURS).expect_err("no parent");
    assert_eq!(error.to_string(), "`/no`: not found");

    let file = |path: &str, data: &str| pb::FileActionMkFile {
        path: path.into(),
        mode: 0o4640,
        data: data.into(),
        owner: None,
        timestamp: -1,
    };
    mkfile(&root, &file("/f", "long content"), None, OURS).expect("made");
    assert_eq!((trees.read("f"), trees.mode("f")), ("long content".into(), 0o640));
    link("/f", trees.to("ln")).expect("linked");
    fs::hard_link(trees.to("f"), trees.from("shared")).expect("linked");
    fs::set_permissions(trees.to("f"), Permissions::from_mode(0o600)).expect("set");
    mkfile(&root, &file("/ln", "short"), None, OURS).expect("replaced");
    assert_eq!((trees.read("f"), trees.mode("f")), ("short".into(), 0o600));
    assert_eq!(fs::read_to_string(trees.from("shared")).expect("there"), "long content");
    assert!(matches!(mkfile(&root, &file("/a", ""), None, OURS), Err(FileError::NotRegular { .. })));

    let links = pb::FileActionSymlink {
        oldpath: "../../anywhere".into(),
        newpath: "/a/l".into(),
        owner: None,
        timestamp: 9_000_000_000,
    };
    symlink(&root, &links, None, OURS).expect("made");
    assert_eq!((fs::read_link(trees.to("a/l")).expect("a link"), trees.mtime("a/l")), ("../../anywhere".into(), 9));
    symlink(&root, &pb::FileActionSymlink { newpath: "/f".into(), ..links }, None, OURS).expect_err("it exists");

    let gone = |path: &str, allow_not_found, allow_wildcard| pb::FileActionRm {
        path: path.into(),
        allow_not_found,
        allow_wildcard,
    };
    rm(&root, &gone("/ln", false, false)).expect("removed");
    assert!(trees.exists("f") && !trees.exists("ln"));
    rm(&root, &gone("/a", false, false)).expect("removed");
    assert_eq!(rm(&root, &gone("/a/x", false, false)).expect_err("gone").to_string(), "`/a/x`: not found");
    rm(&root, &gone("/a/x", true, false)).expect("nothing to do");
    rm(&root, &gone("/f*", false, true)).expect("removed");
    rm(&root, &gone("/f*", false, true)).expect("nothing to do");
    assert!(matches!(rm(&root, &gone("/a/..", true, false)), Err(FileError::Root)));
    assert_eq!(trees.names(), [""; 0]);
}

#[test]
fn owners_are_looked_up_in_the_tree() {
    let by_name = |name: &str| pb::UserOpt {
        user: Some(pb::user_opt::User::ByName(pb::NamedUserOpt { name: name.into(), input: 0 })),
    };
    let by_id = |id| pb::UserOpt { user: Some(pb::user_opt::User::ById(id)) };
    let trees = Trees::new();
    fs::create_dir(trees.to("etc")).expect("made");
    fs::write(trees.to("etc/passwd"), "root:x:0:0::/:\n\n  usr:x:4321:1234::/:\nodd:x:no:\n").expect("written");
    fs::write(trees.to("group"), "grp:x:77:a,b\n").expect("written");
    link("/group", trees.to("etc/group")).expect("linked");
    let root = trees.to("");
    let ask = |user, group| owner(Some(&pb::ChownOpt { user, group }), Some(&root), Some(&root)).expect("looked up");
    let is = |uid, gid| Some(Owner { uid, gid });
    assert_eq!(ask(Some(by_name("usr")), None), is(4321, 1234));
    assert_eq!(ask(Some(by_name("usr")), Some(by_name("grp"))), is(4321, 77));
    assert_eq!(ask(Some(by_id(7)), None), is(7, 7));
    assert_eq!(ask(Some(by_id(7)), Some(by_id(8))), is(7, 8));
    assert_eq!(ask(None, Some(by_id(8))), is(0, 8));
    assert_eq!(ask(Some(by_name("nobody-here")), Some(by_name("nor-here"))), is(0, 0));
    assert_eq!(ask(Some(by_name("odd")), None), is(0, 0));
    assert_eq!(owner(None, None, None).expect("none"), None);
    let named = pb::ChownOpt { user: Some(by_name("usr")), group: None };
    assert_eq!(owner(Some(&named), None, None).expect("an empty tree"), is(0, 0));
    assert_eq!(owner(Some(&named), Some(&trees.from("")), None).expect("no passwd"), is(0, 0));
    fs::remove_file(trees.to("etc/passwd")).expect("removed");
    fs::create_dir(trees.to("etc/passwd")).expect("made");
    assert!(matches!(owner(Some(&named), Some(&root), None), Err(FileError::NotRegular { .. })));
}

#[test]
fn owners_are_given_or_stay_ours() {
    let trees = Trees::new();
    let other = Some(Owner { uid: 4321, gid: 1234 });
    copy(&trees.from(""), &trees.to(""), &action("/dir", "/z/new"), other, OURS).expect("copied");
    let owners = |name: &str| fs::symlink_metadata(trees.to(name)).map(|it| (it.uid(), it.gid())).expect(name);
    let given = owners("z/new/one");
    assert!(given == (4321, 1234) || given.0 == rustix::process::getuid().as_raw());
    for name in ["z", "z/new", "z/new/ln", "z/new/sub"] {
        assert_eq!(owners(name), given, "{name}");
    }
    if given != (4321, 1234) {
        let all = FileOptions { single_id: false };
        let error = copy(&trees.from(""), &trees.to(""), &action("/a.txt", "/q"), other, all).expect_err("refused");
        assert!(error.help().is_some(), "{error}");
    }
}

#[test]
fn a_file_written_anew_keeps_its_attributes_and_its_directory_keeps_its_time() {
    let trees = Trees::new();
    let root = trees.from("");
    let attribute = |path: &Path| {
        let mut value = [0; 8];
        rustix::fs::lgetxattr(path, "user.kept", &mut value[..]).map(|length| value[..length].to_vec())
    };
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::lsetxattr(trees.from("dir/one"), "user.kept", b"yes", flags).is_err() {
        crate::support::skip("xattrs", "the temporary directory has no extended attributes");
        return;
    }
    trees.age("dir");
    let action = pb::FileActionMkFile {
        path: "/dir/one".to_owned(),
        mode: 0o644,
        data: b"new".to_vec(),
        owner: None,
        timestamp: -1,
    };
    mkfile(&root, &action, None, OURS).expect("written");
    assert_eq!(fs::read_to_string(trees.from("dir/one")).expect("read"), "new");
    assert_eq!(attribute(&trees.from("dir/one")).expect("kept"), b"yes");
    assert_eq!(fs::metadata(trees.from("dir")).expect("there").mtime(), TIME);
}

#[test]
fn nothing_is_removed_through_a_file_even_where_it_may_be_missing() {
    let trees = Trees::new();
    let action = |path: &str| pb::FileActionRm { path: path.to_owned(), allow_not_found: true, ..Default::default() };
    assert!(matches!(rm(&trees.from(""), &action("/a.txt/below")), Err(FileError::Io { .. })));
    rm(&trees.from(""), &action("/nowhere/below")).expect("missing is fine");
}
