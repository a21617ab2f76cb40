//! Secrets are taken out of what a step prints, before anybody is told or anything is written.
//!
//! Looked for are the bytes of every secret that the step was given, without white space around them, and of one with
//! several lines each line of eight bytes and more, because a file is seldom printed whole. What has fewer than four
//! bytes is no secret that could be kept, and would take half the log with it. A secret that is printed in another form
//! (base64, reversed, in hexadecimal) is not found: this guards against accidents, not against the step.

use std::collections::BTreeSet;

use super::inputs::SecretValue;

/// Fewest bytes of a secret, and of a line of one.
const SHORTEST: usize = 4;
const SHORTEST_LINE: usize = 8;

/// What stands in the place of a secret.
const MASK: &[u8] = b"***";

/// Takes secrets out of a stream that comes in pieces.
pub(super) struct Scrub {
    /// Longest first, so that of two secrets that begin alike the longer one counts.
    patterns: Vec<Vec<u8>>,
    /// The end of what came, which may be the beginning of a secret.
    held: Vec<u8>,
}

impl Scrub {
    pub(super) fn new<'a>(secrets: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let mut patterns = BTreeSet::new();
        for SecretValue(secret) in secrets {
            let whole = secret.trim_ascii();
            let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            patterns.extend(lines.filter(|line| line.len() >= SHORTEST_LINE).map(<[u8]>::to_vec));
            patterns.extend(Some(whole).filter(|whole| whole.len() >= SHORTEST).map(<[u8]>::to_vec));
        }
        let mut patterns: Vec<Vec<u8>> = patterns.into_iter().collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.len()));
        Self { patterns, held: Vec::new() }
    }

    /// Hands on what of `data` cannot be the beginning of a secret.
    pub(super) fn take(&mut self, data: &[u8], hand_on: &mut dyn FnMut(&[u8])) {
        if self.patterns.is_empty() {
            return hand_on(data);
        }
        self.held.extend_from_slice(data);
        self.pass(false, hand_on);
    }

    /// Hands on the rest.
    pub(super) fn finish(&mut self, hand_on: &mut dyn FnMut(&[u8])) {
        self.pass(true, hand_on);
    }

    fn pass(&mut self, last: bool, hand_on: &mut dyn FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        let mut out = Vec::with_capacity(held.len());
        let mut at = 0;
        while at < held.len() {
            let rest = &held[at..];
            // A longer secret may be on its way where a shorter one is here already.
            let begun = |pattern: &Vec<u8>| !last && pattern.len() > rest.len() && pattern.starts_with(rest);
            if self.patterns.iter().any(begun) {
                break;
            }
            if let Some(found) = self.patterns.iter().find(|pattern| rest.starts_with(pattern)) {
                out.extend_from_slice(MASK);
                at += found.len();
            } else {
                out.push(rest[0]);
                at += 1;
            }
        }
        self.held = held[at..].to_vec();
        if !out.is_empty() {
            hand_on(&out);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrub<'a>(secrets: &[&str], pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let secrets: Vec<SecretValue> = secrets.iter().map(|text| SecretValue(text.as_bytes().to_vec())).collect();
        let mut out = Vec::new();
        let mut hand_on = |data: &[u8]| out.extend_from_slice(data);
        let mut scrub = Scrub::new(&secrets);
        for piece in pieces {
            scrub.take(piece, &mut hand_on);
        }
        scrub.finish(&mut hand_on);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_secret_is_masked_wherever_it_stands() {
        for (secrets, printed, wanted) in [
            (&["token"][..], "a token, tokentoken\n", "a ***, ******\n"),
            (&["token\n"], "token\n", "***\n"),
            (&["token", "token-of-mine"], "token-of-mine token-of- token", "*** ***-of- ***"),
            (&["aaab"], "aaaab", "a***"),
            (&["abc", ""], "abc", "abc"),
            (&["first line\nof\nmany lines\n"], "many lines first line\r\nof", "*** ***\r\nof"),
            (&["first line\nsecond line"], "first line\nsecond line\n", "***\n"),
            (&[], "anything", "anything"),
        ] {
            assert_eq!(scrub(secrets, [printed.as_bytes()]), wanted, "{secrets:?}");
        }
    }

    #[test]
    fn only_what_may_become_a_secret_is_held_back() {
        let mut scrub = Scrub::new([&SecretValue(b"secret".to_vec())]);
        let seen = |scrub: &mut Scrub, piece: &[u8]| {
            let mut out = Vec::new();
            scrub.take(piece, &mut |data| out.extend_from_slice(data));
            String::from_utf8(out).expect("text")
        };
        assert_eq!(seen(&mut scrub, b"password? "), "password? ");
        assert_eq!(seen(&mut scrub, b"sec"), "");
        assert_eq!(seen(&mut scrub, b"tor"), "sector");
        assert_eq!(seen(&mut scrub, b" sec"), " ");
        assert_eq!(seen(&mut scrub, b"ret!"), "***!");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[abc\n]{0,60}", secret in "[abc]{4,6}", other in "[ab]{4,9}", size in 1_usize..9) {
            let whole = scrub(&[&secret, &other], [text.as_bytes()]);
            let pieces = scrub(&[&secret, &other], text.as_bytes().chunks(size));
            prop_assert_eq!(&whole, &pieces);
            prop_assert!(!whole.contains(&secret) && !whole.contains(&other));
        }
    }
}
