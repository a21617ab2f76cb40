//! Filters of system calls as values (`seccomp(2)`); [`Filter::assemble`] makes of them what the kernel runs.

/// What becomes of a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is made.
    Allow,
    /// It fails with this error number, at most 4095.
    Errno(u16),
    /// It ends the process.
    KillProcess,
    /// The listener of the filter decides (`seccomp_unotify(2)`).
    Notify,
}

/// How an argument, after its mask, is to compare with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// It is the value.
    Equal,
    /// It is less, without sign.
    Less,
    /// It is more, without sign.
    Greater,
}

/// A condition on one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument, 0 to 5.
    pub argument: u8,
    /// Only the lower 32 bits are looked at, as the kernel itself does where the argument is an `int`.
    pub narrow: bool,
    /// The bits that count.
    pub mask: u64,
    /// How they are to compare.
    pub test: Test,
    /// With what.
    pub value: u64,
}

impl Condition {
    /// An `int` argument compared with a value.
    pub const fn int(argument: u8, test: Test, value: u32) -> Self {
        Self { argument, narrow: true, mask: u32::MAX as u64, test, value: value as u64 }
    }

    /// None of these bits is set in an `int` argument.
    pub const fn none_of(argument: u8, bits: u32) -> Self {
        Self { mask: bits as u64, ..Self::int(argument, Test::Equal, 0) }
    }

    /// A whole 64-bit argument compared with a value.
    pub const fn long(argument: u8, test: Test, value: u64) -> Self {
        Self { argument, narrow: false, mask: u64::MAX, test, value }
    }
}

/// What becomes of one system call where all conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub number: u32,
    /// The conditions; none always holds.
    pub conditions: Vec<Condition>,
    /// What becomes of it.
    pub action: Action,
}

impl Rule {
    /// A rule without conditions.
    pub fn always(number: u32, action: Action) -> Self {
        Self { number, conditions: Vec::new(), action }
    }
}

/// What becomes of the system calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Of several rules for one number the first that holds decides; order does not matter otherwise.
    pub rules: Vec<Rule>,
    /// Where none holds.
    pub otherwise: Action,
    /// Where none holds and the number is at or above this one.
    pub beyond: Option<(u32, Action)>,
}

/// What becomes of every system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Calls with the numbers of x86-64.
    pub x86_64: Table,
    /// Calls with the numbers of i386, as 32-bit programs make them (and others by `int 0x80`).
    pub i386: Table,
    /// Calls of any other kind.
    pub foreign: Action,
}
