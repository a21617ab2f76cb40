//! Which way of running steps would be taken.

use super::facts::Facts;
use super::{Finding, State};
use crate::sandbox::Chroot;

/// Adds what would be taken; where that needs no namespaces, what keeps them away stops no build.
pub(super) fn judge(facts: &Facts, findings: &mut Vec<Finding>) {
    let Ok(trials) = &facts.trials else { return };
    if trials.can_run() {
        findings.push(row(State::Ok, "user namespaces", Vec::new()));
        return;
    }
    match &trials.chroot {
        Chroot::Untried => {}
        Chroot::Refused(reason) => findings.push(row(
            State::Missing,
            &format!("none: a changed root needs what is not here either: {reason}"),
            vec!["in a container without user namespaces: run as root, with the default capabilities".to_owned()],
        )),
        Chroot::Works => {
            for finding in findings.iter_mut().filter(|finding| is_about_namespaces(finding)) {
                if finding.state == State::Missing {
                    finding.state = State::Degraded;
                }
                finding.needed = false;
            }
            let detail = "a changed root, without namespaces: see docs/isolation.md for what steps share then";
            findings.push(row(State::Degraded, detail, vec!["what gives user namespaces, see above".to_owned()]));
        }
    }
}

fn row(state: State, detail: &str, mend: Vec<String>) -> Finding {
    Finding { name: "isolation", state, needed: false, detail: detail.to_owned(), mend }
}

/// Namespaces and the switches below them.
fn is_about_namespaces(finding: &Finding) -> bool {
    finding.name == "user namespaces" || finding.name.starts_with("  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Trials;

    /// What is found with these trials, and whether a build can run.
    fn taken(trials: Trials) -> (Vec<Finding>, bool) {
        let needed = |name, state| Finding { name, state, needed: true, detail: String::new(), mend: Vec::new() };
        let state = if trials.can_run() { State::Ok } else { State::Missing };
        let mut findings = vec![needed("user namespaces", state), needed("  user.max_user_namespaces", state)];
        judge(&Facts { trials: Ok(trials), ..crate::cli::doctor::facts::good() }, &mut findings);
        let builds = crate::cli::doctor::can_build(&findings);
        (findings, builds)
    }

    #[test]
    fn a_changed_root_makes_namespaces_a_comfort() {
        let refused = || Trials { namespaces: Some("forbidden".to_owned()), ..Trials::default() };
        let (findings, builds) = taken(Trials { chroot: Chroot::Works, ..refused() });
        assert!(builds && findings.iter().all(|finding| finding.state == State::Degraded), "{findings:?}");
        let (findings, builds) = taken(Trials { chroot: Chroot::Refused("only root can".to_owned()), ..refused() });
        assert!(!builds && findings.last().is_some_and(|last| last.detail.contains("only root can")));
        assert!(!taken(refused()).1);
    }

    #[test]
    fn with_namespaces_nothing_else_is_asked() {
        let (findings, builds) = taken(Trials::default());
        assert!(builds && findings.last().is_some_and(|last| last.state == State::Ok));
    }
}
