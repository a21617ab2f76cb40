//! Names that strangers give to files, made harmless (`source/util/pathutil`).

use reqwest::Url;

/// What a file is called whose name is none.
const DEFAULT: &str = "download";

/// Returns the last element of `name` where it can be a file name, else `download`.
pub(super) fn safe(name: &str) -> String {
    let last = name.trim().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let harmless = !matches!(last, "" | "." | "..") && last.len() <= 255 && !last.chars().any(char::is_control);
    if harmless { last.to_owned() } else { DEFAULT.to_owned() }
}

/// Returns the last element of an address' path.
pub(super) fn from_url(url: &Url) -> String {
    decoded(url.path()).map_or_else(|| DEFAULT.to_owned(), |path| safe(&path))
}

/// Returns the name in a `Content-Disposition` (RFC 6266), the one with an encoding before the plain one.
pub(super) fn from_disposition(text: &str) -> Option<String> {
    let (mut plain, mut encoded) = (None, None);
    let mut rest = text.split_once(';')?.1;
    while let Some((name, after)) = rest.split_once('=') {
        let value;
        (value, rest) = parameter(after)?;
        match name.trim().to_ascii_lowercase().as_str() {
            "filename" => plain = Some(value),
            "filename*" => {
                let (charset, value) =
                    value.split_once('\'').and_then(|(set, rest)| Some((set, rest.split_once('\'')?.1)))?;
                encoded = charset.eq_ignore_ascii_case("utf-8").then(|| decoded(value)).flatten();
            }
            _ => {}
        }
    }
    let name = encoded.or(plain).filter(|name| !name.is_empty() && !name.ends_with('/'))?;
    Some(safe(&name))
}

/// A token or a quoted string, and what follows the next semicolon.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (token, rest) = text.split_once(';').unwrap_or((text, ""));
        return Some((token.trim().to_owned(), rest));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            '"' if !escaped => {
                let rest = quoted[at + 1..].trim_start();
                return Some((value, rest.strip_prefix(';').unwrap_or(rest)));
            }
            '\\' if !escaped => escaped = true,
            c => {
                escaped = false;
                value.push(c);
            }
        }
    }
    None
}

/// Undoes percent-encoding; `None` for what is not UTF-8 then.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_outside_is_one_plain_file_name() {
        for (name, expected) in [
            ("a.txt", "a.txt"),
            (" /etc/passwd ", "passwd"),
            ("..", DEFAULT),
            ("../..", DEFAULT),
            ("", DEFAULT),
            ("/", DEFAULT),
            ("a\nb", DEFAULT),
            ("a\0", DEFAULT),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
        let url = |text: &str| from_url(&Url::parse(text).expect("a URL"));
        assert_eq!(url("http://h/a/b%20c?x=/y#z"), "b c");
        assert_eq!(url("http://h/a/%2e%2e"), DEFAULT);
        assert_eq!(url("http://h/a/x%2Fy"), "y");
        assert_eq!(url("http://h/%ff"), DEFAULT);
    }

    #[test]
    fn a_disposition_is_read_as_servers_write_it() {
        let read = |text: &str| from_disposition(text);
        assert_eq!(read("attachment; filename=\"a b.txt\"").as_deref(), Some("a b.txt"));
        assert_eq!(read("attachment; filename=a.txt; size=3").as_deref(), Some("a.txt"));
        assert_eq!(read("inline; filename=\"x\"; filename*=UTF-8''%e2%82%ac").as_deref(), Some("€"));
        assert_eq!(read("attachment; filename=\"../../etc/passwd\"").as_deref(), Some("passwd"));
        assert_eq!(read("attachment; filename=\"a\\\"b\"").as_deref(), Some("a\"b"));
        for text in
            ["attachment", "attachment; filename=\"a", "attachment; filename=\"a/\"", "", ";=;=", "a;filename*=x"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
