//! Owners where one id only exists: a step sees and changes them as everywhere else, and layers carry them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dockless::oci::Arch;
use dockless::sandbox::{Mount, Network, Step};

use crate::support::cell::Cell;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\njoe:x:777:1000::/home/joe:/bin/sh\n";
const GROUP: &str = "root:x:0:\njoe:x:1000:\nwheel:x:10:joe\n";

/// A foreign step over a writable root.
fn foreign(user: &str, script: &str) -> Option<Cell> {
    let cell = Cell::new(script)?;
    let root = cell.root();
    for directory in ["etc", "work"] {
        fs::create_dir(root.join(directory)).expect("made");
    }
    fs::write(root.join("etc/passwd"), PASSWD).expect("written");
    fs::write(root.join("etc/group"), GROUP).expect("written");
    for name in ["etc", "work", "."] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).expect("opened");
    }
    Some(cell.with(|step| {
        let mounts = std::mem::take(&mut step.mounts);
        let args = std::mem::take(&mut step.args);
        *step = Step {
            mounts: mounts.into_iter().filter(|mount| mount.destination != Path::new("/tmp")).collect(),
            network: Network::None,
            arch: Arch::X86_64,
            cwd: PathBuf::from("/work"),
            user: user.to_owned(),
            timeout: Some(Duration::from_mins(1)),
            ..Step::new(Mount::Bind { source: root, readonly: false }, args)
        };
    }))
}

#[test]
fn files_are_given_away_and_shown_as_given() {
    let script = "touch f; mkdir d; ln -s nowhere l; mkfifo p; chmod 4755 f; chown -h 5:6 f d l p; \
                  stat -c '%n %u:%g %a' f d l p; chmod 4755 f; stat -c %a f; chown -h 0:0 f l; stat -c %u:%g f l; \
                  find . -user 5 | sort | tr '\\n' ' '";
    let Some(cell) = foreign("", script) else { return };
    assert_eq!(cell.output(), "f 5:6 755\nd 5:6 755\nl 5:6 777\np 5:6 644\n4755\n0:0\n0:0\n./d ./p");
}

#[test]
fn whoever_a_step_runs_as_owns_what_it_makes() {
    let script = "id -u; id -g; id -G; echo $HOME; touch f; mkdir d; ln -s x l; mkfifo p; echo x > g; \
                  stat -c '%n %u:%g %a' . f d l p g; chown 0 f 2>/dev/null || echo denied; chgrp 10 f && stat -c %g f; \
                  umask 077; touch k; stat -c %a k";
    let Some(cell) = foreign("joe", script) else { return };
    let cell = cell.with(|step| step.cwd = "/home/joe/w".into());
    assert_eq!(
        cell.output(),
        "777\n1000\n1000 10\n/home/joe\n. 777:1000 755\nf 777:1000 644\nd 777:1000 755\nl 777:1000 777\np 777:1000 644\n\
         g 777:1000 644\ndenied\n10\n600"
    );
}
