//! The config of an image as the front end makes it (docker-image-spec; `image-spec config.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::instruction::Healthcheck;
use super::platform::Platform;

/// What docker's builders set where an image sets no `PATH`.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `null` means nothing, as in Go.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An image config; fields in the order that BuildKit writes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    pub(super) architecture: String,
    pub(super) os: String,
    #[serde(rename = "os.version", skip_serializing_if = "String::is_empty")]
    pub(super) os_version: String,
    #[serde(rename = "os.features", skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) os_features: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) variant: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) rootfs: RootFs,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) history: Vec<History>,
    #[serde(deserialize_with = "or_default")]
    pub(super) config: Config,
}

/// Layers; the exporter writes the new ones.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RootFs {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) diff_ids: Option<Vec<String>>,
}

/// What one instruction did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) created_by: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) author: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) comment: String,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) empty_layer: bool,
}

type Set = BTreeMap<String, Empty>;

/// An empty object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Empty {}

/// How a container runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(super) exposed_ports: Set,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) cmd: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(super) volumes: Set,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(super) working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_default")]
    pub(super) stop_signal: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "or_default")]
    pub(super) args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) on_build: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_default")]
    pub(super) shell: Vec<String>,
}

impl Image {
    /// The image that `FROM scratch` begins with.
    pub(super) fn empty(platform: &Platform) -> Self {
        Self {
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: None },
            config: Config { working_dir: "/".to_owned(), env: vec![format!("PATH={PATH}")], ..Config::default() },
            ..Self::default()
        }
    }

    /// Tells whether it has no layers at all, so that it is the same as `scratch`.
    pub(super) fn is_scratch(&self) -> bool {
        self.rootfs.diff_ids.as_ref().is_none_or(Vec::is_empty) && self.history.iter().all(|entry| entry.empty_layer)
    }

    /// Notes what an instruction did; `state` tells that it made a new state of the tree.
    pub(super) fn commit(&mut self, message: &str, layer: bool, state: bool, created: Option<&String>) {
        let created_by = if state { format!("{message} # buildkit") } else { message.to_owned() };
        let comment = "buildkit.dockerfile.v0".to_owned();
        let (author, created) = (String::new(), created.cloned());
        self.history.push(History { created, created_by, author, comment, empty_layer: !layer });
    }

    /// The command in front of which the shell stands.
    pub(super) fn with_shell(&self, args: &[String]) -> Vec<String> {
        let mut all = self.config.shell.clone();
        if all.is_empty() {
            all = vec!["/bin/sh".to_owned(), "-c".to_owned()];
        }
        all.push(args.join(" "));
        all
    }

    /// Returns it as an object of JSON.
    pub fn to_object(&self) -> serde_json::Map<String, serde_json::Value> {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::Object(object)) => object,
            _ => unreachable!("a struct of strings is an object"),
        }
    }
}
