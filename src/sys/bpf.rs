//! The classic BPF that the kernel runs for a [`Filter`] (`seccomp(2)`).
//!
//! ```text
//! architecture? ── x86-64 ── bit 30? ── x32: ENOSYS
//!       │                      └─ a tree of comparisons of the number ── RET
//!       ├── i386 ── a tree of its own                                 └─ rules that look at arguments ── RET
//!       └── any other: `foreign`
//! ```
//!
//! What always holds: every program ends in a decision, and jumps go forwards only. Numbers that neighbour each other and
//! share a decision are one leaf of a balanced tree, so that a call costs some eight comparisons, and none where the
//! kernel has seen that its number alone allows it (since 5.11). The x32 numbers of x86-64 (bit 30) are refused as by a
//! kernel without them: they would be a second way to every call.
//!
//! Why not libseccomp or a crate for it: the one is a library in C, the others want one architecture a filter, and a step
//! may run programs of both.

use serde::{Deserialize, Serialize};

use super::filter::{Action, Condition, Filter, Rule, Table, Test};

/// One instruction (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    k: u32,
}

/// A filter as the kernel takes it. Sent to another process it is a list of numbers, one an instruction in its own layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub struct Program(Vec<Instruction>);

impl From<Program> for Vec<u64> {
    fn from(program: Program) -> Self {
        let pack = |Instruction { code, yes, no, k }: &Instruction| {
            u64::from(*code) | u64::from(*yes) << 16 | u64::from(*no) << 24 | u64::from(*k) << 32
        };
        program.0.iter().map(pack).collect()
    }
}

impl From<Vec<u64>> for Program {
    #[expect(clippy::cast_possible_truncation, reason = "each part is taken out of the word")]
    fn from(words: Vec<u64>) -> Self {
        let unpack = |word: u64| Instruction {
            code: word as u16,
            yes: (word >> 16) as u8,
            no: (word >> 24) as u8,
            k: (word >> 32) as u32,
        };
        Self(words.into_iter().map(unpack).collect())
    }
}

impl Program {
    /// Its instructions; the kernel takes at most 4096.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0
    }
}

// `linux/bpf_common.h`, `linux/filter.h`.
const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

// Offsets in `struct seccomp_data`; of an argument the lower half comes first.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

// `linux/audit.h`, `asm/unistd.h`.
const ARCH_X86_64: u32 = 0xc000_003e;
const ARCH_I386: u32 = 0x4000_0003;
const X32: u32 = 0x4000_0000;
const ENOSYS: u16 = 38;

// `linux/seccomp.h`.
const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const fn plain(code: u16, k: u32) -> Instruction {
    Instruction { code, yes: 0, no: 0, k }
}

fn decide(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => RET_ALLOW,
        Action::Errno(number) => RET_ERRNO | u32::from(number.min(4095)),
        Action::KillProcess => RET_KILL_PROCESS,
        Action::Notify => RET_USER_NOTIF,
    };
    plain(RETURN, value)
}

impl Filter {
    /// Assembles the program.
    pub fn assemble(&self) -> Program {
        let mut x86_64 = self.x86_64.clone();
        x86_64.rules.retain(|rule| rule.number < X32);
        let x32 = vec![decide(Action::Errno(ENOSYS))];
        let first = branch(JUMP_AT_LEAST, X32, x32, x86_64.assemble());
        let second = branch(JUMP_EQUAL, ARCH_I386, self.i386.assemble_loaded(), vec![decide(self.foreign)]);
        let mut native = vec![plain(LOAD, NUMBER)];
        native.extend(first);
        let mut program = vec![plain(LOAD, ARCHITECTURE)];
        program.extend(branch(JUMP_EQUAL, ARCH_X86_64, native, second));
        Program(program)
    }
}

/// `yes` where the comparison with `k` holds, otherwise `no`; both end in decisions.
fn branch(code: u16, k: u32, yes: Vec<Instruction>, no: Vec<Instruction>) -> Vec<Instruction> {
    let mut out = match u8::try_from(no.len()) {
        Ok(length) => vec![Instruction { code, yes: length, no: 0, k }],
        // Conditional jumps are short, the other one is not.
        Err(_) => vec![
            Instruction { code, yes: 0, no: 1, k },
            plain(JUMP, u32::try_from(no.len()).expect("a program is shorter than 4 GiB")),
        ],
    };
    out.extend(no);
    out.extend(yes);
    out
}

impl Table {
    fn assemble_loaded(&self) -> Vec<Instruction> {
        let mut out = vec![plain(LOAD, NUMBER)];
        out.extend(self.assemble());
        out
    }

    /// A tree over the numbers, which the accumulator holds.
    fn assemble(&self) -> Vec<Instruction> {
        let mut rules: Vec<&Rule> = self.rules.iter().collect();
        rules.sort_by_key(|rule| rule.number); // stable: rules of one number keep their order
        let mut leaves: Vec<(u32, Vec<Instruction>)> = Vec::new();
        let mut add = |from: u32, leaf: Vec<Instruction>| match leaves.last() {
            Some((_, last)) if *last == leaf => {}
            _ => leaves.push((from, leaf)),
        };
        let mut next = Some(0);
        for group in rules.chunk_by(|a, b| a.number == b.number) {
            let number = group[0].number;
            self.gap(next, Some(number), &mut add);
            let mut leaf: Vec<Instruction> = group.iter().flat_map(|rule| rule.assemble()).collect();
            leaf.push(decide(self.default(number)));
            // What follows a rule without conditions is never reached.
            if group[0].conditions.is_empty() {
                leaf.truncate(1);
            }
            add(number, leaf);
            next = number.checked_add(1);
        }
        self.gap(next, None, &mut add);
        tree(&leaves)
    }

    fn default(&self, number: u32) -> Action {
        self.beyond.filter(|(first, _)| number >= *first).map_or(self.otherwise, |(_, action)| action)
    }

    /// Leaves for the numbers without rules from `next` to before `end`.
    fn gap(&self, next: Option<u32>, end: Option<u32>, add: &mut impl FnMut(u32, Vec<Instruction>)) {
        let Some(next) = next else { return };
        let inside = |number: u32| end.is_none_or(|end| number < end);
        if inside(next) {
            add(next, vec![decide(self.default(next))]);
        }
        if let Some((first, action)) = self.beyond.filter(|(first, _)| *first > next && inside(*first)) {
            add(first, vec![decide(action)]);
        }
    }
}

fn tree(leaves: &[(u32, Vec<Instruction>)]) -> Vec<Instruction> {
    if let [(_, leaf)] = leaves {
        return leaf.clone();
    }
    let (low, high) = leaves.split_at(leaves.len() / 2);
    branch(JUMP_AT_LEAST, high[0].0, tree(high), tree(low))
}

/// Where a comparison goes on.
#[derive(Debug, Clone, Copy)]
enum Go {
    /// This many instructions further.
    Skip(u8),
    /// To the next condition.
    Held,
    /// To the next rule.
    Failed,
}

impl Rule {
    /// Decides where the conditions hold, otherwise runs into what follows.
    fn assemble(&self) -> Vec<Instruction> {
        let mut steps: Vec<(u16, u32, Go, Go)> = Vec::new();
        for condition in &self.conditions {
            let from = steps.len();
            condition.assemble(&mut steps);
            let end = steps.len();
            for (at, (_, _, yes, no)) in steps.iter_mut().enumerate().skip(from) {
                for go in [yes, no] {
                    if matches!(go, Go::Held) {
                        *go = Go::Skip(short(end - at - 1));
                    }
                }
            }
        }
        let failed = steps.len() + 1;
        let target = |at: usize, go: Go| match go {
            Go::Skip(count) => count,
            Go::Held | Go::Failed => short(failed - at - 1),
        };
        let mut out: Vec<Instruction> = steps
            .iter()
            .enumerate()
            .map(|(at, (code, k, yes, no))| Instruction {
                code: *code,
                yes: target(at, *yes),
                no: target(at, *no),
                k: *k,
            })
            .collect();
        out.push(decide(self.action));
        out
    }
}

/// At most six conditions of eight instructions are jumped over.
fn short(distance: usize) -> u8 {
    u8::try_from(distance).expect("a rule has a condition or two")
}

impl Condition {
    fn assemble(&self, steps: &mut Vec<(u16, u32, Go, Go)>) {
        let low = ARGUMENTS + 8 * u32::from(self.argument);
        let half = |value: u64, shift: u32| u32::try_from(value >> shift & u64::from(u32::MAX)).unwrap_or_default();
        let load = |steps: &mut Vec<(u16, u32, Go, Go)>, offset: u32, mask: u32| {
            steps.push((LOAD, offset, Go::Skip(0), Go::Skip(0)));
            if mask != u32::MAX {
                steps.push((AND, mask, Go::Skip(0), Go::Skip(0)));
            }
        };
        if !self.narrow {
            let value = half(self.value, 32);
            load(steps, low + 4, half(self.mask, 32));
            match self.test {
                Test::Equal => {}
                Test::Greater => steps.push((JUMP_GREATER, value, Go::Held, Go::Skip(0))),
                Test::Less => steps.push((JUMP_AT_LEAST, value, Go::Skip(0), Go::Held)),
            }
            steps.push((JUMP_EQUAL, value, Go::Skip(0), Go::Failed));
        }
        let value = half(self.value, 0);
        load(steps, low, half(self.mask, 0));
        steps.push(match self.test {
            Test::Equal => (JUMP_EQUAL, value, Go::Held, Go::Failed),
            Test::Greater => (JUMP_GREATER, value, Go::Held, Go::Failed),
            Test::Less => (JUMP_AT_LEAST, value, Go::Failed, Go::Held),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOW: u32 = RET_ALLOW;
    const EPERM: u32 = RET_ERRNO + 1;
    const NOSYS: u32 = RET_ERRNO + 38;

    /// Runs a program as the kernel does (`struct seccomp_data`).
    fn run(program: &Program, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = Vec::new();
        data.extend([number, architecture, 0, 0].iter().flat_map(|word| word.to_le_bytes()));
        data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, yes, no, k } = program.0[at];
            at += 1;
            let mut jump = |held: bool| at += usize::from(if held { yes } else { no });
            match code {
                LOAD => {
                    let from = usize::try_from(k).expect("small");
                    accumulator = u32::from_le_bytes(data[from..from + 4].try_into().expect("four bytes"));
                }
                AND => accumulator &= k,
                JUMP => at += usize::try_from(k).expect("small"),
                JUMP_EQUAL => jump(accumulator == k),
                JUMP_GREATER => jump(accumulator > k),
                JUMP_AT_LEAST => jump(accumulator >= k),
                RETURN => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    fn table(rules: Vec<Rule>) -> Table {
        Table { rules, otherwise: Action::Errno(1), beyond: Some((400, Action::Errno(ENOSYS))) }
    }

    fn native(rules: Vec<Rule>) -> Program {
        Filter { x86_64: table(rules), i386: table(Vec::new()), foreign: Action::KillProcess }.assemble()
    }

    #[test]
    fn every_number_gets_its_own_answer_however_many_there_are() {
        // Every third number up to 900: more leaves than a short jump spans.
        let rules: Vec<Rule> = (0..900).step_by(3).map(|number| Rule::always(number, Action::Allow)).collect();
        let program = native(rules);
        assert!(program.instructions().len() > 600 && program.instructions().len() < 4096);
        for number in 0..1000 {
            let expected = match number {
                _ if number % 3 == 0 && number < 900 => ALLOW,
                400.. => NOSYS,
                _ => EPERM,
            };
            assert_eq!(run(&program, ARCH_X86_64, number, [0; 6]), expected, "{number}");
        }
    }

    #[test]
    fn a_program_that_was_sent_is_the_same() {
        let program = native((0..900).step_by(7).map(|number| Rule::always(number, Action::Errno(4000))).collect());
        let sent = serde_json::to_vec(&program).expect("plain data");
        assert_eq!(serde_json::from_slice::<Program>(&sent).expect("what was written"), program);
    }

    #[test]
    fn each_architecture_has_its_own_table_and_x32_none() {
        let only = |number| table(vec![Rule::always(number, Action::Allow)]);
        let program = Filter { x86_64: only(1), i386: only(4), foreign: Action::KillProcess }.assemble();
        for (architecture, number, expected) in [
            (ARCH_X86_64, 1, ALLOW),
            (ARCH_X86_64, 4, EPERM),
            (ARCH_I386, 4, ALLOW),
            (ARCH_I386, 1, EPERM),
            (ARCH_X86_64, X32 | 1, NOSYS),
            (ARCH_X86_64, u32::MAX, NOSYS),
            (0xc000_00b7, 1, RET_KILL_PROCESS),
        ] {
            assert_eq!(run(&program, architecture, number, [0; 6]), expected, "{architecture:#x} {number:#x}");
        }
    }

    #[test]
    fn arguments_are_compared_in_the_width_the_kernel_reads_them() {
        let allow = |conditions| native(vec![Rule { number: 7, conditions, action: Action::Allow }]);
        let answer = |program: &Program, value| run(program, ARCH_X86_64, 7, [0, value, 0, 0, 0, 0]) == ALLOW;
        let high = 1 << 32;
        for (test, value, held) in [
            (Test::Equal, 38, [false, true, false]),
            (Test::Less, 38, [true, false, false]),
            (Test::Greater, 38, [false, false, true]),
        ] {
            let narrow = allow(vec![Condition::int(1, test, value)]);
            assert_eq!([37, 38, 39].map(|value| answer(&narrow, value)), held, "{test:?}");
            assert_eq!([37, 38, 39].map(|value| answer(&narrow, high | value)), held, "{test:?} with high bits");
            let long = allow(vec![Condition::long(1, test, high | u64::from(value))]);
            assert_eq!([37, 38, 39].map(|value| answer(&long, high | value)), held, "{test:?} of long");
            assert_eq!(answer(&long, 40), test == Test::Less, "{test:?} of less high bits");
            assert_eq!(answer(&long, high << 1), test == Test::Greater, "{test:?} of more high bits");
        }
        let none = allow(vec![Condition::none_of(1, 0x30)]);
        assert_eq!([0, 0xf, 0x10, 0x2f, 0x40].map(|value| answer(&none, value)), [true, true, false, false, true]);
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold_and_the_first_rule_that_holds_decides() {
        let condition = |argument, value| Condition::int(argument, Test::Equal, value);
        let program = native(vec![
            Rule { number: 7, conditions: vec![condition(0, 1), condition(5, 2)], action: Action::Errno(22) },
            Rule { number: 7, conditions: vec![condition(0, 1)], action: Action::Notify },
            Rule { number: 8, conditions: Vec::new(), action: Action::Allow },
        ]);
        let answer = |first, last| run(&program, ARCH_X86_64, 7, [first, 0, 0, 0, 0, last]);
        assert_eq!(answer(1, 2), RET_ERRNO + 22);
        assert_eq!(answer(1, 3), RET_USER_NOTIF);
        assert_eq!(answer(2, 2), EPERM);
    }
}
