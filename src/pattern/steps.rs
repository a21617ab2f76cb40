//! A pattern as a row of steps, and running it over a name without ever going back.

use std::iter::Peekable;
use std::str::Chars;

/// One step; the name's characters move a set of places along the row.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// This character.
    Char(char),
    /// `?`: any character but `/`.
    One,
    /// `[…]`: one character; `/` is one too, as in Go.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `*`: any number of characters but `/`.
    Star,
    /// The end of `**`: any number of any characters.
    Rest,
    /// Go on here, or as many steps further.
    Skip(usize),
}

/// Which language a pattern is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Go's `filepath.Match`.
    Glob,
    /// moby/patternmatcher, with `**`.
    Ignore,
}

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps {
    steps: Vec<Step>,
    /// The characters, where the pattern has nothing else: most patterns are plain names.
    plain: Option<Vec<char>>,
}

impl Steps {
    /// Compiles `pattern`; an error is the reason.
    pub(super) fn parse(pattern: &str, language: Language) -> Result<Self, &'static str> {
        let mut steps = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '*' if language == Language::Ignore && chars.next_if_eq(&'*').is_some() => {
                    let slash = chars.next_if_eq(&'/').is_some();
                    if chars.peek().is_none() {
                        steps.push(Step::Rest);
                    } else if steps.is_empty() && !slash && !chars.clone().any(is_special) {
                        // `**name` alone is a suffix, of names too; elsewhere `**` is whole directories.
                        steps.push(Step::Rest);
                    } else {
                        steps.extend([Step::Skip(3), Step::Rest, Step::Char('/')]);
                    }
                }
                '*' => steps.push(Step::Star),
                '?' => steps.push(Step::One),
                '[' => steps.push(class(&mut chars)?),
                '\\' => steps.push(Step::Char(chars.next().ok_or("it ends in `\\`")?)),
                char => steps.push(Step::Char(char)),
            }
        }
        let plain = steps.iter().map(|step| if let Step::Char(char) = step { Some(*char) } else { None }).collect();
        Ok(Self { steps, plain })
    }

    /// Tells whether the pattern matches the whole name.
    pub(super) fn matches(&self, name: &[char]) -> bool {
        match &self.plain {
            Some(plain) => plain == name,
            None => self.run(name.iter().copied()).last() == Some(&true),
        }
    }

    /// Tells whether the pattern could match a name below the directory `name`, itself not among them.
    pub(super) fn may_match_below(&self, name: &[char]) -> bool {
        if name.is_empty() {
            return true;
        }
        match &self.plain {
            Some(plain) => plain.starts_with(name) && plain.get(name.len()) == Some(&'/'),
            None => self.run(name.iter().copied().chain(['/'])).contains(&true),
        }
    }

    /// Returns which places can be reached by consuming `name`; the last one is the end.
    fn run(&self, name: impl Iterator<Item = char>) -> Vec<bool> {
        let mut here = vec![false; self.steps.len() + 1];
        let mut next = here.clone();
        here[0] = true;
        self.spread(&mut here);
        for char in name {
            next.fill(false);
            let mut alive = false;
            for (place, step) in self.steps.iter().enumerate().filter(|(place, _)| here[*place]) {
                let to = match step {
                    Step::Char(wanted) => (*wanted == char).then_some(place + 1),
                    Step::One => (char != '/').then_some(place + 1),
                    Step::Class { negated, ranges } => {
                        let among = ranges.iter().any(|(low, high)| (*low..=*high).contains(&char));
                        (among != *negated).then_some(place + 1)
                    }
                    Step::Star => (char != '/').then_some(place),
                    Step::Rest => Some(place),
                    Step::Skip(_) => None,
                };
                if let Some(to) = to {
                    next[to] = true;
                    alive = true;
                }
            }
            std::mem::swap(&mut here, &mut next);
            if !alive {
                break;
            }
            self.spread(&mut here);
        }
        here
    }

    /// Adds the places that are reached without consuming anything; those lie further on only.
    fn spread(&self, here: &mut [bool]) {
        for (place, step) in self.steps.iter().enumerate() {
            if here[place] {
                match step {
                    Step::Star | Step::Rest => here[place + 1] = true,
                    Step::Skip(count) => {
                        here[place + 1] = true;
                        here[place + count] = true;
                    }
                    _ => {}
                }
            }
        }
    }
}

fn is_special(char: char) -> bool {
    matches!(char, '*' | '?' | '[' | ']' | '\\')
}

/// Reads the rest of a class (Go `path/filepath` `Match`, "character-range").
fn class(chars: &mut Peekable<Chars<'_>>) -> Result<Step, &'static str> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
            return Ok(Step::Class { negated, ranges });
        }
        let low = class_char(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_char(chars)? } else { low };
        if high < low {
            return Err("a range in `[…]` ends before it begins");
        }
        ranges.push((low, high));
    }
}

fn class_char(chars: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    const OPEN: &str = "a `[` has no `]`";
    match chars.next().ok_or(OPEN)? {
        '-' => Err("a `-` in `[…]` stands between no two characters"),
        ']' => Err("a `]` comes too early in `[…]`"),
        '\\' => chars.next().ok_or(OPEN),
        char => Ok(char),
    }
}

/// A name's characters; each byte that is no UTF-8 counts as one replacement character, as Go decodes it.
pub(super) fn characters(name: &[u8]) -> Vec<char> {
    let mut characters = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        characters.extend(chunk.valid().chars());
        characters.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    characters
}
