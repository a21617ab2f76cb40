//! How much room a step needs, as its recipe says: asked before a build, not enforced.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::RecipeError;
use crate::cgroup::parse_size;

/// What a step needs on the disk, in bytes, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// While it runs: what lies in `/build` and `/out`.
    pub build: u64,
    /// For good: its output.
    pub output: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self { build: 128 << 20, output: 16 << 20 }
    }
}

/// The table `[disk]` of a recipe.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct DiskTable {
    build: Option<Spanned<String>>,
    output: Option<Spanned<String>>,
}

impl DiskTable {
    /// Reads the sizes; `text` and `path` are of the recipe.
    pub(super) fn check(&self, text: &str, path: &Path) -> Result<Disk, RecipeError> {
        let size = |given: &Option<Spanned<String>>, usual: u64| {
            let Some(given) = given else { return Ok(usual) };
            parse_size(given.get_ref()).ok_or_else(|| {
                let message = format!("`{}` is not a size", given.get_ref());
                RecipeError::at(path, text, given.span(), message, Some("for example 300m, 2g".to_owned()))
            })
        };
        let usual = Disk::default();
        Ok(Disk { build: size(&self.build, usual.build)?, output: size(&self.output, usual.output)? })
    }
}
