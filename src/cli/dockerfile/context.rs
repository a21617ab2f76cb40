//! Places of files: directories with their `.dockerignore`, repositories, images.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::cli::failure::Failure;
use crate::dockerfile::{Context, ContextPath, DockerfileError, LARGEST, is_repository};
use crate::pattern::{Filter, FilterState, ignore_file};
use crate::registry::{Layout, Platform};
use crate::solver::{Directory, Inputs};
use crate::source::{SourceError, Stop};

/// Largest `.dockerignore`; people write a screenful.
const LARGEST_IGNORE: usize = 1 << 20;

/// Everything that the graph will ask this machine for.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub(super) inputs: Inputs,
    pub(super) layouts: BTreeMap<String, PathBuf>,
}

impl Places {
    /// Returns a directory as a context; `ignore` are the files that may say what stays away, the first counts.
    pub(super) fn directory(&mut self, name: &str, path: &Path, ignore: &[PathBuf]) -> Result<Context, Failure> {
        if !path.is_dir() {
            let message = format!("`{}` is no directory to take files from", path.display());
            return Err(Failure::Usage { message });
        }
        let directory = Directory { path: path.to_owned(), normal: false };
        self.inputs.directories.insert(name.to_owned(), directory);
        Ok(Context::Local { name: name.to_owned(), excludes: ignored(ignore)? })
    }

    /// Returns what `--build-context NAME=PLACE` means.
    pub(super) fn named(&mut self, name: &str, place: &str, stop: &Stop) -> Result<Context, Failure> {
        if let Some(reference) = place.strip_prefix("docker-image://") {
            return Ok(Context::Image(reference.to_owned()));
        }
        if let Some(layout) = place.strip_prefix("oci-layout://") {
            return self.layout(name, layout, stop);
        }
        if is_repository(place) {
            return Ok(Context::Git(place.to_owned()));
        }
        let path = Path::new(place);
        // A name of its own beside that of the build context itself.
        self.directory(&format!("context:{name}"), path, &[path.join(".dockerignore")])
    }

    /// `DIR`, `DIR:TAG` or `DIR@sha256:…`.
    fn layout(&mut self, name: &str, text: &str, stop: &Stop) -> Result<Context, Failure> {
        let (path, digest, tag) = match (text.split_once('@'), text.rsplit_once(':')) {
            (Some((path, digest)), _) => (path, Some(digest), None),
            (None, Some((path, tag))) if !Path::new(text).exists() => (path, None, Some(tag)),
            _ => (text, None, None),
        };
        let layout = Layout::open(Path::new(path), stop.clone()).map_err(SourceError::from)?;
        let digest = if let Some(digest) = digest {
            digest.parse().map_err(|error| Failure::Usage {
                message: format!("--build-context {name}: `{digest}` is no digest: {error}"),
            })?
        } else {
            let any = Platform::new("linux", std::env::consts::ARCH, "");
            layout.resolve(tag, None, &any).map_err(SourceError::from)?.descriptor.digest
        };
        let path = PathBuf::from(path);
        self.inputs.layouts.insert(name.to_owned(), path.clone());
        self.layouts.insert(name.to_owned(), path);
        Ok(Context::Layout { store: name.to_owned(), digest })
    }
}

/// Reads a Dockerfile, from standard input where it is called `-`.
pub(super) fn dockerfile(path: &Path) -> Result<String, Failure> {
    let failed = |source| Failure::Io { action: "read", path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than may be, so that a larger one is refused instead of cut.
    let limit = LARGEST as u64 + 1;
    if path == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let file = fs::File::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Failure::Usage {
                message: format!("there is no Dockerfile `{}`: name it with --file FILE", path.display()),
            },
            _ => failed(source),
        })?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    String::from_utf8(bytes).map_err(|_| Failure::Usage { message: format!("`{}` is no text", path.display()) })
}

/// Reads the first of these files that is there.
fn ignored(files: &[PathBuf]) -> Result<Vec<String>, Failure> {
    for path in files {
        let failed = |source| Failure::Io { action: "read", path: path.clone(), source };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => continue,
            Err(error) => return Err(failed(error)),
        };
        if bytes.len() > LARGEST_IGNORE {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let wrong = |error: crate::pattern::PatternError| Failure::Usage {
            message: format!("`{}`: {error}: {}", path.display(), error.help()),
        };
        let patterns = ignore_file(&bytes).map_err(wrong)?;
        Filter::parse(&[], &patterns).map_err(wrong)?;
        return Ok(patterns);
    }
    Ok(Vec::new())
}

/// Finds a file that an instruction wants from the build context and that is not there, before anything is built.
pub(super) fn missing(
    paths: &[ContextPath],
    (root, called): (&Path, &str),
    excludes: &[String],
) -> Option<DockerfileError> {
    let filter = Filter::parse(&[], excludes).ok()?;
    let directory = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let directory = directory.ok()?;
    // Wildcards may match nothing.
    paths.iter().filter(|wanted| !wanted.path.contains(['*', '?', '[', '\\'])).find_map(|wanted| {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let path = if wanted.path.is_empty() { "." } else { &wanted.path };
        let found = rustix::fs::openat2(&directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT);
        let (message, help) = if matches!(found, Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR)) {
            (format!("there is no `{}` in {called}", wanted.path), None)
        } else if is_excluded(&filter, &wanted.path) {
            let help = "take its pattern out of .dockerignore, or add a line with `!` and its path";
            (format!("`{}` is excluded by .dockerignore", wanted.path), Some(help.to_owned()))
        } else {
            return None;
        };
        Some(DockerfileError::Text { message, help, picture: Box::new(wanted.picture.clone()) })
    })
}

/// Tells whether nothing at or below a path is taken.
fn is_excluded(filter: &Filter, path: &str) -> bool {
    let mut above = FilterState::default();
    let mut so_far = PathBuf::new();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        so_far.push(part);
        let verdict = filter.look(&so_far, &above);
        if !verdict.included && !verdict.descend {
            return true;
        }
        above = verdict.state;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excluded_path_is_one_of_which_nothing_is_taken() {
        let filter = Filter::parse(&[], &["a", "b/*", "!b/keep", "**/*.o"]).expect("patterns");
        for path in ["a", "a/deep/file", "x/y.o"] {
            assert!(is_excluded(&filter, path), "{path}");
        }
        for path in ["b/keep", "b", "c", "", "x/y.c"] {
            assert!(!is_excluded(&filter, path), "{path}");
        }
    }
}
