//! Recipe files: strict, with the place of every mistake.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr as _;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::RecipeError;
use super::bundled::{self, Bundled};
use super::disk::{Disk, DiskTable};
use super::image::{RecipeImage, Table};
use super::lock::is_plain_name;
use crate::oci::Arch;

/// How one package is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Name of the package; the file is `recipes/<name>.toml`.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// SPDX expression of what is built.
    pub license: String,
    /// What the NVD calls its first source: `vendor:product`.
    pub cpe: Option<String>,
    /// The organisation that makes its first source.
    pub originator: Option<String>,
    /// Script in `scripts/` that the step runs.
    pub script: String,
    /// Further files or directories of `scripts/` that the step may read.
    pub files: Vec<String>,
    /// Sources by lock name; the first one gives the package its version.
    pub sources: Vec<String>,
    /// Packages whose outputs, with all that they need, are merged at `/deps`.
    pub needs: Vec<String>,
    /// Root filesystem without architecture, e.g. `bookworm`.
    pub rootfs: String,
    /// Whether the version is chosen by who asks (`python@3.11`) and passed on to series recipes that it needs.
    pub series: bool,
    /// The first series that has a free-threaded build (`python@3.13t`), for recipes with `series`; none: no version has.
    pub free_threaded: Option<String>,
    /// Whether it can be trained: profile `release` builds it with counts of `recipes/profiles/`.
    pub profiled: bool,
    /// How long the step may run.
    pub timeout: Duration,
    /// How much its step needs on the disk.
    pub disk: Disk,
    /// Environment of the step.
    pub env: BTreeMap<String, String>,
    /// Additions by architecture.
    pub arch: BTreeMap<Arch, Addition>,
    /// Additions by series, e.g. `3.10`.
    pub version: BTreeMap<String, Addition>,
    /// What an image of it says, where that is more than its files.
    pub image: Option<RecipeImage>,
    /// Code of others in it.
    pub bundled: Vec<Bundled>,
}

/// What an architecture or a series adds to a recipe; its environment wins over the recipe's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Further needs.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Further files of `scripts/`.
    #[serde(default)]
    pub files: Vec<String>,
    /// Further sources.
    #[serde(default)]
    pub sources: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    summary: String,
    license: String,
    cpe: Option<Spanned<String>>,
    originator: Option<String>,
    script: Spanned<String>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
    #[serde(default)]
    sources: Vec<Spanned<String>>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    rootfs: Option<String>,
    #[serde(default)]
    series: bool,
    free_threaded: Option<Spanned<String>>,
    #[serde(default)]
    profiled: bool,
    timeout: Option<Spanned<String>>,
    #[serde(default)]
    disk: DiskTable,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, String>,
    #[serde(default)]
    arch: BTreeMap<Spanned<String>, Addition>,
    #[serde(default)]
    version: BTreeMap<String, Addition>,
    image: Option<Table>,
    #[serde(default)]
    bundled: Vec<bundled::Table>,
}

/// How long a step may run unless its recipe says otherwise.
const TIMEOUT: Duration = Duration::from_hours(1);

impl File {
    /// Refuses names, paths and products that are none.
    fn check_words(&self, text: &str, path: &Path) -> Result<(), RecipeError> {
        let fail =
            |span, message: String, help: &str| Err(RecipeError::at(path, text, span, message, Some(help.to_owned())));
        for name in self.sources.iter().chain(&self.needs) {
            if !is_plain_name(name.get_ref()) {
                return fail(name.span(), format!("`{}` is not a plain name", name.get_ref()), "one word, no slash");
            }
        }
        for name in self.files.iter().chain([&self.script]) {
            if !name.get_ref().split('/').all(is_plain_name) {
                let message = format!("`{}` is not a path inside scripts/", name.get_ref());
                return fail(name.span(), message, "relative to scripts/, without `.` or `..`");
            }
        }
        if let Some(cpe) = self
            .cpe
            .iter()
            .chain(self.bundled.iter().filter_map(|it| it.cpe.as_ref()))
            .find(|it| !is_product(it.get_ref()))
        {
            let message = format!("`{}` is not a product of a CPE", cpe.get_ref());
            return fail(cpe.span(), message, "`vendor:product`, for example openssl:openssl");
        }
        if let Some(odd) = self.bundled.iter().find(|it| !it.is_whole()) {
            let message = format!("`{}` needs a version, or the package that gives it", odd.name.get_ref());
            return fail(odd.name.span(), message, "version = \"…\", or package = \"…\" of the root filesystem");
        }
        Ok(())
    }
}

impl Recipe {
    /// Parses the text of `recipes/<name>.toml`; `path` is for messages and must have the recipe's name.
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let file: File = toml::from_str(text).map_err(|error| {
            let error = RecipeError::toml(path, text, &error);
            with_hint(error)
        })?;
        let fail =
            |span, message: String, help: &str| Err(RecipeError::at(path, text, span, message, Some(help.to_owned())));
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if *file.name.get_ref() != stem {
            let message = format!("recipe `{}` lives in a file called `{stem}.toml`", file.name.get_ref());
            return fail(file.name.span(), message, "name and file name must agree");
        }
        file.check_words(text, path)?;
        if let Some(first) = file.free_threaded.as_ref().filter(|_| !file.series) {
            let help = "add `series = true`, or remove the key";
            return fail(first.span(), "a recipe without series has no free-threaded build".to_owned(), help);
        }
        let given = file.timeout.as_ref();
        let Some(timeout) = given.map_or(Some(TIMEOUT), |given| duration(given.get_ref())) else {
            let text = given.map_or("", |given| given.get_ref());
            let span = given.map_or(0..0, Spanned::span);
            return fail(span, format!("`{text}` is not a duration"), "for example 90s, 30m, 3h");
        };
        let disk = file.disk.check(text, path)?;
        for key in file.env.keys() {
            let name = key.get_ref();
            if name.is_empty() || name.contains(['=', '\0']) || name.starts_with("DOCKLESS_") {
                return fail(
                    key.span(),
                    format!("`{name}` cannot be set by a recipe"),
                    "DOCKLESS_* belong to the builder",
                );
            }
        }
        let mut arch = BTreeMap::new();
        for (name, addition) in file.arch {
            match Arch::from_str(name.get_ref()) {
                Ok(known) => _ = arch.insert(known, addition),
                Err(error) => return fail(name.span(), error.to_string(), "write [arch.x86_64] or [arch.x86]"),
            }
        }
        let image = file.image.map(|image| image.check(text, path)).transpose()?;
        let plain = |list: Vec<Spanned<String>>| list.into_iter().map(Spanned::into_inner).collect();
        Ok(Self {
            name: file.name.into_inner(),
            summary: file.summary,
            license: file.license,
            cpe: file.cpe.map(Spanned::into_inner),
            originator: file.originator,
            script: file.script.into_inner(),
            files: plain(file.files),
            sources: plain(file.sources),
            needs: plain(file.needs),
            rootfs: file.rootfs.unwrap_or_else(|| "bookworm".to_owned()),
            series: file.series,
            free_threaded: file.free_threaded.map(Spanned::into_inner),
            profiled: file.profiled,
            timeout,
            disk,
            env: file.env.into_iter().map(|(key, value)| (key.into_inner(), value)).collect(),
            arch,
            version: file.version,
            image,
            bundled: file.bundled.into_iter().map(Bundled::from).collect(),
        })
    }

    /// Returns the additions that apply, the architecture's before the series'.
    pub fn additions(&self, arch: Arch, series: Option<&str>) -> Vec<&Addition> {
        self.arch.get(&arch).into_iter().chain(series.and_then(|series| self.version.get(series))).collect()
    }
}

/// Adds the way out to serde's words where we know it.
fn with_hint(error: RecipeError) -> RecipeError {
    match error {
        RecipeError::Text { message, picture, .. } if message.starts_with("unknown field") => {
            let help = Some("remove the key, or see docs/recipes.md for what a recipe may say".to_owned());
            RecipeError::Text { message: message.replace("unknown field", "unknown key"), help, picture }
        }
        other => other,
    }
}

/// Tells whether `text` is `vendor:product` as a CPE has them.
fn is_product(text: &str) -> bool {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_.-".contains(&b))
    };
    text.split_once(':').is_some_and(|(vendor, product)| word(vendor) && word(product))
}

/// Parses `90s`, `30m`, `3h`.
fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 60 * 60,
        _ => return None,
    };
    let number: u64 = text[..text.len() - 1].parse().ok()?;
    (number > 0).then(|| Duration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("3h"), Some(Duration::from_hours(3)));
        for wrong in ["", "s", "0m", "10", "-1s", "1d", "1.5h", "9é"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
