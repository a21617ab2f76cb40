//! The config of an image (`image-spec config.md`).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::ExportError;
use super::options::ImageOptions;
use crate::oci::DiffId;

/// Returns the config of an image with these layers, lowest first; `created_by` says how each came to be, where its
/// history is not in a front end's config.
///
/// # Errors
/// `Epoch`, `Config`.
pub(super) fn config(
    options: &ImageOptions,
    layers: &[DiffId],
    created_by: &[Option<String>],
) -> Result<Map<String, Value>, ExportError> {
    let mut config = match &options.config {
        Some(config) => config.clone(),
        None => own(options),
    };
    let newest = options.newest().map(date).transpose()?;
    let diff_ids: Vec<String> = layers.iter().map(|layer| layer.0.to_string()).collect();
    config.insert("rootfs".to_owned(), json!({ "type": "layers", "diff_ids": diff_ids }));
    config.entry("os").or_insert_with(|| "linux".into());
    config.entry("architecture").or_insert_with(|| options.arch.oci().into());
    let own = config.get("created").and_then(Value::as_str).map(ToOwned::to_owned);
    let history = match config.remove("history") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(history)) => history,
        Some(_) => return Err(ExportError::Config { what: "history", wanted: "a list" }),
    };
    // What a front end did not date is as old as the last thing that it did.
    let last = history.iter().rev().find_map(|entry| entry["created"].as_str().map(ToOwned::to_owned));
    let created = match own.or(last) {
        Some(created) => clamped(&created, newest),
        None => date(options.epoch)?.to_string(),
    };
    let history = complete(history, layers.len(), &created, newest, |layer| {
        created_by.get(layer).and_then(Option::as_deref).unwrap_or(&options.created_by).to_owned()
    });
    config.insert("created".to_owned(), created.into());
    config.insert("history".to_owned(), history.into());
    label(&mut config, options)?;
    Ok(config)
}

/// The config that the fields describe.
fn own(options: &ImageOptions) -> Map<String, Value> {
    let mut config = Map::new();
    for (key, values) in [("Entrypoint", &options.entrypoint), ("Cmd", &options.command), ("Env", &options.env)] {
        if !values.is_empty() {
            config.insert(key.to_owned(), json!(values));
        }
    }
    if !options.working_directory.is_empty() {
        config.insert("WorkingDir".to_owned(), options.working_directory.clone().into());
    }
    Map::from_iter([("config".to_owned(), config.into())])
}

fn label(config: &mut Map<String, Value>, options: &ImageOptions) -> Result<(), ExportError> {
    if options.labels.is_empty() {
        return Ok(());
    }
    let mut at = config;
    for (key, what) in [("config", "config"), ("Labels", "config.Labels")] {
        let value = at.entry(key).or_insert_with(|| json!({}));
        if value.is_null() {
            *value = json!({});
        }
        at = value.as_object_mut().ok_or(ExportError::Config { what, wanted: "an object" })?;
    }
    at.extend(options.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))));
    Ok(())
}

/// Completes a history, so that it has one entry for each layer and each has a time (BuildKit
/// `exporter/containerimage/writer.go` does so).
fn complete(
    mut history: Vec<Value>,
    layers: usize,
    created: &str,
    newest: Option<Timestamp>,
    created_by: impl Fn(usize) -> String,
) -> Vec<Value> {
    history.retain(Value::is_object);
    let mut left = layers;
    for entry in history.iter_mut().filter_map(Value::as_object_mut) {
        if entry.get("empty_layer") != Some(&Value::Bool(true)) {
            if left == 0 {
                entry.insert("empty_layer".to_owned(), true.into());
            } else {
                left -= 1;
            }
        }
        let time = entry.get("created").and_then(Value::as_str).unwrap_or(created);
        let time = clamped(time, newest);
        entry.insert("created".to_owned(), time.into());
    }
    history.extend((layers - left..layers).map(|layer| json!({ "created": created, "created_by": created_by(layer) })));
    history
}

/// Returns `time`, or `newest` where it is later.
fn clamped(time: &str, newest: Option<Timestamp>) -> String {
    match (time.parse::<Timestamp>(), newest) {
        (Ok(parsed), Some(newest)) if parsed > newest => newest.to_string(),
        _ => time.to_owned(),
    }
}

/// Returns a time as RFC 3339 has it, in UTC.
pub(super) fn date(epoch: u64) -> Result<Timestamp, ExportError> {
    let error = || ExportError::Epoch { epoch };
    let seconds = i64::try_from(epoch).map_err(|_| error())?;
    Timestamp::from_second(seconds).map_err(|_| error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::PackTimes;
    use crate::oci::{Arch, Digest};

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(date(0).expect("a date").to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(date(1_767_225_600).expect("a date").to_string(), "2026-01-01T00:00:00Z");
        assert!(date(u64::MAX).is_err());
    }

    fn layers(count: u8) -> Vec<DiffId> {
        (0..count).map(|n| DiffId(Digest::of(&[n]))).collect()
    }

    fn front_end(config: Value) -> ImageOptions {
        let Value::Object(config) = config else { unreachable!("an object") };
        ImageOptions { config: Some(config), ..ImageOptions::new(Arch::X86_64) }
    }

    #[test]
    fn a_front_ends_config_is_kept_and_its_history_completed() {
        let mut options = front_end(json!({
            "architecture": "arm", "variant": "v7", "os": "linux", "author": "somebody",
            "config": { "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/v": {} }, "Labels": { "a": "1", "b": "2" } },
            "history": [
                { "created": "2020-01-01T00:00:00Z", "created_by": "base" },
                { "created_by": "ENV x", "empty_layer": true },
                { "created": "2030-01-01T00:00:00Z", "created_by": "RUN y" },
            ],
        }));
        options.labels = [("b".to_owned(), "3".to_owned())].into();
        options.times = PackTimes::Kept(Some(1_767_225_600));
        let config = config(&options, &layers(3), &[None, None, Some("RUN z".to_owned())]).expect("a config");
        let config = Value::Object(config);
        assert_eq!((&config["architecture"], &config["variant"]), (&json!("arm"), &json!("v7")));
        assert_eq!(config["config"]["ExposedPorts"]["80/tcp"], json!({}));
        assert_eq!(config["config"]["Labels"], json!({ "a": "1", "b": "3" }));
        assert_eq!(config["created"], "2026-01-01T00:00:00Z");
        let history = config["history"].as_array().expect("a list");
        let facts: Vec<_> =
            history.iter().map(|entry| (entry["created_by"].as_str(), entry["created"].as_str())).collect();
        let newest = Some("2026-01-01T00:00:00Z");
        assert_eq!(
            facts,
            [
                (Some("base"), Some("2020-01-01T00:00:00Z")),
                (Some("ENV x"), newest),
                (Some("RUN y"), newest),
                (Some("RUN z"), newest)
            ]
        );
        assert_eq!(config["rootfs"]["diff_ids"].as_array().expect("a list").len(), 3);
    }

    #[test]
    fn history_without_a_layer_is_marked_empty_and_nonsense_is_refused() {
        let options = front_end(json!({ "history": [{ "created_by": "x" }, { "created_by": "y" }] }));
        let config = Value::Object(config(&options, &layers(1), &[]).expect("a config"));
        assert_eq!(config["history"][0].get("empty_layer"), None);
        assert_eq!(config["history"][1]["empty_layer"], true);
        for wrong in [json!({ "history": 1 }), json!({ "config": 1 }), json!({ "config": { "Labels": [] } })] {
            let mut options = front_end(wrong);
            options.labels = [("b".to_owned(), "3".to_owned())].into();
            let error = super::config(&options, &[], &[]).expect_err("refused");
            assert!(matches!(error, ExportError::Config { .. }), "{error}");
        }
    }
}
