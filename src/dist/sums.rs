//! `SHA256SUMS`, as `sha256sum(1)` writes and reads it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::oci::Digest;

/// The name of the file.
pub const SUMS: &str = "SHA256SUMS";

/// The longest name of a file.
const LONGEST: usize = 128;

/// Reads the sums of files, each of which may be named once.
///
/// # Errors
/// The number of the line, from 1, and what is wrong with it.
pub fn parse(text: &str) -> Result<BTreeMap<String, Digest>, (usize, String)> {
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let wrong = |reason: &str| (index + 1, reason.to_owned());
        let (hex, name) = line.split_at_checked(64).ok_or_else(|| wrong("not `<64 hexadecimal digits>  <name>`"))?;
        let digest = Digest::from_hex(hex).map_err(|error| (index + 1, error.to_string()))?;
        // Two spaces for text, a space and an asterisk for binary: the same on this system.
        let name = name.strip_prefix("  ").or_else(|| name.strip_prefix(" *"));
        let name = name.ok_or_else(|| wrong("not `<64 hexadecimal digits>  <name>`"))?;
        if !is_plain(name) {
            return Err((index + 1, format!("`{}` is no name of a file of this directory", name.escape_debug())));
        }
        if sums.insert(name.to_owned(), digest).is_some() {
            return Err((index + 1, format!("`{name}` for the second time")));
        }
    }
    if sums.is_empty() { Err((1, "no sums".to_owned())) } else { Ok(sums) }
}

/// Writes sums as `sha256sum` does, in the order of names.
pub fn render(sums: &BTreeMap<String, Digest>) -> String {
    sums.iter().fold(String::new(), |mut text, (name, digest)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}  {name}", digest.hex());
        text
    })
}

/// Tells whether a name means the same in a URL, a shell and on every disk, and stays in its directory.
pub fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    !name.is_empty() && name.len() <= LONGEST && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_round_trip() {
        let sums = BTreeMap::from([("a.tar.gz".to_owned(), Digest::of(b"a")), ("b".to_owned(), Digest::of(b"b"))]);
        assert_eq!(parse(&render(&sums)), Ok(sums.clone()));
        let binary = render(&sums).replace("  ", " *");
        assert_eq!(parse(&binary), Ok(sums));
    }

    #[test]
    fn sums_of_anything_but_plain_files_of_the_directory_are_refused() {
        let hex = Digest::of(b"").hex();
        let line = |name: &str| format!("{hex}  {name}\n");
        for text in [
            String::new(),
            line("../a"),
            line("a/b"),
            line("/etc/passwd"),
            line(".hidden"),
            line("-rf"),
            line("a b"),
            line("a\u{7}"),
            line("ä"),
            line(""),
            line(&"a".repeat(129)),
            line("a") + &line("a"),
            format!("{hex} a\n"),
            format!("{}  a\n", &hex[..63]),
            format!("{}  a\n", hex.to_uppercase()),
            "ä".repeat(64),
        ] {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
}
