//! Judging facts. Pure, so that every machine can be tried in a test.

use super::facts::{Answer, Facts, Memory};
use super::finding::{Finding, State, finding};
use super::{groups, ids, kernel, namespaces, place, reach, rung};
use crate::cli::progress::bytes;

/// Kernel from which on an overlay can be mounted in a user namespace (`overlayfs.rst`, `userxattr`).
const OVERLAY: (u32, u32) = (5, 11);
/// Oldest kernel that a build runs on: `openat2(2)`.
const OLDEST: (u32, u32) = (5, 6);
/// Memory with which one compiler a core does not swap, for two cores.
const MEMORY: u64 = 1_500_000_000;

/// Judges all facts, the most decisive first.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![release(&facts.machine.kernel)];
    findings.extend(namespaces::judge(facts));
    rung::judge(facts, &mut findings);
    findings.push(ids::judge(facts));
    findings.push(thirty_two_bits(&facts.thirty_two_bits));
    findings.extend(place::judge(facts));
    findings.extend([
        memory(facts.memory),
        finding("processors", State::Ok, facts.cores.to_string()),
        groups::judge(facts),
    ]);
    findings.extend(kernel::judge(facts));
    findings.push(mirror(facts));
    findings.extend(reach::judge(facts));
    findings.extend([proxies(&facts.proxies), terminal(facts.terminal)]);
    findings
}

/// Whether a build can run.
pub fn can_build(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.needed && finding.state == State::Missing)
}

/// Tells whether a kernel has no overlay in user namespaces.
pub(super) fn is_before_overlay(release: &str) -> bool {
    version(release).is_some_and(|version| version < OVERLAY)
}

/// Reads `major.minor` off a kernel release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn release(release: &str) -> Finding {
    match version(release) {
        None => finding("kernel", State::Degraded, format!("{release}: not a version that we understand"))
            .mend("build and see"),
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

fn thirty_two_bits(executed: &Result<(), String>) -> Finding {
    const NAME: &str = "32-bit programs";
    match executed {
        Ok(()) => finding(NAME, State::Ok, "run, tried"),
        Err(reason) => finding(NAME, State::Degraded, format!("do not run ({reason}): nothing can be built for x86"))
            .mend("boot a kernel with CONFIG_IA32_EMULATION, without `ia32_emulation=false`"),
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

fn mirror(facts: &Facts) -> Finding {
    const NAME: &str = "Debian mirror";
    match &facts.mirror {
        None if facts.registries.is_none() => finding(NAME, State::Ok, "not asked: --offline"),
        Some((url, Answer::Reached(time))) => {
            finding(NAME, State::Ok, format!("{url} answers in {} ms", time.as_millis()))
        }
        // A build whose files are in the store or in --source-dir needs no mirror.
        Some((url, Answer::Failed(reason))) => finding(NAME, State::Degraded, format!("{url}: {reason}"))
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
mod tests {
    use super::super::facts::good;
    use super::*;
    use crate::sandbox::Trials;

    #[test]
    fn a_good_machine_can_build_and_needs_nothing() {
        let findings = diagnose(&good());
        assert!(findings.iter().all(|finding| finding.state == State::Ok), "{findings:#?}");
        assert!(can_build(&findings));
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
        facts.ids.tools[0].path = None;
        facts.trials = Ok(Trials { overlay: Some("no device".to_owned()), ..Trials::default() });
        facts.memory = Some(Memory { total: 1_000_000_000, available: 500_000_000 });
        facts.mirror = None;
        facts.registries = Some(vec![("https://one/v2/".to_owned(), Answer::Failed("refused".to_owned()))]);
        facts.thirty_two_bits = Err("exec format error".to_owned());
        let findings = diagnose(&facts);
        assert!(can_build(&findings));
        assert_eq!(findings.iter().filter(|finding| finding.state == State::Degraded).count(), 6);
        // A fault of which nobody says what to do is half a diagnosis; overlay of an unknown kind has none.
        let mute = |found: &&Finding| found.state != State::Ok && found.mend.is_empty() && found.name != "overlay";
        assert_eq!(findings.iter().find(mute), None);
    }

    #[test]
    fn an_old_kernel_stops_it() {
        for (release, state) in [
            ("4.19.0", State::Missing),
            ("5.10.0-1-amd64", State::Degraded),
            ("6.1.0", State::Ok),
            ("rolling", State::Degraded),
        ] {
            let mut facts = good();
            facts.machine.kernel = release.to_owned();
            let findings = diagnose(&facts);
            assert_eq!((findings[0].state, can_build(&findings)), (state, state != State::Missing), "{release}");
        }
    }

    #[test]
    fn kernel_releases_are_read_as_distributions_write_them() {
        assert_eq!(version("6.18.44-fc-v669"), Some((6, 18)));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("rolling"), None);
    }
}
