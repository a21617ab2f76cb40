//! The kernel: its age, what it offers, its clock, and how much of everything a process may have.

use std::time::{Duration, SystemTime};

use super::facts::Facts;
use super::finding::{Finding, State, finding};

/// What the kernel offers beyond namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offers {
    /// Filters may have a system call answered by another process (`seccomp_unotify(2)`).
    pub user_notification: bool,
    /// Version of Landlock.
    pub landlock: Option<u32>,
}

/// Most descriptors of a process (`RLIMIT_NOFILE`); `u64::MAX` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Descriptors {
    /// In force.
    pub soft: u64,
    /// Up to where it may be raised.
    pub hard: u64,
}

/// Seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// What the clock says.
    pub now: u64,
    /// When this program was written to its place, where its file tells.
    pub program: Option<u64>,
}

/// These sources were written after this second: 1 October 2026.
const SOURCES: u64 = 1_790_812_800;
/// Clocks of two machines are never quite one.
const SLACK: u64 = 24 * 60 * 60;

/// Descriptors with which many steps and downloads run at a time, and with which one runs.
const DESCRIPTORS: u64 = 1024;
const LEAST_DESCRIPTORS: u64 = 128;

/// Reads the clock; before 1970 is 0.
pub(super) fn clock() -> Clock {
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
    #[expect(clippy::disallowed_methods, reason = "whether the clock is right is the question")]
    let now = seconds(SystemTime::now());
    let program = std::fs::metadata("/proc/self/exe").and_then(|data| data.modified()).ok().map(seconds);
    Clock { now, program }
}

/// Reads the limit.
pub(super) fn descriptors() -> Descriptors {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    Descriptors { soft: limit.current.unwrap_or(u64::MAX), hard: limit.maximum.unwrap_or(u64::MAX) }
}

/// Judges them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    vec![
        offers(facts.offers.user_notification, facts.machine.seccomp_filtered),
        landlock(facts.offers.landlock),
        open_files(facts.descriptors),
        time(facts.clock),
    ]
}

/// What a step misses where nobody can answer for the kernel.
const WITHOUT: &str = "no step makes device nodes, and one that has one id cannot change owners";

fn offers(user_notification: bool, filtered: bool) -> Finding {
    const NAME: &str = "seccomp user notification";
    match (user_notification, filtered) {
        (true, _) => finding(NAME, State::Ok, "there"),
        (false, true) => {
            finding(NAME, State::Degraded, format!("refused by the filter that this process runs under: {WITHOUT}"))
                .mend("in a container: start it with `--security-opt seccomp=unconfined`")
        }
        (false, false) => finding(NAME, State::Degraded, format!("not in this kernel: {WITHOUT}"))
            .mend("install Linux 5.9 or newer, built with CONFIG_SECCOMP_FILTER"),
    }
}

fn landlock(version: Option<u32>) -> Finding {
    const NAME: &str = "Landlock";
    match version {
        Some(version) => finding(NAME, State::Ok, format!("version {version}")),
        // Nothing here needs it where there are namespaces.
        None => {
            finding(NAME, State::Ok, "not there (needs Linux 5.13 and `landlock` in the kernel's lsm=); not needed")
        }
    }
}

fn open_files(Descriptors { soft, hard }: Descriptors) -> Finding {
    const NAME: &str = "open files";
    let shown = |limit: u64| if limit == u64::MAX { "no limit".to_owned() } else { limit.to_string() };
    let words = format!("{} (at most {})", shown(soft), shown(hard));
    let mend = if hard >= DESCRIPTORS {
        format!("ulimit -n {DESCRIPTORS}")
    } else {
        format!(
            "as root: echo '* - nofile 65536' > /etc/security/limits.d/dockless.conf and log in anew; in a container: \
                 --ulimit nofile=65536 (now at most {hard})"
        )
    };
    match soft {
        soft if soft < LEAST_DESCRIPTORS => finding(NAME, State::Missing, words).needed().mend(mend),
        soft if soft < DESCRIPTORS => finding(NAME, State::Degraded, words).mend(mend),
        _ => finding(NAME, State::Ok, words),
    }
}

fn time(clock: Clock) -> Finding {
    const NAME: &str = "clock";
    let said = i64::try_from(clock.now).ok().and_then(|now| jiff::Timestamp::from_second(now).ok());
    let said = said.map_or_else(|| format!("{} s", clock.now), |said| said.to_string());
    let program = clock.program.filter(|program| clock.now + SLACK < *program);
    let behind = match (clock.now < SOURCES, program) {
        (true, _) => "these sources were written",
        (false, Some(_)) => "this program was made",
        (false, None) => return finding(NAME, State::Ok, said),
    };
    finding(NAME, State::Degraded, format!("{said}, before {behind}: certificates of servers are refused"))
        .mend("sudo timedatectl set-ntp true, or sudo date --set '2026-12-31 12:00' with the right time")
}

#[cfg(test)]
mod tests {
    use super::super::facts::good;
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_named() {
        let now = SOURCES + 10 * SLACK;
        for (now, program, word) in [
            (0, None, "1970-01-01T00:00:00Z, before these sources"),
            (now, Some(now + 2 * SLACK), "before this program"),
            (now, Some(now + 60), ""),
            (now, Some(now - 60), ""),
            (now, None, ""),
        ] {
            let found = time(Clock { now, program });
            assert_eq!(found.state == State::Ok, word.is_empty(), "{found:?}");
            assert!(found.detail.contains(word), "{found:?}");
        }
    }

    #[test]
    fn few_descriptors_are_raised_by_whoever_can() {
        let state = |soft, hard| {
            let found = open_files(Descriptors { soft, hard });
            (found.state, found.mend.first().cloned().unwrap_or_default())
        };
        assert_eq!(state(1024, 4096), (State::Ok, String::new()));
        assert_eq!(state(u64::MAX, u64::MAX).0, State::Ok);
        assert_eq!(state(256, 4096), (State::Degraded, "ulimit -n 1024".to_owned()));
        let (state, mend) = state(20, 20);
        assert!(state == State::Missing && mend.contains("--ulimit nofile=65536"), "{mend}");
    }

    #[test]
    fn what_the_kernel_does_not_offer_is_told() {
        let mut facts = good();
        facts.offers = Offers { user_notification: false, landlock: None };
        let said = |facts: &Facts| -> Vec<(State, String)> {
            judge(facts).into_iter().take(2).map(|found| (found.state, found.mend.join(" "))).collect()
        };
        let found = said(&facts);
        assert!(found[0].0 == State::Degraded && found[0].1.contains("5.9"), "{found:?}");
        assert_eq!(found[1].0, State::Ok);
        facts.machine.seccomp_filtered = true;
        assert!(said(&facts)[0].1.contains("seccomp=unconfined"));
    }
}
