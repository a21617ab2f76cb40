//! What a doctor finds in situations that are made for it, and what it says to do.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::filters::CAPABILITIES;
use crate::support::skip;
use crate::support::solve::Bench;

const DOCKLESS: &str = env!("CARGO_BIN_EXE_dockless");

/// A home for the command, and what came of it.
struct Clinic {
    home: TempDir,
}

struct Diagnosis {
    output: Output,
    value: Value,
}

impl Clinic {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Runs a shell script in which `"$@"` is the doctor; the rest are words that come before it.
    fn under(&self, before: &[&str], script: &str, arguments: &[&str]) -> Diagnosis {
        let mut words: Vec<&str> = before.to_vec();
        words.extend(["sh", "-c", script, "sh", DOCKLESS, "doctor", "--json"]);
        words.extend(arguments);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("HOME", self.home.path()).env("TMPDIR", self.home.path());
        command.env_remove("XDG_DATA_HOME").env_remove("DOCKLESS_STORE").stdin(Stdio::null());
        Diagnosis::of(command.output().expect("it starts"))
    }

    fn offline(&self, script: &str) -> Diagnosis {
        self.under(&[], script, &["--offline"])
    }
}

impl Diagnosis {
    fn of(output: Output) -> Self {
        let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Self { output, value }
    }

    /// The doctor ran at all; said aloud where the situation could not be made.
    fn is_there(&self, what: &str) -> bool {
        if self.value.is_null() {
            skip(what, &format!("the situation cannot be made: {:?}", self.output));
        }
        !self.value.is_null()
    }

    fn rows<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        let rows = self.value["findings"].as_array().expect("a list").iter();
        rows.filter(move |row| row["name"].as_str().map(str::trim) == Some(name))
    }

    /// Wants a row in this state whose detail and first mend hold these words.
    fn finds(&self, name: &str, state: &str, detail: &str, mend: &str) {
        let fits = |row: &&Value| {
            let said = row["detail"].as_str().unwrap_or_default();
            let all = row["mend"].as_array().map_or(&[][..], Vec::as_slice);
            let mended =
                mend.is_empty() || all.iter().any(|line| line.as_str().is_some_and(|line| line.contains(mend)));
            row["state"] == state && said.contains(detail) && mended
        };
        assert!(self.rows(name).any(|row| fits(&row)), "no {name} {state} `{detail}` `{mend}` in {:#}", self.value);
    }

    /// Wants the exit code of a machine that can build, or cannot.
    fn builds(&self, can: bool) {
        assert_eq!(self.value["can_build"], can, "{:#}", self.value);
        assert_eq!(self.output.status.code(), Some(if can { 0 } else { 3 }));
    }

    /// Wants a machine without namespaces, which can build in a changed root where that was found to work. Returns how
    /// much of a fault the lack is.
    fn has_no_namespaces(&self) -> &'static str {
        let chroot = self.rows("isolation").any(|row| row["state"] == "degraded");
        self.builds(chroot);
        if chroot { "degraded" } else { "missing" }
    }
}

#[test]
fn namespaces_that_are_switched_off_are_found_with_their_switch() {
    // In a namespace of our own we may forbid further ones, as an administrator does for all.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    let found = Clinic::new().under(&["unshare", "--user", "--map-root-user"], script, &["--offline"]);
    if found.is_there("userns") {
        found.builds(false);
        found.finds("user namespaces", "missing", "", "");
        found.finds("user.max_user_namespaces", "missing", "0", "user.max_user_namespaces=15000");
    }
}

#[test]
fn a_filter_that_forbids_namespaces_is_found_with_who_may_loosen_it() {
    // A filter of four instructions: unshare(2) fails with EPERM, everything else may be.
    let perl = r#"my $filter = pack('SCCL' x 4, 0x20,0,0,0, 0x15,0,1,272, 0x06,0,0,0x00050001, 0x06,0,0,0x7fff0000);
                  my $program = pack('Sx6P', 4, $filter);
                  syscall(157, 38, 1, 0, 0, 0) == 0 && syscall(157, 22, 2, $program) == 0 || die "no filter: $!";
                  exec @ARGV"#;
    let found = Clinic::new().under(&["perl", "-e", perl], "exec \"$@\"", &["--offline"]);
    if found.is_there("perl") {
        found.has_no_namespaces();
        // In which words depends on where the tests run.
        let row = found.rows("user namespaces").next().expect("a row").to_string();
        assert!(row.contains("seccomp=unconfined") || row.contains("seccompProfile: {type: Unconfined}"), "{row}");
    }
}

#[test]
fn faults_of_the_stores_file_system_are_found() {
    for (options, name, detail, mend) in [
        ("size=1m", "room for the store", "are needed", "--store DIR"),
        ("nr_inodes=100", "files for the store", "(inodes)", "--store DIR"),
        ("ro", "room for the store", "read-only", "remount,rw"),
    ] {
        let clinic = Clinic::new();
        let place = clinic.home.path().join("place");
        fs::create_dir(&place).expect("made");
        let script = format!("mount -t tmpfs -o {options} tmpfs {} && exec \"$@\"", place.display());
        let store = place.join("store").display().to_string();
        let before = ["unshare", "--user", "--map-root-user", "--mount"];
        let found = clinic.under(&before, &script, &["--offline", "--store", &store]);
        if found.is_there("userns") {
            found.builds(false);
            found.finds(name, "missing", detail, mend);
        }
    }
}

#[test]
fn a_store_whose_file_system_forbids_execution_is_found() {
    let clinic = Clinic::new();
    let place = clinic.home.path().join("place");
    fs::create_dir(&place).expect("made");
    let script = format!("mount -t tmpfs -o noexec tmpfs {} && exec \"$@\"", place.display());
    let before = ["unshare", "--user", "--map-root-user", "--mount"];
    let store = place.join("store").display().to_string();
    let found = clinic.under(&before, &script, &["--offline", "--store", &store]);
    if found.is_there("userns") {
        found.finds("room for the store", "degraded", "noexec", "remount,exec");
    }
}

#[test]
fn what_is_said_of_a_store_without_execution_is_so() {
    let Some(bench) = Bench::new() else { return };
    let place = bench.store().parent().expect("a place").join("place");
    fs::create_dir(&place).expect("made");
    let store = place.join("store");
    let solve = |options: &str, scripts: &[&str]| {
        let graph = place.with_extension("pb");
        fs::write(&graph, Bench::graph(scripts).to_bytes()).expect("written");
        let script = format!("mount -t tmpfs -o {options} tmpfs {} && exec \"$@\"", place.display());
        let command = bench.command::<&str>(&[]);
        let mut inside = Command::new("unshare");
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh", DOCKLESS, "solve", "--store"]);
        inside.arg(&store);
        // Another store takes the place of theirs.
        inside.args(command.get_args().skip(3)).stdin(fs::File::open(&graph).expect("a graph"));
        inside.output().expect("it starts")
    };
    let both = ["cp /bin/sh /out/sh", "/in/sh -c 'echo x > /out/x'"];
    let fine = solve("size=100m", &both);
    if !fine.status.success() {
        return skip("userns", &format!("the situation cannot be made: {fine:?}"));
    }
    assert!(solve("noexec", &both[..1]).status.success());
    let refused = solve("noexec", &both);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ermission denied"), "{refused:?}");
}

#[test]
fn few_open_files_are_found_with_who_may_give_more() {
    let found = Clinic::new().offline("ulimit -n 60 && exec \"$@\"");
    found.builds(false);
    found.finds("open files", "missing", "60 (at most 60)", "nofile=65536");
    let found = Clinic::new().offline("ulimit -S -n 500 && exec \"$@\"");
    found.finds("open files", "degraded", "500 (at most", "");
}

#[test]
fn a_clock_before_the_programs_own_birth_is_found() {
    let clinic = Clinic::new();
    let copy = clinic.home.path().join("dockless");
    // The shell copies it: a file that this process has written may be open in a child of another test a moment longer,
    // and then the kernel executes it for nobody.
    let script = format!("cp \"$1\" {0} && touch -d 2100-01-01 {0} && shift && exec {0} \"$@\"", copy.display());
    let found = clinic.offline(&script);
    found.finds("clock", "degraded", "before this program was made", "set-ntp");
    Clinic::new().offline("exec \"$@\"").finds("clock", "ok", "", "");
}

#[test]
fn json_is_the_same_by_both_its_names_and_only_one_may_be_given() {
    let other = |arguments: &[&str]| {
        let clinic = Clinic::new();
        Command::new(DOCKLESS).args(arguments).env("HOME", clinic.home.path()).output().expect("it ends")
    };
    let names = |output: Output| -> Vec<String> {
        let value: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let rows = value["findings"].as_array().expect("a list").iter();
        rows.map(|row| row["name"].to_string()).collect()
    };
    let (short, long) = (other(&["doctor", "--json", "--offline"]), other(&["doctor", "--format=json", "--offline"]));
    assert_eq!(names(short), names(long));
    assert_eq!(other(&["doctor", "--json", "--format=table"]).status.code(), Some(2));
}

#[test]
fn registries_are_asked_where_they_are_configured_and_stop_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|other| other.local_addr()).expect("a port");
    let served = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut asked = [0; 1024];
        let length = stream.read(&mut asked).expect("a request");
        stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n").expect("a reader");
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    let clinic = Clinic::new();
    let hosts = clinic.home.path().join("certs.d/docker.io");
    fs::create_dir_all(&hosts).expect("made");
    fs::write(hosts.join("hosts.toml"), format!("server = \"http://{closed}\"\n")).expect("written");
    let mirror = format!("docker.io=http://{address}");
    let directory = clinic.home.path().join("certs.d").display().to_string();
    let arguments =
        ["--registry-mirror", &mirror, "--registry-hosts", &directory, "--debian-mirror", "file:///nowhere/at/all"];
    let found = clinic.under(&[], "unset http_proxy HTTP_PROXY all_proxy ALL_PROXY; exec \"$@\"", &arguments);
    let asked = served.join().expect("served");
    assert!(asked.starts_with("HEAD /v2/ HTTP/1.1\r\n"), "{asked}");
    found.finds("registry", "ok", &format!("http://{address}/v2/ answers"), "");
    found.finds("registry", "degraded", &format!("http://{closed}/v2/: "), "--registry-mirror");
    found.finds("Debian mirror", "degraded", "/nowhere/at/all", "--debian-mirror");
}

/// A bundle of an OCI runtime that shows the machine's programs, and the doctor's own.
fn bundle(place: &Path) -> PathBuf {
    let bundle = place.join("bundle");
    for directory in ["rootfs/proc", "rootfs/dev", "rootfs/tmp", "rootfs/sys", "rootfs/doctor"] {
        fs::create_dir_all(bundle.join(directory)).expect("made");
    }
    fs::set_permissions(bundle.join("rootfs/tmp"), fs::Permissions::from_mode(0o1777)).expect("set");
    fs::write(bundle.join("rootfs/.dockerenv"), "").expect("written");
    bundle
}

/// Runs the doctor in a container with these capabilities; `None`, said aloud, where there is none.
fn contained(capabilities: &[&str]) -> Option<Diagnosis> {
    if !rustix::process::getuid().is_root() {
        skip("root", "only root starts such a container");
        return None;
    }
    let clinic = Clinic::new();
    let bundle = bundle(clinic.home.path());
    let made = Command::new("runc").args(["spec", "--bundle"]).arg(&bundle).status();
    if !made.is_ok_and(|status| status.success()) {
        skip("runc", "there is none");
        return None;
    }
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("a spec")).expect("JSON");
    let args = ["/doctor/dockless", "doctor", "--json", "--offline", "--store", "/tmp/store"];
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = json!(args);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(capabilities);
    }
    let program = Path::new(DOCKLESS).parent().expect("a directory").display().to_string();
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.push(json!({"destination": "/doctor", "type": "bind", "source": program, "options": ["rbind", "ro"]}));
    for name in ["bin", "lib", "lib64", "usr"] {
        let source = fs::canonicalize(Path::new("/").join(name)).expect("a directory of the machine");
        mounts.push(
            json!({"destination": format!("/{name}"), "type": "bind", "source": source, "options": ["rbind", "ro"]}),
        );
    }
    mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    fs::write(&path, config.to_string()).expect("written");
    let name = format!("doctor-{}-{}", std::process::id(), capabilities.len());
    let mut command = Command::new("runc");
    command.arg("--root").arg(clinic.home.path().join("runc")).args(["run", "--bundle"]).arg(&bundle).arg(&name);
    let found = Diagnosis::of(command.stdin(Stdio::null()).output().expect("it ends"));
    found.is_there("runc").then_some(found)
}

#[test]
fn a_container_that_masks_proc_is_found_with_what_its_starter_should_say() {
    let Some(found) = contained(&CAPABILITIES) else { return };
    // What is mounted over parts of /proc must stay hidden, so the kernel lets nobody mount a new one.
    let state = found.has_no_namespaces();
    found.finds("user namespaces", state, "proc", "docker run --security-opt seccomp=unconfined");
    found.finds("user namespaces", state, "proc", "systempaths=unconfined");
}

#[test]
fn a_container_whose_root_may_not_map_itself_is_told_which_capability_that_takes() {
    let Some(found) = contained(&["CAP_KILL"]) else { return };
    found.builds(false);
    found.finds("user namespaces", "missing", "map the ids", "--cap-add SETFCAP");
}
