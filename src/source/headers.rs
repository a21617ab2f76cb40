//! What the headers of an answer say, read strictly: pure functions.

use std::time::Duration;

use reqwest::header::{CONTENT_RANGE, DATE, HeaderMap, HeaderName, RETRY_AFTER};

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// Parses `Content-Range: bytes 5-9/10` (RFC 9110 section 14.4) into the start and the total.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.trim().parse().ok()?, total.trim().parse().ok()))
}

pub(super) fn content_range_total(headers: &HeaderMap) -> Option<u64> {
    text(headers, CONTENT_RANGE)?.strip_prefix("bytes */")?.trim().parse().ok()
}

/// Returns how long a server asks to wait (RFC 9110 section 10.2.3); a date is measured against the server's own.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let wait = text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = wait.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let parse = |date: &str| jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp().as_second());
    let seconds = parse(wait)?.checked_sub(parse(text(headers, DATE)?)?)?;
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

    #[test]
    fn ranges_are_read_strictly() {
        let read = |text| content_range(&headers(&[(CONTENT_RANGE, text)]));
        assert_eq!(read("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(read("bytes 5-9/*"), Some((5, None)));
        assert_eq!(read("bytes */10"), None);
        assert_eq!(read("pages 5-9/10"), None);
        assert_eq!(content_range_total(&headers(&[(CONTENT_RANGE, "bytes */10")])), Some(10));
    }
}
