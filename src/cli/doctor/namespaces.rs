//! Whether a step gets its namespaces, and what forbids them.

use std::path::Path;

use super::container::allow;
use super::facts::Facts;
use super::finding::{Finding, State, finding};
use crate::sandbox::Trials;
use crate::sys::Facts as Machine;

/// Judges what was tried, then the kernel's switches.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let works = facts.trials.as_ref().is_ok_and(Trials::can_run);
    let mut findings = vec![namespaces(facts)];
    findings.extend(switches(&facts.machine, works));
    findings
}

fn namespaces(facts: &Facts) -> Finding {
    const NAME: &str = "user namespaces";
    let trials = match &facts.trials {
        Ok(trials) => trials,
        Err(reason) => return finding(NAME, State::Missing, format!("could not be tried: {reason}")).needed(),
    };
    let machine = &facts.machine;
    let restricted = machine.apparmor_restricts == Some(true) && machine.uid != 0;
    let Some(reason) = &trials.namespaces else {
        let Some(reason) = trials.tmpfs.as_ref().or(trials.proc.as_ref()) else {
            return finding(NAME, State::Ok, "a step gets its own, tried").needed();
        };
        let missing = finding(NAME, State::Missing, reason.clone()).needed();
        // Ubuntu lets everybody have one, and then nothing be done in it.
        return if restricted { apparmor(missing, facts) } else { Finding { mend: allow(facts.container), ..missing } };
    };
    let missing = finding(NAME, State::Missing, reason.clone()).needed();
    if switches(machine, false).iter().any(|switch| switch.state == State::Missing) {
        // The switch that is off has its own row and its own command.
        missing
    } else if restricted {
        apparmor(missing, facts)
    } else if !facts.maps_root && !machine.seccomp_filtered {
        missing
            .mend("docker run --cap-add SETFCAP …, or as another user than root: docker run --user 1000 …")
            .mend("in the container of the pod: securityContext: {capabilities: {add: [SETFCAP]}}")
    } else if machine.seccomp_filtered {
        Finding { mend: allow(facts.container), ..missing }
    } else {
        missing.mend("a security module forbids them; ask `dmesg` and whoever looks after this machine")
    }
}

/// A profile for this program, or the switch for all of them.
fn apparmor(missing: Finding, facts: &Facts) -> Finding {
    let missing = match profile(facts.program.as_deref()) {
        Some(command) => missing.mend(command),
        None => missing,
    };
    missing.mend(sysctl("kernel.apparmor_restrict_unprivileged_userns=0"))
}

/// An AppArmor profile that lets this program make user namespaces, as one command.
fn profile(program: Option<&Path>) -> Option<String> {
    let path = program.and_then(Path::to_str).filter(|path| {
        path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'+'))
    })?;
    Some(format!(
        "printf 'abi <abi/4.0>,\\nprofile dockless {path} flags=(unconfined) {{\\n  userns,\\n}}\\n' \
         | sudo tee /etc/apparmor.d/dockless && sudo apparmor_parser -r /etc/apparmor.d/dockless"
    ))
}

/// The kernel's switches that are there; one that is off is no fault where namespaces work all the same.
fn switches(machine: &Machine, works: bool) -> Vec<Finding> {
    let privileged = machine.uid == 0;
    let off = |forbidden: bool| match (forbidden, works) {
        (false, _) => State::Ok,
        (true, true) => State::Degraded,
        (true, false) => State::Missing,
    };
    let row = |name, state, detail: String, setting| {
        let row = finding(name, state, detail);
        if state == State::Missing { row.needed().mend(sysctl(setting)) } else { row }
    };
    let mut found = Vec::new();
    if let Some(most) = machine.max_user_namespaces {
        let name = "  user.max_user_namespaces";
        found.push(row(name, off(most == 0), most.to_string(), "user.max_user_namespaces=15000"));
    }
    if let Some(allowed) = machine.unprivileged_userns_clone {
        let name = "  kernel.unprivileged_userns_clone";
        let state = off(!allowed && !privileged);
        found.push(row(name, state, u8::from(allowed).to_string(), "kernel.unprivileged_userns_clone=1"));
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::container::Container;
    use super::super::facts::good;
    use super::*;

    fn refused() -> Facts {
        Facts { trials: Ok(Trials { namespaces: Some("not permitted".to_owned()), ..Trials::default() }), ..good() }
    }

    /// Commands of everything that is not as it should be.
    fn mends(facts: &Facts) -> Vec<String> {
        judge(facts).into_iter().filter(|f| f.state != State::Ok).flat_map(|f| f.mend).collect()
    }

    #[test]
    fn each_reason_for_refused_namespaces_has_its_own_way_out() {
        type Change = fn(&mut Facts);
        let cases: [(Change, &str); 9] = [
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
                "echo kernel.apparmor_restrict_unprivileged_userns=0",
            ),
            (
                |f| {
                    f.machine.apparmor_restricts = Some(true);
                    f.trials = Ok(Trials { tmpfs: Some("denied".to_owned()), ..Trials::default() });
                },
                "profile dockless ",
            ),
            (|f| f.machine.seccomp_filtered = true, "docker run --security-opt seccomp=unconfined"),
            (
                |f| {
                    f.machine.seccomp_filtered = true;
                    f.container = Some(Container::Kubernetes);
                },
                "seccompProfile: {type: Unconfined}",
            ),
            (|f| f.maps_root = false, "--cap-add SETFCAP"),
            (|_| (), "dmesg"),
        ];
        for (change, command) in cases {
            let mut facts = refused();
            change(&mut facts);
            assert!(judge(&facts).iter().any(|f| f.needed && f.state == State::Missing), "{command}");
            let mends = mends(&facts);
            assert!(mends[0].contains(command), "{command}: {mends:#?}");
        }
    }

    #[test]
    fn a_masked_proc_is_the_containers_to_unmask() {
        let trials = Trials { proc: Some("not permitted".to_owned()), ..Trials::default() };
        for (container, word) in [
            (Some(Container::Docker), "systempaths=unconfined"),
            (Some(Container::Podman), "unmask=ALL"),
            (Some(Container::Kubernetes), "procMount: Unmasked"),
            (Some(Container::GitLab), "security_opt"),
        ] {
            let facts = Facts { trials: Ok(trials.clone()), container, ..good() };
            assert!(mends(&facts).iter().any(|line| line.contains(word)), "{word}");
        }
    }

    #[test]
    fn what_was_tried_outweighs_what_switches_say() {
        let mut facts = good();
        facts.machine.apparmor_restricts = Some(true);
        facts.machine.unprivileged_userns_clone = Some(false);
        assert!(mends(&facts).is_empty());
    }
}
