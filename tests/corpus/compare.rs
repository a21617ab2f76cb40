//! The rules of comparing with what was recorded, and the exceptions from them, which are data.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;

use super::listing::Fields;

/// One field of one path that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Difference {
    pub(crate) path: String,
    /// Field; `record` where one side has no record at all, `run` where there is nothing to compare.
    pub(crate) field: String,
    /// Both sides, for people.
    pub(crate) why: String,
}

/// Compares records of paths; `now` are the times that count as "written during the build", seconds since 1970.
pub(crate) fn compare(
    expected: &BTreeMap<String, Fields>,
    actual: &BTreeMap<String, Fields>,
    now: &RangeInclusive<i64>,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let paths: BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    for path in paths {
        let mut differ = |field: &str, why: String| {
            differences.push(Difference { path: path.clone(), field: field.to_owned(), why });
        };
        match (expected.get(path), actual.get(path)) {
            (Some(fields), None) => differ("record", format!("missing; recorded: {}", text(fields))),
            (None, Some(fields)) => differ("record", format!("not recorded: {}", text(fields))),
            (Some(wanted), Some(found)) => {
                let names: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
                for name in names {
                    let (wanted, found) = (wanted.get(name), found.get(name));
                    if !equal(wanted, found, now) {
                        let show = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
                        differ(name, format!("{}, recorded: {}", show(found), show(wanted)));
                    }
                }
            }
            (None, None) => {}
        }
    }
    differences
}

fn text(fields: &Fields) -> String {
    Value::Object(fields.clone()).to_string()
}

fn equal(wanted: Option<&Value>, found: Option<&Value>, now: &RangeInclusive<i64>) -> bool {
    match (wanted, found) {
        (Some(Value::String(word)), Some(Value::Number(time))) if word == "NOW" => {
            time.as_i64().is_some_and(|time| now.contains(&time))
        }
        // Both recorded: the files against themselves.
        _ => wanted == found,
    }
}

/// `tests/fixtures/corpus/exceptions.toml`: where a case may differ, as narrowly as it goes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exceptions {
    #[serde(default, rename = "exception")]
    list: Vec<Exception>,
}

/// One of them; it holds for a path in the tree, in a layer and in the config alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exception {
    cases: Vec<String>,
    /// Only where this holds: `single-id`, files can belong to one user only; `buildkit`, a daemon solves. The path `*` is
    /// any path then.
    #[serde(default)]
    only: Option<String>,
    /// Not where this holds.
    #[serde(default)]
    except: Option<String>,
    paths: Vec<String>,
    fields: Vec<String>,
    reason: String,
}

impl Exceptions {
    pub(crate) fn parse(text: &str) -> Self {
        let exceptions: Self = toml::from_str(text).expect("exceptions.toml");
        for exception in &exceptions.list {
            assert!(exception.reason.len() > 20, "an exception has a reason: {exception:?}");
            assert!(!exception.fields.is_empty() && !exception.paths.is_empty(), "{exception:?}");
            assert!(exception.only.is_some() || exception.paths.iter().all(|path| path != "*"), "{exception:?}");
        }
        exceptions
    }

    /// Returns the differences that no exception of this case excuses, and names the exceptions that excused nothing.
    pub(crate) fn sift(
        &self,
        case: &str,
        kinds: &[&str],
        mut differences: Vec<Difference>,
    ) -> (Vec<Difference>, Vec<String>) {
        let mut idle = Vec::new();
        for exception in &self.list {
            let holds = |kind: &str| kinds.contains(&kind);
            let here = exception.only.as_deref().is_none_or(holds) && !exception.except.as_deref().is_some_and(holds);
            if !here || !exception.cases.iter().any(|name| name == case) {
                continue;
            }
            for path in &exception.paths {
                for field in &exception.fields {
                    let before = differences.len();
                    differences.retain(|one| (path != "*" && one.path != *path) || one.field != *field);
                    if differences.len() == before && path != "*" {
                        idle.push(format!("exception without a difference: {path} {field}"));
                    }
                }
            }
        }
        (differences, idle)
    }
}

#[cfg(test)]
mod tests {
    use super::super::listing::records;
    use super::*;

    const RECORDED: &str = r#"{"op":"add","path":"/a","type":"f","mode":"0644","size":6,"mtime":1700000000}
        {"op":"mod","path":"/etc","type":"d","mode":"0755","mtime":"NOW"}"#;

    fn found(text: &str) -> Vec<(String, String)> {
        let differences = compare(&records(RECORDED), &records(text), &(100..=110));
        differences.into_iter().map(|one| (one.path, one.field)).collect()
    }

    #[test]
    fn equal_records_have_no_difference_and_now_is_any_time_of_the_build() {
        for time in ["100", "110", "\"NOW\""] {
            assert_eq!(found(&RECORDED.replace("\"NOW\"", time)), []);
        }
    }

    #[test]
    fn every_field_that_differs_is_found() {
        let pair = |path: &str, field: &str| (path.to_owned(), field.to_owned());
        for (from, to, difference) in [
            ("\"NOW\"", "99", pair("/etc", "mtime")),
            ("\"NOW\"", "111", pair("/etc", "mtime")),
            ("1700000000", "1700000001", pair("/a", "mtime")),
            ("\"type\":\"f\"", "\"type\":\"h\"", pair("/a", "type")),
            ("0644", "0640", pair("/a", "mode")),
            (",\"size\":6", "", pair("/a", "size")),
            ("\"size\":6", "\"size\":6,\"xattrs\":{\"user.a\":\"62\"}", pair("/a", "xattrs")),
            ("\"mod\"", "\"add\"", pair("/etc", "op")),
        ] {
            let now = RECORDED.replace("\"NOW\"", "105").replace(from, to);
            let text = if from == "\"NOW\"" { RECORDED.replace(from, to) } else { now };
            assert_eq!(found(&text), [difference], "{from} -> {to}");
        }
        let renamed = RECORDED.replace("/a", "/b").replace("\"NOW\"", "105");
        assert_eq!(found(&renamed), [pair("/a", "record"), pair("/b", "record")]);
    }

    #[test]
    fn an_exception_excuses_one_field_of_one_path_and_is_told_when_it_is_of_no_use() {
        let exceptions = Exceptions::parse(
            "[[exception]]\ncases = ['x']\npaths = ['/a']\nfields = ['mode', 'uid']\nreason = 'as an example of a reason'\n\
             [[exception]]\ncases = ['x']\nonly = 'single-id'\npaths = ['/b']\nfields = ['gid']\nreason = 'as an example of a reason'",
        );
        let difference =
            |path: &str, field: &str| Difference { path: path.into(), field: field.into(), why: String::new() };
        let all = vec![difference("/a", "mode"), difference("/a", "size"), difference("/b", "gid")];
        let (left, idle) = exceptions.sift("x", &[], all.clone());
        assert_eq!(left, [difference("/a", "size"), difference("/b", "gid")]);
        assert_eq!(idle, ["exception without a difference: /a uid"]);
        assert_eq!(exceptions.sift("x", &["single-id"], all.clone()).0, [difference("/a", "size")]);
        assert_eq!(exceptions.sift("y", &[], all.clone()).0, all);
    }
}
