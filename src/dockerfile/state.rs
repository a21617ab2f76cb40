//! What an instruction leaves for the next one (`client/llb/meta.go`).

use super::nodes::NodeId;
use super::platform::Platform;

/// Variables in the order of their last change (`EnvList`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Env(Vec<(String, String)>);

impl Env {
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.remove(name);
        self.0.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// A tree and how steps on it run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// `None` for an empty tree.
    pub(super) out: Option<NodeId>,
    pub(super) platform: Option<Platform>,
    pub(super) env: Env,
    dir: String,
    pub(super) user: String,
    pub(super) hostname: String,
    pub(super) network: i32,
}

impl State {
    /// The state of a source.
    pub(super) fn of(out: Option<NodeId>, platform: Option<Platform>) -> Self {
        Self { out, platform, ..Self::default() }
    }

    pub(super) fn dir(&self) -> &str {
        if self.dir.is_empty() { "/" } else { &self.dir }
    }

    pub(super) fn set_dir(&mut self, dir: &str) {
        self.dir = join(self.dir(), dir);
    }

    /// Takes over variables, directory and platform of an image (`State.WithImageConfig`).
    pub(super) fn with_image(&mut self, image: &super::image::Image) {
        for entry in &image.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            self.env.set(name, value);
        }
        self.set_dir(&image.config.working_dir);
        if !image.architecture.is_empty() && !image.os.is_empty() {
            self.platform = Some(Platform {
                os: image.os.clone(),
                architecture: image.architecture.clone(),
                variant: image.variant.clone(),
                os_version: image.os_version.clone(),
                os_features: image.os_features.clone(),
            });
        }
    }
}

/// Joins and cleans paths; an absolute one stays where it is.
pub(super) fn join(dir: &str, path: &str) -> String {
    if path.starts_with('/') { crate::pattern::clean(path) } else { crate::pattern::clean(&format!("/{dir}/{path}")) }
}

/// As `join`, and what ends with `/` or `/.` keeps that, since it says that the destination is a directory.
pub(super) fn join_keeping_slash(dir: &str, path: &str) -> String {
    let path = if path.is_empty() || path == "." { "./" } else { path };
    let mut joined = join(dir, path);
    if path.ends_with('/') && !joined.ends_with('/') {
        joined.push('/');
    } else if path.ends_with("/.") {
        if joined != "/" {
            joined.push('/');
        }
        joined.push('.');
    }
    joined
}
