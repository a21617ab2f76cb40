//! The zoo: layers that nobody should send. Each is refused by a named error or stays inside the root, with a stated
//! result, and a canary beside the root is the same afterwards, in every mode of unpacking.

use std::error::Error;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dockless::layer::{Limits, UnpackOptions, decompress, tree_digest, unpack};
use dockless::oci::{DiffId, Digest};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use tempfile::TempDir;

mod animals;
mod tarball;

use animals::{Animal, ENDS, FORMS, LINKS, Must, NAMES, Seen, VOUCHED, WHITEOUTS};
use tarball::Tarball;

/// A root with lower layers in it, and what must stay as it is beside it.
struct Cage(TempDir);

impl Cage {
    fn new() -> Self {
        let place = TempDir::new().expect("temporary directory");
        let make = |path: &str, content: &str| {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, content).expect("file");
        };
        make("outside/secret", "secret");
        make("outside/dir/file", "file");
        make("root/lower/file", "lower");
        make("root/lower/dir/a", "a");
        symlink("lower", place.path().join("root/link")).expect("link");
        symlink("../outside", place.path().join("root/out")).expect("link");
        symlink("../outside/secret", place.path().join("root/secret")).expect("link");
        Self(place)
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("root")
    }

    /// Content, names, modes, owners, links and times of everything outside the root.
    fn canary(&self) -> (Digest, Vec<String>) {
        let outside = self.0.path().join("outside");
        let mut names: Vec<String> = walkdir::WalkDir::new(self.0.path())
            .into_iter()
            .filter_entry(|entry| entry.path() != self.root())
            .map(|entry| entry.expect("listed"))
            .map(|entry| {
                let it = entry.metadata().expect("examined");
                let times = (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
                format!("{} {:o} {} {times:?}", entry.path().display(), it.mode(), it.nlink())
            })
            .collect();
        names.sort();
        (tree_digest(&outside).expect("digest"), names)
    }
}

fn chain(error: &dyn Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {}", chain(source)))
}

fn check(root: &Path, name: &str, path: &str, seen: &Seen) {
    let full = root.join(path);
    let there = fs::symlink_metadata(&full);
    let good = match seen {
        Seen::File(content) => {
            fs::read_to_string(&full).is_ok_and(|it| it == *content) && there.is_ok_and(|it| it.is_file())
        }
        Seen::Link(target) => fs::read_link(&full).is_ok_and(|it| it == Path::new(target)),
        Seen::Directory => there.is_ok_and(|it| it.is_dir()),
        Seen::Node => there.is_ok_and(|it| {
            let kind = it.file_type();
            kind.is_file() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device()
        }),
        Seen::Nothing => there.is_err(),
    };
    assert!(good, "`{name}`: `{path}` is not what it must be");
}

fn keep(animal: &Animal) {
    keep_as(animal, None);
}

/// As `keep`, where the configuration of the image says what the layer is.
fn keep_vouched(animal: &Animal) {
    let mut bytes = Vec::new();
    let mut plain = decompress(std::io::Cursor::new((animal.layer)()), &Limits::default()).expect("a decoder");
    // One that is cut has no digest of its own.
    let whole = plain.read_to_end(&mut bytes);
    keep_as(animal, Some(DiffId(Digest::of(&bytes))));
    if whole.is_ok() {
        let cage = Cage::new();
        let options =
            UnpackOptions { single_id: true, diff_id: Some(DiffId(Digest::of(b"other"))), ..UnpackOptions::default() };
        unpack((animal.layer)().as_slice(), &cage.root(), &options).expect_err("another digest");
    }
}

fn keep_as(animal: &Animal, diff_id: Option<DiffId>) {
    let layer = (animal.layer)();
    for (overlay, whiteouts, docker_add) in
        [(false, true, false), (true, true, false), (false, false, false), (false, true, true)]
    {
        let cage = Cage::new();
        let before = cage.canary();
        let limits = Limits { memory: 8 << 20, ..Limits::default() };
        let options = UnpackOptions {
            limits,
            single_id: true,
            overlay,
            whiteouts,
            docker_add,
            diff_id,
            ..UnpackOptions::default()
        };
        let result = unpack(layer.as_slice(), &cage.root(), &options);
        assert_eq!(cage.canary(), before, "`{}` changed what is outside", animal.name);
        if overlay || !whiteouts || docker_add {
            continue;
        }
        match (&animal.must, result) {
            (Must::Refuse(words), Err(error)) => {
                let text = chain(&error);
                assert!(text.contains(words), "`{}` is refused with other words: {text}", animal.name);
            }
            (Must::Contain(after), Ok(_)) => {
                after.iter().for_each(|(path, seen)| check(&cage.root(), animal.name, path, seen));
            }
            (Must::Refuse(_), Ok(done)) => panic!("`{}` is not refused: {done:?}", animal.name),
            (Must::Contain(_), Err(error)) => panic!("`{}` is refused: {}", animal.name, chain(&error)),
        }
    }
}

#[test]
fn names_stay_inside() {
    NAMES.iter().for_each(keep);
}

#[test]
fn links_stay_inside() {
    LINKS.iter().for_each(keep);
}

#[test]
fn whiteouts_hide_what_they_should_and_no_more() {
    WHITEOUTS.iter().for_each(keep);
}

#[test]
fn headers_that_lie_are_found_out() {
    FORMS.iter().for_each(keep);
}

#[test]
fn ends_are_where_they_should_be() {
    ENDS.iter().for_each(keep);
    VOUCHED.iter().for_each(keep_vouched);
}

#[test]
fn the_documentation_shows_the_whole_zoo() {
    let text = include_str!("../docs/layers.md");
    let rows: Vec<String> = [NAMES, LINKS, WHITEOUTS, FORMS, ENDS, VOUCHED].into_iter().flatten().map(row).collect();
    let missing: Vec<&String> = rows.iter().filter(|row| !text.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/layers.md should have these rows:\n{}", rows.join("\n"));
}

fn row(animal: &Animal) -> String {
    let must = match &animal.must {
        Must::Refuse(words) => format!("refused: “{words}”"),
        Must::Contain(after) => {
            let parts = after.iter().map(|(path, seen)| {
                let path = path.replace('\n', "\\n");
                match seen {
                    Seen::File(content) => {
                        format!("`{path}` holds `{content}`").replace("holds ``", "is an empty file")
                    }
                    Seen::Link(target) => format!("`{path}` is a link to `{target}`"),
                    Seen::Directory => format!("`{path}` is a directory"),
                    Seen::Node => format!("`{path}` is there"),
                    Seen::Nothing => format!("no `{path}`"),
                }
            });
            format!("inside: {}", parts.collect::<Vec<_>>().join(", "))
        }
    };
    format!("| {} | {} | {must} |", animal.name, animal.does)
}

#[test]
fn whoever_swaps_links_during_the_unpacking_gains_nothing() {
    let cage = Cage::new();
    let before = cage.canary();
    let root = cage.root();
    fs::create_dir(root.join("d")).expect("directory");
    symlink("../outside", root.join("swap")).expect("link");
    let mut tar = Tarball::default();
    for index in 0..300 {
        tar = tar.file(&format!("d/f{index}"), "x").directory(&format!("d/sub{}", index % 7)).directory("d");
        tar = tar
            .node(b'6', "d/secret", (0, 0))
            .file("d/.wh.secret", "")
            .file("d/.wh..wh..opq", "")
            .file("d/dir/file", "y");
        tar = tar.hard_link(&format!("h{index}"), "d/secret").symlink("d/dir", "../../outside/dir");
    }
    let layer = tar.end();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, root.join("d"), CWD, root.join("swap"), RenameFlags::EXCHANGE);
            }
        });
        for _ in 0..40 {
            // It may fail, since files vanish under it; it must not reach the outside.
            let _ = unpack(layer.as_slice(), &root, &UnpackOptions { single_id: true, ..UnpackOptions::default() });
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(cage.canary(), before);
}

#[test]
fn bounds_are_errors_that_name_themselves_and_the_way_out() {
    let many = (0..200).fold(Tarball::default(), |tar, index| tar.directory(&format!("directory-{index}"))).end();
    for (limits, words) in [
        (Limits { entries: 100, ..Limits::default() }, "more than 100 entries"),
        (Limits { memory: 4000, ..Limits::default() }, "more than 4000 bytes of names to be remembered"),
        (Limits { path: 5, ..Limits::default() }, "more than 5 bytes in a name"),
    ] {
        let cage = Cage::new();
        let options = UnpackOptions { limits, single_id: true, ..UnpackOptions::default() };
        let error = unpack(many.as_slice(), &cage.root(), &options).expect_err(words).to_string();
        assert!(error.contains(words) && error.contains("the limit is too low"), "{error}");
    }
}

#[test]
fn set_user_id_and_sticky_bits_are_kept() {
    let cage = Cage::new();
    let layer = (NAMES.iter().find(|animal| animal.name == "setuid").expect("in the zoo").layer)();
    unpack(layer.as_slice(), &cage.root(), &UnpackOptions { single_id: true, ..UnpackOptions::default() })
        .expect("unpacked");
    assert_eq!(fs::metadata(cage.root().join("su")).expect("there").permissions().mode() & 0o7777, 0o6755);
}
