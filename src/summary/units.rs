//! Sizes and times for people.

/// Returns bytes in decimal units, as download pages do: `34.5 MB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1000, "kB")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => {
            let tenths = (u128::from(count) * 10 + u128::from(unit / 2)) / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

/// Returns a difference of sizes with its sign and in percent: `+1.2 MB (+3.5 %)`.
pub(super) fn change(before: u64, after: u64) -> String {
    let sign = if after >= before { '+' } else { '−' };
    let difference = after.abs_diff(before);
    if difference == 0 {
        return "same size".to_owned();
    }
    let tenths = u128::from(difference) * 1000 / u128::from(before.max(1));
    format!("{sign}{} ({sign}{}.{} %)", bytes(difference), tenths / 10, tenths % 10)
}

/// Returns seconds for people: `812 ms`, `48.1 s`, `13 min 32 s`, `2 h 5 min`.
pub(super) fn seconds(count: f64) -> String {
    let count = count.max(0.0);
    if count < 1.0 {
        return format!("{:.0} ms", count * 1000.0);
    }
    if count < 60.0 {
        return format!("{count:.1} s");
    }
    let minutes = (count / 60.0).floor();
    if minutes < 60.0 {
        return format!("{minutes:.0} min {:.0} s", (count - minutes * 60.0).floor());
    }
    let hours = (minutes / 60.0).floor();
    format!("{hours:.0} h {:.0} min", minutes - hours * 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_rounded_as_people_do() {
        for (count, text) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (34_549_999, "34.5 MB"), (34_550_000, "34.6 MB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (before, after, text) in [
            (1000, 1000, "same size"),
            (1_000_000, 1_035_000, "+35.0 kB (+3.5 %)"),
            (2_000_000, 1_000_000, "−1.0 MB (−50.0 %)"),
            (0, 5, "+5 B (+500.0 %)"),
        ] {
            assert_eq!(change(before, after), text);
        }
        for (count, text) in [(0.25, "250 ms"), (48.12, "48.1 s"), (812.9, "13 min 32 s"), (7501.0, "2 h 5 min")] {
            assert_eq!(seconds(count), text);
        }
    }
}
