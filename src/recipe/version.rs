//! Versions as upstream writes them, ordered as people order them.

use std::cmp::Ordering;
use std::fmt;

/// A version such as `3.11.2`, `3.15.0rc1`, `6.5+20250216`.
///
/// Runs of digits compare as numbers; `a`, `b`, `rc` and their like sort before the release they lead to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    text: String,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    // Declared in ascending order: a pre-release word < the end of the version < a number.
    Word(String),
    End,
    Number(u128),
}

impl Version {
    /// Takes any text; ordering is total.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned() }
    }

    /// Returns the version as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the first two numbers, `3.11`.
    pub fn series(&self) -> String {
        self.text.split('.').take(2).map(digits).collect::<Vec<_>>().join(".")
    }

    /// Tells whether this is an alpha, beta or release candidate.
    pub fn is_prerelease(&self) -> bool {
        self.parts().iter().any(|part| matches!(part, Part::Word(_)))
    }

    /// Tells whether `self` is `wanted` or within it: 3.11.2 is within 3.11, 3.11 and 3.110 are not within 3.1.
    pub fn is_within(&self, wanted: &str) -> bool {
        self.text == wanted || self.text.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
    }

    /// Splits what is asked for into a version and whether it is the free-threaded build of it: `3.13t` is that of `3.13`,
    /// as in the file name `python3.13t` and the wheel tag `cp313t` (PEP 703).
    pub fn free_threaded(wanted: &str) -> (&str, bool) {
        match wanted.strip_suffix('t') {
            Some(version) if version.ends_with(|c: char| c.is_ascii_digit()) => (version, true),
            _ => (wanted, false),
        }
    }

    fn parts(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut rest = self.text.as_str();
        while let Some(first) = rest.chars().next() {
            let class = |c: char| if c.is_ascii_digit() { 0 } else { u8::from(c.is_ascii_alphabetic()) + 1 };
            let end = rest.find(|c| class(c) != class(first)).unwrap_or(rest.len());
            let (part, tail) = rest.split_at(end);
            match class(first) {
                0 => parts.push(Part::Number(part.parse().unwrap_or(u128::MAX))),
                2 => parts.push(Part::Word(part.to_owned())),
                _ => {}
            }
            rest = tail;
        }
        parts.push(Part::End);
        parts
    }
}

fn digits(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())]
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts()).then_with(|| self.text.cmp(&other.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_sort_as_people_sort_them() {
        let ascending =
            ["3.9.20", "3.10.0a7", "3.10.0b1", "3.10.0rc2", "3.10.0", "3.10.2", "3.10.10", "3.11", "3.11.2"];
        let mut sorted = ascending.map(Version::new);
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted.map(|v| v.text), ascending);
    }

    #[test]
    fn a_series_is_not_a_prefix_of_letters() {
        let v = Version::new("3.11.2");
        assert!(v.is_within("3.11") && v.is_within("3") && v.is_within("3.11.2"));
        assert!(!v.is_within("3.1") && !v.is_within("3.11.20"));
        assert_eq!(Version::new("3.15.0rc1").series(), "3.15");
        assert!(Version::new("3.15.0rc1").is_prerelease() && !v.is_prerelease());
    }

    #[test]
    fn a_t_after_a_digit_asks_for_free_threading() {
        for (asked, version) in [("3.13t", "3.13"), ("3.13.5t", "3.13.5"), ("3.15.0rc1t", "3.15.0rc1"), ("3t", "3")] {
            assert_eq!(Version::free_threaded(asked), (version, true));
        }
        for asked in ["3.13", "3.13.5", "3.15.0rc1", "t", "", "3.13.t"] {
            assert_eq!(Version::free_threaded(asked), (asked, false));
        }
    }
}
