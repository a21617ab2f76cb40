//! What a step of a foreign graph finds: users, files, limits and mounts as BuildKit gives them.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dockless::oci::Arch;
use dockless::sandbox::{
    AgentSocket, Cancel, Fault, Mount, Network, SandboxError, Secret, Security, Step, StepMount, Ulimit,
};

use crate::support::cell::{Cell, bind};
use crate::support::skip;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\njoe:x:777:1000::/home/joe:/bin/sh\n";
const GROUP: &str = "root:x:0:\njoe:x:1000:\nwheel:x:10:joe\n";

/// A foreign step over a writable root.
fn foreign(script: &str) -> Option<Cell> {
    let cell = Cell::new(script)?;
    let root = cell.root();
    fs::create_dir(root.join("etc")).expect("made");
    fs::write(root.join("etc/passwd"), PASSWD).expect("written");
    fs::write(root.join("etc/group"), GROUP).expect("written");
    for (name, mode) in [("etc", 0o755), (".", 0o755)] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("opened");
    }
    Some(cell.with(|step| {
        let mounts = std::mem::take(&mut step.mounts);
        let args = std::mem::take(&mut step.args);
        *step = Step {
            mounts: mounts.into_iter().filter(|mount| mount.destination != Path::new("/tmp")).collect(),
            network: Network::None,
            arch: Arch::X86_64,
            timeout: Some(Duration::from_mins(1)),
            ..Step::new(Mount::Bind { source: root, readonly: false }, args)
        };
    }))
}

/// A foreign step by `user`; `None`, said aloud, where this test has one id only.
fn by(user: &str, script: &str) -> Option<Cell> {
    let cell = foreign(script)?.with(|step| user.clone_into(&mut step.user));
    if !rustix::process::geteuid().is_root() {
        skip("subuid", "this process has one id only");
        return None;
    }
    Some(cell)
}

fn error(cell: &Cell) -> SandboxError {
    match cell.try_run(&Cancel::new().expect("a switch")) {
        (Err(error), _) => error,
        (Ok(exit), log) => panic!("{exit}: {}", String::from_utf8_lossy(&log)),
    }
}

fn chain(error: &SandboxError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[test]
fn a_user_is_the_one_of_the_roots_own_files() {
    let script = "id -u; id -g; id -G; echo $HOME; pwd; stat -c %u:%g . ..; umask";
    let Some(cell) = by("joe", script) else { return };
    let cell = cell.with(|step| step.cwd = "/home/joe/w".into());
    assert_eq!(cell.output(), "777\n1000\n1000 10\n/home/joe\n/home/joe/w\n777:1000\n777:1000\n0022");
    let made = fs::metadata(cell.root().join("home/joe/w")).expect("kept");
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (777, 1000, 0o755));
    let script = "id -u; id -g; id -G; echo $HOME";
    for (user, wanted) in
        [("5:6", "5\n6\n6\n/"), ("root:joe", "0\n1000\n1000\n/root"), ("777:wheel", "777\n10\n10\n/home/joe")]
    {
        let Some(cell) = by(user, script) else { return };
        assert_eq!(cell.output(), wanted, "{user}");
    }
}

#[test]
fn a_user_has_no_capability_and_can_still_open_its_output() {
    let script = "grep -E '^Cap(Prm|Eff|Bnd|Amb)' /proc/self/status; echo there > /dev/stderr; echo here > /dev/stdout";
    let Some(cell) = by("joe", script) else { return };
    let none = "0000000000000000";
    let wanted = format!("CapPrm:\t{none}\nCapEff:\t{none}\nCapBnd:\t00000000a80425fb\nCapAmb:\t{none}\nthere\nhere");
    assert_eq!(cell.output(), wanted);
}

#[test]
fn setuid_programs_work_where_new_privileges_are_not_forbidden() {
    let Some(cell) = by("joe", "/bin/mine -u") else { return };
    let copy = cell.dir.path().join("mine");
    let id = ["/usr/bin/id", "/bin/id"].into_iter().find(|path| Path::new(path).exists()).expect("id");
    let programs = cell.dir.path().join("programs");
    fs::create_dir(&programs).expect("made");
    fs::copy(id, programs.join("mine")).expect("copied");
    fs::set_permissions(programs.join("mine"), fs::Permissions::from_mode(0o4755)).expect("set");
    let cell = cell.with(|step| {
        step.mounts.push(bind(&programs, Path::new("/programs"), true));
        step.args = ["/programs/mine", "-u"].map(str::to_owned).to_vec();
    });
    drop(copy);
    assert_eq!(cell.output(), "0");
    assert_eq!(cell.with(|step| step.no_new_privileges = true).output(), "777");
}

#[test]
fn an_unknown_user_is_an_error_with_a_way_out() {
    for user in ["ann", "joe:nobody"] {
        let Some(cell) = foreign("true") else { return };
        let error = error(&cell.with(|step| step.user = user.to_owned()));
        assert_eq!(error.fault(), Fault::Input, "{error}");
        let text = chain(&error);
        assert!(text.contains("root filesystem names no") && text.contains("or a number"), "{text}");
    }
}

#[test]
fn a_user_without_an_id_here_is_an_error_with_a_way_out() {
    if rustix::process::geteuid().is_root() {
        return skip("single id", "root has all ids");
    }
    let Some(cell) = foreign("true") else { return };
    let mut cell = cell.with(|step| step.user = "joe".to_owned());
    // As on a kernel that lets nobody emulate it.
    cell.launcher = cell.launcher.without_owners();
    let error = error(&cell);
    assert_eq!(error.fault(), Fault::Machine, "{error}");
    assert!(error.to_string().contains("--add-subuids"), "{error}");
}

#[test]
fn hostile_user_files_do_no_harm() {
    let Some(cell) = foreign("id -u") else { return };
    let passwd = cell.root().join("etc/passwd");
    fs::remove_file(&passwd).expect("removed");
    symlink("/proc/self/exe", &passwd).expect("made");
    assert_eq!(cell.output(), "0");
    fs::remove_file(&passwd).expect("removed");
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).expect("made");
    assert_eq!(cell.output(), "0");
    fs::remove_file(&passwd).expect("removed");
    // What the machine has there is not looked at.
    symlink("/../../../../etc/passwd", &passwd).expect("made");
    assert_eq!(error(&cell.with(|step| step.user = "daemon".to_owned())).fault(), Fault::Input);
}

#[test]
fn a_missing_working_directory_is_made_inside_and_stays() {
    let Some(cell) = foreign("pwd -P; touch here") else { return };
    let outside = cell.dir.path().join("outside");
    fs::create_dir(&outside).expect("made");
    symlink(&outside, cell.root().join("way")).expect("made");
    let cell = cell.with(|step| step.cwd = "/way/a/b".into());
    let inside = format!("{}/a/b", outside.display());
    assert_eq!(cell.output(), inside);
    assert_eq!(fs::read_dir(&outside).expect("read").count(), 0);
    assert!(cell.root().join(inside.trim_start_matches('/')).join("here").exists());
}

#[test]
fn a_path_and_a_home_are_there_unless_the_step_has_its_own() {
    let Some(cell) = foreign("echo $HOME $PATH") else { return };
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(cell.output(), format!("/root {path}"));
    let cell = cell.with(|step| step.env = ["HOME=/x", "PATH=/bin:/usr/bin"].map(str::to_owned).to_vec());
    assert_eq!(cell.output(), "/x /bin:/usr/bin");
}

#[test]
fn the_name_files_are_generated_and_leave_nothing_but_a_newer_etc() {
    let script = "cat /etc/hosts; wc -c < /etc/resolv.conf; uname -n; touch /etc/hosts 2>&1 | grep -o Read-only";
    let Some(cell) = foreign(script) else { return };
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(cell.root().join("etc")).expect("opened").set_modified(long_ago).expect("set");
    let cell = cell.with(|step| step.hosts = vec![("db".to_owned(), "10.1.2.3".parse().expect("an address"))]);
    let wanted = "127.0.0.1\tlocalhost buildkitsandbox\n::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb\n\
                  0\nbuildkitsandbox\nRead-only";
    assert_eq!(cell.output(), wanted);
    let names: Vec<_> = fs::read_dir(cell.root().join("etc")).expect("read").flatten().map(|e| e.file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let etc = fs::metadata(cell.root().join("etc")).expect("there").modified().expect("a time");
    assert!(etc > long_ago);
    // With both files in the root nothing is made, and nothing becomes newer.
    for name in ["hosts", "resolv.conf"] {
        fs::write(cell.root().join("etc").join(name), "kept\n").expect("written");
    }
    fs::File::open(cell.root().join("etc")).expect("opened").set_modified(long_ago).expect("set");
    assert_eq!(cell.output(), wanted);
    assert_eq!(fs::read_to_string(cell.root().join("etc/hosts")).expect("kept"), "kept\n");
    assert_eq!(fs::metadata(cell.root().join("etc")).expect("there").modified().expect("a time"), long_ago);
}

#[test]
fn a_resolver_that_is_a_dangling_link_gets_its_target() {
    let Some(cell) = foreign("wc -c < /etc/resolv.conf; ls /run/stub") else { return };
    symlink("../run/stub/resolv.conf", cell.root().join("etc/resolv.conf")).expect("made");
    assert_eq!(cell.output(), "0\nresolv.conf");
    assert!(!cell.root().join("run").exists());
}

#[test]
fn mount_points_that_were_missing_are_removed_as_asked() {
    let Some(cell) = foreign("echo x > /used/deep/by/program; ls -d /a/b/c /f/g") else { return };
    let file = cell.dir.path().join("file");
    fs::write(&file, "content").expect("written");
    let cell = cell.with(|step| {
        step.mounts.push(StepMount::new("/a/b/c", Mount::Tmpfs { size: None }));
        step.mounts.push(StepMount::new("/used/deep/mount", Mount::Tmpfs { size: None }));
        step.mounts.push(bind(&file, Path::new("/f/g"), false));
        step.cwd = "/used/deep/by".into();
        step.args[2] = step.args[2].replace("/used/deep/by/", "");
    });
    cell.output();
    assert!(!cell.root().join("a").exists() && !cell.root().join("f").exists());
    assert!(cell.root().join("used/deep/by/program").exists() && !cell.root().join("used/deep/mount").exists());
    cell.with(|step| step.remove_stubs = false).output();
}

#[test]
fn without_recursion_only_the_mount_point_itself_is_removed() {
    let Some(cell) = foreign("true") else { return };
    let cell = cell.with(|step| {
        step.mounts.push(StepMount::new("/a/b/c", Mount::Tmpfs { size: None }));
        step.remove_stubs = false;
    });
    cell.output();
    assert!(cell.root().join("a/b").is_dir() && !cell.root().join("a/b/c").exists());
}

#[test]
fn limits_are_set_and_wrong_ones_are_told() {
    let Some(cell) = foreign("ulimit -n; ulimit -H -n; ulimit -c") else { return };
    let limit = |name: &str, soft, hard| Ulimit { name: name.to_owned(), soft, hard: Some(hard) };
    let cell = cell.with(|step| step.ulimits = vec![limit("nofile", 512, 1024), limit("CORE", 0, 0)]);
    assert_eq!(cell.output(), "512\n1024\n0");
    let unknown = error(&cell.with(|step| step.ulimits = vec![limit("files", 1, 1)]));
    assert!(unknown.to_string().contains("`files`") && unknown.fault() == Fault::Input, "{unknown}");
    let Some(cell) = foreign("true") else { return };
    let order = error(&cell.with(|step| step.ulimits = vec![limit("nofile", 2, 1)]));
    assert_eq!(order.fault(), Fault::Input, "{order}");
    let Some(cell) = foreign("true") else { return };
    let raised = error(&cell.with(|step| step.ulimits = vec![limit("nofile", 1 << 30, 1 << 30)]));
    assert!(raised.to_string().contains("hard limit is lower") && raised.fault() == Fault::Machine, "{raised}");
}

#[test]
fn without_limits_a_step_has_the_builders_own() {
    let Some(cell) = foreign("ulimit -n") else { return };
    let limits = fs::read_to_string("/proc/self/limits").expect("readable");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
    assert_eq!(cell.output(), line.split_whitespace().nth(3).expect("a number"));
}

#[test]
fn a_selected_part_never_leaves_its_tree() {
    let Some(cell) = foreign("cat /dir/file /file; ls /up; cat /abs/file") else { return };
    let tree = cell.dir.path().join("tree");
    fs::create_dir_all(tree.join("sub/dir")).expect("made");
    fs::write(tree.join("sub/dir/file"), "inside\n").expect("written");
    fs::write(cell.dir.path().join("secret"), "outside\n").expect("written");
    symlink("/sub/dir", tree.join("absolute")).expect("made");
    symlink("../secret", tree.join("secret")).expect("made");
    let part = |destination: &str, selector: &str| StepMount {
        selector: PathBuf::from(selector),
        readonly: true,
        ..StepMount::new(destination, Mount::Bind { source: tree.clone(), readonly: false })
    };
    let cell = cell.with(|step| {
        step.mounts.push(part("/dir", "sub/dir"));
        step.mounts.push(part("/file", "/sub/dir/file"));
        step.mounts.push(part("/up", "sub/../.."));
        step.mounts.push(part("/abs", "absolute"));
    });
    assert_eq!(cell.output(), "inside\ninside\nabsolute\nsecret\nsub\ninside");
    let Some(cell) = foreign("cat /secret") else { return };
    let error = error(&cell.with(|step| step.mounts.push(part("/secret", "secret"))));
    assert!(error.to_string().contains("`secret` of"), "{error}");
}

#[test]
fn parts_of_layers_and_overlays_are_shown_and_written_like_the_whole() {
    let Some(cell) = foreign("cat /one /sub/low; echo new > /sub/new; touch /ro/x 2>&1 | grep -o Read-only") else {
        return;
    };
    let dir = cell.dir.path().to_owned();
    if let Some(reason) = cell.launcher.probe(&dir).expect("the probe runs").trials.overlay {
        return skip("overlay", &reason);
    }
    for name in ["low/sub", "mid", "up", "wk"] {
        fs::create_dir_all(dir.join(name)).expect("made");
    }
    fs::write(dir.join("low/sub/low"), "low\n").expect("written");
    fs::write(dir.join("mid/one"), "one\n").expect("written");
    let lower = vec![dir.join("mid"), dir.join("low")];
    let overlay = Mount::Overlay { lower: lower.clone(), upper: dir.join("up"), work: dir.join("wk") };
    let layers = Mount::Layers { lower };
    let cell = cell.with(|step| {
        step.mounts.push(StepMount { selector: "one".into(), ..StepMount::new("/one", layers.clone()) });
        step.mounts.push(StepMount { selector: "sub".into(), ..StepMount::new("/sub", overlay) });
        step.mounts.push(StepMount { selector: "sub".into(), ..StepMount::new("/ro", layers) });
    });
    assert_eq!(cell.output(), "one\nlow\nRead-only");
    assert_eq!(fs::read_to_string(dir.join("up/sub/new")).expect("written"), "new\n");
    assert_eq!(cell.output(), "one\nlow\nRead-only", "what was mounted once can be mounted again");
    dockless::store::remove_tree(&dir.join("wk")).expect("removed");
}

#[test]
fn layers_can_be_a_throwaway_root() {
    let Some(cell) =
        foreign("cat /etc/passwd | wc -l; echo x > /x; mkdir /run; rm /etc/group; ls /etc/group 2>&1 | wc -l")
    else {
        return;
    };
    let dir = cell.dir.path().to_owned();
    if let Some(reason) = cell.launcher.probe(&dir).expect("the probe runs").trials.overlay {
        return skip("overlay", &reason);
    }
    fs::create_dir(dir.join("top")).expect("made");
    let root = cell.root();
    let cell = cell.with(|step| step.root = Mount::Layers { lower: vec![dir.join("top"), root] });
    assert_eq!(cell.output(), "2\n1");
    assert!(!cell.root().join("x").exists() && cell.root().join("etc/group").exists());
}

#[test]
fn a_tmpfs_looks_like_what_it_covers_and_has_its_size() {
    let script = "stat -c %a /tmp /new /etc; df -k /dev/shm /new | tail -n +2 | tr -s ' ' | cut -d' ' -f2; \
                  cp /bin/sh /dev/shm/sh; /dev/shm/sh -c 'echo runs'";
    let Some(cell) = foreign(script) else { return };
    fs::create_dir(cell.root().join("tmp")).expect("made");
    fs::set_permissions(cell.root().join("tmp"), fs::Permissions::from_mode(0o1770)).expect("set");
    let cell = cell.with(|step| {
        for (place, size) in [("/tmp", None), ("/new", Some(1 << 20)), ("/dev/shm", Some(32 << 20)), ("/etc", None)] {
            step.mounts.push(StepMount::new(place, Mount::Tmpfs { size }));
        }
    });
    assert_eq!(cell.output(), "1770\n1777\n755\n32768\n1024\nruns");
}

#[test]
fn a_step_may_bring_a_dev_of_its_own() {
    let Some(cell) = foreign("ls /dev; cat; echo end") else { return };
    let dev = StepMount::new("/dev", Mount::Tmpfs { size: None });
    assert_eq!(cell.with(|step| step.mounts.push(dev)).output(), "end");
}

#[test]
fn the_standard_places_are_buildkits() {
    let script = "df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d' ' -f2; stat -c %a /dev/shm /dev/mqueue; \
                  cut -d' ' -f2 /proc/mounts | grep -cE '^/(run|tmp)$'; test -c /dev/ptmx && echo ptmx; \
                  grep -E 'NoNewPrivs' /proc/self/status; cat /proc/kcore 2>/dev/null | wc -c";
    let Some(cell) = foreign(script) else { return };
    assert_eq!(cell.output(), "65536\n1777\n1777\n0\nptmx\nNoNewPrivs:\t0\n0");
}

#[test]
fn sysfs_is_the_steps_own_and_read_only() {
    let Some(cell) = foreign("ls /sys/class/net; touch /sys/x 2>&1 | grep -o Read-only; ls /sys/firmware | wc -l")
    else {
        return;
    };
    let (_, log) = cell.run();
    if log.contains("cannot access") {
        return skip("sysfs", "this machine shows only a part of /sys");
    }
    assert_eq!(log, "lo\nRead-only\n0\n");
    let Some(cell) = foreign("ls /sys/class/net | wc -l; touch /sys/x /sys/fs/cgroup/x 2>&1 | grep -co Read-only")
    else {
        return;
    };
    let cell = cell.with(|step| step.network = Network::Host);
    let devices = fs::read_dir("/sys/class/net").expect("readable").count();
    assert!(cell.output().starts_with(&format!("{devices}\n")), "{}", cell.output());
}

#[test]
fn the_hosts_network_is_there_with_its_resolver() {
    let Some(cell) = foreign("wc -l < /proc/net/dev; cat /etc/resolv.conf") else { return };
    let output = cell.with(|step| step.network = Network::Host).output();
    let resolver = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let devices = fs::read_to_string("/proc/net/dev").expect("readable").lines().count();
    assert_eq!(output, format!("{devices}\n{resolver}").trim_end());
}

#[test]
fn an_insecure_step_may_mount_and_sees_all() {
    let script = "mkdir -p /m && mount -t tmpfs none /m && echo mounted && umount /m; rmdir /m; \
                  grep CapEff /proc/self/status; cut -d' ' -f2 /proc/mounts | grep -c '^/proc'; hostname x; uname -n";
    let Some(cell) = foreign(script) else { return };
    let (_, plain) = cell.run();
    assert!(!plain.contains("mounted\n"), "{plain}");
    let output = cell.with(|step| step.security = Security::Insecure).output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((lines[0], lines[2], lines[3]), ("mounted", "1", "x"), "{output}");
    assert_ne!(lines[1], "CapEff:\t00000000a80425fb");
    let Some(cell) = by("joe", "grep -E 'Cap(Eff|Amb)' /proc/self/status | tr -d a-zA-Z: | sort -u | wc -l") else {
        return;
    };
    assert_eq!(cell.with(|step| step.security = Security::Insecure).output(), "1");
}

#[test]
fn a_secret_is_a_file_of_memory_with_the_asked_owner_and_mode() {
    let script = "cat /run/secrets/s; stat -c '%a %u:%g %s' /run/secrets/s; stat -f -c %T /run/secrets/s; \
                  echo x > /run/secrets/s; /bin/tool";
    let Some(cell) = foreign(script) else { return };
    let me = if rustix::process::geteuid().is_root() { (12, 13) } else { (0, 0) };
    let secret = |data: &[u8], mode| Mount::Secret(Secret { data: data.to_vec(), uid: me.0, gid: me.1, mode });
    let cell = cell.with(|step| {
        step.mounts.push(StepMount::new("/run/secrets/s", secret(b"hunter2\n", 0o400)));
        step.mounts.push(StepMount::new("/opt/tool", secret(b"#!/bin/sh\necho tool runs\n", 0o555)));
        step.mounts.push(StepMount::new("/opt/data", secret(b"#!/bin/sh\necho data runs\n", 0o444)));
        step.args[2] = step.args[2].replace("/bin/tool", "/opt/tool; /opt/data; true");
    });
    let output = cell.output();
    assert!(output.starts_with(&format!("hunter2\n400 {}:{} 8\ntmpfs\n", me.0, me.1)), "{output}");
    assert!(output.contains("Read-only file system") && output.contains("tool runs"), "{output}");
    assert!(!output.contains("data runs"), "{output}");
    assert!(!cell.root().join("run").exists() && !cell.root().join("opt").exists());
}

#[test]
fn an_agents_socket_has_the_asked_owner_and_leads_to_it() {
    let script = "stat -c '%F %a' /run/ssh.sock; perl -MSocket -e 'socket(S,PF_UNIX,SOCK_STREAM,0); \
                  connect(S,sockaddr_un(\"/run/ssh.sock\")) or die $!; syswrite S,\"ask\\n\"; print <S>'";
    let Some(cell) = foreign(script) else { return };
    let real = cell.dir.path().join("real");
    let agent = UnixListener::bind(&real).expect("an agent");
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let socket = AgentSocket::start(cell.dir.path(), "agent", &real, me, 0o600).expect("a socket");
    let path = socket.path().to_owned();
    let cell = cell.with(|step| step.mounts.push(bind(&path, Path::new("/run/ssh.sock"), false)));
    let answering = std::thread::spawn(move || {
        use std::io::{BufRead as _, BufReader, Write as _};
        let (mut stream, _) = agent.accept().expect("a connection");
        let mut line = String::new();
        BufReader::new(stream.try_clone().expect("cloned")).read_line(&mut line).expect("read");
        write!(stream, "answer to {line}").expect("written");
    });
    assert_eq!(cell.output(), "socket 600\nanswer to ask");
    answering.join().expect("no panic");
    drop(socket);
    assert!(!path.exists());
}
