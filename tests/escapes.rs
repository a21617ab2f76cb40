//! What a hostile step tries, and does not get.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dockless::sandbox::{Cancel, Mount, Network, Outcome, Step, StepMount, Ulimit};

use crate::support::cell::{Cell, bind, is_running};
use crate::support::probe::{self, Call, Way};

/// A step with the surroundings of a foreign graph, over a writable root.
fn foreign(script: &str) -> Option<Cell> {
    let cell = Cell::new(script)?;
    let root = cell.root();
    Some(cell.with(|step| {
        let mut mounts = std::mem::take(&mut step.mounts);
        mounts.retain(|mount| mount.destination != Path::new("/tmp"));
        let args = std::mem::take(&mut step.args);
        let root = Mount::Bind { source: root, readonly: false };
        *step = Step { mounts, network: Network::None, timeout: Some(Duration::from_mins(1)), ..Step::new(root, args) };
    }))
}

/// Both kinds of steps.
fn both(script: &str) -> Option<[Cell; 2]> {
    Some([Cell::new(script)?, foreign(script)?])
}

/// Calls that would change the machine or leave the step, with their numbers on x86-64.
const FORBIDDEN: [(&str, u32); 51] = [
    ("acct", 163),
    ("add_key", 248),
    ("bpf", 321),
    ("clock_settime", 227),
    ("delete_module", 176),
    ("fanotify_init", 300),
    ("finit_module", 313),
    ("fsconfig", 431),
    ("fsmount", 432),
    ("fsopen", 430),
    ("fspick", 433),
    ("get_mempolicy", 239),
    ("init_module", 175),
    ("io_uring_enter", 426),
    ("io_uring_register", 427),
    ("io_uring_setup", 425),
    ("ioperm", 173),
    ("iopl", 172),
    ("kcmp", 312),
    ("kexec_file_load", 320),
    ("kexec_load", 246),
    ("keyctl", 250),
    ("lookup_dcookie", 212),
    ("mbind", 237),
    ("migrate_pages", 256),
    ("mount", 165),
    ("mount_setattr", 442),
    ("move_mount", 429),
    ("move_pages", 279),
    ("nfsservctl", 180),
    ("open_by_handle_at", 304),
    ("open_tree", 428),
    ("perf_event_open", 298),
    ("pidfd_getfd", 438),
    ("pivot_root", 155),
    ("process_madvise", 440),
    ("quotactl", 179),
    ("reboot", 169),
    ("request_key", 249),
    ("set_mempolicy", 238),
    ("setdomainname", 171),
    ("sethostname", 170),
    ("setns", 308),
    ("settimeofday", 164),
    ("swapoff", 168),
    ("swapon", 167),
    ("syslog", 103),
    ("umount2", 166),
    ("unshare", 272),
    ("userfaultfd", 323),
    ("vhangup", 153),
];

#[test]
fn mounting_keys_modules_io_uring_bpf_and_other_ways_into_the_kernel_are_closed() {
    let tried: Vec<Call> =
        FORBIDDEN.iter().map(|(_, number)| Call::new(Way::X86_64, *number, &[0x1000_0000])).collect();
    let Some(cells) = both(&probe::script("/probe")) else { return };
    for cell in cells {
        let programs = cell.dir.path().join("programs");
        probe::write(&programs, &tried);
        let output = cell.with(|step| step.mounts.push(bind(&programs, Path::new("/probe"), true))).output();
        for (name, number) in FORBIDDEN {
            let line = format!("{} 1", Call::new(Way::X86_64, number, &[0x1000_0000]).name());
            assert!(output.lines().any(|found| found == line), "{name} is not refused:\n{output}");
        }
    }
}

#[test]
fn a_new_user_namespace_cannot_be_had() {
    let script = "for way in U Um Ur Up n i u C; do unshare -$way true 2>/dev/null && echo $way; done; \
                  test ! -s /proc/self/ns/none 2>/dev/null; nsenter -t 1 -m true 2>/dev/null && echo entered; true";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        assert_eq!(cell.output(), "");
    }
}

#[test]
fn the_files_that_rule_the_machine_cannot_be_written() {
    let script = "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/vm/drop_caches \
                  /proc/sys/fs/binfmt_misc/register /proc/sysrq-trigger /proc/irq/default_smp_affinity \
                  /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled /sys/power/state \
                  /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/release_agent; \
                  do (echo 1 > $f) 2>/dev/null && echo $f; done; true";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        assert_eq!(cell.output(), "");
    }
}

#[test]
fn the_files_that_tell_of_the_machine_are_empty() {
    let script = "cat /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/latency_stats /proc/sched_debug \
                  2>/dev/null; ls -A /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap \
                  2>/dev/null | grep -v : | grep .; cat /sys/devices/system/cpu/cpu*/thermal_throttle/* 2>/dev/null; true";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        assert_eq!(cell.output(), "");
    }
}

#[test]
fn devices_can_be_neither_made_nor_changed() {
    let script = "for what in 'c 1 1' 'b 8 0' 'b 254 0' 'c 5 1' 'c 10 229'; do \
                  mknod \"/made/x$what\" $what 2>/dev/null; done; chmod 0 /dev/null 2>/dev/null && echo changed; \
                  chown 1 /dev/zero 2>/dev/null && echo given; echo x > /dev/null && echo works";
    let before = fs::metadata("/dev/null").expect("there");
    let Some(cells) = both(script) else { return };
    for cell in cells {
        let cell = cell.writable("made", "/made");
        assert_eq!(cell.output(), "works");
        // Where owners are emulated, a device is a record of one.
        for entry in fs::read_dir(cell.dir.path().join("made")).expect("a directory") {
            let entry = entry.expect("an entry");
            assert!(entry.file_type().expect("a type").is_file(), "{entry:?}");
        }
    }
    let after = fs::metadata("/dev/null").expect("there");
    assert_eq!((before.mode(), before.uid(), before.ctime()), (after.mode(), after.uid(), after.ctime()));
}

#[test]
fn no_words_are_put_into_a_terminal() {
    let script = "perl -e 'open(T, \"+</dev/tty\") and print \"a terminal\\n\"; open(P, \"+</dev/ptmx\") or die; \
                  my $c = \"x\"; for my $r (0x5412, 0x541c) { print ioctl(P, $r, $c) ? \"put\" : \"$!\", \"\\n\" }'";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        assert_eq!(cell.output(), "Operation not permitted\nOperation not permitted");
    }
}

#[test]
fn process_1_is_neither_traced_nor_read_nor_ended() {
    let builder = std::process::id();
    let script = format!(
        "grep SigCgt /proc/1/status; for n in $(seq 1 64); do kill -$n 1 2>/dev/null; done; \
         kill -0 {builder} 2>/dev/null && echo sees the builder; \
         for f in environ exe root/etc/passwd cwd fd/0 fd/1 maps mem ns/mnt map_files stack; do \
         (head -c 1 /proc/1/$f | grep -q .) 2>/dev/null && echo reads $f; done; \
         ls /proc/1/root/ /proc/1/cwd/ 2>/dev/null; tr '\\0' ' ' < /proc/1/cmdline; cd /probe; \
         for f in *; do ./$f; echo $?; done; exit 7"
    );
    // PTRACE_ATTACH and PTRACE_SEIZE.
    let traces = [16, 0x4206].map(|request| Call::new(Way::X86_64, 101, &[request, 1]));
    let Some(cells) = both(&script) else { return };
    for cell in cells {
        let programs = cell.dir.path().join("programs");
        probe::write(&programs, &traces);
        let cell = cell.with(|step| step.mounts.push(bind(&programs, Path::new("/probe"), true)));
        let (outcome, output) = cell.run();
        let (caught, rest) = output.split_once('\n').expect("two lines and more");
        assert_eq!((outcome, rest), (Outcome::Code(7), "dockless --dockless-life init 1\n1\n"));
        // A handler is what signals could reach it by. 32 and 33 are the C library's own, which looks at who sends them.
        let caught = caught.strip_prefix("SigCgt:\t").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        assert_eq!(caught.map(|mask| mask & !(0b11 << 31)), Some(0));
    }
}

#[test]
fn a_step_that_kills_all_it_can_reach_ends_only_itself() {
    let Some(cells) = both("sleep 60 & kill -KILL -1; echo alive; exit 3") else { return };
    for cell in cells {
        // A shell without other processes outlives it; what it must not do is to take the builder's side along.
        let (outcome, _) = cell.run();
        assert!(matches!(outcome, Outcome::Code(3) | Outcome::Signal(9)), "{outcome:?}");
    }
}

#[test]
fn descriptors_that_the_builder_let_through_reach_neither_the_program_nor_its_process_1() {
    let script = "ls /proc/1/fd > /dev/shm/fds 2>/dev/null; grep -qx 300 /dev/shm/fds && echo process 1 has it; \
                  for n in $(seq 3 310); do (echo hurt >&$n) 2>/dev/null; done; ls /proc/self/fd | tr '\\n' ' '";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        let path = cell.dir.path().join("precious");
        fs::write(&path, "whole").expect("written");
        let file = fs::File::options().append(true).open(&path).expect("opened");
        // Without FD_CLOEXEC, as a careless parent leaves them.
        let careless = careless_copy(&file, 300);
        assert_eq!(cell.output(), "0 1 2 3");
        drop(careless);
        assert_eq!(fs::read_to_string(&path).expect("read"), "whole");
    }
}

/// A copy with a number of at least `from` that stays open at execution.
fn careless_copy(file: &fs::File, from: i32) -> std::os::fd::OwnedFd {
    let copy = rustix::io::fcntl_dupfd_cloexec(file, from).expect("a copy");
    rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).expect("open at execution");
    copy
}

/// A directory of the machine beside the root, and words that name it from within.
fn outside(cell: &Cell) -> (PathBuf, String) {
    let outside = cell.dir.path().join("outside");
    fs::create_dir_all(&outside).expect("made");
    fs::write(outside.join("canary"), "sings").expect("written");
    let up = "../".repeat(40);
    let named = format!("{up}{}", outside.strip_prefix("/").expect("absolute").display());
    (outside, named)
}

#[test]
fn links_of_the_root_lead_no_mount_out_of_it() {
    let Some(cells) = both("cat /up/new/canary /self/new/canary /one/new/canary 2>/dev/null; true") else { return };
    for cell in cells {
        let (outside, named) = outside(&cell);
        let root = cell.root();
        for (link, target) in [
            ("up", named.clone()),
            ("self", format!("/proc/self/root/{named}")),
            ("one", format!("/proc/1/root/{named}")),
            ("fd", "/proc/self/fd/3".to_owned()),
        ] {
            symlink(target, root.join(link)).expect("made");
        }
        let mount = |at: &str| StepMount::new(at, Mount::Tmpfs { size: None });
        let cell = cell.with(|step| step.mounts.push(mount("/up/new")));
        assert_eq!(cell.output(), "");
        let mut cell = cell;
        for at in ["/self/new", "/one/new", "/fd/new"] {
            cell = cell.with(|step| {
                step.mounts.pop();
                step.mounts.push(mount(at));
            });
            // It may be refused, or land inside.
            let (_, log) = cell.try_run(&Cancel::new().expect("a switch"));
            assert!(log.is_empty(), "{at}: {}", String::from_utf8_lossy(&log));
        }
        assert_eq!(fs::read_dir(&outside).expect("read").count(), 1);
    }
}

#[test]
fn a_working_directory_is_inside_whatever_it_is_called() {
    let Some(cells) = both("true") else { return };
    for cell in cells {
        let (_, named) = outside(&cell);
        symlink(format!("/{named}"), cell.root().join("out")).expect("made");
        let mut places: Vec<String> = (3..24).map(|number| format!("/proc/self/fd/{number}")).collect();
        places.extend(["/proc/1/cwd", "/proc/1/root", "/proc/self/root", "/out"].map(str::to_owned));
        let script = format!("cat canary {named}/canary 2>/dev/null; true");
        let mut cell = cell.with(|step| step.args[2] = script);
        for place in places {
            cell = cell.with(|step| step.cwd = (&place).into());
            let (_, log) = cell.try_run(&Cancel::new().expect("a switch"));
            assert!(!String::from_utf8_lossy(&log).contains("sings"), "{place}");
        }
    }
}

#[test]
fn the_builders_own_program_cannot_be_written_through_the_process_that_becomes_the_steps() {
    let Some(cell) = foreign("true") else { return };
    // `#!/proc/self/exe` starts the builder's program once more, inside; its dynamic linker is the step's own.
    let root = cell.root();
    for link in ["lib", "lib64"] {
        let _ = fs::remove_file(root.join(link));
        fs::create_dir_all(root.join(link)).expect("made");
    }
    let linker = root.join("lib64/ld-linux-x86-64.so.2");
    let directory = cell.dir.path().join("programs");
    fs::write(root.join("evil"), "#!/proc/self/exe\n").expect("written");
    fs::set_permissions(root.join("evil"), fs::Permissions::from_mode(0o755)).expect("set");
    let cell = cell.with(|step| {
        step.mounts.clear();
        step.args = vec!["/evil".to_owned()];
    });
    // chmod("/proc/self/exe", 0o755), open("/proc/self/exe", O_WRONLY)
    let (change, write) =
        (Call::new(Way::X86_64, 90, &[probe::TEXT, 0o755]), Call::new(Way::X86_64, 2, &[probe::TEXT, 1]));
    probe::write(&directory, &[change, write]);
    let refused = |call: &Call, errors: &[i32]| {
        fs::copy(directory.join(call.name()), &linker).expect("copied");
        let (outcome, log) = cell.run();
        assert!(errors.iter().any(|error| outcome == Outcome::Code(*error)), "{outcome:?} {log}");
    };
    let (eperm, eacces, etxtbsy, erofs) = (1, 13, 26, 30);
    // Who may not mount is left with the kernel's own word.
    let unsealed = if rustix::process::geteuid().is_root() { erofs } else { eperm };
    refused(&change, &[unsealed, erofs]);
    refused(&write, &[eacces, etxtbsy, erofs]);
}

#[test]
fn a_fork_bomb_is_limited_where_asked_and_always_ends_with_its_step() {
    let script = "n=0; while [ $n -lt 150 ]; do sleep 67.5 & n=$((n+1)); done 2>/dev/null; echo through; wait";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        let limit = |most| Ulimit { name: "nproc".to_owned(), soft: most, hard: Some(most) };
        let cell = cell.with(|step| {
            step.timeout = Some(Duration::from_secs(3));
            step.args[2] = step.args[2].replace("67.5", &format!("67.{}", std::process::id()));
        });
        let (outcome, log) = cell.run();
        assert_eq!((outcome, log.as_str()), (Outcome::TimedOut, "through\n"));
        assert!(!is_running(&format!("67.{}", std::process::id())));
        // The kernel never counts processes of the machine's root (`setrlimit(2)`).
        if !rustix::process::geteuid().is_root() {
            let (_, log) = cell.with(|step| step.ulimits.push(limit(40))).run();
            assert!(!log.contains("through"), "{log}");
            assert!(!is_running(&format!("67.{}", std::process::id())));
        }
    }
}

#[test]
fn memory_that_looks_like_disk_has_a_bound_and_so_has_a_file_where_asked() {
    let script = "head -c 70000000 /dev/zero > /dev/shm/x 2>/dev/null || echo shm; rm -f /dev/shm/x; \
                  head -c 100000 /dev/zero > /dev/x 2>/dev/null || echo dev; rm -f /dev/x; \
                  (head -c 100000 /dev/zero > /file) 2>/dev/null || echo file; rm -f /file";
    let Some(cell) = foreign(script) else { return };
    let limit = Ulimit { name: "fsize".to_owned(), soft: 1 << 30, hard: Some(1 << 30) };
    assert_eq!(cell.output(), "shm\ndev");
    let cell = cell.with(|step| step.ulimits.push(limit));
    assert_eq!(cell.output(), "shm\ndev");
    let limit = Ulimit { name: "fsize".to_owned(), soft: 1000, hard: Some(1000) };
    // The shell has a word about SIGXFSZ, too.
    assert!(cell.with(|step| step.ulimits = vec![limit]).output().ends_with("\nfile"));
}

#[test]
fn files_of_the_whole_machine_below_proc_keep_their_modes() {
    let script = "for f in uptime version meminfo stat cpuinfo tty sysvipc; do chmod 640 /proc/$f 2>/dev/null && echo $f; \
                  chown 1 /proc/$f 2>/dev/null && echo $f given; done; test -r /proc/uptime && cat /proc/self/comm";
    let Some(cells) = both(script) else { return };
    for cell in cells {
        assert_eq!(cell.output(), "cat");
    }
}

/// What every runtime covers and makes read-only by default (`runtime-spec config-linux.md#masked-paths`, `runc spec`).
const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];
const PROTECTED: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[test]
fn what_runtimes_mask_and_protect_is_a_mount_of_its_own_that_takes_no_writes() {
    let Some(cells) = both("cat /proc/self/mountinfo") else { return };
    let (mut masked, mut protected) = (MASKED.map(str::to_owned).to_vec(), PROTECTED.map(str::to_owned).to_vec());
    // What this machine's own runtime has added since.
    let place = tempfile::tempdir().expect("a directory");
    let told = Command::new("runc").args(["spec", "--bundle"]).arg(place.path()).status();
    if told.is_ok_and(|status| status.success()) {
        let text = fs::read(place.path().join("config.json")).expect("a spec");
        let spec: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let words = |key: &str| -> Vec<String> {
            let list = spec["linux"][key].as_array().into_iter().flatten();
            list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        masked.extend(words("maskedPaths"));
        protected.extend(words("readonlyPaths"));
    }
    for cell in cells {
        let output = cell.output();
        let mounted = |path: &str| {
            let line = output.lines().rfind(|line| line.split(' ').nth(4) == Some(path))?;
            let root = line.split(' ').nth(3)?.to_owned();
            Some((line.split(' ').nth(5)?.split(',').any(|word| word == "ro"), root))
        };
        let has_sys = mounted("/sys").is_some();
        let here = |path: &&String| Path::new(path).exists() && (has_sys || !path.starts_with("/sys"));
        let mut seen = 0;
        for path in masked.iter().filter(here) {
            let (read_only, root) = mounted(path).unwrap_or_else(|| panic!("{path} is not covered:\n{output}"));
            // Neither the file nor the directory itself.
            assert!(read_only && !path.ends_with(root.trim_start_matches("/proc")), "{path} {root}");
            seen += 1;
        }
        for path in protected.iter().filter(here) {
            let (read_only, _) = mounted(path).unwrap_or_else(|| panic!("{path} is not protected:\n{output}"));
            assert!(read_only, "{path}");
            seen += 1;
        }
        assert!(seen >= 4, "{output}");
    }
}
