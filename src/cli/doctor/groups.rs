//! Which limits steps can be given.

use std::collections::{BTreeMap, BTreeSet};

use super::facts::Facts;
use super::finding::{Finding, State, finding};
use crate::cgroup::{CgroupError, Controller, Lack};
use crate::sys::CgroupVersion;

/// What was found out by making and removing groups.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delegation {
    /// What steps can be limited in.
    pub controllers: BTreeSet<Controller>,
    /// Why not in the rest.
    pub lacks: BTreeMap<Controller, Lack>,
}

/// Judges it.
pub(super) fn judge(facts: &Facts) -> Finding {
    const NAME: &str = "control groups";
    let version = match facts.machine.cgroups {
        CgroupVersion::Absent => "none",
        CgroupVersion::V1 => "version 1",
        CgroupVersion::Hybrid => "versions 1 and 2",
        CgroupVersion::V2 => "version 2",
    };
    let Delegation { controllers, lacks } = &facts.delegation;
    let names = |list: &mut dyn Iterator<Item = &Controller>| list.map(|one| one.name()).collect::<Vec<_>>().join(", ");
    let have = names(&mut controllers.iter());
    if lacks.is_empty() {
        return finding(NAME, State::Ok, format!("{version}; steps can be limited in {have}"));
    }
    let not = names(&mut lacks.keys());
    let mut reasons: Vec<String> = Vec::new();
    let mut mends: Vec<&str> = Vec::new();
    for (controller, lack) in lacks {
        let error = CgroupError::Missing { controller: *controller, lack: *lack };
        let reason = error.to_string();
        let reason = reason.split_once(": ").map_or(reason.as_str(), |(_, reason)| reason).to_owned();
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        mends.extend(error.help().filter(|mend| !mends.contains(mend)));
    }
    let can = if have.is_empty() {
        "no step can be limited".to_owned()
    } else {
        format!("steps can be limited in {have}, not")
    };
    let words = format!("{version}; {can} in {not}: {}", reasons.join("; "));
    // Nothing runs worse for it unless a limit is wanted.
    let row = finding(NAME, State::Degraded, words);
    mends.into_iter().fold(row, Finding::mend)
}

#[cfg(test)]
mod tests {
    use super::super::facts::good;
    use super::*;

    #[test]
    fn what_is_not_delegated_comes_with_how_to_get_it() {
        for (lack, word) in [
            (Lack::Denied, "systemd-run --user --scope -p Delegate=yes dockless"),
            (Lack::Crowded, "systemd-run --user --scope"),
            (Lack::Withheld, "Delegate=cpu cpuset io memory pids"),
            (Lack::Legacy, "systemd.unified_cgroup_hierarchy=1"),
            (Lack::Absent, "version 2"),
        ] {
            let mut facts = good();
            facts.delegation.controllers.remove(&Controller::Cpu);
            facts.delegation.lacks.insert(Controller::Cpu, lack);
            let found = judge(&facts);
            assert!(found.state == State::Degraded && !found.needed, "{found:?}");
            assert!(found.detail.contains("memory, pids, not in cpu"), "{found:?}");
            assert!(found.mend[0].contains(word), "{found:?}");
        }
    }
}
