//! What a step may ask of the kernel: call by call what Docker's default profile answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use dockless::sandbox::Security;
use serde_json::{Value, json};

use crate::support::cell::{Cell, bind};
use crate::support::probe::{self, Call, Way};
use crate::support::skip;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

const SIGCHLD: u64 = 17;

/// Calls that Docker's profile knows and some libraries and headers in use do not.
const KNOWN: std::ops::Range<u32> = 450..467;

/// `moby/profiles seccomp/default.json`, as published.
const PROFILE: &str = include_str!("fixtures/seccomp/docker.json");

/// What Docker gives by default (moby `oci/caps/defaults.go`).
pub(crate) const CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The rules of the profile that hold for a container with Docker's default capabilities on x86-64, as a runtime takes
/// them (`runtime-spec config-linux.md#seccomp`).
pub(crate) fn rules() -> Vec<Value> {
    let profile: Value = serde_json::from_str(PROFILE).expect("JSON");
    let words = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
    };
    let holds = |rule: &Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let held = |name: &String| CAPABILITIES.contains(&name.as_str());
        let here = words(&includes["arches"]);
        (here.is_empty() || here.iter().any(|arch| arch == "amd64"))
            && words(&includes["caps"]).iter().all(held)
            && !words(&excludes["caps"]).iter().any(held)
    };
    let rules = profile["syscalls"].as_array().expect("rules").iter().filter(|rule| holds(rule));
    rules
        .map(|rule| {
            let mut rule = rule.as_object().expect("a rule").clone();
            rule.retain(|key, _| ["names", "action", "args", "errnoRet"].contains(&key.as_str()));
            Value::Object(rule)
        })
        .collect()
}

/// Every number up to some that do not exist yet, with arguments that are nonsense, and those whose arguments matter.
fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for (way, [clone, personality, socket]) in [(Way::X86_64, [56, 135, 41]), (Way::I386, [120, 136, 359])] {
        // `sync(2)` would wait for the whole machine, and what `kill(-1, …)` says depends on who is there.
        let without = if way == Way::X86_64 { [162, 62] } else { [36, 37] };
        calls.extend((0..480).filter(|number| !without.contains(number)).map(|number| Call::nonsense(way, number)));
        // None, then each namespace by itself.
        let namespaces = [0, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];
        calls.extend(namespaces.map(|flags| Call::new(way, clone, &[flags | SIGCHLD])));
        calls
            .extend([0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff, 4, 6, 0x4_0000].map(|p| Call::new(way, personality, &[p])));
        calls.extend((0..46).map(|family| Call::new(way, socket, &[family, 1])));
    }
    calls
}

/// What became of the calls: name and exit code.
fn answers(output: &str) -> BTreeMap<String, u32> {
    let parse = |line: &str| line.rsplit_once(' ').and_then(|(name, code)| Some((name.to_owned(), code.parse().ok()?)));
    output.lines().filter_map(parse).collect()
}

fn in_step(cell: Cell, calls: &[Call]) -> BTreeMap<String, u32> {
    let programs = cell.dir.path().join("programs");
    probe::write(&programs, calls);
    let answers = answers(&cell.with(|step| step.mounts.push(bind(&programs, Path::new("/probe"), true))).output());
    assert_eq!(answers.len(), calls.iter().collect::<BTreeSet<_>>().len());
    answers
}

/// What runc answers with Docker's profile; `None`, said aloud, where it cannot run.
fn in_runc(cell: &Cell, calls: &[Call]) -> Option<BTreeMap<String, u32>> {
    let bundle = cell.dir.path().join("bundle");
    fs::create_dir_all(bundle.join("rootfs")).expect("made");
    let spec = Command::new("runc").args(["spec", "--bundle"]).arg(&bundle).output();
    if !spec.is_ok_and(|output| output.status.success()) {
        skip("runc", "there is none");
        return None;
    }
    let programs = cell.dir.path().join("programs");
    probe::write(&programs, calls);
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    for link in fs::read_dir(cell.root()).expect("read").flatten() {
        let target = fs::read_link(link.path()).expect("a link");
        std::os::unix::fs::symlink(target, bundle.join("rootfs").join(link.file_name())).expect("made");
    }
    let mounts = config["mounts"].as_array_mut().expect("mounts");
    mounts.retain(|mount| mount["type"] != "cgroup");
    let mut shown: Vec<(String, String)> = vec![(programs.display().to_string(), "/probe".to_owned())];
    for name in ["bin", "lib", "lib32", "lib64", "sbin", "usr"].map(|name| format!("/{name}")) {
        if Path::new(&name).is_dir() && !Path::new(&name).is_symlink() {
            shown.push((name.clone(), name));
        }
    }
    for (source, destination) in shown {
        fs::create_dir(bundle.join("rootfs").join(&destination[1..])).expect("made");
        mounts
            .push(json!({ "type": "bind", "source": source, "destination": destination, "options": ["rbind", "ro"] }));
    }
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/sh", "-c", probe::script("/probe")]);
    config["process"]["rlimits"] = json!([]);
    config["process"]["capabilities"] =
        json!({ "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES });
    let kinds = ["pid", "network", "ipc", "uts", "mount"];
    config["linux"]["namespaces"] = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules(),
    });
    fs::write(&path, serde_json::to_vec(&config).expect("JSON")).expect("written");
    let id = format!("dockless-filters-{}", std::process::id());
    let run = Command::new("runc")
        .arg("--root")
        .arg(cell.dir.path().join("state"))
        .args(["run", "--bundle"])
        .arg(&bundle)
        .arg(&id)
        .output()
        .expect("it starts");
    let answers = answers(&String::from_utf8_lossy(&run.stdout));
    if answers.is_empty() {
        skip("runc", &String::from_utf8_lossy(&run.stderr));
        return None;
    }
    Some(answers)
}

#[test]
fn every_call_is_answered_as_runc_answers_it_with_dockers_profile() {
    if !rustix::process::geteuid().is_root() {
        return skip("root", "it is compared as root only");
    }
    let calls = calls();
    let Some(cell) = Cell::new(&probe::script("/probe")) else { return };
    let Some(theirs) = in_runc(&cell, &calls) else { return };
    let ours = in_step(cell, &calls);
    // The question for the personality with high bits that the kernel does not read: Docker compares them.
    let excused = Call::nonsense(Way::X86_64, 135);
    let mut differ = Vec::new();
    for call in calls.iter().filter(|call| **call != excused) {
        let name = call.name();
        let (ours, theirs) = (ours[&name], theirs[&name]);
        // A libseccomp that is older than the profile does not know its newest calls.
        if ours != theirs && !(KNOWN.contains(&call.number) && theirs == ENOSYS) {
            differ.push(format!("{name}: {ours} here, {theirs} there"));
        }
    }
    assert!(differ.is_empty(), "{} differ:\n{}", differ.len(), differ.join("\n"));
}

/// Numbers by name, as the kernel's headers have them.
fn numbers(way: Way) -> Option<BTreeMap<String, u32>> {
    let words = if way == Way::X86_64 { "64" } else { "32" };
    let path = format!("/usr/include/x86_64-linux-gnu/asm/unistd_{words}.h");
    let Ok(text) = fs::read_to_string(&path) else {
        skip("headers", &format!("there is no `{path}`"));
        return None;
    };
    let lines = text.lines().filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '));
    Some(lines.filter_map(|(name, number)| Some((name.to_owned(), number.trim().parse().ok()?))).collect())
}

#[test]
fn what_dockers_profile_does_not_name_is_refused_and_the_rest_reaches_the_kernel() {
    let Some(cell) = Cell::new(&probe::script("/probe")) else { return };
    let calls = calls();
    let ours = in_step(cell, &calls);
    let named: BTreeSet<String> = rules()
        .iter()
        .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
        .flat_map(|rule| rule["names"].as_array().expect("names").clone())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    for way in [Way::X86_64, Way::I386] {
        let Some(numbers) = numbers(way) else { return };
        let allowed: BTreeMap<u32, &String> =
            numbers.iter().filter(|(name, _)| named.contains(*name)).map(|(name, number)| (*number, name)).collect();
        // The kernel lets its own calls for probes past every filter (`uretprobe`, `uprobe`).
        for number in (0..KNOWN.start).filter(|number| way == Way::I386 || ![335, 336].contains(number)) {
            let Some(answer) = ours.get(&Call::nonsense(way, number).name()) else { continue };
            match allowed.get(&number) {
                None if numbers.get("clone3") == Some(&number) => assert_eq!(*answer, ENOSYS),
                None => assert_eq!(*answer, EPERM, "{way:?} {number}"),
                // All namespaces at once.
                Some(name) if *name == "clone" => assert_eq!(*answer, EPERM),
                // In 32 bits -1 is an address like any other, and the answer; and groups are refused to a single id.
                Some(name) if ["brk", "setgroups", "setgroups32"].contains(&name.as_str()) => {}
                Some(name) => assert_ne!(*answer, EPERM, "{way:?} {name}"),
            }
        }
        for number in KNOWN.end..480 {
            assert_eq!(ours[&Call::nonsense(way, number).name()], ENOSYS, "{way:?} {number}");
        }
    }
}

#[test]
fn arguments_decide_about_namespaces_families_personalities_and_terminals() {
    const HIGH: u64 = 1 << 32;
    let Some(cell) = Cell::new(&probe::script("/probe")) else { return };
    let mut calls = Vec::new();
    let mut wanted = BTreeMap::new();
    let mut want = |call: Call, refused: bool| {
        calls.push(call);
        wanted.insert(call.name(), refused);
    };
    for (way, [clone, ioctl, personality, socket]) in
        [(Way::X86_64, [56, 16, 135, 41]), (Way::I386, [120, 54, 136, 359])]
    {
        let one = |number, first: &[u64]| Call::new(way, number, first);
        want(one(clone, &[SIGCHLD]), false);
        for flag in [0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000] {
            want(one(clone, &[flag | SIGCHLD]), true);
        }
        for (request, refused) in [(0x5412, true), (0x541c, true), (0x5413, false), (HIGH | 0x5412, true)] {
            want(one(ioctl, &[0, request]), refused);
        }
        for (persona, refused) in [(0, false), (8, false), (0x2_0008, false), (0xffff_ffff, false), (0x4_0000, true)] {
            want(one(personality, &[persona]), refused);
        }
        for (family, refused) in [(1, false), (38, true), (40, true), (HIGH + 38, true)] {
            want(one(socket, &[family, 1]), refused);
        }
    }
    for (name, answer) in in_step(cell, &calls) {
        assert_eq!(answer == EPERM, wanted[&name], "{name}: {answer}");
    }
}

#[test]
fn the_numbers_of_x32_are_refused() {
    let calls: Vec<Call> = [0, 39, 165, 520].map(|number| Call::new(Way::X86_64, number | 1 << 30, &[])).to_vec();
    let Some(cell) = Cell::new(&probe::script("/probe")) else { return };
    assert!(in_step(cell, &calls).into_values().all(|answer| answer == ENOSYS));
}

#[test]
fn an_insecure_step_obeys_no_filter_and_any_other_does() {
    let Some(cell) = Cell::new("grep ^Seccomp: /proc/self/status") else { return };
    assert_eq!(cell.output(), "Seccomp:\t2");
    let cell = cell.with(|step| step.security = Security::Insecure);
    assert_eq!(cell.output(), "Seccomp:\t0");
}
