//! Code of others in what a recipe builds: for lists of what is in it.

use serde::Deserialize;
use toml::Spanned;

/// A piece of software that no source of its own brings: its source is in that of the recipe, or it comes with the compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundled {
    /// Its name.
    pub name: String,
    /// Its version, where `package` does not give it.
    pub version: Option<String>,
    /// The package of the recipe's root filesystem that brings it.
    pub package: Option<String>,
    /// SPDX expression.
    pub license: String,
    /// What the NVD calls it: `vendor:product`.
    pub cpe: Option<String>,
    /// The organisation that makes it.
    pub originator: Option<String>,
    /// The file or directory of a release that holds it.
    pub path: String,
    /// In which series it is; all, where there are none.
    pub series: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    pub(super) name: Spanned<String>,
    version: Option<String>,
    package: Option<String>,
    license: String,
    pub(super) cpe: Option<Spanned<String>>,
    originator: Option<String>,
    path: String,
    #[serde(default)]
    series: Vec<String>,
}

impl Bundled {
    /// Tells whether a series (`3.11`) of the recipe has it.
    pub fn is_in(&self, series: &str) -> bool {
        self.series.is_empty() || self.series.iter().any(|it| it == series)
    }
}

impl Table {
    /// Tells whether exactly one of version and package is given.
    pub(super) const fn is_whole(&self) -> bool {
        self.version.is_some() != self.package.is_some()
    }
}

impl From<Table> for Bundled {
    fn from(table: Table) -> Self {
        Self {
            name: table.name.into_inner(),
            version: table.version,
            package: table.package,
            license: table.license,
            cpe: table.cpe.map(Spanned::into_inner),
            originator: table.originator,
            path: table.path,
            series: table.series,
        }
    }
}
