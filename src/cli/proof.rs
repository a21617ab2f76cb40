//! The table of `dockless test`.

use std::path::Path;

use super::progress::clean;
use super::table::{Align, Table};
use crate::oci::Arch;
use crate::release::{self, Outcome, Proof, Sizes};

/// Returns the table of a proof, the verdict last.
pub(super) fn render(tarball: &Path, proof: &Proof) -> String {
    let mut table = Table::new(&[
        ("group", Align::Left),
        ("check", Align::Left),
        ("", Align::Left),
        ("time", Align::Right),
        ("", Align::Left),
    ]);
    for row in &proof.rows {
        let outcome = match row.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::Skipped => "skipped",
            Outcome::Noticed => "notice",
        };
        let time = row.elapsed.map(|time| format!("{:.1}s", time.as_secs_f64())).unwrap_or_default();
        table.row([row.group.as_str(), row.name.as_str(), outcome, &time, &clean(row.detail.as_bytes())]);
    }
    let count = |outcome| proof.rows.iter().filter(|row| row.outcome == outcome).count();
    let (passed, failed) = (count(Outcome::Passed) + count(Outcome::Noticed), count(Outcome::Failed));
    let skipped = match count(Outcome::Skipped) {
        0 => String::new(),
        skipped => format!(", {skipped} skipped"),
    };
    let arch = proof.arch.map_or("unknown architecture", Arch::name);
    let head = format!("{} ({arch}, {})\n", tarball.display(), proof.digest);
    format!("{head}{}{passed} passed, {failed} failed{skipped}", table.render(None))
}

/// Returns what a tree consists of, the largest first, and what its interpreter does.
pub(super) fn render_sizes(sizes: &Sizes) -> String {
    let mut table = Table::new(&[
        ("part", Align::Left),
        ("files", Align::Right),
        ("bytes", Align::Right),
        ("compressed", Align::Right),
    ]);
    let mut parts: Vec<_> = sizes.parts.iter().collect();
    parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.compressed));
    let sum = |of: fn(&release::Part) -> u64| sizes.parts.values().map(of).sum::<u64>();
    let all = release::Part {
        files: sum(|part| part.files),
        bytes: sum(|part| part.bytes),
        compressed: sum(|part| part.compressed),
    };
    for (name, part) in parts.into_iter().map(|(name, part)| (name.as_str(), part)).chain([("all", &all)]) {
        let name = clean(name.as_bytes());
        table.row([name, part.files.to_string(), part.bytes.to_string(), part.compressed.to_string()]);
    }
    let mut inside = Table::new(&[("in the interpreter", Align::Left), ("bytes", Align::Right)]);
    let mut components: Vec<_> = sizes.inside.iter().collect();
    components.sort_by_key(|(_, bytes)| std::cmp::Reverse(**bytes));
    for (name, bytes) in components {
        inside.row([clean(name.as_bytes()), bytes.to_string()]);
    }
    format!("\n{}\n{}", table.render(None), inside.render(None)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::release::Row;

    fn proof(outcomes: &[Outcome]) -> Proof {
        let row = |outcome: &Outcome| Row {
            group: "display".to_owned(),
            name: "window".to_owned(),
            outcome: *outcome,
            detail: "no Xvfb".to_owned(),
            elapsed: None,
        };
        Proof { digest: Digest::of(b""), arch: None, rows: outcomes.iter().map(row).collect(), sizes: None }
    }

    #[test]
    fn what_was_skipped_is_said_and_fails_nothing() {
        let skipped = proof(&[Outcome::Passed, Outcome::Skipped]);
        let table = render(Path::new("a.tar.gz"), &skipped);
        assert!(table.contains("skipped  ") && table.ends_with("1 passed, 0 failed, 1 skipped"), "{table}");
        assert!(skipped.passed() && !proof(&[Outcome::Skipped, Outcome::Failed]).passed());
    }

    #[test]
    fn a_proof_remembers_what_was_skipped() {
        let rows = proof(&[Outcome::Skipped]).rows;
        let kept: Vec<Row> = serde_json::from_slice(&serde_json::to_vec(&rows).expect("JSON")).expect("rows");
        assert_eq!((kept[0].outcome, kept[0].detail.as_str()), (Outcome::Skipped, "no Xvfb"));
    }
}
