//! What a program without namespaces forbids itself before it runs.

use std::io;
use std::path::PathBuf;

use crate::sys::{self, Action, Condition, Filter, FilterFlags, Landlock, Reach, Rule, Table, Test};

/// Numbers of x86-64 (`syscall_64.tbl`) and of i386 (`syscall_32.tbl`).
const SOCKET: (u32, u32) = (41, 359);
const IO_URING_SETUP: u32 = 425;
const SOCKETCALL: u32 = 102;
/// The first number of the x32 calls, which nobody needs.
const X32: u32 = 0x4000_0000;

/// `AF_UNIX`, and the call of `socketcall(2)` that makes a socket.
const UNIX: u32 = 1;
const MAKE: u32 = 1;

/// `EAFNOSUPPORT`, which programs that can do without take for an answer, and `ENOSYS`.
const UNSUPPORTED_FAMILY: u16 = 97;
const NOT_THERE: u16 = 38;

/// Opens nothing outside the present root any more, and writes only at `writable`, as far as the kernel can.
pub(super) fn files(writable: &[PathBuf]) -> io::Result<()> {
    sys::no_new_privileges()?;
    let Some(landlock) = Landlock::new()? else { return Ok(()) };
    landlock.allow(sys::open_path("/".as_ref())?, Reach::Read)?;
    for path in writable {
        landlock.allow(sys::open_path(path)?, Reach::Write)?;
    }
    landlock.enforce()
}

/// Makes no sockets any more but those of files; rings could make them without a call, so there are none either.
pub(super) fn sockets() -> io::Result<()> {
    sys::no_new_privileges()?;
    sys::install_filter(&filter().assemble(), FilterFlags::default()).map(drop)
}

fn filter() -> Filter {
    let refused = Action::Errno(UNSUPPORTED_FAMILY);
    let others = |number| {
        let rule = |test| Rule { number, conditions: vec![Condition::int(0, test, UNIX)], action: refused };
        [rule(Test::Less), rule(Test::Greater)]
    };
    let rings = Rule::always(IO_URING_SETUP, Action::Errno(NOT_THERE));
    // What family it is lies in memory, which no filter can read.
    let call = Rule { number: SOCKETCALL, conditions: vec![Condition::int(0, Test::Equal, MAKE)], action: refused };
    let table = |rules: Vec<Rule>, beyond| Table { rules, otherwise: Action::Allow, beyond };
    Filter {
        x86_64: table(
            others(SOCKET.0).into_iter().chain([rings.clone()]).collect(),
            Some((X32, Action::Errno(NOT_THERE))),
        ),
        i386: table(others(SOCKET.1).into_iter().chain([rings, call]).collect(), None),
        foreign: Action::KillProcess,
    }
}
