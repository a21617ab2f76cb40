//! Whatever file operations say, what lies outside their trees stays as it is.
#![no_main]

use std::fs;
use std::os::unix::fs::symlink;

use dockless::file::{FileOptions, Selection, content, copy, mkdir, mkfile, rm, symlink as link};
use dockless::llb::pb::file_action::Action;
use dockless::llb::pb::FileOp;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|bytes: &[u8]| {
    let Ok(op) = FileOp::decode(bytes) else { return };
    let place = tempfile::tempdir().expect("a directory");
    let [from, to, outside] = ["from", "to", "outside"].map(|name| place.path().join(name));
    for directory in [&from, &to, &outside] {
        fs::create_dir_all(directory.join("d")).expect("made");
        fs::write(directory.join("d/f"), "content").expect("written");
    }
    for tree in [&from, &to] {
        symlink(&outside, tree.join("a")).expect("linked");
        symlink("../outside/d/f", tree.join("b")).expect("linked");
        symlink("d", tree.join("c")).expect("linked");
    }
    let options = FileOptions { single_id: true };
    for action in op.actions.iter().take(8).filter_map(|action| action.action.as_ref()) {
        let _ = match action {
            Action::Copy(action) => {
                let selection = Selection {
                    path: action.src.clone(),
                    follow_links: action.follow_symlink,
                    wildcard: action.allow_wildcard,
                    include: action.include_patterns.clone(),
                    exclude: action.exclude_patterns.clone(),
                    required: action.required_paths.clone(),
                };
                let _ = content(&from, &selection);
                copy(&from, &to, action, None, options)
            }
            Action::Mkfile(action) => mkfile(&to, action, None, options),
            Action::Mkdir(action) => mkdir(&to, action, None, options),
            Action::Symlink(action) => link(&to, action, None, options),
            Action::Rm(action) => rm(&to, action),
        };
    }
    let names = |path| fs::read_dir(path).expect("there").count();
    assert_eq!((names(outside.clone()), names(outside.join("d")), names(place.path().to_owned())), (1, 1, 3));
    assert_eq!(fs::read(outside.join("d/f")).expect("there"), b"content");
});
