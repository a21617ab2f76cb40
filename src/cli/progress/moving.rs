//! What moves on within one vertex: files being fetched, packages being unpacked.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::units::bytes;

/// Span over which a rate is measured: long enough to be calm, short enough to notice a stall.
const WINDOW: Duration = Duration::from_secs(5);
/// Least distance of two samples of a rate.
const SPACING: Duration = Duration::from_millis(200);

/// One thing that moves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Item {
    /// Units done.
    pub(super) current: u64,
    /// Units in all, where known.
    pub(super) total: Option<u64>,
}

impl Item {
    /// Whether nothing is left to do, as far as is known.
    pub(super) fn is_done(&self) -> bool {
        self.total.is_some_and(|total| self.current >= total)
    }
}

/// Everything that moves within one vertex.
#[derive(Debug, Default)]
pub(super) struct Moving {
    items: BTreeMap<String, Item>,
    samples: VecDeque<(Duration, u64)>,
}

/// The files of a vertex taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum {
    /// Files seen so far.
    pub(super) files: usize,
    /// Files that are complete.
    pub(super) complete: usize,
    /// Bytes of all files; the total only where every file's is known.
    pub(super) bytes: Item,
    /// Bytes a second lately.
    pub(super) rate: Option<u64>,
}

/// Whether `id` names a kind of things that are counted (`packages`), and not a file whose bytes are.
///
/// A kind ends with a plural word and has lower-case letters and blanks only; a file name has a dot, a digit, a colon
/// or a dash.
pub(super) fn is_count(id: &str) -> bool {
    id.ends_with('s') && id.bytes().all(|b| b.is_ascii_lowercase() || b == b' ')
}

impl Moving {
    /// Takes what `Event::Status` says.
    pub(super) fn update(&mut self, now: Duration, id: &str, item: Item) {
        if let Some(known) = self.items.get_mut(id) {
            // Threads that count together tell their numbers in any order; of a file, less means that it began anew.
            let most = if is_count(id) { known.current } else { 0 };
            *known = Item { current: item.current.max(most), total: item.total };
        } else {
            // A part that an earlier run had fetched already is no speed of this one; a file that is first heard of
            // when it is complete came just now.
            let before: u64 = if is_count(id) || item.is_done() { 0 } else { item.current };
            self.samples.iter_mut().for_each(|sample| sample.1 = sample.1.saturating_add(before));
            self.items.insert(id.to_owned(), item);
        }
        let sum = self.bytes().current;
        if self.samples.back().is_none_or(|last| now >= last.0 + SPACING) {
            self.samples.push_back((now, sum));
        }
        while self.samples.len() > 2 && self.samples[1].0 + WINDOW <= now {
            self.samples.pop_front();
        }
    }

    /// Whether anything has been told.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Returns what is under way, by name.
    pub(super) fn active(&self) -> impl Iterator<Item = (&str, Item)> {
        self.items.iter().filter(|(_, item)| !item.is_done()).map(|(id, item)| (id.as_str(), *item))
    }

    fn files(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|(id, _)| !is_count(id)).map(|(_, item)| item)
    }

    fn bytes(&self) -> Item {
        self.files().fold(Item { current: 0, total: Some(0) }, |sum, item| Item {
            current: sum.current.saturating_add(item.current),
            total: sum.total.zip(item.total).map(|(a, b)| a.saturating_add(b)),
        })
    }

    /// Returns the files taken together; `None` where no file moves.
    pub(super) fn sum(&self, now: Duration) -> Option<Sum> {
        let files = self.files().count();
        let complete = self.files().filter(|item| item.is_done()).count();
        (files > 0).then(|| Sum { files, complete, bytes: self.bytes(), rate: self.rate(now) })
    }

    fn rate(&self, now: Duration) -> Option<u64> {
        let (since, before) = *self.samples.front()?;
        let passed = now.checked_sub(since).filter(|passed| *passed >= SPACING)?;
        let moved = u128::from(self.bytes().current.saturating_sub(before));
        u64::try_from(moved * 1000 / passed.as_millis().max(1)).ok()
    }

    /// Says in words how far everything is: `31 of 112 files, 20.1 of 85.0 MB, 5.10 MB/s`.
    pub(super) fn words(&self, now: Duration) -> String {
        let mut words: Vec<String> = self.items.iter().filter(|(id, _)| is_count(id)).map(count_words).collect();
        if let Some(sum) = self.sum(now) {
            if sum.files > 1 {
                let done = sum.complete == sum.files;
                words.push(if done {
                    format!("{} files", sum.files)
                } else {
                    format!("{} of {} files", sum.complete, sum.files)
                });
            }
            words.push(amount(sum.bytes));
            if let Some(rate) = sum.rate.filter(|_| sum.complete < sum.files) {
                words.push(format!("{}/s", bytes(rate)));
            }
        }
        words.join(", ")
    }
}

fn count_words((id, item): (&String, &Item)) -> String {
    format!("{id} {}", count(*item))
}

/// Says how much of how much: of a file `3.20 of 8.10 MB`, of things `31 of 112`.
pub(super) fn measure(id: &str, item: Item) -> String {
    if is_count(id) { count(item) } else { amount(item) }
}

fn count(item: Item) -> String {
    match item.total {
        Some(total) if item.current < total => format!("{} of {total}", item.current),
        _ => item.current.to_string(),
    }
}

/// Says how many bytes of how many: `3.20 of 8.10 MB`, and only `8.10 MB` when all are there.
fn amount(item: Item) -> String {
    let current = bytes(item.current);
    let Some(total) = item.total.filter(|total| item.current < *total).map(bytes) else { return current };
    match (current.split_once(' '), total.split_once(' ')) {
        (Some((number, unit)), Some((_, other))) if unit == other => format!("{number} of {total}"),
        _ => format!("{current} of {total}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn item(current: u64, total: u64) -> Item {
        Item { current, total: Some(total) }
    }

    #[test]
    fn files_are_summed_and_their_rate_is_measured() {
        let mut moving = Moving::default();
        moving.update(Duration::ZERO, "a.deb", item(0, 4_000_000));
        moving.update(Duration::from_secs(1), "a.deb", item(2_000_000, 4_000_000));
        assert_eq!(moving.words(Duration::from_secs(1)), "2.00 of 4.00 MB, 2.00 MB/s");
        moving.update(Duration::from_secs(2), "a.deb", item(4_000_000, 4_000_000));
        moving.update(Duration::from_secs(2), "b.deb", Item { current: 10, total: None });
        assert_eq!(moving.words(Duration::from_secs(2)), "1 of 2 files, 4.00 MB, 2.00 MB/s");
        assert_eq!(moving.active().map(|(id, _)| id).collect::<Vec<_>>(), ["b.deb"]);
    }

    #[test]
    fn a_stall_shows_as_a_falling_rate_and_a_resumed_part_as_none() {
        let mut moving = Moving::default();
        moving.update(Duration::ZERO, "a.deb", item(3_000_000, 4_000_000));
        assert_eq!(moving.sum(Duration::from_secs(1)).and_then(|sum| sum.rate), Some(0));
        moving.update(Duration::from_secs(1), "a.deb", item(3_900_000, 4_000_000));
        assert_eq!(moving.sum(Duration::from_secs(1)).and_then(|sum| sum.rate), Some(900_000));
        assert_eq!(moving.sum(Duration::from_secs(9)).and_then(|sum| sum.rate), Some(100_000));
    }

    #[test]
    fn small_files_that_come_whole_count_for_the_rate() {
        let mut moving = Moving::default();
        for second in 1..=4 {
            moving.update(Duration::from_secs(second), &format!("{second}.deb"), item(500_000, 500_000));
        }
        assert_eq!(moving.sum(Duration::from_secs(4)).and_then(|sum| sum.rate), Some(500_000));
    }

    #[test]
    fn things_are_counted_and_files_are_weighed() {
        let mut moving = Moving::default();
        moving.update(Duration::ZERO, "unpacking packages", item(31, 112));
        assert_eq!(moving.words(Duration::ZERO), "unpacking packages 31 of 112");
        moving.update(Duration::ZERO, "unpacking packages", item(30, 112));
        assert_eq!(moving.words(Duration::ZERO), "unpacking packages 31 of 112");
        assert_eq!(measure("unpacking packages", item(31, 112)), "31 of 112");
        assert_eq!(measure("packages.tar", item(31, 112)), "31 of 112 B");
        moving.update(Duration::ZERO, "unpacking packages", item(112, 112));
        assert_eq!(moving.words(Duration::ZERO), "unpacking packages 112");
        assert!(moving.sum(Duration::ZERO).is_none());
        for file in ["sha256:00", "zlib_1.3.tar.gz", "x", "linux-libs"] {
            assert!(!is_count(file), "{file}");
        }
    }
}
