//! Owners where one id only exists: a step sees and changes them as everywhere else, and layers carry them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dockless::layer::{Owner, PackOptions, PackTimes, pack};
use dockless::oci::Arch;
use dockless::ownership::{self, Special};
use dockless::sandbox::{Mount, Network, Step};

use crate::support::cell::{Cell, bind};
use crate::support::probe::{self, Call, Way};
use crate::support::skip;

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
    for (name, mode) in [("etc", 0o755), ("work", 0o777), (".", 0o755)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("opened");
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
                  /usr/bin/find . -user 5 | sort | tr '\\n' ' '";
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

#[test]
fn set_user_id_programs_and_su_work() {
    let script = "cp /usr/bin/id mine; chmod 4755 mine; cp /usr/bin/id theirs; chown 7:8 theirs; chmod 6755 theirs; \
                  /usr/bin/setpriv --reuid=777 --regid=1000 --clear-groups sh -c 'id -u; ./mine -u; ./theirs -u; ./theirs -g; \
                  touch m; stat -c %u:%g m; chown 0 m 2>/dev/null || echo denied; /bin/cp -a theirs t; stat -c %u:%g t'; \
                  /usr/bin/setpriv --reuid=777 --clear-groups --no-new-privs ./mine -u; \
                  mkdir s; chgrp 10 s; chmod 2775 s; touch s/f; mkdir s/d; stat -c '%g %a' s/f s/d; \
                  cp theirs n; stat -c %u:%g n; /bin/cp -p theirs q; stat -c '%u:%g %a' q; mv q r; stat -c %u:%g r";
    let Some(cell) = foreign("", &format!("exec 2>&1; {script}")) else { return };
    // What one id only cannot have is not refused, so that a program of another user may still not give files away.
    assert_eq!(cell.output(), "777\n0\n7\n8\n777:1000\ndenied\n777:1000\n777\n10 644\n10 2755\n0:0\n7:8 6755\n7:8");
}

#[test]
fn su_makes_somebody_else_of_root() {
    if !Path::new("/usr/bin/su").exists() {
        return skip("su", "there is no su");
    }
    let script = "mkdir -p /etc/pam.d /home/joe; chown joe /home/joe; cd /; \
                  printf 'auth sufficient pam_rootok.so\naccount required pam_permit.so\nsession required pam_permit.so\n' \
                  > /etc/pam.d/su; \
                  /usr/bin/su joe -c 'cd; id -u; id -G; pwd; touch f; stat -c %U:%g f; /usr/bin/su -c id 2>/dev/null || echo no'";
    let Some(cell) = foreign("", script) else { return };
    assert_eq!(cell.output(), "777\n1000 10\n/home/joe\njoe:1000\nno");
}

#[test]
fn who_drops_root_cannot_get_it_back() {
    let script = r#"python3 -c '
import os
os.setgroups([65534]); os.setresgid(65534,65534,65534); os.setresuid(42,42,42)
for get_back in (lambda: os.setuid(0), lambda: os.seteuid(0), lambda: os.setresuid(-1,0,-1), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        get_back()
        print("back")
    except PermissionError:
        pass
print(os.getresuid(), os.getresgid(), os.getgroups(), flush=True)
child = os.fork()
if child == 0:
    os.execvp("id", ["id", "-u"])
os.waitpid(child, 0)
open("f", "x").close()
os.mkdir("d")
print(os.stat("f").st_uid, os.stat("d").st_gid, os.lstat("f").st_uid)
'"#;
    let Some(cell) = foreign("", script) else { return };
    let output = cell.output();
    if output.contains("python3") {
        return skip("python3", &output);
    }
    assert_eq!(output, "(42, 42, 42) (65534, 65534, 65534) [65534]\n42\n42 65534 42");
}

#[test]
fn apt_and_dpkg_install_files_of_many_owners() {
    for program in ["apt-get", "dpkg", "dpkg-deb", "apt-ftparchive"] {
        if !["/usr/bin", "/usr/sbin"].iter().any(|directory| Path::new(directory).join(program).exists()) {
            skip("apt", &format!("there is no {program}"));
            if program != "apt-ftparchive" {
                return;
            }
        }
    }
    let script = r"set -eu
export DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin
mkdir -p /etc/apt/apt.conf.d /etc/apt/preferences.d /etc/apt/trusted.gpg.d /var/lib/dpkg/info /var/lib/dpkg/updates   /var/lib/dpkg/triggers /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/log/apt /repo /tmp p/DEBIAN p/opt/tiny/bin
chmod 1777 /tmp
: > /var/lib/dpkg/status; : > /var/lib/dpkg/available
echo hello > p/opt/tiny/data; cp /bin/true p/opt/tiny/bin/suid; ln -s data p/opt/tiny/link
chown -h 7:8 p/opt/tiny/data p/opt/tiny/link; chmod 4755 p/opt/tiny/bin/suid; chgrp 10 p/opt/tiny; chmod 2775 p/opt/tiny
cat > p/DEBIAN/control <<'END'
Package: tiny
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: tiny
END
printf '#!/bin/sh
set -e
touch /opt/tiny/made /opt/tiny/mine
chown joe:wheel /opt/tiny/mine
' > p/DEBIAN/postinst
chmod 755 p/DEBIAN/postinst
/usr/bin/dpkg-deb -b p /repo/tiny.deb > /dev/null
cd /repo
{ /usr/bin/dpkg-deb -f tiny.deb; printf 'Filename: ./tiny.deb
Size: %s
SHA256: %s
' $(stat -c %s tiny.deb) $(sha256sum tiny.deb | cut -d' ' -f1); } > Packages
echo 'deb [trusted=yes] file:/repo ./' > /etc/apt/sources.list
apt-get -qq update
apt-get -qq install -y --no-install-recommends tiny > /dev/null
cd /opt; /usr/bin/find . -printf '%p %U:%G %m
' | LC_ALL=C sort
stat -c '%n %U %a' /var/lib/apt/lists/partial /var/cache/apt/archives/partial";
    let Some(cell) = foreign("", script) else { return };
    let passwd = format!("{PASSWD}_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n");
    fs::write(cell.root().join("etc/passwd"), passwd).expect("written");
    let wanted = ". 0:0 755\n./tiny 0:10 2775\n./tiny/bin 0:0 755\n./tiny/bin/suid 0:0 4755\n./tiny/data 7:8 644\n\
                  ./tiny/link 7:8 777\n./tiny/made 0:10 644\n./tiny/mine 777:10 644\n\
                  /var/lib/apt/lists/partial _apt 700\n/var/cache/apt/archives/partial _apt 700";
    assert_eq!(cell.output(), wanted);
}

/// Name, type, numbers, mode and group of the devices that a layer of the directory `work` holds.
fn packed(cell: &Cell) -> Vec<(String, tar::EntryType, u32, u32, u32)> {
    let mut archive = Vec::new();
    let options = PackOptions {
        times: PackTimes::All(0),
        overlay: false,
        root: false,
        owner: Owner::Keep,
        prefix: PathBuf::new(),
    };
    pack(&cell.root().join("work"), &options, &mut archive).expect("packed");
    let mut found = Vec::new();
    for entry in tar::Archive::new(archive.as_slice()).entries().expect("an archive") {
        let entry = entry.expect("an entry");
        let header = entry.header();
        if let (Ok(Some(major)), Ok(Some(minor))) = (header.device_major(), header.device_minor())
            && major > 0
        {
            let name = entry.path().expect("a path").display().to_string();
            found.push((name, header.entry_type(), major, minor, header.mode().expect("a mode")));
        }
    }
    found
}

#[test]
fn a_device_is_made_for_the_layer_with_one_id_and_with_many() {
    use tar::EntryType::{Block, Char};
    let script = "exec 2>&1; mknod null c 1 3; mknod -m 600 sda b 8 257; mkfifo p; mkdir s; (umask 077; cd s; mknod ../zero c 1 5); \
                  mknod null c 1 3 && echo twice; mknod none/x c 1 3; mv null moved; ln zero hard; chmod 640 hard; rm zero; mv hard zero; cp -a sda copy; \
                  (exec setpriv --reuid=777 --clear-groups mknod theirs c 1 3) && echo made; \
                  (exec setpriv --reuid=777 --clear-groups mknod fifo p) || echo no pipe; chmod 1777 .; \
                  python3 -c 'import os; os.chroot(\"s\"); os.mknod(\"/null\", 0o20666, os.makedev(1, 3))'; cat moved sda zero";
    let Some(cell) = foreign("", script) else { return };
    let said = cell.output();
    let wanted = [
        "mknod: null: File exists",
        "mknod: none/x: No such file or directory",
        "mknod: theirs: Operation not permitted",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), wanted);
    let device = |name: &str, kind, major, minor, mode| (name.to_owned(), kind, major, minor, mode);
    let wanted = [
        device("copy", Block, 8, 257, 0o600),
        device("moved", Char, 1, 3, 0o644),
        device("s/null", Char, 1, 3, 0o644),
        device("sda", Block, 8, 257, 0o600),
        device("zero", Char, 1, 5, 0o640),
    ];
    assert_eq!(packed(&cell), wanted);
}

#[test]
fn calls_of_i386_make_devices_too() {
    // `mknod` and `mknodat` of the only name that these programs have, in another root.
    let calls = [
        (Call::new(Way::I386, 14, &[probe::TEXT, 0o20_644, 0x103]), Special::Character(1, 3)),
        (Call::new(Way::I386, 297, &[0xffff_ff9c, probe::TEXT, 0o60_600, 0x10_0801]), Special::Block(8, 257)),
    ];
    let script = "mkdir -p root/proc/self; cp /probe/* root; cd root; for f in i386*; do /usr/sbin/chroot . /$f; echo $?; \
                  mv proc/self/exe ../$f; done";
    let Some(cell) = foreign("", script) else { return };
    let programs = cell.dir.path().join("programs");
    probe::write(&programs, &calls.map(|(call, _)| call));
    let cell = cell.with(|step| step.mounts.push(bind(&programs, Path::new("/probe"), true)));
    assert_eq!(cell.output(), "0\n0");
    for (call, special) in calls {
        let made = cell.root().join("work").join(call.name());
        assert_eq!(ownership::node(&made), Some(special));
    }
}

#[test]
fn a_device_of_a_step_with_one_id_looks_like_one() {
    if !is_single() {
        // There nothing but the making of devices is looked at.
        return skip("single id", "this process has more than one id");
    }
    let script = "mknod null c 1 3; mknod -m 600 sda b 8 0; stat -c '%n %F %t:%T %a' null sda; chown 0:6 sda; \
                  test -c null && test -b sda && stat -c %g sda; rm null; mknod null c 1 5; stat -c %T null";
    let Some(cell) = foreign("", script) else { return };
    assert_eq!(cell.output(), "null character special file 1:3 644\nsda block special file 8:0 600\n6\n5");
}

/// Tells whether steps of this process have one id.
fn is_single() -> bool {
    let (uids, _) = dockless::sys::current_map().expect("a map");
    uids.is_single() || !rustix::process::geteuid().is_root()
}

#[test]
fn what_was_recorded_goes_when_it_is_taken_back() {
    let script = "touch f; chown 5 f; ln -s f l; chown -h 5 l; chown -h 0 f l; chown 5:5 f; mv f g; chown 0:0 g";
    let Some(cell) = foreign("", script) else { return };
    assert_eq!(cell.output(), "");
    for name in ["g", "l"] {
        let mut list = [0; 256];
        let length = rustix::fs::llistxattr(cell.root().join("work").join(name), &mut list[..]).expect("listed");
        let names = String::from_utf8_lossy(&list[..length]).into_owned();
        assert!(!names.contains("dockless") && !names.contains("capability"), "{name}: {names}");
    }
}
