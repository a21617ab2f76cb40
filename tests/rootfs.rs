//! Root filesystems: made of packages, safely, and the same bytes every time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use dockless::oci::{Arch, Digest};
use dockless::progress::Silent;
use dockless::rootfs::{List, Lock, Package, Rootfs};
use dockless::source::{Assembled, Origins, SourceError, assemble, read_rootfs, reproduce};
use dockless::store::Store;
use tempfile::TempDir;

use crate::support::skip;

/// A member of a package in the making: kind, path, mode, content or link target.
type Part<'a> = (tar::EntryType, &'a str, u32, &'a [u8]);

const DIRECTORY: tar::EntryType = tar::EntryType::Directory;
const FILE: tar::EntryType = tar::EntryType::Regular;
const SYMLINK: tar::EntryType = tar::EntryType::Symlink;
const LINK: tar::EntryType = tar::EntryType::Link;

/// Makes a data archive, writing names as they stand, also those that no sound tool would write.
fn data(parts: &[Part<'_>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, path, mode, bytes) in parts {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        let content: &[u8] = if matches!(*kind, FILE | DIRECTORY) { bytes } else { b"" };
        header.set_size(content.len() as u64);
        if path.len() > 100 {
            header.set_cksum();
            archive.append_data(&mut header, path, content).expect("a member");
            continue;
        }
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        if content.is_empty() {
            header.as_mut_bytes()[157..157 + bytes.len()].copy_from_slice(bytes);
        }
        header.set_cksum();
        archive.append(&header, content).expect("a member");
    }
    archive.into_inner().expect("an archive")
}

/// Wraps a data archive as a .deb whose archive has the name `data.tar<ending>`.
fn deb(ending: &str, data: &[u8]) -> Vec<u8> {
    let data = match ending {
        ".gz" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(data).and_then(|()| encoder.finish()).expect("gzip")
        }
        ".xz" => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(data).and_then(|()| encoder.finish()).expect("xz")
        }
        ".zst" => zstd::encode_all(data, 1).expect("zstd"),
        _ => data.to_vec(),
    };
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in
        [("debian-binary", b"2.0\n".as_slice()), ("control.tar.xz", b"ignored"), (&format!("data.tar{ending}"), &data)]
    {
        archive.append(&ar::Header::new(name.as_bytes().to_vec(), bytes.len() as u64), bytes).expect("a member");
    }
    archive.into_inner().expect("an archive")
}

/// A store, a directory of packages, and the list and lock over them.
struct Bench {
    debs: TempDir,
    list: List,
    packages: Vec<Package>,
}

impl Bench {
    fn new(fixes: &str) -> Self {
        let text = format!("suite = 'bookworm'\narch = 'x86'\npackages = ['aa']\n{fixes}");
        let list = List::parse(&text, Path::new("test.toml")).expect("a list");
        Self { debs: TempDir::new().expect("temporary directory"), list, packages: Vec::new() }
    }

    fn with(mut self, name: &str, deb: &[u8]) -> Self {
        let file = format!("{name}_1_i386.deb");
        fs::write(self.debs.path().join(&file), deb).expect("a package");
        self.packages.push(Package {
            name: name.to_owned(),
            version: "1".to_owned(),
            path: format!("pool/main/{name}/{file}"),
            digest: Digest::of(deb),
            size: deb.len() as u64,
        });
        self
    }

    fn origins(&self) -> Origins {
        Origins { directories: vec![self.debs.path().to_owned()], offline: true, ..Origins::default() }
    }

    fn rootfs(&self, manifest: Digest) -> Rootfs {
        let (suite, packages) = ("bookworm".to_owned(), self.packages.clone());
        let lock = Lock { suite, arch: Arch::X86, list: self.list.digest(), manifest, packages };
        Rootfs { name: "test".to_owned(), list: self.list.clone(), lock }
    }

    /// Returns what comes out in a new store, whatever a lock says.
    fn manifest(&self, jobs: usize) -> Result<Digest, SourceError> {
        let root = TempDir::new().expect("temporary directory");
        let store = Store::open(root.path()).expect("store");
        let wrong = self.rootfs(Digest::of(b"not it"));
        match reproduce(&store, &wrong, &self.origins(), many(jobs), (&Silent, Digest::of(b"vertex"))) {
            Err(SourceError::Image { actual, .. }) => Ok(actual),
            Err(error) => Err(error),
            Ok(_) => panic!("another image than its lock names was taken"),
        }
    }

    /// Assembles, and returns every entry of the layer.
    fn tree(&self) -> BTreeMap<String, Entry> {
        let root = TempDir::new().expect("temporary directory");
        let store = Store::open(root.path()).expect("store");
        let rootfs = self.rootfs(self.manifest(2).unwrap_or_else(|error| panic!("{error}")));
        let image = assemble(&store, &rootfs, &self.origins(), many(2), (&Silent, Digest::of(b"vertex")));
        let image = image.unwrap_or_else(|error| panic!("{error}"));
        entries(&store, &image)
    }

    /// Returns how a root filesystem of this package is refused.
    fn refused(name: &str, deb: &[u8]) -> String {
        let error = Self::new("").with(name, deb).manifest(1).expect_err("refused");
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        format!("{error}: {cause}")
    }
}

fn many(jobs: usize) -> NonZeroUsize {
    NonZeroUsize::new(jobs).expect("some")
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: tar::EntryType,
    mode: u32,
    /// Content of a file, target of a link.
    bytes: Vec<u8>,
}

impl Entry {
    fn is(&self, kind: tar::EntryType, mode: u32, bytes: &[u8]) -> bool {
        (self.kind, self.mode, self.bytes.as_slice()) == (kind, mode, bytes)
    }
}

fn entries(store: &Store, image: &Assembled) -> BTreeMap<String, Entry> {
    let file = File::open(store.path(&image.layers[0].digest)).expect("a layer");
    let mut found = BTreeMap::new();
    let mut order = Vec::new();
    for entry in tar::Archive::new(file).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_str().expect("UTF-8").trim_end_matches('/').to_owned();
        let mut bytes = entry.link_name_bytes().unwrap_or_default().into_owned();
        entry.read_to_end(&mut bytes).expect("content");
        let (kind, mode) = (entry.header().entry_type(), entry.header().mode().expect("a mode"));
        order.push(path.clone());
        assert!(found.insert(path, Entry { kind, mode, bytes }).is_none(), "each path once");
    }
    assert!(order.is_sorted(), "sorted: {order:?}");
    found
}

fn sample(fixes: &str) -> Bench {
    Bench::new(fixes)
        .with(
            "aa",
            &deb(
                ".xz",
                &data(&[
                    (DIRECTORY, "./", 0o755, b""),
                    (DIRECTORY, "./etc/", 0o750, b""),
                    (FILE, "./etc/both", 0o644, b"first"),
                    (DIRECTORY, "./lib/", 0o755, b""),
                    (FILE, "./lib/libx.so.1", 0o755, b"ELF"),
                    (SYMLINK, "./lib/libx.so", 0o777, b"libx.so.1"),
                    (LINK, "./lib/again", 0o755, b"./lib/libx.so.1"),
                ]),
            ),
        )
        .with(
            "bb",
            &deb(
                ".zst",
                &data(&[
                    (DIRECTORY, "./etc/", 0o755, b""),
                    (FILE, "./etc/both", 0o4755, b"second"),
                    (FILE, "./usr/share/doc/bb/copyright", 0o644, b"text"),
                    (FILE, "./usr/share/docs", 0o644, b"kept"),
                ]),
            ),
        )
        .with("cc", &deb(".gz", &data(&[(FILE, "./usr/bin/tool-1", 0o755, b"#!")])))
        .with("dd", &deb("", &data(&[(FILE, "./opt/deep/er/file", 0o600, b"")])))
}

#[test]
fn packages_are_merged_in_the_order_of_the_lock() {
    let tree = sample("").tree();
    assert!(tree["etc"].is(DIRECTORY, 0o750, b""), "the first package's directory stays as it is");
    assert!(tree["etc/both"].is(FILE, 0o4755, b"second"), "the last package's file wins");
    assert!(tree["opt/deep"].is(DIRECTORY, 0o755, b""), "directories that no package brings are made");
    assert!(tree["lib/libx.so"].is(SYMLINK, 0o777, b"libx.so.1"));
    assert!(tree["lib/again"].is(FILE, 0o755, b"ELF") && tree["lib/libx.so.1"].is(LINK, 0o755, b"lib/again"));
}

#[test]
fn what_a_package_has_in_lib_lands_in_usr_lib() {
    let tree = sample("[merge]\nlib = 'usr/lib'\nlib64 = '/usr/lib64'\n").tree();
    assert!(tree["lib"].is(SYMLINK, 0o777, b"usr/lib"));
    assert!(tree["usr/lib/again"].is(FILE, 0o755, b"ELF"));
    assert!(tree["usr/lib/libx.so.1"].is(LINK, 0o755, b"usr/lib/again"));
    assert!(tree["usr/lib64"].is(DIRECTORY, 0o755, b""));
    assert!(!tree.keys().any(|path| path.starts_with("lib/")), "{tree:?}");
}

#[test]
fn the_list_says_what_is_added_and_left_out() {
    let tree = sample(
        "remove = ['usr/share/doc', 'lib/again']\n[links]\n'usr/bin/tool' = 'tool-1'\n'etc/both' = 'x'\n\
         [directories]\ntmp = '1777'\netc = '711'\n[files]\n'etc/hosts' = 'here'\n",
    )
    .tree();
    assert!(tree["usr/bin/tool"].is(SYMLINK, 0o777, b"tool-1"));
    assert!(tree["etc/both"].is(SYMLINK, 0o777, b"x"));
    assert!(tree["tmp"].is(DIRECTORY, 0o1777, b""));
    assert!(tree["etc"].is(DIRECTORY, 0o711, b""));
    assert!(tree["etc/hosts"].is(FILE, 0o644, b"here"));
    assert!(!tree.keys().any(|path| path.starts_with("usr/share/doc/") || path == "usr/share/doc"));
    assert!(tree.contains_key("usr/share/docs"), "a name that only begins alike stays");
    assert!(tree["lib/libx.so.1"].is(FILE, 0o755, b"ELF"), "bytes stay when the first of their names goes");
}

#[test]
fn the_same_packages_make_the_same_image_everywhere() {
    let bench = sample("[merge]\nlib = 'usr/lib'\n");
    let manifest = bench.manifest(1).expect("an image");
    for jobs in [2, 7] {
        assert_eq!(bench.manifest(jobs).expect("an image"), manifest);
    }
    // These bytes are a promise to every lock that is out there.
    assert_eq!(manifest.to_string(), "sha256:bd6613ae048057ff9472e74fa8c97dab4b5782b43e7db2fb5ecfe0c77821a33a");
}

#[test]
fn an_image_that_is_there_needs_no_package() {
    let bench = sample("");
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let rootfs = bench.rootfs(bench.manifest(2).expect("an image"));
    let told = (&Silent as &dyn dockless::progress::Progress, Digest::of(b"vertex"));
    let first = assemble(&store, &rootfs, &bench.origins(), many(2), told).expect("assembled");
    let nowhere = Origins { offline: true, ..Origins::default() };
    for package in &bench.packages {
        fs::remove_file(store.path(&package.digest)).expect("a package");
    }
    let second = assemble(&store, &rootfs, &nowhere, many(2), told).expect("from the store");
    assert_eq!(first, second);
    let tagged = store.resolve("rootfs/test").expect("an index").expect("a tag");
    assert_eq!(tagged.digest().to_string(), first.manifest.digest.to_string());
    // A layer that is gone is made again.
    fs::remove_file(store.path(&first.layers[0].digest)).expect("the layer");
    assert!(assemble(&store, &rootfs, &nowhere, many(2), told).is_err());
    assert_eq!(assemble(&store, &rootfs, &bench.origins(), many(2), told).expect("assembled again"), first);
}

#[test]
fn another_image_than_the_lock_names_is_refused() {
    let bench = sample("");
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let rootfs = bench.rootfs(Digest::of(b"another"));
    let error = assemble(&store, &rootfs, &bench.origins(), many(2), (&Silent, Digest::of(b"vertex")));
    let error = error.expect_err("refused");
    assert!(error.help().is_some_and(|help| help.contains("lock --update rootfs/test")), "{error}");
    assert_eq!(store.resolve("rootfs/test").expect("an index"), None);
}

#[test]
fn long_names_survive() {
    let path = format!("./{}/{}", "d".repeat(120), "f".repeat(200));
    let tree = Bench::new("").with("aa", &deb("", &data(&[(FILE, &path, 0o644, b"x")]))).tree();
    assert!(tree[path.trim_start_matches("./")].is(FILE, 0o644, b"x"));
}

#[test]
fn a_package_cannot_reach_outside_its_root() {
    for path in ["../escape", "./a/../../escape", "a/.."] {
        let said = Bench::refused("aa", &deb(".gz", &data(&[(FILE, path, 0o644, b"x")])));
        assert!(said.contains("not a path inside the root"), "{path}: {said}");
    }
    let link = deb("", &data(&[(LINK, "./passwd", 0o644, b"../../etc/passwd")]));
    assert!(Bench::refused("aa", &link).contains("points outside"));
    let link = deb("", &data(&[(LINK, "./passwd", 0o644, b"/etc/passwd")]));
    assert!(Bench::refused("aa", &link).contains("a file that it does not have"));
    // A link that climbs stays a link, and what is put "behind" it lands inside.
    let parts = data(&[(SYMLINK, "./out", 0o777, b"../../../etc"), (FILE, "./out/passwd", 0o644, b"mine")]);
    let tree = Bench::new("").with("aa", &deb("", &parts)).tree();
    assert!(tree["out"].is(SYMLINK, 0o777, b"../../../etc"));
    assert!(tree["etc/passwd"].is(FILE, 0o644, b"mine") && !tree.contains_key("out/passwd"), "{tree:?}");
}

#[test]
fn a_package_of_anything_but_files_is_refused() {
    for kind in [tar::EntryType::Char, tar::EntryType::Block, tar::EntryType::Fifo] {
        let said = Bench::refused("aa", &deb("", &data(&[(kind, "./dev/null", 0o666, b"")])));
        assert!(said.contains("which no package needs"), "{said}");
    }
    let looping = data(&[(SYMLINK, "./a", 0o777, b"b"), (SYMLINK, "./b", 0o777, b"a"), (FILE, "./a/x", 0o644, b"")]);
    assert!(Bench::refused("aa", &deb("", &looping)).contains("loop of links"));
    let clash = data(&[(DIRECTORY, "./a", 0o755, b""), (FILE, "./a", 0o644, b"")]);
    assert!(Bench::refused("aa", &deb("", &clash)).contains("a directory is already"));
    let below = data(&[(FILE, "./a", 0o644, b""), (FILE, "./a/b", 0o644, b"")]);
    assert!(Bench::refused("aa", &deb("", &below)).contains("a file is already"));
}

#[test]
fn a_damaged_package_is_refused_by_name() {
    let whole = deb(".xz", &data(&[(FILE, "./a", 0o644, &[7; 5000])]));
    for damaged in [&b"no archive"[..], &whole[..40], &whole[..whole.len() - 30], &deb(".lzma", b"x"), &deb(".xz", b"")]
    {
        let said = Bench::refused("aa", damaged);
        assert!(said.contains("aa_1_i386.deb"), "{said}");
    }
    let plain = deb("", &data(&[(FILE, "./a", 0o644, b"")]));
    assert!(Bench::refused("aa", &plain[..plain.len() - 1024]).contains("end of file"));
    let mut flipped = whole.clone();
    let middle = whole.len() - 60;
    flipped[middle] ^= 0xff;
    assert!(Bench::refused("aa", &flipped).contains("aa_1_i386.deb"));
    assert!(Bench::refused("aa", &deb(".bz2", b"")).contains("unknown compression"));
}

/// Fetches a hundred packages from the Debian mirror that this machine is configured with.
#[test]
fn the_shipped_root_filesystem_is_the_image_that_its_lock_names() {
    let mirrors = dockless::source::host_mirrors(Path::new("/")).expect("apt's configuration");
    if mirrors.is_empty() {
        return skip("mirror", "apt's configuration on this machine names no Debian mirror");
    }
    let origins = Origins { mirrors, ..Origins::default() };
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("rootfs");
    let rootfs = read_rootfs(&directory, "bookworm-x86").expect("a list and its lock");
    let image = match assemble(&store, &rootfs, &origins, many(2), (&Silent, Digest::of(b"vertex"))) {
        Err(error @ SourceError::Unavailable { .. }) => return skip("mirror", &error.to_string()),
        result => result.unwrap_or_else(|error| panic!("{error}")),
    };
    assert_eq!(image.manifest.digest, rootfs.lock.manifest);
    let tree = entries(&store, &image);
    for tool in ["gcc", "cc", "make", "perl", "awk", "tic", "autoconf", "aclocal", "pkg-config", "tclsh", "xz"] {
        assert!(tree.contains_key(&format!("usr/bin/{tool}")), "{tool}");
    }
    for place in ["build", "out", "deps", "sources", "scripts", "proc", "sys", "dev", "run"] {
        assert!(tree[place].is(DIRECTORY, 0o755, b""), "{place}");
    }
    assert!(tree["lib"].is(SYMLINK, 0o777, b"usr/lib") && tree["bin"].is(SYMLINK, 0o777, b"usr/bin"));
}
