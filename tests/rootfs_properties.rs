//! What strangers write is read without a panic, whatever it is, and never leads outside.

use std::io::{Cursor, Write};
use std::path::Path;

use dockless::rootfs::{
    List, Lock, Tree, debian_sources, extract, members, parse_list, parse_mirror_list, parse_sources,
};
use proptest::prelude::*;

/// Parts that matter to paths and to apt's formats, in any order.
fn pieces(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(parts), 0..30).prop_map(|parts| parts.concat())
}

/// A few names with slashes between them.
fn path(parts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(parts), 1..4).prop_map(|parts| parts.join("/"))
}

fn list() -> List {
    let text = "suite = 's'\narch = 'x86'\npackages = ['aa']\n[merge]\nlib = 'usr/lib'\n";
    List::parse(text, Path::new("l")).expect("a list")
}

fn package(ending: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = ar::Builder::new(Vec::new());
    for (name, bytes) in [("debian-binary".to_owned(), b"2.0\n".as_slice()), (format!("data.tar{ending}"), data)] {
        archive.append(&ar::Header::new(name.into_bytes(), bytes.len() as u64), bytes).expect("a member");
    }
    archive.into_inner().expect("an archive")
}

/// Reads a package to the end: its layer, if it is sound.
fn layer(deb: &[u8]) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    extract("p.deb", deb, &mut data).ok()?;
    let found = members("p.deb", Cursor::new(&data)).ok()?;
    let tree = Tree::merge(&list(), &[("p.deb", found)]).ok()?;
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&data).expect("written");
    let mut out = Vec::new();
    tree.write(&[file], &mut out).ok()?;
    Some(out)
}

/// Checks that every entry is inside, comes once, and has its directories before it.
fn sound(layer: &[u8]) {
    let mut directories = std::collections::BTreeSet::from([String::new()]);
    let mut last = String::new();
    for entry in tar::Archive::new(layer).entries().expect("a tar") {
        let entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = name.trim_end_matches('/').to_owned();
        assert!(!path.is_empty() && path.split('/').all(|part| !["", ".", ".."].contains(&part)), "{name:?}");
        assert!(last < path, "{last:?} before {path:?}");
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        assert!(directories.contains(parent), "{path:?} is below something that is no directory");
        if entry.header().entry_type() == tar::EntryType::Directory {
            directories.insert(path.clone());
        }
        last = path;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_as_a_package(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = layer(&bytes);
        for ending in ["", ".gz", ".xz", ".zst"] {
            let _ = layer(&package(ending, &bytes));
        }
    }

    #[test]
    fn any_members_make_a_sound_layer_or_none(
        parts in prop::collection::vec(
            (
                prop::sample::select(b"00555221".as_slice()),
                path(&["a", "b", "c", "lib", "usr", "a", "b", "."]),
                path(&["a", "b", "c", "..", "lib", "usr", ""]),
            ),
            1..8,
        ),
    ) {
        let mut archive = tar::Builder::new(Vec::new());
        for (kind, path, target) in &parts {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(tar::EntryType::new(*kind));
            header.set_mode(0o755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header.set_size(0);
            let (path, target) = (path.as_bytes(), target.as_bytes());
            header.as_mut_bytes()[..path.len().min(100)].copy_from_slice(&path[..path.len().min(100)]);
            header.as_mut_bytes()[157..157 + target.len().min(100)].copy_from_slice(&target[..target.len().min(100)]);
            header.set_cksum();
            archive.append(&header, std::io::empty()).expect("a member");
        }
        if let Some(layer) = layer(&package("", &archive.into_inner().expect("an archive"))) {
            sound(&layer);
        }
    }

    #[test]
    fn any_text_is_read_as_apts(
        text in pieces(&["deb ", "deb-src", "[", "]", "arch=", "signed-by=", "http://h/d", " ", "\n", "main", "#", "URIs:",
            "Suites:", "bookworm", "Components:", "\n\n", "cdrom:", "\t", ":", "é", "Enabled: no", "mirror+file:/x"]),
    ) {
        for sources in [parse_list(&text), parse_sources(&text)] {
            for mirror in debian_sources(sources).iter().flat_map(dockless::rootfs::AptSource::mirrors) {
                prop_assert!(!mirror.contains(char::is_whitespace), "{mirror:?}");
            }
        }
        let _ = parse_mirror_list(&text);
        let _ = (List::parse(&text, Path::new("l")).is_ok(), Lock::parse(&text, Path::new("l")).is_ok());
    }
}
