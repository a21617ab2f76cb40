//! Locks: complete, sound, and written anew by this machine's apt.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;

use dockless::oci::{Arch, Digest};
use dockless::progress::Silent;
use dockless::recipe::SourceLock;
use dockless::source::{Origins, SourceError, assemble, host_mirrors, read_rootfs, update_rootfs};
use dockless::store::Store;
use tempfile::TempDir;

use crate::support::skip;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sources(name: &str) -> SourceLock {
    let path = shipped("recipes/locks").join(name);
    let text = fs::read_to_string(&path).expect("a lock");
    SourceLock::parse(&text, &path).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn upstreams_lock_has_every_patch_release_of_each_series() {
    let lock = sources("upstream.lock");
    let mut series: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for source in lock.named("cpython") {
        let version = source.version.to_string();
        assert!(source.origins[0].ends_with(&format!("Python-{version}.tar.xz")), "{version}: {:?}", source.origins);
        let (minor, patch) = version.rsplit_once('.').expect("three numbers");
        if let Ok(patch) = patch.parse() {
            series.entry(minor.to_owned()).or_default().insert(patch);
        }
    }
    for (minor, newest) in [("3.10", 21), ("3.11", 16), ("3.12", 14), ("3.13", 15), ("3.14", 7)] {
        let patches: Vec<u32> = series[minor].iter().copied().collect();
        assert_eq!(patches, (0..=newest).collect::<Vec<u32>>(), "{minor}");
    }
    assert_eq!(lock.named("cpython")[0].version.to_string(), "3.15.0rc1");
}

#[test]
fn source_locks_name_each_file_once_and_openly() {
    for name in ["upstream.lock", "debian.lock"] {
        let lock = sources(name);
        let (mut files, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for source in &lock.sources {
            assert!(files.insert(&source.file), "{name}: {} twice", source.file);
            assert!(digests.insert(source.digest), "{name}: the digest of {} twice", source.file);
            assert!(source.size != Some(0) && !source.license.is_empty(), "{name}: {}", source.file);
            for origin in &source.origins {
                assert!(!origin.starts_with("http:"), "{name}: {origin} is not encrypted");
            }
        }
        for package in ["musl", "zlib", "libffi", "expat", "gdbm", "ncurses", "readline", "xz", "bzip2", "sqlite"] {
            assert_eq!(lock.named(package).len(), 1, "{name}: {package}");
        }
        for package in ["openssl", "libuuid", "zstd"] {
            assert_eq!(lock.named(package).len(), 1, "{name}: {package}");
        }
    }
}

#[test]
fn the_same_bytes_have_the_same_size_in_every_lock() {
    let (upstream, debian) = (sources("upstream.lock"), sources("debian.lock"));
    let mut shared = 0;
    for source in &upstream.sources {
        for other in debian.sources.iter().filter(|other| other.digest == source.digest) {
            assert_eq!((source.size, &source.license), (other.size, &other.license), "{}", source.file);
            shared += 1;
        }
    }
    assert!(shared >= 2, "musl and CPython 3.13.5 at least");
}

#[test]
fn root_filesystems_of_both_architectures_are_locked_alike() {
    for name in ["bookworm", "bookworm-python"] {
        let names: Vec<BTreeSet<String>> = Arch::ALL
            .iter()
            .map(|arch| {
                let rootfs = read_rootfs(&shipped("rootfs"), &format!("{name}-{arch}")).expect("a list and its lock");
                assert_eq!((rootfs.lock.arch, rootfs.lock.suite.as_str()), (*arch, "bookworm"));
                assert!(rootfs.list.packages.iter().any(|package| package == "gcc"));
                rootfs.lock.packages.into_iter().map(|package| package.name).collect()
            })
            .collect();
        let differing: Vec<&String> = names[0].symmetric_difference(&names[1]).collect();
        assert!(differing.len() < 8, "only what is one architecture's own: {differing:?}");
    }
}

#[test]
fn a_list_that_changed_after_its_lock_is_noticed() {
    let place = TempDir::new().expect("temporary directory");
    for ending in ["toml", "lock"] {
        let name = format!("bookworm-x86.{ending}");
        fs::copy(shipped("rootfs").join(&name), place.path().join(&name)).expect("a copy");
    }
    read_rootfs(place.path(), "bookworm-x86").expect("as shipped");
    let list = place.path().join("bookworm-x86.toml");
    let text = fs::read_to_string(&list).expect("a list");
    fs::write(&list, text.replace("\"1777\"", "\"777\"")).expect("a list");
    let error = read_rootfs(place.path(), "bookworm-x86").expect_err("changed");
    assert!(error.is_input() && error.help().is_some_and(|help| help.contains("lock --update")), "{error}");
    fs::write(&list, text.replace("suite =", "sweet =")).expect("a list");
    let error = read_rootfs(place.path(), "bookworm-x86").expect_err("a typo");
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(error.to_string().contains("bookworm-x86.toml") && cause.contains("sweet"), "{error}: {cause}");
}

/// Uses the apt and the Debian mirror of this machine.
#[test]
fn a_list_is_resolved_anew_into_a_lock_that_assembles() {
    if Command::new("apt-get").arg("--version").output().is_err() {
        return skip("apt", "there is no apt-get on this machine");
    }
    let mirrors = host_mirrors(Path::new("/")).expect("apt's configuration");
    if mirrors.is_empty() {
        return skip("mirror", "apt's configuration on this machine names no Debian mirror");
    }
    let place = TempDir::new().expect("temporary directory");
    let list = "suite = 'bookworm'\narch = 'x86'\npackages = ['make', 'mawk']\nremove = ['usr/share/doc']\n\
                [merge]\nbin = 'usr/bin'\nlib = 'usr/lib'\nsbin = 'usr/sbin'\n";
    fs::write(place.path().join("small.toml"), list).expect("a list");
    let root = TempDir::new().expect("temporary directory");
    let store = Store::open(root.path()).expect("store");
    let origins = Origins { mirrors, ..Origins::default() };
    let (two, told) = (NonZeroUsize::new(2).expect("two"), (&Silent as _, Digest::of(b"vertex")));
    let lock = match update_rootfs(&store, (place.path(), "small"), &origins, two, told) {
        Err(error @ SourceError::Apt { .. }) => return skip("mirror", &error.to_string()),
        result => result.unwrap_or_else(|error| panic!("{error}")),
    };
    let names: Vec<&str> = lock.packages.iter().map(|package| package.name.as_str()).collect();
    assert_eq!(names, ["gcc-12-base", "libc6", "libgcc-s1", "make", "mawk"], "with dependencies, without more");
    assert!(lock.packages.iter().all(|package| package.path.ends_with("_i386.deb")), "of the architecture asked for");
    let read = read_rootfs(place.path(), "small").expect("what was written");
    assert_eq!(read.lock, lock);
    let offline = Origins { offline: true, ..Origins::default() };
    let image = assemble(&store, &read, &offline, two, told).expect("it is all there");
    assert_eq!(image.manifest.digest, lock.manifest);
    let left: BTreeSet<_> = fs::read_dir(place.path()).expect("directory").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left.len(), 2, "nothing but the list and its lock: {left:?}");
}
