//! Which system calls are looked at, and their numbers (`asm/unistd_64.h`, `asm/unistd_32.h`).

use super::creds::Of;
use crate::sys::{Action, Call, Condition, Filter, Rule, Table, Test};

/// A system call that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Chown,
    Lchown,
    Fchown,
    Fchownat,
    SetOne(Of),
    SetTwo(Of),
    SetThree(Of),
    SetFile(Of),
    SetGroups,
    GetReal(Of),
    GetEffective(Of),
    GetThree(Of),
    GetGroups,
    Stat,
    Lstat,
    Fstat,
    Fstatat,
    Statx,
    Open,
    Openat,
    Openat2,
    Creat,
    Mkdir,
    Mkdirat,
    Symlink,
    Symlinkat,
    Mknod,
    Mknodat,
    Execve,
    Execveat,
    Setxattr,
    Lsetxattr,
    Fsetxattr,
    /// `PR_SET_KEEPCAPS`.
    Prctl,
    Capset,
    /// Another root or other mounts than those of process 1.
    Elsewhere,
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) kind: Kind,
    /// A pointer has 32 bits, and structures are those of i386.
    pub(super) compat: bool,
    /// Ids have 16 bits.
    pub(super) short: bool,
}

/// No such call.
const NONE: u32 = u32::MAX;

/// Kind, and its numbers: x86-64, i386, and i386 with ids of 16 bits.
type Numbers = (Kind, u32, u32, u32);

const CALLS: [Numbers; 46] = [
    (Kind::Chown, 92, 212, 182),
    (Kind::Lchown, 94, 198, 16),
    (Kind::Fchown, 93, 207, 95),
    (Kind::Fchownat, 260, 298, NONE),
    (Kind::SetOne(Of::User), 105, 213, 23),
    (Kind::SetOne(Of::Group), 106, 214, 46),
    (Kind::SetTwo(Of::User), 113, 203, 70),
    (Kind::SetTwo(Of::Group), 114, 204, 71),
    (Kind::SetThree(Of::User), 117, 208, 164),
    (Kind::SetThree(Of::Group), 119, 210, 170),
    (Kind::SetFile(Of::User), 122, 215, 138),
    (Kind::SetFile(Of::Group), 123, 216, 139),
    (Kind::SetGroups, 116, 206, 81),
    (Kind::GetReal(Of::User), 102, 199, 24),
    (Kind::GetReal(Of::Group), 104, 200, 47),
    (Kind::GetEffective(Of::User), 107, 201, 49),
    (Kind::GetEffective(Of::Group), 108, 202, 50),
    (Kind::GetThree(Of::User), 118, 209, 165),
    (Kind::GetThree(Of::Group), 120, 211, 171),
    (Kind::GetGroups, 115, 205, 80),
    (Kind::Stat, 4, 195, NONE),
    (Kind::Lstat, 6, 196, NONE),
    (Kind::Fstat, 5, 197, NONE),
    (Kind::Fstatat, 262, 300, NONE),
    (Kind::Statx, 332, 383, NONE),
    (Kind::Open, 2, 5, NONE),
    (Kind::Openat, 257, 295, NONE),
    (Kind::Openat2, 437, 437, NONE),
    (Kind::Creat, 85, 8, NONE),
    (Kind::Mkdir, 83, 39, NONE),
    (Kind::Mkdirat, 258, 296, NONE),
    (Kind::Symlink, 88, 83, NONE),
    (Kind::Symlinkat, 266, 304, NONE),
    (Kind::Mknod, 133, 14, NONE),
    (Kind::Mknodat, 259, 297, NONE),
    (Kind::Execve, 59, 11, NONE),
    (Kind::Execveat, 322, 358, NONE),
    (Kind::Setxattr, 188, 226, NONE),
    (Kind::Lsetxattr, 189, 227, NONE),
    (Kind::Fsetxattr, 190, 228, NONE),
    (Kind::Prctl, 157, 172, NONE),
    (Kind::Capset, 126, 185, NONE),
    // chroot, pivot_root, unshare, setns.
    (Kind::Elsewhere, 161, 61, NONE),
    (Kind::Elsewhere, 155, 217, NONE),
    (Kind::Elsewhere, 272, 310, NONE),
    (Kind::Elsewhere, 308, 346, NONE),
];

// `linux/audit.h`.
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// Says what a call is; `None` for one that nobody asked for.
pub(super) fn meaning(call: &Call) -> Option<Meaning> {
    let is = |compat, short, number: u32| (number == call.number).then_some((compat, short));
    CALLS.iter().find_map(|(kind, native, wide, narrow)| {
        let found = match call.architecture {
            X86_64 => is(false, false, *native),
            I386 => is(true, false, *wide).or(is(true, true, *narrow)),
            _ => None,
        };
        found.map(|(compat, short)| Meaning { kind: *kind, compat, short })
    })
}

/// Which argument of a call that opens are its flags, so that only those that create are looked at.
fn flags_of(kind: Kind) -> Option<u8> {
    match kind {
        Kind::Open => Some(1),
        Kind::Openat => Some(2),
        _ => None,
    }
}

/// The filter that has these calls asked about.
pub(super) fn filter() -> Filter {
    let rules = |kind: Kind, number: u32| -> Vec<Rule> {
        if kind == Kind::Prctl {
            let condition = Condition::int(0, Test::Equal, libc::PR_SET_KEEPCAPS.cast_unsigned());
            return vec![Rule { number, conditions: vec![condition], action: Action::Notify }];
        }
        let Some(argument) = flags_of(kind) else { return vec![Rule::always(number, Action::Notify)] };
        [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY]
            .map(|bit| {
                let bit = bit.cast_unsigned();
                let condition = Condition { mask: bit.into(), ..Condition::int(argument, Test::Equal, bit) };
                Rule { number, conditions: vec![condition], action: Action::Notify }
            })
            .to_vec()
    };
    let table = |numbers: fn(&Numbers) -> [u32; 2]| {
        let all = CALLS.iter().flat_map(|call| numbers(call).map(|number| (call.0, number)));
        let rules = all.filter(|(_, number)| *number != NONE).flat_map(|(kind, number)| rules(kind, number)).collect();
        Table { rules, otherwise: Action::Allow, beyond: None }
    };
    Filter { x86_64: table(|call| [call.1, NONE]), i386: table(|call| [call.2, call.3]), foreign: Action::Allow }
}

/// The filter that has the making of devices asked about, and nothing else.
pub(super) fn devices() -> Filter {
    let rules = |kind: Kind, number: u32| -> Vec<Rule> {
        let argument = match kind {
            Kind::Mknod => 1,
            Kind::Mknodat => 2,
            _ => return Vec::new(),
        };
        [libc::S_IFCHR, libc::S_IFBLK]
            .map(|kind| {
                let condition = Condition { mask: libc::S_IFMT.into(), ..Condition::int(argument, Test::Equal, kind) };
                Rule { number, conditions: vec![condition], action: Action::Notify }
            })
            .to_vec()
    };
    let table = |rules: Vec<Rule>| Table { rules, otherwise: Action::Allow, beyond: None };
    let x86_64 = CALLS.iter().flat_map(|call| rules(call.0, call.1)).collect();
    let i386 = CALLS.iter().flat_map(|call| rules(call.0, call.2)).collect();
    Filter { x86_64: table(x86_64), i386: table(i386), foreign: Action::Allow }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_means_two_calls() {
        for table in [filter().x86_64, filter().i386] {
            let mut numbers: Vec<u32> =
                table.rules.iter().filter(|rule| rule.conditions.is_empty()).map(|rule| rule.number).collect();
            let all = numbers.len();
            numbers.sort_unstable();
            numbers.dedup();
            assert_eq!(numbers.len(), all);
        }
    }

    #[test]
    fn the_numbers_are_those_of_this_machine() {
        #[cfg(target_arch = "x86_64")]
        for (kind, number) in [
            (Kind::Fchownat, libc::SYS_fchownat),
            (Kind::SetThree(Of::User), libc::SYS_setresuid),
            (Kind::SetThree(Of::Group), libc::SYS_setresgid),
            (Kind::GetThree(Of::User), libc::SYS_getresuid),
            (Kind::SetGroups, libc::SYS_setgroups),
            (Kind::Fstatat, libc::SYS_newfstatat),
            (Kind::Statx, libc::SYS_statx),
            (Kind::Openat, libc::SYS_openat),
            (Kind::Mknodat, libc::SYS_mknodat),
            (Kind::Symlinkat, libc::SYS_symlinkat),
            (Kind::Execve, libc::SYS_execve),
            (Kind::Fsetxattr, libc::SYS_fsetxattr),
            (Kind::Elsewhere, libc::SYS_setns),
        ] {
            let number = u32::try_from(number).expect("a number");
            let call = Call { id: 0, thread: 0, architecture: X86_64, number, arguments: [0; 6] };
            assert_eq!(meaning(&call).map(|meaning| meaning.kind), Some(kind));
        }
    }
}
