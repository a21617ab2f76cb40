//! Modes in words (`chmod(1p)`), as `ops.proto FileActionCopy.modeStr` has them; the umask is 0.

use super::error::FileError;

const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const STICKY: u32 = 0o1000;
const STANDARD: u32 = 0o6777;
const EXECUTE: u32 = 0o111;

/// What a copy makes of a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Chmod {
    /// Leave it.
    Keep,
    /// Set it.
    Set(u32),
    /// Change it step by step.
    Steps(Vec<Step>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Add(u32),
    Remove(u32),
    /// Add these if it is a directory or was executable for anyone before.
    AddIfExecutable(u32),
    /// Take the three bits at `from` as those of the classes at `to`, after `=`, `+` or `-`.
    Copy {
        from: u32,
        to: u32,
        operator: u8,
    },
}

impl Chmod {
    /// `text` goes before `mode`; an empty text and -1 keep what is.
    pub(super) fn parse(mode: i32, text: &str) -> Result<Self, FileError> {
        let wrong = || FileError::Mode { mode: text.to_owned() };
        if text.is_empty() {
            return Ok(if mode == -1 { Self::Keep } else { Self::Set(mode.cast_unsigned() & 0o7777) });
        }
        if text.starts_with(|char: char| char.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Set).ok_or_else(wrong);
        }
        let mut steps = Vec::new();
        for clause in text.split(',') {
            steps_of(clause.as_bytes(), &mut steps).ok_or_else(wrong)?;
        }
        Ok(Self::Steps(steps))
    }

    pub(super) fn apply(&self, before: u32, is_directory: bool) -> u32 {
        let before = before & 0o7777;
        match self {
            Self::Keep => before,
            Self::Set(mode) => *mode,
            Self::Steps(steps) => steps.iter().fold(before, |mode, step| match *step {
                Step::Add(bits) => mode | bits,
                Step::Remove(bits) => mode & !bits,
                Step::AddIfExecutable(bits) if is_directory || before & EXECUTE != 0 => mode | bits,
                Step::AddIfExecutable(_) => mode,
                Step::Copy { from, to, operator } => {
                    let bits = mode >> from & 7;
                    let spread = |bits: u32| (bits << 6 | bits << 3 | bits) & to;
                    match operator {
                        b'+' => mode | spread(bits),
                        b'-' => mode & !spread(bits),
                        _ => mode & !spread(7) | spread(bits),
                    }
                }
            }),
        }
    }
}

/// One clause, like `go+rX-w`; `None` if it makes no sense.
fn steps_of(clause: &[u8], steps: &mut Vec<Step>) -> Option<()> {
    let count = clause.iter().take_while(|byte| b"augo".contains(byte)).count();
    let (classes, mut rest) = clause.split_at(count);
    let mut who = classes.iter().fold(0, |who, class| {
        who | match class {
            b'u' => SET_USER | 0o700,
            b'g' => SET_GROUP | 0o070,
            b'o' => 0o007,
            _ => STANDARD,
        }
    });
    loop {
        let (operator, after) = rest.split_first().filter(|(byte, _)| b"+-=".contains(byte))?;
        let count = after.iter().position(|byte| b"+-=".contains(byte)).unwrap_or(after.len());
        let (permissions, next) = after.split_at(count);
        who &= !STICKY;
        operation(*operator, &mut who, permissions, steps)?;
        if next.is_empty() {
            return Some(());
        }
        rest = next;
    }
}

fn operation(operator: u8, who: &mut u32, permissions: &[u8], steps: &mut Vec<Step>) -> Option<()> {
    let (mut bits, mut maybe, mut copied) = (0, 0, false);
    for permission in permissions {
        let special = *who == 0 || *who & !0o007 != 0;
        match permission {
            b'r' => bits |= 0o444,
            b'w' => bits |= 0o222,
            b'x' => bits |= EXECUTE,
            b'X' if operator == b'-' => bits |= EXECUTE,
            b'X' => maybe |= EXECUTE,
            // For others alone these mean nothing.
            b's' if special => bits |= SET_USER | SET_GROUP,
            b't' if special => {
                *who |= STICKY;
                bits |= STICKY;
            }
            b's' | b't' => {}
            b'u' | b'g' | b'o' => {
                let from = match permission {
                    b'u' => 6,
                    b'g' => 3,
                    _ => 0,
                };
                flush(operator, *who, &mut bits, &mut maybe, false, steps);
                let to = if *who == 0 { 0o777 } else { *who & 0o777 };
                steps.push(Step::Copy { from, to, operator });
                copied = true;
            }
            _ => return None,
        }
    }
    flush(operator, *who, &mut bits, &mut maybe, operator == b'=' && !copied, steps);
    Some(())
}

/// Turns what was collected into steps; `even_empty` for `=` without anything, which takes all away.
fn flush(operator: u8, who: u32, bits: &mut u32, maybe: &mut u32, even_empty: bool, steps: &mut Vec<Step>) {
    let among = |bits: u32| if who == 0 { bits } else { bits & who };
    if *bits != 0 || even_empty {
        if operator == b'=' {
            steps.push(Step::Remove(if who == 0 { STANDARD } else { who }));
        }
        steps.push(if operator == b'-' { Step::Remove(among(*bits)) } else { Step::Add(among(*bits)) });
    }
    if *maybe != 0 {
        steps.push(Step::AddIfExecutable(among(*maybe)));
    }
    (*bits, *maybe) = (0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(text: &str, mode: u32, is_directory: bool) -> u32 {
        Chmod::parse(-1, text).expect(text).apply(mode, is_directory)
    }

    #[test]
    fn words_change_modes_as_chmod_does() {
        for (text, before, after) in [
            ("u=rwX,go=rX", 0o600, 0o644),
            ("u=rwX,go=rX", 0o700, 0o755),
            ("u=rwX,go=rX", 0o4777, 0o755),
            ("755", 0o4600, 0o755),
            ("04711", 0, 0o4711),
            ("+x", 0o644, 0o755),
            ("a+X", 0o644, 0o644),
            ("a+X", 0o654, 0o755),
            ("go-w", 0o777, 0o755),
            ("go=", 0o777, 0o700),
            ("g=u", 0o640, 0o660),
            ("go=u-w", 0o700, 0o755),
            ("u+s", 0o755, 0o4755),
            ("g+s", 0o755, 0o2755),
            ("o+s", 0o755, 0o755),
            ("u-s", 0o6755, 0o2755),
            ("a-X", 0o755, 0o644),
            ("ug+rw,o-r", 0o004, 0o660),
            ("=rw", 0o4711, 0o666),
            ("u+rw-x", 0o100, 0o600),
            ("o+u", 0o750, 0o757),
        ] {
            assert_eq!(apply(text, before, false), after, "{text} on {before:o}");
        }
        assert_eq!(apply("+t", 0o777, true), 0o1777);
        assert_eq!(apply("u=rwX,go=rX", 0o600, true), 0o755);
        assert_eq!(Chmod::parse(0o640, "").expect("a mode").apply(0o777, false), 0o640);
        assert_eq!(Chmod::parse(-1, "").expect("no mode").apply(0o4755, false), 0o4755);
    }

    #[test]
    fn words_that_make_no_sense_are_errors() {
        for text in ["u", "u=q", "8", "0788", "10000", "u=r,", ",u=r", "u=r g=r", "x", "é+r"] {
            Chmod::parse(-1, text).expect_err(text);
        }
    }
}
