//! `--cache-from type=local,src=DIR` and `--cache-to type=local,dest=DIR`, as BuildKit's clients write them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::failure::Failure;
use super::session::Session;
use crate::buildkit::{Cache, CacheKind};
use crate::cache::{Caches, Exporter, Place, causes};
use crate::engine::Embedded;
use crate::layer::Compression;
use crate::progress::{Event, Progress};
use crate::registry::Reference;
use crate::solver::{ExportCacheError, Extent, Solved, export_cache};

/// Options of commands that build.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Cache of an earlier build to ask, which you must trust: type=local,src=DIR or type=registry,ref=HOST/REPO:TAG;
    /// for BuildKit also its own types and attributes (inline, s3, gha, azblob); may be repeated
    #[arg(long, value_name = "type=TYPE,src=DIR|ref=REF")]
    pub(crate) cache_from: Vec<CacheFrom>,
    /// Where to leave a cache for other builds: type=local,dest=DIR or type=registry,ref=HOST/REPO:TAG, with mode=min
    /// (layers of the result) or max (of every step), compression=zstd or gzip; mounts=all or mounts=ID;ID leaves
    /// cache mounts instead; for BuildKit its own types and attributes; may be repeated
    #[arg(long, value_name = "type=TYPE,dest=DIR|ref=REF[,mode=MODE]")]
    pub(crate) cache_to: Vec<CacheTo>,
}

/// Where a cache is, before anybody has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Directory(PathBuf),
    Registry(Reference),
}

/// A cache in the words of BuildKit's clients: all of it is for a daemon, the embedded engine reads what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    r#type: String,
    attrs: BTreeMap<String, String>,
}

/// A cache to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFrom {
    words: Words,
    /// For the embedded engine, or why it is not.
    named: Result<Named, String>,
}

/// A cache to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTo {
    words: Words,
    named: Result<(Named, Extent, Compression), String>,
}

/// Types that BuildKit's daemon has.
const TYPES: [&str; 6] = ["local", "registry", "inline", "s3", "gha", "azblob"];

impl Words {
    /// Splits `type=…,key=value,…`; `directory` is the key of a local cache's place.
    fn parse(text: &str, directory: &str) -> Result<Self, String> {
        let mut attrs = BTreeMap::new();
        for part in text.split(',') {
            let (key, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is not understood; see --help"))?;
            attrs.insert(key.to_owned(), value.to_owned());
        }
        let usage = || format!("write type=local,{directory}=DIR or type=registry,ref=HOST/REPO:TAG");
        let r#type = attrs.remove("type").ok_or_else(usage)?;
        if !TYPES.contains(&r#type.as_str()) {
            return Err(format!("unknown type `{}`; types: {}", r#type, TYPES.join(", ")));
        }
        let needs = match r#type.as_str() {
            "local" => Some(directory),
            "registry" => Some("ref"),
            _ => None,
        };
        if needs.is_some_and(|key| attrs.get(key).is_none_or(String::is_empty)) {
            return Err(usage());
        }
        Ok(Self { r#type, attrs })
    }

    /// Returns the place as the embedded engine reads it; the rest is given to `other`.
    fn named(&self, directory: &str, mut other: impl FnMut(&str, &str) -> bool) -> Result<Named, String> {
        let place = match self.r#type.as_str() {
            "local" => directory,
            "registry" => "ref",
            other => return Err(format!("type `{other}` is BuildKit's: use --engine buildkit, or local or registry")),
        };
        let unknown = self.attrs.iter().find(|(key, value)| *key != place && !other(key, value));
        if let Some((key, value)) = unknown {
            return Err(format!("`{key}={value}` is not understood; see --help"));
        }
        let value = self.attrs.get(place).map(String::as_str).unwrap_or_default();
        if place == directory {
            return Ok(Named::Directory(value.into()));
        }
        let parsed = value.parse::<Reference>();
        parsed.map(Named::Registry).map_err(|error| format!("`{value}` is no reference: {error}"))
    }

    fn cache(&self, kind: CacheKind) -> Cache {
        Cache { kind, r#type: self.r#type.clone(), attrs: self.attrs.clone() }
    }
}

impl FromStr for CacheFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Words::parse(text, "src")?;
        let named = words.named("src", |_, _| false);
        Ok(Self { words, named })
    }
}

impl FromStr for CacheTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = Words::parse(text, "dest")?;
        let (mut extent, mut compression) = (Extent::Min, Compression::Zstd { level: 3 });
        let named = words.named("dest", |key, value| {
            match (key, value) {
                ("mode", "min") => extent = Extent::Min,
                ("mode", "max") => extent = Extent::Max,
                ("mounts", "all") => extent = Extent::Mounts(Vec::new()),
                ("mounts", ids) if !ids.is_empty() => {
                    extent = Extent::Mounts(ids.split(';').map(str::to_owned).collect());
                }
                ("compression", "zstd") => compression = Compression::Zstd { level: 3 },
                ("compression", "gzip") => compression = Compression::Gzip { level: 6 },
                _ => return false,
            }
            true
        });
        Ok(Self { words, named: named.map(|named| (named, extent, compression)) })
    }
}

fn place(named: &Named, engine: &Embedded) -> Place {
    match named {
        Named::Directory(path) => Place::Directory(path.clone()),
        Named::Registry(reference) => Place::Registry(Box::new(engine.registry.clone()), reference.clone()),
    }
}

impl CacheArgs {
    /// Returns them as a daemon takes them. It looks for files in its own directory, so ours are named in full.
    pub(super) fn of_daemons(&self) -> Vec<Cache> {
        let from = self.cache_from.iter().map(|from| from.words.cache(CacheKind::From));
        let mut all: Vec<Cache> = from.chain(self.cache_to.iter().map(|to| to.words.cache(CacheKind::To))).collect();
        for cache in all.iter_mut().filter(|cache| cache.r#type == "local") {
            for key in ["src", "dest"] {
                if let Some(path) = cache.attrs.get_mut(key)
                    && let Ok(full) = std::path::absolute(&*path)
                {
                    *path = full.to_string_lossy().into_owned();
                }
            }
        }
        all
    }

    /// Lets the engine ask the caches that the caller named.
    pub(super) fn open(&self, engine: &mut Embedded, progress: &dyn Progress) -> Result<(), Failure> {
        let wrong = |flag: &str, reason: &str| Failure::Usage { message: format!("{flag}: {reason}") };
        if let Some(reason) = self.cache_to.iter().find_map(|to| to.named.as_ref().err()) {
            return Err(wrong("--cache-to", reason));
        }
        let named = self.cache_from.iter().map(|from| from.named.as_ref().map_err(|why| wrong("--cache-from", why)));
        let named: Vec<&Named> = named.collect::<Result<_, _>>()?;
        let places = named.into_iter().map(|named| place(named, engine)).collect();
        let stop = engine.origins.stop.clone();
        let failed = |error| Failure::Build(crate::solver::SolveError::Cache(error).into());
        engine.caches = Caches::open(places, &engine.store, stop, progress).map_err(failed)?;
        Ok(())
    }

    /// Leaves caches of what was solved. That one cannot be written is said aloud: the build has its result.
    pub(super) fn write(&self, session: &Session<'_>, engine: &Embedded, solved: &[&Solved], progress: &dyn Progress) {
        for (named, extent, compression) in self.cache_to.iter().filter_map(|to| to.named.as_ref().ok()) {
            let place = place(named, engine);
            let write = || -> Result<_, ExportCacheError> {
                let exporter = Exporter::begin(&place, &engine.store, *compression, session.jobs());
                let stored = (&engine.store, &engine.snapshots);
                export_cache(solved, extent, stored, exporter.map_err(ExportCacheError::from)?, progress)
            };
            let message = match write() {
                Ok(digest) => format!("cache {place}: {digest}"),
                Err(error) => format!("the cache {place} was not written: {}", causes(&error)),
            };
            progress.event(&Event::Note { message: &message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_a_type_and_a_place() {
        let to: CacheTo = "type=local,dest=a/b,mode=max,compression=gzip".parse().expect("valid");
        let gzip = Compression::Gzip { level: 6 };
        assert_eq!(to.named, Ok((Named::Directory("a/b".into()), Extent::Max, gzip)));
        let to: CacheTo = "type=registry,ref=r.test/c:ci,mounts=a;b".parse().expect("valid");
        let extent = to.named.map(|(_, extent, _)| extent);
        assert_eq!(extent, Ok(Extent::Mounts(vec!["a".to_owned(), "b".to_owned()])));
        assert!("type=local,src=x".parse::<CacheFrom>().is_ok_and(|from| from.named.is_ok()));
        // What only a daemon knows is refused when it is the embedded engine that is to solve.
        for text in ["type=s3,bucket=x", "type=gha", "type=inline", "type=local,src=x,mode=max"] {
            assert!(text.parse::<CacheFrom>().is_ok_and(|from| from.named.is_err()), "{text}");
        }
        for text in ["", "type=local", "type=ftp,src=x", "src=x", "type=local,ref=r.test/c", "type=registry,src=x"] {
            assert!(text.parse::<CacheFrom>().is_err(), "{text}");
        }
    }
}
