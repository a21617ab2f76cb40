//! This machine's clock against a server's.

use std::time::Duration;

use super::error::ForgeError;

/// How far a clock may be behind: what tokens, signatures and caches bear.
const BEHIND: Duration = Duration::from_mins(10);

/// Refuses a clock that is behind the server's. One that is ahead, or a server that is behind, harms nothing here.
///
/// `ours` and `theirs` are seconds since 1970.
///
/// # Errors
/// `Clock`.
pub fn check_clock(server: &str, ours: i64, theirs: Option<i64>) -> Result<(), ForgeError> {
    match theirs {
        Some(theirs) if theirs.saturating_sub(ours) > BEHIND.as_secs().cast_signed() => {
            Err(ForgeError::Clock { server: server.to_owned(), ours, theirs })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_behind_is_refused() {
        let now = 1_790_000_000;
        for (theirs, fine) in
            [(None, true), (Some(now - 99_999), true), (Some(now + 60), true), (Some(now + 601), false)]
        {
            assert_eq!(check_clock("h", now, theirs).is_ok(), fine, "{theirs:?}");
        }
        let error = check_clock("h.test", 0, Some(now)).expect_err("behind").to_string();
        assert!(error.contains("1970-01-01T00:00:00Z") && error.contains("h.test"), "{error}");
    }
}
