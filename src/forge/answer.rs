//! What servers say beside their answers: limits of requests, words about errors.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap};
use serde_json::Value;

use crate::http::{http_date, one_line, plain};

/// Returns how long a limit of requests lasts (docs.github.com rate-limits-for-the-rest-api; GitLab's `ratelimit-*`).
pub(super) fn limited(headers: &HeaderMap) -> Option<Duration> {
    let number = |names: [&str; 2]| -> Option<i64> {
        names.iter().find_map(|name| headers.get(*name)?.to_str().ok()?.trim().parse().ok())
    };
    if number(["x-ratelimit-remaining", "ratelimit-remaining"])? > 0 {
        return None;
    }
    let reset = number(["x-ratelimit-reset", "ratelimit-reset"])?;
    let now = http_date(headers.get(DATE)?.to_str().ok()?)?;
    Some(Duration::from_secs(u64::try_from(reset.checked_sub(now)?).unwrap_or(0)))
}

/// Reads what a server says of an error in any of the forges' shapes, as one harmless line.
pub(super) fn said(body: &[u8]) -> String {
    let Ok(document) = serde_json::from_slice::<Value>(body) else { return plain(body) };
    let mut words = Vec::new();
    for key in ["message", "error", "error_description", "errors"] {
        collect(&document[key], &mut words);
    }
    one_line(&words.join("; "))
}

/// Gathers the texts of `"…"`, `["…"]`, `{"field": ["…"]}` and `[{"message": "…", "code": "…"}]`.
fn collect(value: &Value, words: &mut Vec<String>) {
    match value {
        Value::String(text) => words.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, words)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let mut inner = Vec::new();
                collect(value, &mut inner);
                words.extend(inner.iter().map(|text| format!("{key} {text}")));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_found_in_every_shape() {
        for (body, text) in [
            (r#"{"message":"Bad credentials"}"#, "Bad credentials"),
            (r#"{"message":{"name":["has already been taken"]}}"#, "name has already been taken"),
            (r#"{"error":"invalid_token","error_description":"Token is expired"}"#, "invalid_token; Token is expired"),
            (
                r#"{"message":"Validation Failed","errors":[{"code":"already_exists","field":"tag_name"}]}"#,
                "Validation Failed; code already_exists; field tag_name",
            ),
            ("plain\u{1b}[2Jtext", "plain [2Jtext"),
            ("<html>", ""),
            ("", ""),
        ] {
            assert_eq!(said(body.as_bytes()), text);
        }
    }
}
