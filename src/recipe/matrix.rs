//! `recipes/release.toml`: what a release is made of.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::RecipeError;
use super::channel::{Channel, Channels};
use crate::oci::Arch;

/// The release matrix and what all builds share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// Series released by default, in this order.
    pub versions: Vec<String>,
    /// Architectures released by default.
    pub architectures: Vec<Arch>,
    /// Every series that can be built.
    pub supported: Vec<String>,
    /// Pattern of file names, with `{version}` and `{arch}`; `.tar.gz` is added.
    pub name: String,
    /// `SOURCE_DATE_EPOCH` of all steps and of every file of a tarball, seconds since 1970.
    pub epoch: u64,
    /// What tags mean.
    pub channels: Channels,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    versions: Vec<String>,
    architectures: Vec<Spanned<String>>,
    supported: Vec<String>,
    name: Spanned<String>,
    epoch: u64,
    channels: Option<Vec<Spanned<Channel>>>,
}

impl Matrix {
    /// Parses the text of `recipes/release.toml`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, RecipeError> {
        let file: File = toml::from_str(text).map_err(|error| RecipeError::toml(path, text, &error))?;
        let mut architectures = Vec::new();
        for name in &file.architectures {
            let arch = name.get_ref().parse::<Arch>();
            architectures
                .push(arch.map_err(|error| RecipeError::at(path, text, name.span(), error.to_string(), None))?);
        }
        let pattern = file.name.get_ref();
        if !pattern.contains("{version}") || !pattern.contains("{arch}") || pattern.contains('/') {
            let message = "a name pattern holds {version} and {arch} and no slash";
            return Err(RecipeError::at(
                path,
                text,
                file.name.span(),
                message,
                Some("for example release-{version}-{arch}".to_owned()),
            ));
        }
        let channels = match &file.channels {
            None => Channels::default(),
            Some(given) => Channels::new(given.iter().map(|channel| channel.get_ref().clone()).collect()).map_err(
                |(index, message)| {
                    let help = "for example tags = [\"release-{date}\", \"v*\"]".to_owned();
                    RecipeError::at(path, text, given[index].span(), message, Some(help))
                },
            )?,
        };
        Ok(Self {
            versions: file.versions,
            architectures,
            supported: file.supported,
            name: file.name.into_inner(),
            epoch: file.epoch,
            channels,
        })
    }

    /// Returns the name of one artifact without its ending.
    pub fn artifact(&self, version: &str, arch: Arch) -> String {
        self.name.replace("{version}", version).replace("{arch}", arch.name())
    }
}
