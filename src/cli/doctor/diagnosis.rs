//! Judging facts. Pure, so that every machine can be tried in a test.

use std::path::Path;

use serde::Serialize;

use crate::cli::progress::bytes;
use crate::sandbox::Trials;
use crate::sys::{CgroupVersion, Facts as Machine};

use super::facts::{Disk, Facts, Memory, MirrorAnswer};
use super::rung;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// A build runs, less well.
    Degraded,
    /// Not there.
    Missing,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub state: State,
    /// Whether no build runs without it.
    pub needed: bool,
    /// What was found.
    pub detail: String,
    /// The commands that mend it, or what to do, one a line.
    pub mend: Vec<String>,
}

/// Kernel from which on an overlay can be mounted in a user namespace (`overlayfs.rst`, `userxattr`).
const OVERLAY: (u32, u32) = (5, 11);
/// Oldest kernel that a build runs on: `openat2(2)`.
const OLDEST: (u32, u32) = (5, 6);
/// Room for one build with everything that it unpacks.
const ROOM: u64 = 5_000_000_000;
/// Room below which a build does not end.
const LEAST_ROOM: u64 = 2_000_000_000;
/// Memory with which one compiler a core does not swap, for two cores.
const MEMORY: u64 = 1_500_000_000;

/// Judges all facts, the most decisive first.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let works = facts.trials.as_ref().is_ok_and(Trials::can_run);
    let mut findings = vec![kernel(&facts.machine.kernel), namespaces(facts)];
    findings.extend(switches(&facts.machine, works));
    rung::judge(facts, &mut findings);
    findings.extend([
        overlay(facts.trials.as_ref().ok()),
        id_range(&facts.machine),
        thirty_two_bits(&facts.thirty_two_bits),
        cgroup(facts.machine.cgroups, facts.cgroup.as_deref()),
        disk(&facts.disk),
        memory(facts.memory),
        finding("processors", State::Ok, facts.cores.to_string()),
        mirror(facts.mirror.as_ref()),
        proxies(&facts.proxies),
        terminal(facts.terminal),
    ]);
    findings
}

/// Whether a build can run.
pub fn can_build(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.needed && finding.state == State::Missing)
}

fn finding(name: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding { name, state, needed: false, detail: detail.into(), mend: Vec::new() }
}

impl Finding {
    fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    fn mend(mut self, command: impl Into<String>) -> Self {
        self.mend.push(command.into());
        self
    }
}

/// Reads `major.minor` off a kernel release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel(release: &str) -> Finding {
    match version(release) {
        None => finding("kernel", State::Degraded, format!("{release}: not a version that we understand")),
        Some(version) if version < OLDEST => {
            finding("kernel", State::Missing, format!("{release}, older than {}.{}", OLDEST.0, OLDEST.1))
                .needed()
                .mend("install a newer kernel")
        }
        Some(version) if version < OVERLAY => finding(
            "kernel",
            State::Degraded,
            format!("{release}; from {}.{} on steps need no copy of their root", OVERLAY.0, OVERLAY.1),
        ),
        Some(_) => finding("kernel", State::Ok, release),
    }
}

fn namespaces(facts: &Facts) -> Finding {
    const NAME: &str = "user namespaces";
    let trials = match &facts.trials {
        Ok(trials) => trials,
        Err(reason) => return finding(NAME, State::Missing, format!("could not be tried: {reason}")).needed(),
    };
    let Some(reason) = &trials.namespaces else {
        return inside(NAME, trials);
    };
    let missing = finding(NAME, State::Missing, reason.clone()).needed();
    let machine = &facts.machine;
    if switches(machine, false).iter().any(|switch| switch.state == State::Missing) {
        // The switch that is off has its own row and its own command.
        return missing;
    }
    if machine.apparmor_restricts == Some(true) {
        return missing.mend(profile(facts.program.as_deref()));
    }
    if machine.seccomp_filtered {
        return missing
            .mend(
                "in a container: start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`",
            )
            .mend("in Kubernetes: set `securityContext.seccompProfile.type: Unconfined`");
    }
    missing.mend("a security module forbids them; ask `dmesg` and whoever looks after this machine")
}

/// Judges what a step mounts in namespaces that it has got.
fn inside(name: &'static str, trials: &Trials) -> Finding {
    match trials.tmpfs.as_ref().or(trials.proc.as_ref()) {
        None => finding(name, State::Ok, "a step gets its own, tried").needed(),
        Some(reason) => finding(name, State::Missing, reason.clone()).needed().mend(
            "in a container: start it with `--security-opt systempaths=unconfined --security-opt apparmor=unconfined`",
        ),
    }
}

/// An AppArmor profile that lets this program make user namespaces, as one command.
fn profile(program: Option<&Path>) -> String {
    let path = program.and_then(Path::to_str).filter(|path| {
        path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+'))
    });
    let Some(path) = path else {
        return "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".to_owned();
    };
    format!(
        "printf 'abi <abi/4.0>,\\nprofile dockless {path} flags=(unconfined) {{\\n  userns,\\n}}\\n' \
         | sudo tee /etc/apparmor.d/dockless && sudo apparmor_parser -r /etc/apparmor.d/dockless"
    )
}

/// The kernel's switches that are there; one that is off is no fault where namespaces work all the same.
fn switches(machine: &Machine, works: bool) -> Vec<Finding> {
    let privileged = machine.uid == 0;
    let off = |forbidden: bool| match (forbidden, works) {
        (false, _) => State::Ok,
        (true, true) => State::Degraded,
        (true, false) => State::Missing,
    };
    let mut found = Vec::new();
    if let Some(most) = machine.max_user_namespaces {
        let state = off(most == 0);
        let row = finding("  user.max_user_namespaces", state, most.to_string());
        found.push(if state == State::Missing {
            row.needed().mend(sysctl("user.max_user_namespaces=15000"))
        } else {
            row
        });
    }
    if let Some(allowed) = machine.unprivileged_userns_clone {
        let state = off(!allowed && !privileged);
        let row = finding("  kernel.unprivileged_userns_clone", state, u8::from(allowed).to_string());
        let mend = || sysctl("kernel.unprivileged_userns_clone=1");
        found.push(if state == State::Missing { row.needed().mend(mend()) } else { row });
    }
    if let Some(restricts) = machine.apparmor_restricts {
        let (state, detail) = match (restricts && !privileged, works) {
            (false, _) => (State::Ok, "does not restrict user namespaces"),
            (true, true) => (State::Ok, "restricts user namespaces, and lets this program through"),
            (true, false) => (State::Degraded, "restricts user namespaces to programs with a profile"),
        };
        found.push(finding("  AppArmor", state, detail));
    }
    found
}

/// Turns a switch now and on every start.
fn sysctl(setting: &str) -> String {
    format!("echo {setting} | sudo tee /etc/sysctl.d/60-dockless.conf && sudo sysctl -p /etc/sysctl.d/60-dockless.conf")
}

fn overlay(trials: Option<&Trials>) -> Finding {
    const NAME: &str = "overlay";
    match trials {
        Some(Trials { namespaces: None, overlay: None, .. }) => {
            finding(NAME, State::Ok, "mounts in a user namespace, tried")
        }
        Some(Trials { namespaces: None, overlay: Some(reason), .. }) => {
            finding(NAME, State::Degraded, format!("{reason}: every step copies its root"))
        }
        _ => finding(NAME, State::Degraded, "not tried without user namespaces"),
    }
}

fn id_range(machine: &Machine) -> Finding {
    const NAME: &str = "range of ids";
    if machine.uid == 0 {
        return finding(NAME, State::Ok, "root has all ids");
    }
    let tools = machine.newuidmap.is_some() && machine.newgidmap.is_some();
    match (tools, machine.subuid.zip(machine.subgid)) {
        (true, Some(((first, number), _))) => finding(NAME, State::Ok, format!("{number} from {first} on, newuidmap")),
        (tools, range) => {
            let mut row =
                finding(NAME, State::Degraded, "one id only: enough for our recipes; chown to others fails in steps");
            if !tools {
                row = row.mend("sudo apt-get install uidmap");
            }
            if range.is_none() {
                let user = machine.user.as_deref().unwrap_or("\"$(id -un)\"");
                let ids = "100000-165535";
                row = row.mend(format!("sudo usermod --add-subuids {ids} --add-subgids {ids} {user}"));
            }
            row
        }
    }
}

fn thirty_two_bits(executed: &Result<(), String>) -> Finding {
    const NAME: &str = "32-bit programs";
    match executed {
        Ok(()) => finding(NAME, State::Ok, "run, tried"),
        Err(reason) => finding(NAME, State::Degraded, format!("do not run ({reason}): nothing can be built for x86"))
            .mend("boot a kernel with CONFIG_IA32_EMULATION, without `ia32_emulation=false`"),
    }
}

fn cgroup(version: CgroupVersion, own: Option<&Path>) -> Finding {
    let version = match version {
        CgroupVersion::Absent => "none",
        CgroupVersion::V1 => "version 1",
        CgroupVersion::Hybrid => "versions 1 and 2",
        CgroupVersion::V2 => "version 2",
    };
    // Nothing depends on a group of our own, so its absence is no fault.
    let own = own.map_or_else(|| "no group of our own, none needed".to_owned(), |path| path.display().to_string());
    finding("control groups", State::Ok, format!("{version}; {own}"))
}

fn disk(disk: &Result<Disk, String>) -> Finding {
    const NAME: &str = "room for the store";
    let disk = match disk {
        Ok(disk) => disk,
        Err(reason) => {
            return finding(NAME, State::Missing, reason.clone())
                .needed()
                .mend("choose another place with --store DIR");
        }
    };
    let store = disk.store.display();
    if !disk.writable {
        return finding(NAME, State::Missing, format!("`{store}` cannot be written to"))
            .needed()
            .mend("choose another place with --store DIR");
    }
    let words = format!("{} free for `{store}`", bytes(disk.free));
    match disk.free {
        free if free < LEAST_ROOM => {
            finding(NAME, State::Missing, format!("{words}, {} are needed", bytes(LEAST_ROOM)))
                .needed()
                .mend("make room, or choose another place with --store DIR")
        }
        free if free < ROOM => {
            finding(NAME, State::Degraded, format!("{words}; a whole release takes {}", bytes(ROOM)))
                .mend("make room, or choose another place with --store DIR")
        }
        _ => finding(NAME, State::Ok, words),
    }
}

fn memory(memory: Option<Memory>) -> Finding {
    const NAME: &str = "memory";
    let Some(memory) = memory else { return finding(NAME, State::Degraded, "the kernel does not tell") };
    let words = format!("{} of {} available", bytes(memory.available), bytes(memory.total));
    if memory.available < MEMORY {
        return finding(NAME, State::Degraded, words).mend("build with --jobs 1");
    }
    finding(NAME, State::Ok, words)
}

fn mirror(mirror: Option<&(String, MirrorAnswer)>) -> Finding {
    const NAME: &str = "Debian mirror";
    match mirror {
        Some((url, MirrorAnswer::Reached(time))) => {
            finding(NAME, State::Ok, format!("{url} answers in {} ms", time.as_millis()))
        }
        // A build whose files are in the store or in --source-dir needs no mirror.
        Some((url, MirrorAnswer::Failed(reason))) => finding(NAME, State::Degraded, format!("{url}: {reason}"))
            .mend("name another with --debian-mirror URL, set http_proxy, or give the files with --source-dir DIR"),
        None => finding(NAME, State::Degraded, "apt is configured with none")
            .mend("name one with --debian-mirror URL, or give the files with --source-dir DIR"),
    }
}

fn proxies(proxies: &[(String, String)]) -> Finding {
    let words: Vec<String> = proxies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    finding("proxy", State::Ok, if words.is_empty() { "none".to_owned() } else { words.join(" ") })
}

fn terminal(columns: Option<u16>) -> Finding {
    let words =
        columns.map_or_else(|| "none: progress is plain lines".to_owned(), |columns| format!("{columns} columns"));
    finding("terminal", State::Ok, words)
}

#[cfg(test)]
pub(super) use tests::good;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    pub(in super::super) fn good() -> Facts {
        Facts {
            machine: Machine {
                kernel: "6.1.0-18-amd64".to_owned(),
                uid: 1000,
                gid: 1000,
                user: Some("ada".to_owned()),
                max_user_namespaces: Some(63_000),
                unprivileged_userns_clone: Some(true),
                apparmor_restricts: Some(false),
                newuidmap: Some(PathBuf::from("/usr/bin/newuidmap")),
                newgidmap: Some(PathBuf::from("/usr/bin/newgidmap")),
                subuid: Some((100_000, 65_536)),
                subgid: Some((100_000, 65_536)),
                cgroups: CgroupVersion::V2,
                overlay_listed: true,
                seccomp_filtered: false,
            },
            trials: Ok(Trials::default()),
            thirty_two_bits: Ok(()),
            cgroup: None,
            disk: Ok(Disk { store: PathBuf::from("/home/ada/store"), free: 80_000_000_000, writable: true }),
            memory: Some(Memory { total: 8_000_000_000, available: 4_000_000_000 }),
            cores: 2,
            mirror: Some(("http://mirror.example/debian".to_owned(), MirrorAnswer::Reached(Duration::from_millis(12)))),
            proxies: Vec::new(),
            terminal: Some(80),
            program: Some(PathBuf::from("/home/ada/dockless/target/release/dockless")),
        }
    }

    fn refused() -> Facts {
        Facts { trials: Ok(Trials { namespaces: Some("not permitted".to_owned()), ..Trials::default() }), ..good() }
    }

    /// Commands of everything that is not as it should be.
    fn mends(facts: &Facts) -> Vec<String> {
        diagnose(facts).into_iter().filter(|f| f.state != State::Ok).flat_map(|f| f.mend).collect()
    }

    #[test]
    fn a_good_machine_can_build_and_needs_nothing() {
        let findings = diagnose(&good());
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:#?}");
        assert!(can_build(&findings));
    }

    #[test]
    fn each_reason_for_refused_namespaces_has_its_own_way_out() {
        type Change = fn(&mut Facts);
        let cases: [(Change, &str); 6] = [
            (|f| f.machine.max_user_namespaces = Some(0), "user.max_user_namespaces=15000"),
            (|f| f.machine.unprivileged_userns_clone = Some(false), "kernel.unprivileged_userns_clone=1"),
            (
                |f| f.machine.apparmor_restricts = Some(true),
                "profile dockless /home/ada/dockless/target/release/dockless ",
            ),
            (
                |f| {
                    f.machine.apparmor_restricts = Some(true);
                    f.program = Some(PathBuf::from("/home/ada/my dir/$(x)/dockless"));
                },
                "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (|f| f.machine.seccomp_filtered = true, "--security-opt seccomp=unconfined"),
            (|_| (), "dmesg"),
        ];
        for (change, command) in cases {
            let mut facts = refused();
            change(&mut facts);
            assert!(!can_build(&diagnose(&facts)), "{command}");
            let mends = mends(&facts);
            assert!(mends[0].contains(command), "{command}: {mends:#?}");
        }
    }

    #[test]
    fn what_was_tried_outweighs_what_switches_say() {
        let mut facts = good();
        facts.machine.apparmor_restricts = Some(true);
        facts.machine.unprivileged_userns_clone = Some(false);
        assert!(can_build(&diagnose(&facts)));
        assert!(mends(&facts).is_empty());
    }

    #[test]
    fn a_machine_that_cannot_be_tried_cannot_build() {
        let trials = [Err("gone".to_owned()), Ok(Trials { proc: Some("masked".to_owned()), ..Trials::default() })];
        for trials in trials {
            assert!(!can_build(&diagnose(&Facts { trials, ..good() })));
        }
    }

    #[test]
    fn comforts_that_are_missing_do_not_stop_a_build() {
        let mut facts = good();
        (facts.machine.newuidmap, facts.machine.subuid) = (None, None);
        facts.trials = Ok(Trials { overlay: Some("no device".to_owned()), ..Trials::default() });
        facts.memory = Some(Memory { total: 1_000_000_000, available: 500_000_000 });
        facts.mirror = None;
        facts.thirty_two_bits = Err("exec format error".to_owned());
        let findings = diagnose(&facts);
        assert!(can_build(&findings));
        assert!(
            mends(&facts)
                .contains(&"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada".to_owned())
        );
        assert_eq!(findings.iter().filter(|finding| finding.state == State::Degraded).count(), 5);
    }

    #[test]
    fn a_full_or_closed_disk_and_an_old_kernel_stop_it() {
        let disk = |free, writable| Ok(Disk { store: PathBuf::from("/s"), free, writable });
        let cases: [fn(&mut Facts); 3] =
            [|f| f.machine.kernel = "4.19.0".to_owned(), |f| f.disk = Err("gone".to_owned()), |_| ()];
        for (at, change) in cases.into_iter().enumerate() {
            let mut facts = good();
            change(&mut facts);
            assert_eq!(can_build(&diagnose(&facts)), at == 2);
        }
        for (free, writable, builds) in
            [(1_000_000, true, false), (3_000_000_000, true, true), (u64::MAX, false, false)]
        {
            assert_eq!(can_build(&diagnose(&Facts { disk: disk(free, writable), ..good() })), builds, "{free}");
        }
    }

    #[test]
    fn kernel_releases_are_read_as_distributions_write_them() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("rolling"), None);
    }
}
