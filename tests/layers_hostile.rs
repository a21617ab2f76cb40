//! A zoo of archives that nobody should send: each is refused or contained, and nothing outside the root changes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use dockless::layer::{LayerError, Limits, UnpackOptions, Unpacked, unpack};
use tar::{EntryType, Header};
use tempfile::TempDir;

/// An archive in the making, header by header.
#[derive(Default)]
struct Zoo(Vec<u8>);

impl Zoo {
    #[must_use]
    fn entry(mut self, kind: EntryType, path: &str, link: &str, content: &[u8]) -> Self {
        self.header(kind, path, link, content.len() as u64);
        self.content(content);
        self
    }

    fn header(&mut self, kind: EntryType, path: &str, link: &str, size: u64) {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(u64::from(rustix::process::getuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getgid().as_raw()));
        header.set_mtime(1);
        header.set_size(size);
        header.set_device_major(0).expect("GNU header");
        header.set_device_minor(0).expect("GNU header");
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn content(&mut self, content: &[u8]) {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    #[must_use]
    fn file(self, path: &str, content: &str) -> Self {
        self.entry(EntryType::Regular, path, "", content.as_bytes())
    }

    #[must_use]
    fn directory(self, path: &str) -> Self {
        self.entry(EntryType::Directory, path, "", b"")
    }

    #[must_use]
    fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Symlink, path, target, b"")
    }

    #[must_use]
    fn hard_link(self, path: &str, target: &str) -> Self {
        self.entry(EntryType::Link, path, target, b"")
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A root with a secret beside it that must neither change nor be reached.
struct Cage {
    place: TempDir,
}

impl Cage {
    fn new() -> Self {
        let place = TempDir::new().expect("temporary directory");
        fs::create_dir(place.path().join("root")).expect("root");
        fs::create_dir(place.path().join("outside")).expect("outside");
        fs::write(place.path().join("outside/secret"), "secret").expect("secret");
        Self { place }
    }

    fn root(&self) -> std::path::PathBuf {
        self.place.path().join("root")
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, LayerError> {
        self.unpack_with(archive, &UnpackOptions { single_id: true, ..UnpackOptions::default() })
    }

    fn unpack_with(&self, archive: &[u8], options: &UnpackOptions) -> Result<Unpacked, LayerError> {
        let result = unpack(archive, &self.root(), options);
        let outside = self.place.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside).expect("outside").map(|it| it.expect("entry").file_name()).collect();
        assert_eq!(names, ["secret"], "something was made or removed outside");
        let secret = fs::metadata(outside.join("secret")).expect("secret");
        assert_eq!(secret.nlink(), 1, "the secret was linked into the root");
        assert_eq!(fs::read_to_string(outside.join("secret")).expect("secret"), "secret");
        assert_eq!(fs::read_dir(self.place.path()).expect("place").count(), 2);
        result
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).expect(path)
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn names_that_climb_are_refused() {
    for path in ["../outside/evil", "a/../../outside/evil", "..", "a/..", "./../outside/evil", "/../outside/evil"] {
        let error = Cage::new().unpack(&Zoo::default().file(path, "x").end()).expect_err(path);
        assert!(matches!(error, LayerError::Entry { .. }), "{path}: {error}");
        assert!(error.to_string().contains(path), "{error}");
    }
}

#[test]
fn absolute_names_are_taken_below_the_root() {
    let cage = Cage::new();
    let absolute = cage.place.path().join("outside/evil");
    cage.unpack(&Zoo::default().file("/etc/passwd", "x").file("//abs", "y").end()).expect("unpacked");
    assert_eq!((cage.read("etc/passwd"), cage.read("abs")), ("x".to_owned(), "y".to_owned()));
    // The very path of the place outside: below the root it is just a long name.
    let path = absolute.to_str().expect("UTF-8");
    cage.unpack(&Zoo::default().file(path, "x").end()).expect("unpacked");
    assert_eq!(cage.read(&path[1..]), "x");
}

#[test]
fn links_to_outside_lead_below_the_root() {
    let cage = Cage::new();
    let outside = cage.place.path().join("outside");
    let outside = outside.to_str().expect("UTF-8");
    // Dangling inside the root: refused, and nothing appears outside.
    for target in ["../outside", outside, "../../../../../../../tmp"] {
        let zoo = Zoo::default().symlink("link", target).file("link/evil", "x");
        cage.unpack(&zoo.end()).expect_err(target);
    }
    let zoo = Zoo::default().directory("top").symlink("up", "/").file("up/evil", "x").symlink("top/rel", "../..");
    cage.unpack(&zoo.file("top/rel/other", "y").end()).expect("contained");
    assert_eq!((cage.read("evil"), cage.read("other")), ("x".to_owned(), "y".to_owned()));
}

#[test]
fn a_link_that_is_there_already_is_replaced_and_not_written_through() {
    let cage = Cage::new();
    symlink(cage.place.path().join("outside/secret"), cage.root().join("file")).expect("link");
    symlink(cage.place.path().join("outside"), cage.root().join("directory")).expect("link");
    cage.unpack(&Zoo::default().file("file", "x").directory("directory").end()).expect("unpacked");
    assert_eq!(cage.read("file"), "x");
    assert!(fs::symlink_metadata(cage.root().join("directory")).expect("directory").is_dir());
    // Also where the archive brought the link itself.
    let zoo =
        Zoo::default().symlink("l", "../outside/secret").file("l", "x").symlink("m", "../outside").directory("m/");
    cage.unpack(&zoo.file("m/f", "y").end()).expect("unpacked");
    assert_eq!((cage.read("l"), cage.read("m/f")), ("x".to_owned(), "y".to_owned()));
}

#[test]
fn modes_and_times_of_directories_do_not_follow_links() {
    let cage = Cage::new();
    let before = fs::metadata(cage.place.path().join("outside")).expect("outside");
    // A directory entry, then a link in its place: what is set at the end must not go through it.
    let zoo = Zoo::default().directory("d").symlink("d", "../outside");
    cage.unpack(&zoo.end()).expect("unpacked");
    let after = fs::metadata(cage.place.path().join("outside")).expect("outside");
    assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
}

#[test]
fn hard_links_reach_files_of_the_tree_only() {
    let cage = Cage::new();
    let outside = cage.place.path().join("outside/secret");
    let targets = ["../outside/secret", outside.to_str().expect("UTF-8"), "missing", "d", "", "/", "l/secret", "."];
    for target in targets {
        let zoo = Zoo::default().directory("d").symlink("l", "../outside").hard_link("evil", target);
        let error = cage.unpack(&zoo.end()).expect_err(target);
        assert!(matches!(error, LayerError::HardLink { .. }), "{target}: {error}");
        assert!(!exists(&cage.root().join("evil")));
    }
    // A link to a symbolic link is a second name of the link, not of what it points to.
    let zoo = Zoo::default().symlink("s", "../outside/secret").hard_link("evil", "s").file("evil", "x");
    cage.unpack(&zoo.end()).expect("contained");
    assert_eq!(cage.read("evil"), "x");
    // To itself, also by another spelling: the file must survive.
    let zoo = Zoo::default().file("same", "x").hard_link("same", "same").hard_link("./same", "/same");
    cage.unpack(&zoo.end()).expect("unpacked");
    assert_eq!(cage.read("same"), "x");
    // Writing a second name anew does not change the first.
    let zoo = Zoo::default().file("one", "1").hard_link("two", "one").file("two", "2");
    cage.unpack(&zoo.end()).expect("unpacked");
    assert_eq!((cage.read("one"), cage.read("two")), ("1".to_owned(), "2".to_owned()));
}

#[test]
fn sizes_that_lie_end_in_an_error_without_the_memory() {
    for (size, kind) in [
        (8 << 30, EntryType::Regular),
        (u64::MAX / 2, EntryType::Regular),
        (8 << 30, EntryType::XHeader),
        (u64::MAX - 600, EntryType::GNULongName),
        (8 << 30, EntryType::GNULongLink),
        (u64::MAX - 100, EntryType::XGlobalHeader),
    ] {
        let mut zoo = Zoo::default();
        zoo.header(kind, "big", "", size);
        zoo.content(b"small");
        let error = Cage::new().unpack(&zoo.end()).expect_err("refused");
        assert!(matches!(error, LayerError::Truncated { .. } | LayerError::Limit { .. }), "{size} {kind:?}: {error}");
    }
}

#[test]
fn limits_are_errors_that_name_themselves() {
    let cage = Cage::new();
    let with = |limits| UnpackOptions { limits, single_id: true, ..UnpackOptions::default() };
    let archive = Zoo::default().file("a", "12345").file("b", "12345").file("cc", "").end();
    cage.unpack_with(&archive, &with(Limits { entries: 3, path: 2, bytes: 10, ratio: 1, memory: 1000 }))
        .expect("just within");
    for (limits, what) in [
        (Limits { entries: 2, ..Limits::default() }, "2 entries"),
        (Limits { bytes: 9, ..Limits::default() }, "9 bytes of content"),
        (Limits { path: 1, ..Limits::default() }, "1 bytes in a name"),
    ] {
        let error = cage.unpack_with(&archive, &with(limits)).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
    }
    let deep = vec!["d"; 257].join("/");
    let long = "n".repeat(256);
    for name in [deep, long] {
        let mut zoo = Zoo::default();
        zoo.header(EntryType::GNULongName, "././@LongLink", "", name.len() as u64);
        zoo.content(name.as_bytes());
        let error = cage.unpack(&zoo.file("x", "").end()).expect_err("refused");
        assert!(matches!(error, LayerError::Entry { .. }), "{error}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_an_error() {
    let archive = Zoo::default().directory("d").file("d/f", &"x".repeat(700)).symlink("l", "d").end();
    for length in (0..archive.len() - 1024).step_by(100).chain([511, 512, 513, archive.len() - 1024]) {
        let error = Cage::new().unpack(&archive[..length]).expect_err("cut");
        assert!(matches!(error, LayerError::Truncated { .. }), "{length}: {error}");
    }
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    zipped.write_all(&archive).expect("memory");
    let zipped = zipped.finish().expect("memory");
    for length in [20, zipped.len() / 2, zipped.len() - 8, zipped.len() - 1] {
        Cage::new().unpack(&zipped[..length]).expect_err("cut");
    }
    let mut damaged = zipped.clone();
    let sum = damaged.len() - 6;
    damaged[sum] ^= 1;
    Cage::new().unpack(&damaged).expect_err("a wrong sum behind the end mark is noticed");
}

#[test]
fn a_damaged_header_is_an_error() {
    let mut archive = Zoo::default().file("f", "x").end();
    archive[3] ^= 1;
    let error = Cage::new().unpack(&archive).expect_err("damaged");
    assert!(matches!(error, LayerError::Malformed { offset: 0, .. }), "{error}");
    let text = b"This is not an archive at all. ".repeat(100);
    assert!(matches!(Cage::new().unpack(&text), Err(LayerError::Malformed { .. })));
}

#[test]
fn broken_extension_records_are_errors() {
    for records in [
        &b"x"[..],
        b"5 a=b",
        b"99999999999999999999 path=x\n",
        b"9 path=xyz\n",
        b"0 path=x\n",
        b"2 \n",
        b"10 path\n\n\n\n",
        b"11 size=-1\n",
        b"12 uid=root\n",
        b"22 GNU.sparse.major=1\n",
        b"18446744073709551615 path=x\n",
    ] {
        let archive = Zoo::default().entry(EntryType::XHeader, "pax", "", records).file("f", "").end();
        let error = Cage::new().unpack(&archive).expect_err("refused");
        assert!(matches!(error, LayerError::Malformed { .. }), "{}: {error}", String::from_utf8_lossy(records));
    }
    let nul = b"12 path=a\0b\n";
    let archive = Zoo::default().entry(EntryType::XHeader, "pax", "", nul).file("f", "").end();
    assert!(matches!(Cage::new().unpack(&archive), Err(LayerError::Entry { .. })));
}

#[test]
fn the_last_of_duplicate_entries_counts_whatever_its_type() {
    let cage = Cage::new();
    let zoo = Zoo::default()
        .file("a", "1")
        .directory("a")
        .file("a/inner", "2")
        .symlink("a", "b")
        .file("a", "3")
        .directory("b")
        .file("b/x", "4")
        .file("b", "5");
    cage.unpack(&zoo.end()).expect("unpacked");
    assert_eq!((cage.read("a"), cage.read("b")), ("3".to_owned(), "5".to_owned()));
    // Below a file there is nothing.
    let zoo = Zoo::default().file("f", "1").file("f/g", "2");
    assert!(matches!(cage.unpack(&zoo.end()), Err(LayerError::Io { .. })));
}

#[test]
fn whiteouts_hide_nothing_outside_and_nothing_of_their_own_layer() {
    let cage = Cage::new();
    for path in [".wh...", ".wh..", ".wh.", "d/.wh...", ".wh.x/file", "../.wh.outside"] {
        let error = cage.unpack(&Zoo::default().file(path, "").end()).expect_err(path);
        assert!(matches!(error, LayerError::Entry { .. }), "{path}: {error}");
    }
    symlink("../outside", cage.root().join("up")).expect("link");
    let zoo = Zoo::default().file("up/.wh.secret", "").file("up/.wh..wh..opq", "").file("missing/.wh.x", "");
    cage.unpack(&zoo.end()).expect("nothing to hide");
    assert!(!exists(&cage.root().join("missing")), "a whiteout makes no directories");
    let zoo =
        Zoo::default().file("new", "x").file(".wh.new", "").directory("d").file("d/n", "y").file("d/.wh..wh..opq", "");
    cage.unpack(&zoo.end()).expect("unpacked");
    assert_eq!((cage.read("new"), cage.read("d/n")), ("x".to_owned(), "y".to_owned()));
}

#[test]
fn overlay_cannot_be_ordered_about_by_an_archive() {
    let cage = Cage::new();
    let record = |name: &str, value: &str| {
        let rest = format!(" SCHILY.xattr.{name}={value}\n");
        // The length counts its own digits, of which there are at most two here.
        let length = (rest.len()..rest.len() + 3).find(|length| length.to_string().len() + rest.len() == *length);
        let length = length.expect("a length");
        format!("{length}{rest}").into_bytes()
    };
    let records = [
        record("user.overlay.opaque", "y"),
        record("user.overlay.redirect", "/outside"),
        record("trusted.overlay.opaque", "y"),
    ]
    .concat();
    let zoo = Zoo::default().entry(EntryType::XHeader, "pax", "", &records).directory("d");
    let mut archive = zoo.0;
    // Overlay's own whiteout: a character device 0:0.
    let mut whiteout = Zoo(std::mem::take(&mut archive));
    whiteout.header(EntryType::Char, "w", "", 0);
    let unpacked = cage.unpack(&whiteout.end()).expect("unpacked");
    assert_eq!((unpacked.nodes_refused, unpacked.attributes_ignored), (1, 3));
    assert!(!exists(&cage.root().join("w")));
    let mut list = [0; 4096];
    let length = rustix::fs::llistxattr(cage.root().join("d"), &mut list[..]).expect("attributes");
    let list = String::from_utf8_lossy(&list[..length]).into_owned();
    assert!(!list.contains("overlay"), "{list}");
}

#[test]
fn a_compression_bomb_goes_off_early() {
    struct Zeros(u64);
    impl Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = usize::try_from(self.0.min(buffer.len() as u64)).expect("small");
            buffer[..count].fill(0);
            self.0 -= count as u64;
            Ok(count)
        }
    }
    let mut header = Zoo::default();
    header.header(EntryType::Regular, "zeros", "", 400 << 20);
    let mut bomb = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
    bomb.write_all(&header.0).expect("memory");
    std::io::copy(&mut Zeros((400 << 20) + 1024), &mut bomb).expect("memory");
    let bomb = bomb.finish().expect("memory");
    let error = Cage::new().unpack(&bomb).expect_err("a bomb");
    let LayerError::Read { source } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("compression bomb"), "{source}");
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
    Cage::new().unpack_with(&bomb, &UnpackOptions { limits, ..UnpackOptions::default() }).expect_err("too large");
}

#[test]
fn entries_of_unknown_types_are_refused_by_name() {
    for kind in [EntryType::new(b'D'), EntryType::new(b'V'), EntryType::new(b'M')] {
        let error = Cage::new().unpack(&Zoo::default().entry(kind, "odd", "", b"").end()).expect_err("refused");
        assert!(error.to_string().contains("`odd`"), "{error}");
    }
}

#[test]
fn a_closed_directory_still_gets_its_files() {
    let cage = Cage::new();
    let mut zoo = Zoo::default();
    let mut header = Header::new_ustar();
    header.set_path("closed/").expect("short");
    header.set_entry_type(EntryType::Directory);
    header.set_mode(0o555);
    header.set_uid(u64::from(rustix::process::getuid().as_raw()));
    header.set_gid(u64::from(rustix::process::getgid().as_raw()));
    header.set_mtime(77);
    header.set_size(0);
    header.set_cksum();
    zoo.0.extend_from_slice(header.as_bytes());
    cage.unpack(&zoo.file("closed/file", "x").end()).expect("unpacked");
    let closed = fs::metadata(cage.root().join("closed")).expect("directory");
    assert_eq!((closed.permissions().mode() & 0o7777, closed.mtime()), (0o555, 77));
    fs::set_permissions(cage.root().join("closed"), fs::Permissions::from_mode(0o755)).expect("mode");
}
