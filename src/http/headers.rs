//! What servers say of time, read strictly: pure functions.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the seconds since 1970 of a date such as `Wed, 21 Oct 2026 07:28:00 GMT` (RFC 9110 section 5.6.7).
pub fn http_date(date: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(date.trim()).ok().map(|zoned| zoned.timestamp().as_second())
}

/// Returns how long a server asks to wait (RFC 9110 section 10.2.3); a date is measured against the server's own.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wait = text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = wait.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let seconds = http_date(wait)?.checked_sub(http_date(text(headers, DATE)?)?)?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a header"))).collect()
    }

    #[test]
    fn a_server_may_name_seconds_or_a_date_to_wait_for() {
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "7")])), Some(Duration::from_secs(7)));
        let date = [(RETRY_AFTER, "Wed, 21 Oct 2026 07:28:10 GMT"), (DATE, "Wed, 21 Oct 2026 07:28:00 GMT")];
        assert_eq!(retry_after(&headers(&date)), Some(Duration::from_secs(10)));
        assert_eq!(retry_after(&headers(&date[..1])), None);
        assert_eq!(retry_after(&headers(&[(RETRY_AFTER, "-3")])), None);
    }
}
