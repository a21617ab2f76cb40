//! What a step sees, what it cannot see, and that nothing of it stays.

use std::fs;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dockless::oci::Arch;
use dockless::sandbox::{Cancel, Fault, Mount, Network, Outcome, SandboxError, StepMount};

use crate::support::cell::{Cell, bind, is_running};

/// A number of seconds that no other process sleeps, so that leftovers can be told.
fn unique(seconds: u32) -> String {
    format!("{seconds}.{}", std::process::id())
}

#[test]
fn a_step_has_no_network_but_its_own_loopback() {
    let script = "cat /proc/net/dev | tail -n +3 | cut -d: -f1 | tr -d ' '; cat /proc/net/route | wc -l; \
                  test ! -e /etc/resolv.conf; cat /sys/class/net/lo/operstate 2>&1 | grep -q . ; \
                  perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,0); bind(S,sockaddr_in(0,inet_aton(\"127.0.0.1\"))) or die; \
                  listen(S,1); $a=getsockname(S); socket(C,PF_INET,SOCK_STREAM,0); connect(C,$a) or die \"lo is down\"; \
                  socket(D,PF_INET,SOCK_STREAM,0); connect(D,sockaddr_in(80,inet_aton(\"192.0.2.1\"))) and die; print \"$!\\n\"'";
    let Some(cell) = Cell::new(script) else { return };
    assert_eq!(cell.output(), "lo\n1\nNetwork is unreachable");
}

#[test]
fn a_step_is_alone_in_its_pid_namespace() {
    let Some(cell) = Cell::new("echo $$; ls -d /proc/[0-9]* | wc -l; readlink /proc/1/exe || echo hidden") else {
        return;
    };
    let output = cell.output();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "2", "{output}");
    assert!(lines[1].parse::<u32>().expect("a number") <= 4, "{output}");
    assert!(output.ends_with("hidden"), "{output}");
}

#[test]
fn a_step_has_the_fixed_name_and_is_root_without_power() {
    let script = "uname -n; id -u; id -g; umask; grep -E '^(NoNewPrivs|CapEff|CapBnd|CapInh|CapAmb)' /proc/self/status; \
                  mount -t tmpfs x /tmp 2>/dev/null && echo mounted; unshare -m true 2>/dev/null && echo unshared; true";
    let Some(cell) = Cell::new(script) else { return };
    let wanted = "dockless\n0\n0\n0022\nCapInh:\t0000000000000000\nCapBnd:\t00000000a80425fb\n";
    let output = cell.output();
    for line in wanted.lines().chain(["NoNewPrivs:\t1", "CapEff:\t00000000a80425fb", "CapAmb:\t0000000000000000"]) {
        assert!(output.lines().any(|found| found == line), "no `{line}` in\n{output}");
    }
    assert!(!output.contains("mounted") && !output.contains("unshared"), "{output}");
}

#[test]
fn an_x86_step_believes_in_an_i686_machine() {
    let Some(cell) = Cell::new("uname -m") else { return };
    assert_eq!(cell.output(), "x86_64");
    assert_eq!(cell.with(|step| step.arch = Arch::X86).output(), "i686");
}

#[test]
fn a_read_only_root_refuses_writes_and_stays_as_it_was() {
    let Some(cell) = Cell::new("touch /x 2>&1; mkdir /out/ok; touch /etc/x 2>&1; touch /tmp/t /dev/shm/s") else {
        return;
    };
    let cell = cell.writable("out", "/out");
    let output = cell.output();
    assert_eq!(output.matches("Read-only file system").count() + output.matches("No such file").count(), 2, "{output}");
    assert!(cell.dir.path().join("out/ok").is_dir());
    // The mount points were made for the step only.
    assert!(!cell.root().join("out").exists() && !cell.root().join("proc").exists());
}

#[test]
fn a_throwaway_root_takes_writes_and_forgets_them() {
    let Some(cell) = Cell::new("echo hi > /written; cat /written") else { return };
    let cell = cell.with(|step| step.root_readonly = false);
    assert_eq!(cell.output(), "hi");
    assert!(!cell.root().join("written").exists());
}

#[test]
fn a_writable_root_keeps_what_the_program_wrote_and_no_mount_points() {
    let Some(cell) = Cell::new("echo hi > /written; mkdir /src/made; touch /deps/kept/inside") else { return };
    let root = cell.root();
    let cell = cell.writable("src", "/src").writable("deps", "/deps").with(|step| {
        step.root = Mount::Bind { source: root, readonly: false };
        step.root_readonly = false;
        step.mounts.push(StepMount::new("/deps/kept", Mount::Tmpfs { size: None }));
    });
    cell.output();
    assert_eq!(fs::read(cell.root().join("written")).expect("kept"), b"hi\n");
    for stub in ["src", "proc", "dev", "tmp", "deps"] {
        assert!(!cell.root().join(stub).exists(), "{stub} stayed");
    }
    assert!(cell.dir.path().join("src/made").is_dir());
    assert_eq!(fs::read_dir(cell.dir.path().join("deps")).expect("read").count(), 0);
}

#[test]
fn without_overlay_a_read_only_root_is_the_same() {
    let script =
        "ls /; ls /etc; cat /etc/deep/file; touch /etc/x 2>/dev/null || echo refused; cat /etc/deep/new/mounted";
    let Some(cell) = Cell::new(script) else { return };
    fs::create_dir_all(cell.root().join("etc/deep")).expect("made");
    fs::write(cell.root().join("etc/deep/file"), "content\n").expect("written");
    let file = cell.dir.path().join("mounted");
    fs::write(&file, "mounted\n").expect("written");
    let mut cell = cell.with(|step| step.mounts.push(bind(&file, Path::new("/etc/deep/new/mounted"), true)));
    let with = cell.output();
    assert!(with.ends_with("deep\ncontent\nrefused\nmounted"), "{with}");
    cell.launcher = cell.launcher.clone().without_overlay();
    assert_eq!(cell.output(), with);
}

#[test]
fn only_the_named_environment_and_descriptors_reach_a_step() {
    let Some(cell) = Cell::new("env | grep -vE '^(PWD|SHLVL|_|OLDPWD)='; ls /proc/self/fd | tr '\\n' ' '; cat <&7")
    else {
        return;
    };
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    writer.write_all(b"through seven").expect("written");
    drop(writer);
    let cell = cell.with(|step| {
        step.env.push("WORD=a b".to_owned());
        step.inherit.push((7, OwnedFd::from(reader)));
    });
    // `ls` itself holds the directory open as 3.
    assert_eq!(cell.output(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nWORD=a b\n0 1 2 3 7 through seven");
}

#[test]
fn standard_input_is_empty() {
    let Some(cell) = Cell::new("readlink /proc/self/fd/0; cat; test ! -t 0") else { return };
    assert_eq!(cell.output(), "/dev/null");
}

#[test]
fn the_end_of_the_program_is_reported_as_it_was() {
    for (script, outcome) in [
        ("exit 0", Outcome::Code(0)),
        ("exit 7", Outcome::Code(7)),
        ("exit 255", Outcome::Code(255)),
        ("kill -TERM $$", Outcome::Signal(15)),
        ("kill -SEGV $$", Outcome::Signal(11)),
        ("kill -KILL $$", Outcome::Signal(9)),
        // Signals that the builder ignores, as Rust does with SIGPIPE, have their default action in a step.
        ("kill -PIPE $$", Outcome::Signal(13)),
    ] {
        let Some(cell) = Cell::new(script) else { return };
        assert_eq!(cell.run().0, outcome, "{script}");
    }
}

#[test]
fn memory_use_is_reported_in_bytes() {
    let Some(cell) = Cell::new("perl -e '$x = \"a\" x (64 << 20); print length $x'") else { return };
    let (exit, log) = cell.try_run(&Cancel::new().expect("a switch"));
    let exit = exit.expect("it ran");
    assert_eq!(log, b"67108864");
    assert!((64 << 20..1 << 30).contains(&exit.max_rss), "{exit:?}");
}

#[test]
fn output_is_passed_on_byte_by_byte() {
    let Some(cell) = Cell::new("printf '\\000\\377\\r\\n'; printf 'err' >&2; head -c 3000000 /dev/zero") else {
        return;
    };
    let (exit, log) = cell.try_run(&Cancel::new().expect("a switch"));
    assert!(exit.expect("it ran").success());
    assert_eq!(&log[..7], b"\0\xff\r\nerr");
    assert_eq!(log.len(), 7 + 3_000_000);
    assert!(log[7..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_timeout_kills_everything() {
    let seconds = unique(3001);
    let Some(cell) = Cell::new(&format!("echo started; (setsid sleep {seconds} &) ; sleep {seconds}")) else { return };
    let cell = cell.with(|step| step.timeout = Some(Duration::from_millis(700)));
    let start = Instant::now();
    assert_eq!(cell.run(), (Outcome::TimedOut, "started\n".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(15));
    assert!(!is_running(&seconds));
}

#[test]
fn process_1_reaps_what_its_parents_have_left() {
    let script = "i=0; while [ $i -lt 20 ]; do (sleep 0 & sleep 0 &); i=$((i+1)); done; sleep 0.5; \
                  grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l";
    let Some(cell) = Cell::new(script) else { return };
    assert_eq!(cell.output(), "0");
}

#[test]
fn cancelling_kills_everything_and_later_steps_do_not_start() {
    let seconds = unique(3002);
    let Some(cell) = Cell::new(&format!("trap '' TERM INT HUP; echo started; sleep {seconds} & sleep {seconds}"))
    else {
        return;
    };
    let cancel = Cancel::new().expect("a switch");
    let mut log = Vec::new();
    let exit = cell.launcher.run(&cell.step, &cancel, &mut |bytes| {
        log.extend_from_slice(bytes);
        cancel.cancel();
    });
    assert_eq!(exit.expect("it ran").outcome, Outcome::Cancelled);
    assert!(!is_running(&seconds));
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("read");
    assert!(!mounts.contains(&*cell.dir.path().to_string_lossy()), "{mounts}");
    let (exit, log) = cell.try_run(&cancel);
    assert_eq!((exit.expect("no error").outcome, log.len()), (Outcome::Cancelled, 0));
}

#[test]
fn grandchildren_die_with_the_program() {
    let seconds = unique(3003);
    let script = format!("setsid sh -c 'sleep {seconds} & sleep {seconds}' & sleep 0.2; echo done");
    let Some(cell) = Cell::new(&script) else { return };
    assert_eq!(cell.output(), "done");
    assert!(!is_running(&seconds));
}

#[test]
fn a_killed_builder_leaves_no_process() {
    let seconds = unique(3004);
    let Some(cell) = Cell::new("true") else { return };
    drop(cell);
    // This test binary is the builder; the test below is the step it starts. Killed, it does not clean up.
    let scratch = tempfile::tempdir().expect("a directory");
    let mut builder = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "isolation::builder_to_be_killed", "--ignored", "--nocapture"])
        .env("DOCKLESS_TEST_SLEEP", &seconds)
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let patience = Instant::now() + Duration::from_secs(30);
    while !is_running(&seconds) {
        assert!(Instant::now() < patience, "the step never started");
        thread::sleep(Duration::from_millis(20));
    }
    builder.kill().expect("killed");
    builder.wait().expect("reaped");
    let patience = Instant::now() + Duration::from_secs(10);
    while is_running(&seconds) {
        assert!(Instant::now() < patience, "the step outlived its builder");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "run by a_killed_builder_leaves_no_process"]
#[expect(clippy::disallowed_methods, reason = "the number comes from the test that starts this one")]
fn builder_to_be_killed() {
    let seconds = std::env::var("DOCKLESS_TEST_SLEEP").expect("started by the other test");
    let Some(cell) = Cell::new(&format!("sleep {seconds} & sleep {seconds}")) else { return };
    cell.run();
}

#[test]
fn the_machine_cannot_be_seen() {
    let Some(cell) =
        Cell::new("ls -A /; ls /proc/sys/kernel >/dev/null; cat /proc/kcore | wc -c; ls -A /proc/acpi 2>/dev/null")
    else {
        return;
    };
    let secret = cell.dir.path().join("secret");
    fs::write(&secret, "secret").expect("written");
    let output = cell.output();
    for name in ["home", "root", "var", "etc", "sys", "work"] {
        assert!(!output.lines().any(|line| line == name), "{output}");
    }
    assert!(output.ends_with("\n0"), "{output}");
    let script = format!(
        "cat {} /proc/1/root/etc/passwd; head -c 1 /proc/1/fd/0; echo x > /proc/sys/kernel/hostname",
        secret.display()
    );
    let Some(cell) = Cell::new(&script) else { return };
    let (outcome, log) = cell.run();
    assert_ne!(outcome, Outcome::Code(0), "{log}");
    assert!(!log.contains("secret\n") && !log.contains("root:"), "{log}");
    assert_eq!(log.matches("Permission denied").count(), 2, "{log}");
    assert!(log.contains("Read-only file system"), "{log}");
}

#[test]
fn the_devices_are_the_minimal_ones_and_work() {
    let script = "ls /dev | tr '\\n' ' '; head -c 4 /dev/zero | od -An -tx1; head -c 8 /dev/urandom | wc -c; echo x > /dev/null; \
                  head -c 1 /dev/zero > /dev/full; test -c /dev/ptmx && test -e /dev/fd/1 && stat -c %a /tmp /dev/shm";
    let Some(cell) = Cell::new(script) else { return };
    let output = cell.output();
    let devices = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ";
    assert!(output.starts_with(devices), "{output}");
    assert!(output.contains(" 00 00 00 00\n8\n") && output.contains("No space left"), "{output}");
    assert!(output.ends_with("1777\n1777"), "{output}");
}

#[test]
fn mounts_appear_where_they_were_wanted_and_only_the_writable_ones_take_writes() {
    let script = "cat /sources/zlib/zlib.tar; touch /scripts/x 2>/dev/null && echo wrote; touch /scripts/sub/x 2>/dev/null && echo wrote; \
                  echo out > /out/file; pwd; df -k /build | tail -n 1 | tr -s ' ' | cut -d' ' -f2; cat /both";
    let Some(cell) = Cell::new(script) else { return };
    let dir = cell.dir.path().to_owned();
    fs::write(dir.join("tar"), "tarball\n").expect("written");
    fs::write(dir.join("over"), "upper\n").expect("written");
    for name in ["scripts/sub", "l1", "l2", "up", "wk"] {
        fs::create_dir_all(dir.join(name)).expect("made");
    }
    let cell = cell.writable("out", "/out").with(|step| {
        step.cwd = "/build".into();
        step.mounts.push(bind(&dir.join("tar"), Path::new("/sources/zlib/zlib.tar"), true));
        step.mounts.push(bind(&dir.join("scripts"), Path::new("/scripts"), true));
        step.mounts.push(StepMount::new("/build", Mount::Tmpfs { size: Some(4 << 20) }));
        step.mounts.push(bind(&dir.join("over"), Path::new("/both"), true));
    });
    assert_eq!(cell.output(), "tarball\n/build\n4096\nupper");
    assert_eq!(fs::read(dir.join("out/file")).expect("written"), b"out\n");
}

#[test]
fn an_overlay_shows_its_layers_and_writes_to_the_upper_one() {
    let Some(cell) = Cell::new("cat /o/a /o/b; rm /o/a; echo new > /o/b; mkdir /o/d; ls /o | tr '\\n' ' '") else {
        return;
    };
    let dir = cell.dir.path().to_owned();
    let trials = cell.launcher.probe(&dir).expect("the probe runs").trials;
    if let Some(reason) = trials.overlay {
        return crate::support::skip("overlay", &reason);
    }
    for name in ["low", "lower, with: odd\\ name", "up", "wk"] {
        fs::create_dir_all(dir.join(name)).expect("made");
    }
    let odd = dir.join("lower, with: odd\\ name");
    fs::write(dir.join("low/a"), "a\n").expect("written");
    fs::write(dir.join("low/b"), "hidden\n").expect("written");
    fs::write(odd.join("b"), "b\n").expect("written");
    let mount = Mount::Overlay { lower: vec![odd, dir.join("low")], upper: dir.join("up"), work: dir.join("wk") };
    let cell = cell.with(|step| step.mounts.push(StepMount::new("/o", mount)));
    assert_eq!(cell.output(), "a\nb\nb d");
    dockless::store::remove_tree(&dir.join("wk")).expect("the kernel's closed directory goes too");
    assert_eq!(fs::read(dir.join("up/b")).expect("written"), b"new\n");
    assert_eq!(fs::read(dir.join("low/a")).expect("untouched"), b"a\n");
}

#[test]
fn a_step_with_the_hosts_network_has_its_resolver_too() {
    let Some(cell) = Cell::new("cat /etc/resolv.conf; cat /proc/net/dev") else { return };
    let Ok(resolver) = fs::read_to_string("/etc/resolv.conf") else {
        return crate::support::skip("resolver", "this machine has no /etc/resolv.conf");
    };
    let output = cell.with(|step| step.network = Network::Host).output();
    assert!(output.starts_with(resolver.trim_end()), "{output}");
    let devices = fs::read_to_string("/proc/net/dev").expect("readable").lines().count();
    assert_eq!(output.lines().count(), resolver.lines().count() + devices);
}

#[test]
fn a_setup_that_cannot_work_says_what_and_where() {
    let missing = |cell: Cell| match cell.try_run(&Cancel::new().expect("a switch")).0 {
        Err(error) => error,
        Ok(exit) => panic!("{exit:?}"),
    };
    let Some(cell) = Cell::new("true") else { return };
    let error = missing(cell.with(|step| step.args[0] = "/no/such/program".to_owned()));
    assert_eq!(error.to_string(), "failed to execute `/no/such/program` for the step");
    assert_eq!(error.fault(), Fault::Input);
    let Some(cell) = Cell::new("true") else { return };
    let error = missing(cell.with(|step| step.cwd = "/nowhere".into()));
    assert_eq!(error.to_string(), "failed to enter the directory `/nowhere` for the step");
    let Some(cell) = Cell::new("true") else { return };
    let error = missing(cell.with(|step| step.mounts.push(bind(Path::new("/no/source"), Path::new("/x"), true))));
    assert_eq!(error.to_string(), "failed to open `/no/source` for the step");
    assert_eq!(error.fault(), Fault::Bug);
    for path in ["relative", "/a/../b", "/"] {
        let Some(cell) = Cell::new("true") else { return };
        let error = missing(cell.with(|step| step.mounts.push(bind(Path::new("/usr"), Path::new(path), true))));
        assert!(matches!(error, SandboxError::Destination { .. }), "{error}");
    }
}

#[test]
fn a_program_without_a_slash_is_searched_in_the_steps_own_path() {
    let Some(cell) = Cell::new("true") else { return };
    let cell = cell.with(|step| step.args = ["echo", "found"].map(str::to_owned).to_vec());
    assert_eq!(cell.output(), "found");
    let cell = cell.with(|step| step.env = vec!["PATH=/nowhere".to_owned()]);
    assert!(cell.try_run(&Cancel::new().expect("a switch")).0.is_err());
}

#[test]
fn many_steps_run_at_once_from_many_threads() {
    let Some(first) = Cell::new("sleep 0.1; echo $$") else { return };
    drop(first);
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|_| scope.spawn(|| Cell::new("sleep 0.1; echo $$").map(|cell| cell.output()))).collect();
        for thread in threads {
            assert_eq!(thread.join().expect("no panic").as_deref(), Some("2"));
        }
    });
}

/// Starts a step whose init says who it is, and kills `victim` of its processes.
fn end_of_step_without(victim: &str) -> (SandboxError, String) {
    let seconds = unique(if victim == "guard" { 3005 } else { 3006 });
    let cell = Cell::new(&format!("echo started; sleep {seconds} & sleep {seconds}")).expect("asked before");
    let cancel = Cancel::new().expect("a switch");
    let mut killed = false;
    let exit = cell.launcher.run(&cell.step, &cancel, &mut |_| {
        let me = std::process::id().to_string();
        let children = |pid: &str| {
            let list = Command::new("ps").args(["-o", "pid=,args=", "--ppid", pid]).output().expect("ps runs");
            let text = String::from_utf8(list.stdout).expect("text");
            let init = |line: &&str| line.contains("--dockless-life init");
            text.lines().filter(init).map(|line| line.trim().split(' ').next().expect("a pid").to_owned()).collect()
        };
        let guards: Vec<String> = children(&me);
        let is_ours = |guard: &&String| {
            let one: Vec<String> = children(guard);
            one.iter().any(|one| {
                fs::read_to_string(format!("/proc/{one}/task/{one}/children")).is_ok_and(|programs| {
                    let program = programs.trim().to_owned();
                    fs::read_to_string(format!("/proc/{program}/cmdline")).is_ok_and(|line| line.contains(&seconds))
                })
            })
        };
        let guard = guards.iter().find(is_ours).expect("our guard");
        let one: Vec<String> = children(guard);
        let pid = if victim == "guard" { guard } else { &one[0] };
        Command::new("kill").args(["-KILL", pid]).status().expect("killed");
        killed = true;
    });
    assert!(killed);
    let patience = Instant::now() + Duration::from_secs(10);
    while is_running(&seconds) {
        assert!(Instant::now() < patience, "the step outlived its {victim}");
        thread::sleep(Duration::from_millis(10));
    }
    (exit.expect_err("its end is unknown"), seconds)
}

#[test]
fn a_step_whose_init_is_killed_is_over_and_its_end_is_said_to_be_unknown() {
    let Some(cell) = Cell::new("true") else { return };
    drop(cell);
    if Command::new("ps").arg("--version").output().is_err() {
        return crate::support::skip("ps", "this machine has no ps");
    }
    for victim in ["guard", "process 1"] {
        let (error, _) = end_of_step_without(victim);
        assert!(matches!(error, SandboxError::Lost { .. }), "{victim}: {error}");
        assert!(error.to_string().contains('9') && error.fault() == Fault::Machine, "{victim}: {error}");
    }
}

#[test]
fn a_machine_without_user_namespaces_says_how_to_get_them() {
    let dir = tempfile::tempdir().expect("a directory");
    // In a namespace of our own we may forbid further ones, as an administrator does for all.
    let dockless = env!("CARGO_BIN_EXE_dockless");
    let script = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {dockless} --dockless-life probe {}",
        dir.path().display()
    );
    let output = Command::new("unshare").args(["--user", "--map-root-user", "sh", "-c", &script]).output();
    let Ok(output) =
        output.as_ref().map_err(|_| ()).and_then(|output| output.status.success().then_some(output).ok_or(()))
    else {
        return crate::support::skip("userns", &format!("a user namespace cannot be made or limited: {output:?}"));
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("user.max_user_namespaces=15000"), "{text}");
}
