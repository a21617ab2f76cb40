//! Whatever the databases of a tree say, it is read the same way each time, and what comes out makes documents.
#![no_main]

use std::fs;

use dockless::attest::{Bom, Component, Kind, cyclonedx, of_tree, spdx};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, bytes)) = bytes.split_first() else { return };
    let place = tempfile::tempdir().expect("a directory");
    let files = ["var/lib/dpkg/status", "lib/apk/db/installed", "a.dist-info/METADATA", "etc/os-release"];
    let path = place.path().join(files[usize::from(*which) % files.len()]);
    fs::create_dir_all(path.parent().expect("below the tree")).expect("made");
    fs::write(&path, bytes).expect("written");
    let Ok(inventory) = of_tree(place.path()) else { return };
    assert_eq!(of_tree(place.path()).expect("as before"), inventory);
    let root = Component::new(Kind::Archive, "x", "");
    let bom = Bom { root, components: inventory.components, tools: Vec::new(), created: 0 };
    let _ = (spdx(&bom), cyclonedx(&bom));
});
