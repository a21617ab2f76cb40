//! What a step may ask of the kernel: equal in effect to Docker's default profile (`moby/profiles seccomp/default.json`,
//! with the capabilities of a step), for the calls of x86-64 and of i386.
//!
//! Calls that the profile names and does not allow fail with `EPERM`; those with numbers above all that it names, and
//! `clone3(2)`, with `ENOSYS`, so that programs try older ones (`runc libcontainer/seccomp/patchbpf`).
//!
//! Where we are stricter, and no program was found to mind: `TIOCSTI` and `TIOCLINUX` (`ioctl_tty(2)`), which put words
//! into a terminal, are refused; the x32 numbers are refused; and an `int` argument is compared as the kernel reads it,
//! so that high bits do not make another socket family of it. As with Docker, 32-bit programs reach every family through
//! `socketcall(2)`, whose arguments a filter cannot see.

use std::io;
use std::sync::LazyLock;

use super::calls::{CALLS, NEWER, NONE};
use crate::sys::{self, Action, Condition, Filter, FilterFlags, Program, Rule, Table, Test};

/// Numbers of the calls whose arguments matter.
struct Numbers {
    clone: u32,
    clone3: u32,
    ioctl: u32,
    personality: u32,
    socket: u32,
}

const X86_64: Numbers = Numbers { clone: 56, clone3: 435, ioctl: 16, personality: 135, socket: 41 };
const I386: Numbers = Numbers { clone: 120, clone3: 435, ioctl: 54, personality: 136, socket: 359 };

const NOT_PERMITTED: Action = Action::Errno(1); // EPERM
const NOT_THERE: Action = Action::Errno(38); // ENOSYS

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID` and `NEWNET`.
const NEW_NAMESPACES: u32 = 0x7e02_0000;

/// `PER_LINUX`, `PER_LINUX32`, both with `UNAME26`, and the question which one it is.
const PERSONALITIES: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];

/// `AF_ALG` and `AF_VSOCK`: the kernel's cryptography, and the way to a hypervisor.
const FAMILIES: [u32; 2] = [38, 40];

/// `TIOCSTI` and `TIOCLINUX`.
const TERMINAL: [u32; 2] = [0x5412, 0x541c];

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let x86_64 = table(&X86_64, CALLS.map(|(_, number, _)| number));
    let i386 = table(&I386, CALLS.map(|(_, _, number)| number));
    Filter { x86_64, i386, foreign: Action::KillProcess }.assemble()
});

/// Returns what the kernel is to run. The builder assembles it once and sends it with each plan: it takes a third of a
/// millisecond, which is much of a step that does little.
pub(super) fn program() -> &'static Program {
    &PROGRAM
}

/// Has the calling process and all it will start obey the filter.
pub(super) fn install(program: &Program) -> io::Result<()> {
    sys::install_filter(program, FilterFlags::default()).map(|_| ())
}

fn table(numbers: &Numbers, allowed: impl IntoIterator<Item = u32>) -> Table {
    let Numbers { clone, clone3, ioctl, personality, socket } = *numbers;
    let one = |number, condition, action| Rule { number, conditions: vec![condition], action };
    let mut rules =
        vec![one(clone, Condition::none_of(0, NEW_NAMESPACES), Action::Allow), Rule::always(clone3, NOT_THERE)];
    let value = |value| Condition::int(0, Test::Equal, value);
    rules.extend(PERSONALITIES.map(|persona| one(personality, value(persona), Action::Allow)));
    rules.extend(FAMILIES.map(|family| one(socket, value(family), NOT_PERMITTED)));
    rules.push(Rule::always(socket, Action::Allow));
    rules.extend(TERMINAL.map(|request| one(ioctl, Condition::int(1, Test::Equal, request), NOT_PERMITTED)));
    let allowed = allowed.into_iter().filter(|number| *number != NONE);
    rules.extend(allowed.map(|number| Rule::always(number, Action::Allow)));
    Table { rules, otherwise: NOT_PERMITTED, beyond: Some((NEWER, NOT_THERE)) }
}
