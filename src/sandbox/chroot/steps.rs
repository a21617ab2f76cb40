//! Which acts of a plan are done how.

use std::path::{Path, PathBuf};

use rustix::thread::CapabilitySet;

use super::super::op::SetupOp;
use super::super::plan::plan;
use super::super::step::{Network, Step};

/// What the program may hold: what installing packages takes. Not `SYS_CHROOT`, by which a root is left; not `MKNOD`,
/// which makes devices of the machine; not `NET_RAW` and `SETPCAP`, whatever the graph asks for.
pub(super) const KEPT: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID);

/// What is done by copies and renames, before there is a guard.
pub(in crate::sandbox) fn assembled(step: &Step) -> Vec<SetupOp> {
    plan(step).into_iter().filter(|op| matches!(op, SetupOp::Root { .. }) || op.destination().is_some()).collect()
}

/// What the guard and the program do then.
pub(in crate::sandbox) fn programs(step: &Step, root: &Path) -> Vec<SetupOp> {
    let whole = plan(step);
    let mut writable: Vec<PathBuf> = whole.iter().filter_map(|op| writable(op).map(Path::to_owned)).collect();
    if !step.root_readonly {
        writable.push("/".into());
    }
    let mut ops = Vec::new();
    for op in whole {
        match op {
            SetupOp::User { .. } | SetupOp::MakeDirectory { .. } => ops.push(op),
            SetupOp::NewSession => ops.extend([SetupOp::ChangeRoot { path: root.to_owned() }, op]),
            // First of what forbids something: without privileges filters, too, want that it gives up new ones.
            SetupOp::Directory { .. } => ops.extend([op, SetupOp::Confine { writable: std::mem::take(&mut writable) }]),
            SetupOp::DropPrivileges { security, .. } => {
                ops.push(SetupOp::DropPrivileges { security, no_new_privileges: true });
                ops.push(SetupOp::EndWithGuard);
                if step.network == Network::None {
                    ops.push(SetupOp::ForbidSockets);
                }
            }
            _ if op.is_programs() => ops.push(op),
            _ => {}
        }
    }
    ops
}

/// The place where an act lets the program write.
fn writable(op: &SetupOp) -> Option<&Path> {
    match op {
        SetupOp::Mount { destination, readonly: false, .. } | SetupOp::Memory { destination, .. } => Some(destination),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Mount, StepMount};

    fn step() -> Step {
        let out = StepMount::new("/out", Mount::Bind { source: "/o".into(), readonly: false });
        let source = StepMount::new("/in", Mount::Bind { source: "/i".into(), readonly: true });
        let root = Mount::Bind { source: "/r".into(), readonly: true };
        Step { mounts: vec![out, source], ..Step::bare(root, vec!["/bin/true".to_owned()]) }
    }

    #[test]
    fn nothing_is_mounted_or_unshared() {
        let ops = programs(&step(), Path::new("/x"));
        assert!(
            ops.iter().all(|op| op.destination().is_none() && !matches!(op, SetupOp::Unshare { .. } | SetupOp::Pivot))
        );
        assert!(matches!(assembled(&step()).first(), Some(SetupOp::Root { .. })));
    }

    #[test]
    fn the_root_is_left_before_anything_of_the_step_is_looked_up_and_privileges_go_before_it_runs() {
        let ops = programs(&step(), Path::new("/x"));
        let at = |wanted: fn(&SetupOp) -> bool| ops.iter().position(wanted).expect("planned");
        let root = at(|op| matches!(op, SetupOp::ChangeRoot { .. }));
        assert!(ops[..root].iter().all(|op| !op.is_programs()) && ops[root..].iter().all(SetupOp::is_programs));
        let drop = at(|op| matches!(op, SetupOp::DropPrivileges { no_new_privileges: true, .. }));
        assert!(root < at(|op| matches!(op, SetupOp::Confine { .. })) && drop < at(|op| *op == SetupOp::ForbidSockets));
        assert!(
            !programs(&Step { network: Network::Host, ..step() }, Path::new("/x")).contains(&SetupOp::ForbidSockets)
        );
    }

    #[test]
    fn only_what_the_step_may_write_to_is_writable() {
        let writable = |step: &Step| {
            programs(step, Path::new("/x")).into_iter().find_map(|op| match op {
                SetupOp::Confine { writable } => Some(writable),
                _ => None,
            })
        };
        let bare = writable(&step()).expect("confined");
        assert_eq!(bare, ["/dev", "/dev/shm", "/out"].map(PathBuf::from));
        assert!(writable(&Step { root_readonly: false, ..step() }).expect("confined").contains(&PathBuf::from("/")));
    }
}
