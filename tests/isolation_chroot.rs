//! What a step without namespaces sees, cannot reach, and leaves: root in an ordinary container has no others.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use dockless::oci::Arch;
use dockless::ownership::{self, Special};
use dockless::sandbox::{
    Cancel, Exit, Launcher, Mount, Network, Outcome, SandboxError, Secret, Security, Step, StepMount,
};
use dockless::snapshot::copy_tree;
use dockless::sys::landlock_version;

use crate::support::cell::{bind, is_running, launcher};
use crate::support::container::furnish;
use crate::support::skip;

/// A place with the root of steps, a directory for the roots that are put together, and what runs them.
struct Ground {
    dir: tempfile::TempDir,
    launcher: Launcher,
}

impl Ground {
    /// `None`, said aloud, for whoever is not root, or has no static shell.
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip("root", "only root can change the root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("ground-").tempdir().expect("a temporary directory");
        for name in ["root", "steps"] {
            fs::create_dir(dir.path().join(name)).expect("made");
        }
        if !furnish(&dir.path().join("root")) {
            return None;
        }
        let launcher = launcher().in_chroot(&dir.path().join("steps"), copy_tree);
        Some(Self { dir, launcher })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn make(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("made");
        path
    }

    /// A step of a recipe over the read-only root.
    fn bare(&self, script: &str) -> Step {
        let root = Mount::Bind { source: self.path("root"), readonly: true };
        let mut step = Step::bare(root, ["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        step.env = vec!["PATH=/bin".to_owned()];
        step.timeout = Some(Duration::from_mins(1));
        step
    }

    /// A foreign step over the root itself.
    fn foreign(&self, script: &str) -> Step {
        let root = Mount::Bind { source: self.path("root"), readonly: false };
        let mut step = Step::new(root, ["/bin/sh", "-c", script].map(str::to_owned).to_vec());
        step.env = vec!["PATH=/bin".to_owned()];
        step.timeout = Some(Duration::from_mins(1));
        step
    }

    fn try_run(&self, step: &Step, cancel: &Cancel) -> (Result<Exit, SandboxError>, String) {
        let mut log = Vec::new();
        let exit = self.launcher.run(step, cancel, &mut |bytes| log.extend_from_slice(bytes));
        (exit, String::from_utf8_lossy(&log).into_owned())
    }

    fn run(&self, step: &Step) -> (Outcome, String) {
        let (exit, log) = self.try_run(step, &Cancel::new().expect("a switch"));
        match exit {
            Ok(exit) => (exit.outcome, log),
            Err(error) => panic!("{error}: {:?}\n{log}", std::error::Error::source(&error)),
        }
    }

    fn output(&self, step: &Step) -> String {
        let (outcome, log) = self.run(step);
        assert_eq!(outcome, Outcome::Code(0), "{log}");
        log.trim_end().to_owned()
    }

    /// What is left of the roots that were put together, but for the copies that wait.
    fn left(&self) -> usize {
        let entries = fs::read_dir(self.path("steps")).expect("read").flatten();
        entries.filter(|entry| !entry.path().join("clock").exists()).count()
    }
}

/// A number of seconds that no other process sleeps, so that leftovers can be told.
fn unique(seconds: u32) -> String {
    format!("{seconds}.{}", std::process::id())
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("read").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_step_finds_its_own_root_and_devices() {
    let Some(ground) = Ground::new() else { return };
    let script = "ls / | tr '\\n' ' '; ls /dev | tr '\\n' ' '; head -c 4 /dev/zero | wc -c; head -c 8 /dev/urandom | wc -c; \
                  echo x > /dev/null; echo x > /dev/full || echo full; stat -c %a /dev/null /dev/shm; \
                  echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin; pwd; umask; id -u; test -s /proc/meminfo";
    let step = ground.bare(&script.replace("| tr '\\n' ' '", "| busybox tr '\\n' ' '"));
    let wanted = "bin dev etc lib lib64 proc root sys tmp usr fd full null pts random shm stderr stdin stdout tty urandom zero \
                  4\n8\nsh: write error: No space left on device\nfull\n666\n1777\nout\nerr\n/\n0022\n0";
    assert_eq!(ground.output(&step), wanted);
    assert_eq!(ground.left(), 0);
}

#[test]
fn a_step_has_few_capabilities_and_no_way_to_more() {
    let Some(ground) = Ground::new() else { return };
    let probe = ground.make("probe");
    // Neither chroot nor a device nor a mount: what would lead out.
    let script = "chroot / /bin/true 2>/dev/null && echo chroot; mknod /dev/sda b 8 0 2>/dev/null && echo device; \
                  busybox mount -t tmpfs x /tmp 2>/dev/null && echo mount; busybox unshare -U true 2>/dev/null && echo unshare; \
                  cat /out/../../../../../../../../etc/shadow 2>/dev/null && echo shadow; echo end";
    let mut step = ground.bare(&script.replace("chroot /", "busybox chroot /"));
    step.mounts.push(bind(&probe, Path::new("/out"), false));
    assert_eq!(ground.output(&step), "end");
    step.security = Security::Insecure;
    assert_eq!(ground.output(&step), "end");
}

#[test]
fn a_foreign_step_makes_devices_for_the_layer_where_it_may_write_and_none_of_the_machine() {
    let Some(ground) = Ground::new() else { return };
    let (input, output) = (ground.make("input"), ground.make("output"));
    let script = "exec 2>&1; mkdir /s; cd /s; mknod null c 1 3; chmod 600 null; mknod ../sda b 8 1; mknod /in/null c 1 3; \
                  mknod /out/null c 1 5; mknod /in/../../../../../../../../tmp/up c 1 3; mknod null c 1 3; cat /sda null; ls /out";
    let mut step = ground.foreign(script);
    step.mounts.push(StepMount { readonly: true, ..bind(&input, Path::new("/in"), true) });
    step.mounts.push(bind(&output, Path::new("/out"), false));
    let said = ground.output(&step);
    // What is read-only is a copy there, as long as the root around it is writable.
    assert_eq!(said, "mknod: null: File exists\nnull");
    let root = ground.path("root");
    for (path, special) in [
        (root.join("s/null"), Special::Character(1, 3)),
        (root.join("sda"), Special::Block(8, 1)),
        (root.join("tmp/up"), Special::Character(1, 3)),
        (output.join("null"), Special::Character(1, 5)),
    ] {
        assert!(fs::symlink_metadata(&path).expect("there").is_file(), "{path:?}");
        assert_eq!(ownership::node(&path), Some(special), "{path:?}");
    }
    assert_eq!(names(&input), [""; 0]);
    let script = "exec 2>/dev/null; mknod /new c 1 3 && echo new; mknod /in/null c 1 3 && echo in; mknod /out/full c 1 7; \
                  cd /out; mknod one c 1 3; cd ..; mknod new c 1 3 && echo new; true";
    step.args = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    step.root_readonly = true;
    assert_eq!(ground.output(&step), "");
    assert_eq!(names(&output), ["full", "null", "one"]);
}

#[test]
fn what_may_not_be_changed_stays_as_it_is() {
    let Some(ground) = Ground::new() else { return };
    let input = ground.make("input");
    fs::write(input.join("file"), "content").expect("written");
    let before = fs::metadata(input.join("file")).expect("there");
    let script = "echo x > /in/file; echo x >> /etc/passwd; touch /new; chmod 777 /in/file /etc/passwd; chown 5 /in/file; rm /in/file; \
                  rm -rf /etc; true";
    let mut step = ground.bare(script);
    step.mounts.push(bind(&input, Path::new("/in"), true));
    let (_, said) = ground.run(&step);
    if landlock_version() >= 2 {
        assert!(said.lines().count() >= 5 && said.lines().all(|line| line.contains("Permission denied")), "{said}");
    }
    let after = fs::metadata(input.join("file")).expect("there");
    assert_eq!((after.mode(), after.uid(), after.ctime()), (before.mode(), before.uid(), before.ctime()));
    assert_eq!(fs::read(input.join("file")).expect("read"), b"content");
    let passwd = fs::read_to_string(ground.path("root/etc/passwd")).expect("read");
    assert!(!passwd.ends_with("x\n"));
    // The copy that was changed serves nobody else.
    assert_eq!(ground.output(&ground.bare("stat -c %a /etc/passwd; ls /etc | wc -l")), "644\n2");
}

#[test]
fn a_copy_of_a_read_only_root_is_used_again_while_it_is_whole() {
    let Some(ground) = Ground::new() else { return };
    let copies = |ground: &Ground| {
        let copies = names(&ground.path("steps"));
        assert!(copies.len() <= 1, "{copies:?}");
        copies
    };
    ground.output(&ground.bare("true"));
    let first = copies(&ground);
    assert_eq!(first.len(), 1);
    let mut step = ground.bare("echo x > /tmp/x; echo x > /dev/x; cat /proc/version > /out/deep/x");
    step.mounts.push(StepMount::new("/tmp", Mount::Tmpfs { size: None }));
    step.mounts.push(StepMount::new("/out/deep", Mount::Tmpfs { size: None }));
    ground.output(&step);
    assert_eq!(copies(&ground), first);
    assert_eq!(ground.output(&ground.bare("ls -A /tmp; ls / | wc -l")), "10");
    ground.output(&ground.bare("chmod 700 /etc"));
    assert_eq!(copies(&ground), Vec::<String>::new());
    assert_eq!(ground.output(&ground.bare("stat -c %a /etc")), "755");
}

#[test]
fn writable_places_take_what_is_written_and_are_where_they_were() {
    let Some(ground) = Ground::new() else { return };
    let (out, cache) = (ground.make("out"), ground.make("cache"));
    fs::write(cache.join("old"), "old\n").expect("written");
    let inode = fs::metadata(&out).expect("there").ino();
    let mut step = ground.bare("echo hi > /out/file; cat /out/cache/old; echo new > /out/cache/new; ls /usr");
    step.mounts.push(bind(&out, Path::new("/out"), false));
    step.mounts.push(bind(&cache, Path::new("/out/cache"), false));
    step.mounts.push(StepMount::new("/usr", Mount::Tmpfs { size: None }));
    assert_eq!(ground.output(&step), "old");
    assert_eq!((names(&out), names(&cache)), (vec!["file".to_owned()], vec!["new".to_owned(), "old".to_owned()]));
    assert_eq!(fs::metadata(&out).expect("there").ino(), inode);
}

#[test]
fn a_place_that_the_step_moves_or_deletes_goes_back_all_the_same() {
    let Some(ground) = Ground::new() else { return };
    let (moved, deleted, replaced) = (ground.make("moved"), ground.make("deleted"), ground.make("replaced"));
    fs::set_permissions(&deleted, fs::Permissions::from_mode(0o750)).expect("set");
    fs::write(replaced.join("file"), "kept").expect("written");
    let outside = ground.make("outside");
    fs::write(outside.join("precious"), "precious").expect("written");
    let script = format!(
        "mkdir /x; mv /a /x/a; touch /x/a/file; rm -rf /b; mv /c /x/c; ln -s {} /c; rm -rf /usr/d; ln -s /etc /usr/d",
        outside.display()
    );
    let mut step = ground.foreign(&script);
    step.mounts.push(bind(&moved, Path::new("/a"), false));
    step.mounts.push(bind(&deleted, Path::new("/b"), false));
    step.mounts.push(bind(&replaced, Path::new("/c"), false));
    step.mounts.push(StepMount::new("/usr/d", Mount::Tmpfs { size: None }));
    ground.output(&step);
    assert_eq!((names(&moved), names(&replaced)), (vec!["file".to_owned()], vec!["file".to_owned()]));
    assert_eq!(fs::metadata(&deleted).expect("there").mode() & 0o7777, 0o750);
    assert_eq!(names(&outside), ["precious"]);
    let root = ground.path("root");
    assert!(root.join("x").is_dir() && names(&root.join("x")).is_empty());
    assert!(["a", "b", "c", "usr/d"].iter().all(|name| fs::symlink_metadata(root.join(name)).is_err()));
    assert_eq!(names(&root.join("etc")), ["group", "passwd"]);
    assert_eq!(ground.left(), 0);
}

#[test]
fn mount_points_leave_no_trace_in_a_root_that_is_kept() {
    let Some(ground) = Ground::new() else { return };
    let root = ground.path("root");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for name in ["", "etc", "dev", "usr"] {
        fs::File::open(root.join(name)).expect("opened").set_modified(long_ago).expect("set");
    }
    let mut step =
        ground.foreign("cat /etc/hosts > /dev/null; test -e /etc/resolv.conf; touch /usr/made/x; ls -d /var/a/b");
    step.network = Network::None;
    step.mounts.push(StepMount::new("/usr/made", Mount::Tmpfs { size: None }));
    step.mounts.push(StepMount::new("/var/a/b", Mount::Tmpfs { size: None }));
    assert_eq!(ground.output(&step), "/var/a/b");
    let modified = |name: &str| fs::metadata(root.join(name)).expect("there").modified().expect("a time");
    assert_eq!(names(&root.join("etc")), ["group", "passwd"]);
    assert_eq!(names(&root.join("usr")).len() + names(&root.join("dev")).len(), 0);
    assert!(!root.join("var").exists());
    // What was only covered is no newer; where something was made it is, as with mounts.
    assert_eq!(modified("dev"), long_ago);
    assert!(modified("etc") > long_ago && modified("usr") > long_ago);
    // With both files there nothing is made.
    for name in ["hosts", "resolv.conf"] {
        fs::write(root.join("etc").join(name), "kept\n").expect("written");
    }
    fs::File::open(root.join("etc")).expect("opened").set_modified(long_ago).expect("set");
    let step = ground.foreign("cat /etc/hosts > /dev/null");
    ground.output(&step);
    assert_eq!(modified("etc"), long_ago);
    assert_eq!(fs::read_to_string(root.join("etc/hosts")).expect("kept"), "kept\n");
}

#[test]
fn a_result_shares_no_file_with_a_cache() {
    let Some(ground) = Ground::new() else { return };
    let (out, cache) = (ground.make("out"), ground.make("cache"));
    fs::write(cache.join("file"), "first\n").expect("written");
    let script = "ln /cache/file /out/one; ln /out/one /out/two; echo alone > /out/three; ln /out/three /out/four";
    let mut step = ground.bare(script);
    step.mounts.push(bind(&out, Path::new("/out"), false));
    step.mounts.push(bind(&cache, Path::new("/cache"), false));
    let (outcome, said) = ground.run(&step);
    assert_eq!(outcome, Outcome::Code(0), "{said}");
    fs::write(cache.join("file"), "second\n").expect("written");
    let inode = |name: &str| fs::metadata(out.join(name)).expect("there").ino();
    assert_eq!(fs::read_to_string(out.join("one")).expect("read"), "first\n");
    assert_eq!((inode("one"), inode("three")), (inode("two"), inode("four")));
    assert_eq!(fs::metadata(cache.join("file")).expect("there").nlink(), 1);
}

#[test]
fn a_secret_is_a_file_for_as_long_as_the_step_runs() {
    let Some(ground) = Ground::new() else { return };
    let secret = |data: &[u8]| Mount::Secret(Secret { data: data.to_vec(), uid: 7, gid: 8, mode: 0o440 });
    let mut step = ground.foreign("cat /run/secrets/key; stat -c %u:%g:%a /run/secrets/key");
    step.mounts.push(StepMount::new("/run/secrets/key", secret(b"hunter2\n")));
    assert_eq!(ground.output(&step), "hunter2\n7:8:440");
    assert!(!ground.path("root/run").exists());
}

#[test]
fn no_network_means_no_sockets_but_those_of_files() {
    let Some(ground) = Ground::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let script = format!("nc 127.0.0.1 {port} < /dev/null && echo connected; echo end");
    let step = ground.bare(&script);
    let said = ground.output(&step);
    assert!(said.contains("Address family not supported") && said.ends_with("end"), "{said}");
    let mut open = ground.bare(&script);
    open.network = Network::Host;
    let answered = thread::spawn(move || listener.accept().map(drop));
    assert!(ground.output(&open).contains("connected"));
    answered.join().expect("ended").expect("accepted");
}

#[test]
fn a_socket_of_the_machine_is_shown_where_the_step_asks() {
    let Some(ground) = Ground::new() else { return };
    let path = ground.path("agent");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let mut step = ground.foreign("test -S /run/agent && echo there");
    step.mounts.push(bind(&path, Path::new("/run/agent"), false));
    assert_eq!(ground.output(&step), "there");
    assert!(fs::symlink_metadata(&path).is_ok());
}

#[test]
fn a_user_is_the_one_of_the_roots_own_files() {
    let Some(ground) = Ground::new() else { return };
    let mut step =
        ground.foreign("id -u; id -g; echo $HOME; pwd; stat -c %u:%g .; echo there > /dev/stderr; id -u > /w/x");
    step.user = "joe".to_owned();
    step.cwd = "/w".into();
    assert_eq!(ground.output(&step), "777\n1000\n/\n/w\n777:1000\nthere");
    assert_eq!(fs::metadata(ground.path("root/w/x")).expect("kept").uid(), 777);
    step.user = "ann".to_owned();
    let (error, _) = ground.try_run(&step, &Cancel::new().expect("a switch"));
    assert!(error.expect_err("nobody").to_string().contains("ann"));
}

#[test]
fn a_thirty_two_bit_step_believes_in_its_machine_and_limits_hold() {
    let Some(ground) = Ground::new() else { return };
    let mut step = ground.bare("uname -m; ulimit -n; ulimit -c");
    step.arch = Arch::X86;
    assert_eq!(ground.output(&step), "i686\n1024\n0");
}

#[test]
fn everything_a_step_started_ends_with_it() {
    let Some(ground) = Ground::new() else { return };
    let seconds = unique(3101);
    let script =
        format!("busybox setsid sh -c 'sleep {seconds} & sleep {seconds} & sleep {seconds}' & sleep 0.3; echo done");
    assert_eq!(ground.output(&ground.bare(&script)), "done");
    assert!(!is_running(&seconds));
}

#[test]
fn a_timeout_and_a_cancelled_build_end_everything() {
    let Some(ground) = Ground::new() else { return };
    let seconds = unique(3102);
    let script = format!("trap '' TERM INT HUP; echo started; (busybox setsid sleep {seconds} &); sleep {seconds}");
    let mut step = ground.bare(&script);
    step.timeout = Some(Duration::from_millis(700));
    let start = Instant::now();
    assert_eq!(ground.run(&step), (Outcome::TimedOut, "started\n".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(15) && !is_running(&seconds));
    let cancel = Cancel::new().expect("a switch");
    step.timeout = None;
    let exit = ground.launcher.run(&step, &cancel, &mut |_| cancel.cancel());
    assert_eq!(exit.expect("it ran").outcome, Outcome::Cancelled);
    assert!(!is_running(&seconds));
    assert_eq!(ground.left(), 0);
}

#[test]
fn a_step_cannot_signal_what_is_not_its_own() {
    let Some(ground) = Ground::new() else { return };
    if landlock_version() < 6 {
        return skip("landlock", "this kernel does not scope signals");
    }
    let mut victim = Command::new("sleep").arg(unique(3103)).stdin(Stdio::null()).spawn().expect("started");
    let script = format!("kill -9 {} 2>&1; kill -9 -1; echo alive", victim.id());
    let (_, said) = ground.run(&ground.bare(&script));
    assert!(said.contains("ermitted"), "{said}");
    assert!(victim.try_wait().expect("looked at").is_none());
    victim.kill().expect("killed");
    victim.wait().expect("reaped");
}

#[test]
fn a_killed_builder_leaves_no_process_and_no_secret() {
    let Some(ground) = Ground::new() else { return };
    let seconds = unique(3104);
    let mut builder = Command::new(std::env::current_exe().expect("a path"))
        .args(["--exact", "isolation_chroot::builder_to_be_killed", "--ignored", "--nocapture"])
        .env("DOCKLESS_TEST_SLEEP", &seconds)
        .env("TMPDIR", ground.dir.path())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let wait = |wanted: bool| {
        let patience = Instant::now() + Duration::from_secs(30);
        while is_running(&seconds) != wanted {
            assert!(Instant::now() < patience, "running: {}", !wanted);
            thread::sleep(Duration::from_millis(20));
        }
    };
    wait(true);
    let secrets = || {
        let files = walkdir::WalkDir::new(ground.dir.path()).into_iter().flatten();
        // Devices would never end.
        let files = files.filter(|entry| entry.file_type().is_file());
        files.filter(|entry| fs::read(entry.path()).is_ok_and(|bytes| bytes == b"hunter2")).count()
    };
    assert_eq!(secrets(), 1);
    builder.kill().expect("killed");
    builder.wait().expect("reaped");
    wait(false);
    let patience = Instant::now() + Duration::from_secs(10);
    while secrets() > 0 {
        assert!(Instant::now() < patience, "the secret stayed");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "run by a_killed_builder_leaves_no_process_and_no_secret"]
#[expect(clippy::disallowed_methods, reason = "the number comes from the test that starts this one")]
fn builder_to_be_killed() {
    let seconds = std::env::var("DOCKLESS_TEST_SLEEP").expect("started by the other test");
    let Some(ground) = Ground::new() else { return };
    let mut step = ground.bare(&format!("(busybox setsid sleep {seconds} &); sleep {seconds}"));
    let secret = Secret { data: b"hunter2".to_vec(), uid: 0, gid: 0, mode: 0o400 };
    step.mounts.push(StepMount::new("/run/key", Mount::Secret(secret)));
    ground.run(&step);
}
