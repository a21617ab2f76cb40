//! What the user wants to go.

use std::str::FromStr;

use regex::Regex;

use super::facts::{Kind, Unit};

/// What may go beyond what nothing can use any more; without any wish nothing else goes.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Everything, also what a lock of the project names.
    pub all: bool,
    /// Only until the store takes no more than this.
    pub keep_bytes: Option<u64>,
    /// Only what was last used before this time, in seconds since 1970.
    pub before: Option<i64>,
    /// Only what one of these takes; all where there is none. Then nothing else goes.
    pub filters: Vec<Filter>,
}

impl Policy {
    /// Tells whether the user wants more than what nothing can use any more to go.
    pub(super) fn is_wish(&self) -> bool {
        self.all || self.keep_bytes.is_some() || self.before.is_some() || !self.filters.is_empty()
    }

    /// Tells whether the filters take a unit.
    pub(super) fn takes(&self, unit: &Unit) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.takes(unit))
    }
}

/// Conditions that all must hold, separated by commas: `type=step,name~=gcc`.
#[derive(Debug, Clone)]
pub struct Filter(Vec<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    field: Field,
    negated: bool,
    test: Test,
}

#[derive(Debug, Clone, Copy)]
enum Field {
    Type,
    Name,
    Id,
}

#[derive(Debug, Clone)]
enum Test {
    Equal(String),
    Matches(Regex),
}

/// What a user wrote and cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Not a condition.
    #[error("`{text}` is no filter: write type=TYPE, name=TEXT, name~=PATTERN or id=ID, or != for what is not so")]
    Filter {
        /// The text.
        text: String,
    },
    /// Not a type.
    #[error("there is no type `{text}`: it is one of {}", Kind::NAMED.map(Kind::name).join(", "))]
    Type {
        /// The text.
        text: String,
    },
    /// Not a pattern.
    #[error("`{text}` is no regular expression")]
    Pattern {
        /// The text.
        text: String,
    },
    /// Not a size.
    #[error("`{text}` is no size: write for example 500MB, 2GB or 512MiB")]
    Size {
        /// The text.
        text: String,
    },
    /// Not a span of time.
    #[error("`{text}` is no span of time: write for example 30m, 12h, 7d or 2w")]
    Age {
        /// The text.
        text: String,
    },
}

impl FromStr for Filter {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        text.split(',').map(condition).collect::<Result<_, _>>().map(Self)
    }
}

fn condition(text: &str) -> Result<Condition, PolicyError> {
    let wrong = || PolicyError::Filter { text: text.to_owned() };
    let (left, value) = text.split_once('=').ok_or_else(wrong)?;
    // `==` is how containerd's filters write equality.
    let value = value.strip_prefix('=').unwrap_or(value);
    let (name, negated, pattern) = match (left.strip_suffix('!'), left.strip_suffix('~')) {
        (Some(name), _) => (name, true, false),
        (_, Some(name)) => (name, false, true),
        _ => (left, false, false),
    };
    let field = match name {
        "type" => Field::Type,
        "name" => Field::Name,
        "id" => Field::Id,
        _ => return Err(wrong()),
    };
    if matches!(field, Field::Type) && !pattern && Kind::NAMED.iter().all(|kind| kind.name() != value) {
        return Err(PolicyError::Type { text: value.to_owned() });
    }
    if value.is_empty() {
        return Err(wrong());
    }
    let wanted = if pattern {
        Test::Matches(Regex::new(value).map_err(|_| PolicyError::Pattern { text: value.to_owned() })?)
    } else {
        Test::Equal(value.to_owned())
    };
    Ok(Condition { field, negated, test: wanted })
}

impl Filter {
    fn takes(&self, unit: &Unit) -> bool {
        self.0.iter().all(|condition| condition.holds(unit))
    }
}

impl Condition {
    fn holds(&self, unit: &Unit) -> bool {
        let value = match self.field {
            Field::Type => unit.kind.name(),
            Field::Name => &unit.name,
            Field::Id => &unit.id,
        };
        let holds = match (&self.test, self.field) {
            // Ids are long, and tables show their beginnings.
            (Test::Equal(text), Field::Id) => value.starts_with(text.as_str()),
            (Test::Equal(text), _) => value == text,
            (Test::Matches(pattern), _) => pattern.is_match(value),
        };
        holds != self.negated
    }
}

/// Parses a size: `2GB`, `500MiB`, `1048576`.
///
/// # Errors
/// `Size`.
pub fn size(text: &str) -> Result<u64, PolicyError> {
    const UNITS: [(&str, u64); 14] = [
        ("", 1),
        ("b", 1),
        ("k", 1000),
        ("kb", 1000),
        ("m", 1_000_000),
        ("mb", 1_000_000),
        ("g", 1_000_000_000),
        ("gb", 1_000_000_000),
        ("t", 1_000_000_000_000),
        ("tb", 1_000_000_000_000),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("tib", 1 << 40),
    ];
    scaled(text, &UNITS).ok_or_else(|| PolicyError::Size { text: text.to_owned() })
}

/// Parses a span of time into seconds: `7d`, `12h`, `90m`.
///
/// # Errors
/// `Age`.
pub fn age(text: &str) -> Result<u64, PolicyError> {
    const UNITS: [(&str, u64); 5] = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400), ("w", 604_800)];
    scaled(text, &UNITS).ok_or_else(|| PolicyError::Age { text: text.to_owned() })
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].trim().to_lowercase());
    let scale = units.iter().find(|(name, _)| *name == unit)?.1;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty() || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(scale) / 10_u128.pow(u32::try_from(part.len()).ok()?);
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_are_as_people_write_them() {
        for (text, bytes) in [("2GB", 2_000_000_000), ("500MiB", 500 << 20), ("1.5 g", 1_500_000_000), ("0", 0)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, seconds) in [("7d", 604_800), ("12h", 43_200), ("0s", 0), ("1.5h", 5400)] {
            assert_eq!(age(text), Ok(seconds), "{text}");
        }
        for text in ["", "GB", "-1GB", "1..5GB", "1.GB", "5 bananas", "99999999999999999999", "99999999999TB"] {
            assert!(size(text).is_err() && age(text).is_err(), "{text}");
        }
        assert!(age("7").is_err(), "a number without a unit could be anything");
    }

    #[test]
    fn filters_say_what_is_wrong_with_them() {
        assert!("type=step,name~=^gcc,id!=ab".parse::<Filter>().is_ok());
        assert!(matches!("type=steps".parse::<Filter>(), Err(PolicyError::Type { .. })));
        assert!(matches!("name~=(".parse::<Filter>(), Err(PolicyError::Pattern { .. })));
        for text in ["", "step", "size=3", "name=", "=x"] {
            assert!(matches!(text.parse::<Filter>(), Err(PolicyError::Filter { .. })), "{text}");
        }
    }
}
