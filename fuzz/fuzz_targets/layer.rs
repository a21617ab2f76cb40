//! Whatever an archive says, what lies outside its root stays as it is, and no bytes make the reader panic.
#![no_main]

use std::fs;
use std::os::unix::fs::symlink;

use dockless::layer::{Limits, UnpackOptions, clamp_times, unpack};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((modes, bytes)) = bytes.split_first() else { return };
    // Checksums are mended, or hardly an input would get past its first header.
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(512).filter(|block| block.iter().any(|byte| *byte != 0)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    let place = tempfile::tempdir().expect("a directory");
    let [root, outside] = ["root", "outside"].map(|name| place.path().join(name));
    for directory in [&root, &outside] {
        fs::create_dir_all(directory.join("d")).expect("made");
        fs::write(directory.join("d/f"), "content").expect("written");
    }
    symlink(&outside, root.join("a")).expect("linked");
    symlink("../outside/d/f", root.join("b")).expect("linked");
    symlink("d", root.join("c")).expect("linked");
    let limits = Limits { entries: 1000, bytes: 1 << 20, memory: 1 << 20, ..Limits::default() };
    let is = |bit: u8| modes & bit != 0;
    let options = UnpackOptions {
        limits,
        single_id: true,
        whiteouts: is(1),
        overlay: is(2),
        keep_directory_links: is(4),
        docker_add: is(8),
        ..UnpackOptions::default()
    };
    let _ = unpack(bytes.as_slice(), &root, &options);
    let _ = clamp_times(&mut bytes.as_slice(), 1, &limits, &mut std::io::sink());
    let names = |path| fs::read_dir(path).expect("there").count();
    assert_eq!((names(outside.clone()), names(outside.join("d")), names(place.path().to_owned())), (1, 1, 2));
    assert_eq!(fs::read(outside.join("d/f")).expect("there"), b"content");
});
