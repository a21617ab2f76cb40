//! Times as Go writes them (`time.ParseDuration`), which containerd's files hold.

use std::time::Duration;

/// Units in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1m30s`, `1.5s` or `0`; nothing negative and nothing longer than a day.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, next) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let number: f64 = number.parse().ok()?;
        let (_, nanoseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let unit = Duration::from_nanos(*nanoseconds).as_secs_f64();
        total = total.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
        rest = next;
    }
    (total <= Duration::from_hours(24)).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, milliseconds) in
            [("0", 0), ("3s", 3000), ("1.5s", 1500), ("1m30s", 90_000), ("250ms", 250), (".5s", 500), ("+2s", 2000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "3", "s", "-3s", "3 s", "1d", "1..5s", "1000000h", "1e9s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
