//! A user's directory arrives as BuildKit's client would send it, and nothing from outside of it.

use std::fs::{self, File, FileTimes, Permissions};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dockless::http::Stop;
use dockless::source::{Copied, LocalSource, SourceError, local};
use tempfile::TempDir;

use crate::support::skip;

struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = TempDir::new().expect("a place");
        fs::create_dir(root.path().join("from")).expect("made");
        Self { root }
    }

    fn from(&self) -> PathBuf {
        self.root.path().join("from")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.from().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn copy(&self, source: &LocalSource) -> Result<(TempDir, Copied), SourceError> {
        let into = TempDir::new_in(self.root.path()).expect("a directory");
        let jobs = NonZeroUsize::new(3).expect("not zero");
        let copied = local(&self.from(), source, into.path(), jobs, &Stop::default())?;
        Ok((into, copied))
    }

    /// The names that come along, directories with a slash behind them.
    fn names(&self, include: &[&str], exclude: &[&str], follow: &[&str]) -> String {
        let list = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let (name, metadata_only) = ("x".to_owned(), false);
        let source =
            LocalSource { name, include: list(include), exclude: list(exclude), follow: list(follow), metadata_only };
        let (into, _) = self.copy(&source).expect("copied");
        let mut names = Vec::new();
        list_names(into.path(), "", &mut names);
        names.sort();
        names.join(" ")
    }
}

fn list_names(directory: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in fs::read_dir(directory).expect("readable").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().expect("a type").is_dir() {
            list_names(&entry.path(), &format!("{name}/"), names);
            names.push(format!("{name}/"));
        } else {
            names.push(name);
        }
    }
}

fn everything() -> LocalSource {
    LocalSource { name: "x".to_owned(), ..LocalSource::default() }
}

#[test]
fn modes_times_and_links_are_kept() {
    let place = Place::new();
    place.write("dir/file", "text");
    place.write("program", "#!/bin/sh\n");
    let from = place.from();
    fs::hard_link(from.join("dir/file"), from.join("same")).expect("linked");
    symlink("../../etc/passwd", from.join("dir/link")).expect("linked");
    symlink("/etc", from.join("etc")).expect("linked");
    let _socket = UnixListener::bind(from.join("socket")).expect("a socket");
    nix::unistd::mkfifo(&from.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o640)).expect("a pipe");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    for (path, mode) in [("program", 0o4751), ("dir/file", 0o400), ("dir", 0o2511)] {
        let file = File::open(from.join(path)).expect("open");
        file.set_times(FileTimes::new().set_modified(time)).expect("dated");
        file.set_permissions(Permissions::from_mode(mode)).expect("a mode");
    }
    let (into, copied) = place.copy(&everything()).expect("copied");
    let into = into.path();
    for (path, mode) in [("program", 0o4751), ("dir/file", 0o400), ("dir", 0o2511), ("pipe", 0o640)] {
        let metadata = fs::symlink_metadata(into.join(path)).expect(path);
        assert_eq!(metadata.mode() & 0o7777, mode, "{path}");
        assert_eq!(metadata.uid(), rustix::process::getuid().as_raw(), "{path} is ours");
        if path != "pipe" {
            assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_000_000_000, 123_456_789), "{path}");
        }
    }
    let inode = |path: &str| fs::metadata(into.join(path)).expect(path).ino();
    assert_eq!(inode("dir/file"), inode("same"));
    assert_eq!(fs::read_link(into.join("dir/link")).expect("a link"), Path::new("../../etc/passwd"));
    assert_eq!(fs::read_link(into.join("etc")).expect("a link"), Path::new("/etc"));
    let socket = fs::symlink_metadata(into.join("socket")).expect("a file");
    assert!(socket.is_file() && socket.len() == 0, "a socket arrives as an empty file");
    assert!(fs::symlink_metadata(into.join("pipe")).expect("a pipe").file_type().is_fifo());
    assert_eq!((copied.files, copied.bytes), (2, 14));
    // So that the place can be removed by an ordinary user.
    for path in [from.join("dir"), into.join("dir")] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("a mode");
    }
}

#[test]
fn attributes_are_kept_but_not_those_of_overlays() {
    let place = Place::new();
    place.write("a", "x");
    let file = File::open(place.from().join("a")).expect("open");
    let set = |name: &str| rustix::fs::fsetxattr(&file, name, b"v", rustix::fs::XattrFlags::empty());
    if let Err(error) = set("user.kept") {
        return skip("xattr", &error.to_string());
    }
    let _ = set("user.overlay.opaque");
    let (into, _) = place.copy(&everything()).expect("copied");
    let file = File::open(into.path().join("a")).expect("open");
    let mut value = [0; 8];
    assert_eq!(rustix::fs::fgetxattr(&file, "user.kept", &mut value), Ok(1));
    assert!(rustix::fs::fgetxattr(&file, "user.overlay.opaque", &mut value).is_err());
}

#[test]
fn patterns_take_and_leave_and_empty_directories_stay_away() {
    let place = Place::new();
    for path in ["a/one.txt", "a/two.md", "a/b/three.txt", "c/four.txt", "c/d/five.md"] {
        place.write(path, path);
    }
    fs::create_dir(place.from().join("empty")).expect("made");
    assert_eq!(
        place.names(&[], &[], &[]),
        "a/ a/b/ a/b/three.txt a/one.txt a/two.md c/ c/d/ c/d/five.md c/four.txt empty/"
    );
    assert_eq!(place.names(&["**/*.md"], &[], &[]), "a/ a/two.md c/ c/d/ c/d/five.md");
    assert_eq!(place.names(&["a"], &["**/*.txt"], &[]), "a/ a/b/ a/two.md");
    assert_eq!(place.names(&[], &["*", "!c/d"], &[]), "c/ c/d/ c/d/five.md");
    assert_eq!(place.names(&["c/d/five.md"], &[], &[]), "c/ c/d/ c/d/five.md");
    assert_eq!(place.names(&["nothing"], &[], &[]), "");
    symlink("c/d", place.from().join("link")).expect("linked");
    symlink("../../../../etc/hostname", place.from().join("out")).expect("linked");
    assert_eq!(place.names(&[], &[], &["link/five.md"]), "c/ c/d/ c/d/five.md link");
    assert_eq!(place.names(&["a/one.txt"], &[], &["out"]), "a/ a/one.txt out");
    let source = LocalSource { include: vec!["[".to_owned()], ..everything() };
    assert!(matches!(place.copy(&source), Err(SourceError::Pattern(_))));
}

#[test]
fn many_files_and_deep_directories_arrive_whole() {
    let place = Place::new();
    for directory in 0..40 {
        for file in 0..50 {
            place.write(&format!("{directory}/{file}"), &format!("{directory} {file}"));
        }
    }
    let deep: String = (0..100).map(|_| "d/").collect();
    place.write(&format!("{deep}end"), "end");
    let large = vec![7_u8; 3 << 20];
    fs::write(place.from().join("large"), &large).expect("written");
    let (into, copied) = place.copy(&everything()).expect("copied");
    assert_eq!(copied.files, 2002);
    for directory in 0..40 {
        for file in 0..50 {
            let text = fs::read_to_string(into.path().join(format!("{directory}/{file}"))).expect("a file");
            assert_eq!(text, format!("{directory} {file}"));
        }
    }
    assert_eq!(fs::read_to_string(into.path().join(format!("{deep}end"))).expect("a file"), "end");
    assert_eq!(fs::read(into.path().join("large")).expect("a file"), large);
}

#[test]
fn a_directory_that_changes_all_the_time_leads_nowhere_else() {
    let place = Place::new();
    place.write("victim/inside", "inside");
    let outside = place.root.path().join("outside");
    fs::create_dir(&outside).expect("made");
    fs::write(outside.join("inside"), "outside").expect("written");
    let from = place.from();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = fs::rename(from.join("victim"), from.join("kept"));
                let _ = symlink(&outside, from.join("victim"));
                let _ = fs::remove_file(from.join("victim"));
                let _ = fs::rename(from.join("kept"), from.join("victim"));
            }
        });
        for _ in 0..200 {
            let Ok((into, _)) = place.copy(&everything()) else { continue };
            for name in ["victim", "kept"] {
                let path = into.path().join(name);
                if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir())
                    && let Ok(text) = fs::read_to_string(path.join("inside"))
                {
                    assert_eq!(text, "inside");
                }
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_stop_ends_a_copy() {
    let place = Place::new();
    place.write("a", "a");
    let into = TempDir::new().expect("a directory");
    let error = local(&place.from(), &everything(), into.path(), NonZeroUsize::MIN, &Stop::new(|| true));
    assert!(matches!(error, Err(SourceError::Stopped { .. })), "{error:?}");
    let nowhere = place.root.path().join("nowhere");
    assert!(local(&nowhere, &everything(), into.path(), NonZeroUsize::MIN, &Stop::default()).is_err());
}
