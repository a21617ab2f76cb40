//! Output of steps, cut at line ends.

/// Longest line that is kept together, in bytes; a step that writes no line ends is cut here.
const LONGEST: usize = 16 * 1024;

/// Joins pieces of output into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Takes a piece of output and hands on each line that it completes, without its line end.
    pub(super) fn push(&mut self, mut data: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = data.iter().position(|&b| b == b'\n') {
            if self.pending.is_empty() {
                pieces(&data[..end], &mut line);
            } else {
                self.pending.extend_from_slice(&data[..end]);
                pieces(&self.pending, &mut line);
                self.pending.clear();
            }
            data = &data[end + 1..];
        }
        self.pending.extend_from_slice(data);
        while self.pending.len() > LONGEST {
            let cut = boundary(&self.pending, LONGEST);
            line(&self.pending[..cut]);
            self.pending.drain(..cut);
        }
    }

    /// Returns what has come since the last line end.
    pub(super) fn pending(&self) -> &[u8] {
        &self.pending
    }

    /// Hands on what has come since the last line end, if anything.
    pub(super) fn finish(&mut self, line: impl FnOnce(&[u8])) {
        if !self.pending.is_empty() {
            line(&self.pending);
            self.pending.clear();
        }
    }
}

/// Hands on one line in pieces of at most [`LONGEST`] bytes.
fn pieces(mut text: &[u8], line: &mut impl FnMut(&[u8])) {
    while text.len() > LONGEST {
        let cut = boundary(text, LONGEST);
        line(&text[..cut]);
        text = &text[cut..];
    }
    line(text);
}

/// Returns the end of the last whole character at or before `at`; `at` itself where the bytes are no UTF-8.
fn boundary(text: &[u8], at: usize) -> usize {
    let is_boundary = |index: &usize| text[*index] & 0xc0 != 0x80;
    (at.saturating_sub(3)..=at).rev().find(is_boundary).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        let mut keep = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        for piece in pieces {
            lines.push(piece, &mut keep);
        }
        lines.finish(&mut keep);
        found
    }

    #[test]
    fn lines_are_the_same_however_the_output_was_cut() {
        let text = "one\n\nzwölf\nlast".as_bytes();
        let whole = lines(&[text]);
        assert_eq!(whole, ["one", "", "zwölf", "last"]);
        for cut in 0..text.len() {
            assert_eq!(lines(&[&text[..cut], &text[cut..]]), whole);
        }
    }

    #[test]
    fn output_without_line_ends_is_handed_on_in_bounded_pieces() {
        let text = "ä".repeat(LONGEST);
        let found = lines(&[text.as_bytes()]);
        assert!(found.iter().all(|line| line.len() <= LONGEST && !line.contains('\u{fffd}')));
        assert_eq!(found.concat(), text);
        assert_eq!(lines(&[text.as_bytes(), b"\n"]).concat(), text);
    }
}
