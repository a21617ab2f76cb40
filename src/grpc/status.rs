//! How a call ends (`grpc/doc/statuscodes.md`).

use std::fmt;
use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

/// A code of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the words of statuscodes.md")]
pub enum Code {
    Ok = 0,
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Cancelled,
        Self::Unknown,
        Self::InvalidArgument,
        Self::DeadlineExceeded,
        Self::NotFound,
        Self::AlreadyExists,
        Self::PermissionDenied,
        Self::ResourceExhausted,
        Self::FailedPrecondition,
        Self::Aborted,
        Self::OutOfRange,
        Self::Unimplemented,
        Self::Internal,
        Self::Unavailable,
        Self::DataLoss,
        Self::Unauthenticated,
    ];

    fn parse(text: &[u8]) -> Self {
        let number: Option<usize> = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        number.and_then(|number| Self::ALL.get(number).copied()).unwrap_or(Self::Unknown)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// The code.
    pub code: Code,
    /// What went wrong, as the other side says it.
    pub message: String,
    /// The connection broke before the other side said anything.
    pub broken: bool,
}

impl Status {
    /// A status as the other side will read it.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), broken: false }
    }

    /// The connection broke.
    pub(super) fn broken(error: impl fmt::Display) -> Self {
        Self { code: Code::Unavailable, message: error.to_string(), broken: true }
    }

    /// The end of a stream as HTTP/2 tells it: reset by the other side, or the connection is gone.
    pub(super) fn of_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(h2::Reason::CANCEL) if error.is_remote() && error.is_reset() => {
                Self::new(Code::Cancelled, "cancelled")
            }
            _ => Self::broken(error),
        }
    }

    /// Reads a status of headers or trailers; `None` where they have none.
    pub(super) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let code = Code::parse(headers.get("grpc-status")?.as_bytes());
        let message = headers.get("grpc-message").map(|value| decoded(value.as_bytes())).unwrap_or_default();
        let message = if message.is_empty() && code != Code::Ok { format!("{code:?}") } else { message };
        Some(Self { code, message, broken: false })
    }

    /// Turns `Ok` into success.
    pub(super) fn result(self) -> Result<(), Self> {
        if self.code == Code::Ok { Ok(()) } else { Err(self) }
    }

    /// Returns the trailers that say it.
    pub(super) fn trailers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from(self.code as u16));
        if let Ok(value) = HeaderValue::from_str(&encoded(&self.message))
            && !self.message.is_empty()
        {
            headers.insert("grpc-message", value);
        }
        headers
    }
}

/// Percent-encodes what a header cannot hold.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

fn decoded(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if byte == b'%' => {
                plain.push(value);
                rest = &after[2..];
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_travels_whatever_its_message_holds() {
        let status = Status::new(Code::NotFound, "no „file“\n100 %41");
        assert_eq!(Status::of_headers(&status.trailers()), Some(status));
        assert_eq!(Status::of_headers(&HeaderMap::new()), None);
        let mut odd = HeaderMap::new();
        odd.insert("grpc-status", HeaderValue::from_static("99"));
        assert_eq!(Status::of_headers(&odd).map(|status| status.code), Some(Code::Unknown));
    }
}
