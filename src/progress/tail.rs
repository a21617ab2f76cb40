//! The last lines of what a step printed: what an error shows of it.

use std::collections::VecDeque;

/// How many lines are kept.
const LINES: usize = 20;

/// A line longer than this many bytes is cut.
const LONGEST: usize = 2000;

/// Takes output as it comes, in pieces of any size, and keeps its last lines; its size is bounded whatever is printed.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<String>,
    partial: Vec<u8>,
}

impl Tail {
    /// Takes more output.
    pub fn take(&mut self, data: &[u8]) {
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(self.partial.len());
            self.partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Returns the last lines, the oldest first; one that has not ended counts.
    pub fn into_lines(mut self) -> Vec<String> {
        if !self.partial.is_empty() {
            self.end_line();
        }
        self.lines.into()
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_whatever_the_pieces_and_long_ones_are_cut() {
        let mut tail = Tail::default();
        for number in 0..25 {
            tail.take(b"line ");
            tail.take(format!("{number}\n").as_bytes());
        }
        tail.take(&[b'x'; 3 * LONGEST]);
        let lines = tail.into_lines();
        assert_eq!((lines.len(), lines[0].as_str(), lines[18].as_str()), (LINES, "line 6", "line 24"));
        assert_eq!(lines[19].len(), LONGEST);
        assert!(Tail::default().into_lines().is_empty());
    }
}
