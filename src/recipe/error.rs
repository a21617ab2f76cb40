//! What can be wrong with a recipe, a lock or a request, with the span where that is in a file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::oci::Arch;

/// A place in a text, for whoever draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The file.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Bytes of `text` that the message is about.
    pub span: Range<usize>,
}

/// Wrong input. Every variant is the user's to mend (exit code 2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A file is not what it should be; the picture shows where.
    #[error("{message}")]
    Text {
        /// One line.
        message: String,
        /// What to do.
        help: Option<String>,
        /// Where.
        picture: Box<Picture>,
    },
    /// No recipe of that name.
    #[error("there is no recipe `{name}`")]
    UnknownRecipe {
        /// As asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A version was asked of a recipe whose version the lock decides.
    #[error("the version of `{name}` is what the lock says; only python takes `@VERSION`")]
    FixedVersion {
        /// The recipe.
        name: String,
    },
    /// No lock has the version.
    #[error("no lock knows {source_name} {version}")]
    UnknownVersion {
        /// Name of the source.
        source_name: String,
        /// As asked for.
        version: String,
        /// Newest version of each series that the locks know, with its set.
        known: Vec<String>,
    },
    /// No lock has the source.
    #[error("no lock of the chosen sets ({sets}) has a source `{source_name}`, which recipe `{recipe}` needs")]
    UnknownSource {
        /// The recipe.
        recipe: String,
        /// The source.
        source_name: String,
        /// The sets looked at.
        sets: String,
    },
    /// A set that has no lock file.
    #[error("there is no source set `{set}`")]
    UnknownSet {
        /// As asked for.
        set: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Recipes need each other in a circle.
    #[error("recipes need each other in a circle: {circle}")]
    Circle {
        /// `a -> b -> a`.
        circle: String,
    },
    /// The root filesystem is not locked for that architecture.
    #[error("recipe `{recipe}` builds in `rootfs/{rootfs}`, which has no lock")]
    UnknownRootfs {
        /// The recipe.
        recipe: String,
        /// Name with architecture.
        rootfs: String,
    },
    /// The image that is the root filesystem is not there for that architecture.
    #[error("recipe `{recipe}` builds in `rootfs/{rootfs}`, whose lock has no linux/{} of `{image}`", arch.oci())]
    RootfsPlatform {
        /// The recipe.
        recipe: String,
        /// Name of the root filesystem.
        rootfs: String,
        /// The image.
        image: String,
        /// What is built for.
        arch: Arch,
    },
    /// The free-threaded build of something that has none.
    #[error("`{name}` has no free-threaded build")]
    NoFreeThreading {
        /// The recipe.
        name: String,
    },
    /// The free-threaded build of a version from before there were any.
    #[error("`{name}@{version}t` does not exist: free-threaded builds exist from {first} on")]
    FreeThreading {
        /// The recipe.
        name: String,
        /// Series, without the `t`.
        version: String,
        /// First series that has one.
        first: String,
    },
    /// Nobody has trained the package for that series and architecture.
    #[error("there is no trained profile of {package} {version} for {arch}, nor of another release of its series")]
    Untrained {
        /// The package.
        package: String,
        /// Its version.
        version: String,
        /// What is built for.
        arch: Arch,
        /// Profiles that there are.
        known: Vec<String>,
    },
    /// A version is not one.
    #[error("`{text}` is not a version: write 3.11, 3.11.2, or 3.13t for the free-threaded build")]
    Version {
        /// As given.
        text: String,
    },
}

impl RecipeError {
    /// Makes the error of a place in a file.
    pub(super) fn at(
        path: &Path,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) -> Self {
        // A span past the end (an error at end of file) is drawn on the last byte.
        let end = span.end.min(text.len());
        let picture = Picture { path: path.to_owned(), text: text.to_owned(), span: span.start.min(end)..end };
        Self::Text { message: message.into(), help, picture: Box::new(picture) }
    }

    /// Makes the error of a TOML text that does not parse into what it should be.
    pub(super) fn toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim().replace('\n', ", ");
        Self::at(path, text, error.span().unwrap_or_default(), message, None)
    }

    /// What to do about it.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Text { help, .. } => help.clone(),
            Self::UnknownRecipe { known, .. } => Some(format!("recipes: {}", known.join(", "))),
            Self::FixedVersion { name } => {
                Some(format!("write `{name}` without a version, or another set with --sources"))
            }
            Self::UnknownVersion { known, .. } => Some(format!("known: {}", known.join(", "))),
            Self::UnknownSource { .. } => Some("add `--sources debian,upstream`, or lock the source".to_owned()),
            Self::UnknownSet { known, .. } => Some(format!("sets: {}", known.join(", "))),
            Self::Circle { .. } => Some("remove one of these from `needs`".to_owned()),
            Self::RootfsPlatform { rootfs, arch, .. } => Some(format!(
                "if the image has it by now, run `dockless lock --update rootfs/{rootfs}`; or describe another root \
                 filesystem for {arch} in `rootfs/{rootfs}-{arch}.toml`"
            )),
            Self::UnknownRootfs { rootfs, .. } => Some(format!("run `dockless lock --update rootfs/{rootfs}`")),
            Self::FreeThreading { name, version, .. } => {
                Some(format!("write `{name}@{version}` for the build with the lock"))
            }
            Self::NoFreeThreading { .. } => Some("write the version without the `t`".to_owned()),
            Self::Untrained { package, version, arch, known } => Some(format!(
                "train one: `dockless profile train {package}@{version} --arch {arch}`; or build without: --profile quick; \
                 trained are: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )),
            Self::Version { .. } => None,
        }
    }

    /// Where in which file, if it is about one.
    pub fn picture(&self) -> Option<&Picture> {
        match self {
            Self::Text { picture, .. } => Some(picture),
            _ => None,
        }
    }
}
