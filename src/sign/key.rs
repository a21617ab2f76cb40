//! Secret keys as gpg lists them (`doc/DETAILS` of GnuPG, format of the colon listings).

use super::error::SignError;
use super::gpg::{Gpg, Status};

/// A secret key that may sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Of the primary key, 40 or 64 upper-case hexadecimal digits.
    pub fingerprint: String,
    /// Whose it is: the first user ID.
    pub user: String,
    /// When it ends, seconds since 1970; `None` for never.
    pub expires: Option<i64>,
}

#[derive(Debug, Default)]
struct Listed {
    validity: String,
    created: i64,
    expires: Option<i64>,
    capabilities: String,
    fingerprint: String,
    user: String,
}

/// Finds the one secret key that `id` means; without one, the only one there is.
pub(super) fn find(gpg: &Gpg, id: Option<&str>, place: &str, now: i64) -> Result<Key, SignError> {
    let mut arguments = vec!["--with-colons", "--fixed-list-mode", "--list-secret-keys"];
    if let Some(id) = id {
        arguments.extend(["--", id]);
    }
    let answer = gpg.run(Status::Error, &arguments, b"")?;
    let mut listed = parse(&String::from_utf8_lossy(&answer.out));
    let shown = || id.unwrap_or("any").to_owned();
    if listed.len() > 1 {
        let fingerprints = listed.into_iter().map(|key| key.fingerprint).collect();
        return Err(SignError::Ambiguous { id: shown(), fingerprints });
    }
    let Some(key) = listed.pop() else {
        return Err(SignError::NoKey { id: shown(), place: place.to_owned() });
    };
    // Clocks of machines differ by seconds.
    if key.created > now.saturating_add(CLOCKS) {
        return Err(SignError::KeyOfTheFuture { fingerprint: key.fingerprint, seconds: key.created - now });
    }
    let why = match key.validity.as_str() {
        "r" => Some("was revoked".to_owned()),
        "e" => Some(format!("has expired{}", key.expires.map(|at| format!(" on {}", day(at))).unwrap_or_default())),
        _ if key.capabilities.contains('D') => Some("is disabled".to_owned()),
        // Upper case: the whole of it can, by whichever of its subkeys.
        _ if !key.capabilities.contains('S') => Some("is not for signing".to_owned()),
        _ => None,
    };
    let Listed { fingerprint, user, expires, .. } = key;
    match why {
        Some(why) => Err(SignError::Unusable { fingerprint, user, why }),
        None => Ok(Key { fingerprint, user, expires }),
    }
}

/// Seconds that clocks may differ by.
pub(super) const CLOCKS: i64 = 600;

/// The day of a time, as everybody writes it.
pub(super) fn day(seconds: i64) -> String {
    let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

fn parse(listing: &str) -> Vec<Listed> {
    let mut keys: Vec<Listed> = Vec::new();
    for line in listing.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        match (field(0), keys.last_mut()) {
            ("sec", _) => keys.push(Listed {
                validity: field(1).to_owned(),
                created: field(5).parse().unwrap_or_default(),
                expires: field(6).parse().ok(),
                capabilities: field(11).to_owned(),
                ..Listed::default()
            }),
            // Those of subkeys come later.
            ("fpr", Some(key)) if key.fingerprint.is_empty() => field(9).clone_into(&mut key.fingerprint),
            ("uid", Some(key)) if key.user.is_empty() => key.user = unescape(field(9)),
            _ => {}
        }
    }
    keys
}

/// Colons and control characters are `\x3a` and the like; they stay what they look like.
fn unescape(text: &str) -> String {
    text.replace("\\x3a", ":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_key_by_key() {
        let listing = "tru::1:1:2:3\n\
            sec:u:255:22:2B58:1795714928:1827250928::u:::scSC:::+::ed25519:::0:\n\
            fpr:::::::::AAAA:\nuid:u::::1::H::Release \\x3a x <r@example.org>::::::::::0:\nuid:u::::1::H::Other:::\n\
            ssb:u:255:22:1:1:::::s:::+:\nfpr:::::::::BBBB:\n\
            sec:e:255:22:3:5:::u:::sc::::::\nfpr:::::::::CCCC:\n";
        let keys = parse(listing);
        assert_eq!(keys.len(), 2);
        assert_eq!((keys[0].fingerprint.as_str(), keys[0].user.as_str()), ("AAAA", "Release : x <r@example.org>"));
        assert_eq!((keys[0].created, keys[0].expires), (1_795_714_928, Some(1_827_250_928)));
        assert_eq!((keys[1].validity.as_str(), keys[1].expires), ("e", None));
        assert_eq!(day(1_795_714_928), "2026-11-26");
    }
}
