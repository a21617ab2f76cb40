//! Numbers for people.

use std::time::Duration;

/// Returns a number of bytes with a decimal unit and three figures: `532 B`, `1.32 MB`, `85.1 MB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut unit = 0;
    let mut scale = 1_u64;
    // The next unit begins where this one would round to four figures.
    while unit + 1 < UNITS.len() && bytes / scale >= 1000 {
        scale *= 1000;
        unit += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "three figures are shown")]
    let value = bytes as f64 / scale as f64;
    let name = UNITS[unit];
    match value {
        _ if unit == 0 => format!("{bytes} {name}"),
        v if v < 9.995 => format!("{v:.2} {name}"),
        v if v < 99.95 => format!("{v:.1} {name}"),
        v => format!("{v:.0} {name}"),
    }
}

/// Returns a span of time at the precision a person wants: `0.31s`, `12.4s`, `2m05s`, `1h02m`.
pub fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        s if s < 9.995 => format!("{s:.2}s"),
        s if s < 59.95 => format!("{s:.1}s"),
        s if s < 3599.5 => {
            let whole = whole(s);
            format!("{}m{:02}s", whole / 60, whole % 60)
        }
        s => {
            let minutes = whole(s / 60.0);
            format!("{}h{:02}m", minutes / 60, minutes % 60)
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a span of time is small and not negative")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_figures() {
        for (given, shown) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (1_325_737, "1.33 MB"),
            (85_120_000, "85.1 MB"),
            (999_400_000, "999 MB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(given), shown);
        }
    }

    #[test]
    fn times_are_as_exact_as_they_are_short() {
        for (milliseconds, shown) in [
            (0, "0.00s"),
            (310, "0.31s"),
            (9_996, "10.0s"),
            (12_400, "12.4s"),
            (59_990, "1m00s"),
            (125_000, "2m05s"),
            (3_599_700, "1h00m"),
            (3_720_000, "1h02m"),
        ] {
            assert_eq!(elapsed(Duration::from_millis(milliseconds)), shown);
        }
    }
}
