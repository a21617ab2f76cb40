//! Limits in control groups of version 2, as they are delegated to users: on a real kernel of that kind, which is booted
//! as a process (Debian's user-mode-linux) where the machine's own has its controllers in version 1.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::skip;
use crate::support::solve::Bench;

/// Boots a kernel on this machine's files, read-only, with this program as its first; returns what it printed.
fn boot(place: &Path, script: &str) -> Option<String> {
    let init = place.join("init");
    fs::write(&init, script).expect("written");
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).expect("set");
    let mut command = Command::new("timeout");
    command.args(["240", "linux.uml", "mem=1G", "rootfstype=hostfs", "rootflags=/", "ro", "con=null"]);
    command.args(["con0=null,fd:1", "quiet"]).arg(format!("init={}", init.display()));
    command.env("TMPDIR", place).stdin(Stdio::null());
    if Command::new("linux.uml").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        skip("uml", "there is no user-mode-linux");
        return None;
    }
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    if !text.contains("booted with") {
        skip("uml", &format!("no kernel boots here: {text}{}", String::from_utf8_lossy(&output.stderr)));
        return None;
    }
    Some(text)
}

/// What comes before every check. Version 2 alone is mounted; `in_group GROUP PROGRAM…` is alone in its group.
const PREAMBLE: &str = r#"#!/bin/sh
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmpfs /mnt; mount -t cgroup2 cgroup /sys/fs/cgroup
TMPDIR=/mnt HOME=/mnt; export TMPDIR HOME
G=/sys/fs/cgroup
echo "booted with $(cat $G/cgroup.controllers)"
echo "+cpu +memory +pids" > $G/cgroup.subtree_control
in_group() { group=$1; shift; sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$G/$group" "$@"; }
left() { echo "$1 left: $(ls $G/$2 | grep -c ^dockless-) groups, controls: $(cat $G/$2/cgroup.subtree_control)."; }
"#;

#[test]
fn delegated_groups_of_version_2_limit_steps_of_root_and_of_ordinary_users() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.store().parent().expect("a place").to_owned();
    // Another user, there, looks in.
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("set");
    for (name, script) in [
        ("bomb", "b() { sleep 60 & b & b; }; b 2>/dev/null; sleep 60"),
        ("big", "cat /dev/zero > /tmp/big; exit 1"),
        ("sleep", "sleep 600"),
        ("next", "echo next > /out/x"),
    ] {
        fs::write(place.join(name), Bench::graph(&[script]).to_bytes()).expect("written");
    }
    let checks = r#"
solve() { place=$1; shift; echo "$DOCKLESS solve --store /mnt/$place/store --local root=$PLACE/root --progress plain $*"; }
as_user="setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/mnt/user TMPDIR=/mnt/user"
mkdir $G/root $G/user $G/outer /mnt/root /mnt/user
chown 1000 $G/user $G/user/cgroup.procs $G/user/cgroup.subtree_control /mnt/user

in_group root $(solve root --pids-limit 25 --step-timeout 5s) < $PLACE/bomb 2>&1 | sed 's/^/root pids: /'
in_group root $(solve root --memory 32m) < $PLACE/big 2>&1 | sed 's/^/root memory: /'
left root root

in_group user $as_user $(solve user --pids-limit 25 --step-timeout 5s) < $PLACE/bomb 2>&1 | sed 's/^/user pids: /'
in_group user $as_user $(solve user --memory 32m --cpus 1) < $PLACE/big 2>&1 | sed 's/^/user memory: /'
left user user

# Of all groups only the first one may hold processes beside others with limits, and so be left as it is.
$(solve root --memory 64m --pids-limit 50) < $PLACE/sleep > /mnt/log 2>&1 &
builder=$!
tries=0; until grep -q 'step 0 started' /mnt/log || [ $tries = 300 ]; do sleep 0.1; tries=$((tries + 1)); done; sleep 1
ls -d $G/dockless-*/step-0 > /dev/null && echo "living: $(cat $G/dockless-*/step-0/memory.max)"
kill -KILL $builder; wait; sleep 1
left killed .
$(solve root --pids-limit 50) < $PLACE/next > /mnt/log 2>&1; echo "next: $?"
left next .

sh -c 'echo $$ > "$0/cgroup.procs"; sleep 100' $G/user &
sleep 1
in_group user $as_user $(solve user --memory 64m) < $PLACE/next 2>&1 | sed 's/^/crowded: /'
left crowded user
$as_user $(solve user --memory 64m) < $PLACE/next 2>&1 | sed 's/^/denied: /'
echo +pids > $G/outer/cgroup.subtree_control; mkdir $G/outer/inner
in_group outer/inner $(solve root --memory 64m) < $PLACE/next 2>&1 | sed 's/^/withheld: /'
left lacking outer/inner
in_group outer/inner $(solve root --pids-limit 50 --no-cache) < $PLACE/next 2>&1 | sed 's/^/partly: /'
left partly outer/inner
poweroff -f
"#;
    let script = format!("{PREAMBLE}PLACE={}\nDOCKLESS={}\n{checks}", place.display(), env!("CARGO_BIN_EXE_dockless"));
    let Some(said) = boot(&place, &script) else { return };
    let has = |prefix: &str, words: &str| {
        assert!(said.lines().any(|line| line.starts_with(prefix) && line.contains(words)), "{prefix} {words}:\n{said}");
    };
    for who in ["root", "user"] {
        has(&format!("{who} pids: "), "the kernel refused new processes: the step's limit is 25");
        has(&format!("{who} memory: "), "the step's limit of 32m");
        has(&format!("{who} left: "), "0 groups, controls: .");
    }
    has("living: ", "67108864");
    has("killed left: ", "1 groups");
    has("next: ", "0");
    has("crowded: ", "other processes are in the control group of this process");
    has("crowded: ", "systemd-run --user --scope -p Delegate=yes dockless");
    has("denied: ", "is not delegated to its user");
    has("withheld: ", "was delegated without that controller");
    has("withheld: ", "Delegate=cpu cpuset io memory pids");
    has("partly: ", "step 0 done");
    for when in ["next", "crowded", "lacking", "partly"] {
        has(&format!("{when} left: "), "0 groups");
    }
}
