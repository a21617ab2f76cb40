//! `--cache-from type=local,src=DIR` and `--cache-to type=local,dest=DIR`, as BuildKit's clients write them.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::failure::Failure;
use super::session::Session;
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
    /// may be repeated
    #[arg(long, value_name = "type=TYPE,src=DIR|ref=REF")]
    pub(crate) cache_from: Vec<CacheFrom>,
    /// Where to leave a cache for other builds: type=local,dest=DIR or type=registry,ref=HOST/REPO:TAG, with mode=min
    /// (layers of the result) or max (of every step), compression=zstd or gzip; mounts=all or mounts=ID;ID leaves
    /// cache mounts instead; may be repeated
    #[arg(long, value_name = "type=TYPE,dest=DIR|ref=REF[,mode=MODE]")]
    pub(crate) cache_to: Vec<CacheTo>,
}

/// Where a cache is, before anybody has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Directory(PathBuf),
    Registry(Reference),
}

/// A cache to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheFrom(Named);

/// A cache to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheTo {
    named: Named,
    extent: Extent,
    compression: Compression,
}

/// Splits `type=…,key=value,…` and finds the place; the rest is given to `other`.
fn parse(text: &str, directory: &str, mut other: impl FnMut(&str, &str) -> bool) -> Result<Named, String> {
    let (mut kind, mut path, mut reference) = (None, None, None);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("type", value @ ("local" | "registry"))) => kind = Some(value),
            Some(("type", value)) => return Err(format!("unknown type `{value}`; types: local, registry")),
            Some((key, value)) if key == directory && !value.is_empty() => path = Some(PathBuf::from(value)),
            Some(("ref", value)) => {
                let parsed = value.parse::<Reference>();
                reference = Some(parsed.map_err(|error| format!("`{value}` is no reference: {error}"))?);
            }
            Some((key, value)) if other(key, value) => {}
            _ => return Err(format!("`{part}` is not understood; see --help")),
        }
    }
    match (kind, path, reference) {
        (Some("local"), Some(path), None) => Ok(Named::Directory(path)),
        (Some("registry"), None, Some(reference)) => Ok(Named::Registry(reference)),
        _ => Err(format!("write type=local,{directory}=DIR or type=registry,ref=HOST/REPO:TAG")),
    }
}

impl FromStr for CacheFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, "src", |_, _| false).map(Self)
    }
}

impl FromStr for CacheTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut extent, mut compression) = (Extent::Min, Compression::Zstd { level: 3 });
        let named = parse(text, "dest", |key, value| {
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
        })?;
        Ok(Self { named, extent, compression })
    }
}

fn place(named: &Named, engine: &Embedded) -> Place {
    match named {
        Named::Directory(path) => Place::Directory(path.clone()),
        Named::Registry(reference) => Place::Registry(Box::new(engine.registry.clone()), reference.clone()),
    }
}

impl CacheArgs {
    /// Lets the engine ask the caches that the caller named.
    pub(super) fn open(&self, engine: &mut Embedded, progress: &dyn Progress) -> Result<(), Failure> {
        let places = self.cache_from.iter().map(|from| place(&from.0, engine)).collect();
        let stop = engine.origins.stop.clone();
        let failed = |error| Failure::Build(crate::solver::SolveError::Cache(error).into());
        engine.caches = Caches::open(places, &engine.store, stop, progress).map_err(failed)?;
        Ok(())
    }

    /// Leaves caches of what was solved. That one cannot be written is said aloud: the build has its result.
    pub(super) fn write(&self, session: &Session<'_>, engine: &Embedded, solved: &[&Solved], progress: &dyn Progress) {
        for to in &self.cache_to {
            let place = place(&to.named, engine);
            let write = || -> Result<_, ExportCacheError> {
                let exporter = Exporter::begin(&place, &engine.store, to.compression, session.jobs());
                let stored = (&engine.store, &engine.snapshots);
                export_cache(solved, &to.extent, stored, exporter.map_err(ExportCacheError::from)?, progress)
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
        assert_eq!((to.named, to.extent), (Named::Directory("a/b".into()), Extent::Max));
        let to: CacheTo = "type=registry,ref=r.test/c:ci,mounts=a;b".parse().expect("valid");
        assert_eq!(to.extent, Extent::Mounts(vec!["a".to_owned(), "b".to_owned()]));
        assert!("type=local,src=x".parse::<CacheFrom>().is_ok());
        for text in ["", "type=local", "type=s3,src=x", "src=x", "type=local,ref=r.test/c", "type=local,src=x,mode=max"]
        {
            assert!(text.parse::<CacheFrom>().is_err(), "{text}");
        }
    }
}
