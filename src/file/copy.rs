//! A copy from tree to tree: where it goes (BuildKit `file/backend.go` `docopy`, fsutil `copy.go` `Copy`).

use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::chmod::Chmod;
use super::copier::{Copier, Entry};
use super::error::{FileError, shown};
use super::metadata::{FileOptions, Making, set_times, timestamp};
use super::owner::Owner;
use super::select::select;
use super::tree::{Tree, clean, is_directory, kind};
use crate::layer::{Limits, UnpackOptions, is_archive, unpack};
use crate::llb::pb::FileActionCopy;
use crate::pattern::{Filter, has_wildcards};

/// Copies from the tree `from` into the tree `to` (`ops.proto FileActionCopy`). `owner` is what [`super::owner()`] made
/// of the action's option; without one files keep theirs. `required_paths` is a matter of [`super::content`].
///
/// # Errors
/// `NotFound`, `NoMatch`, `FileOverDirectory`, `DirectoryOverFile`, `Mode`, `Pattern`, `Unpack`, `Whiteout`,
/// `TooManyLinks`, `TooDeep`, `Io`. What was copied until then stays.
pub fn copy(
    from: &Path,
    to: &Path,
    action: &FileActionCopy,
    owner: Option<Owner>,
    options: FileOptions,
) -> Result<(), FileError> {
    let task = Task { from: Tree::open(from)?, to: Tree::open(to)?, action, owner, options };
    if !action.create_dest_path {
        let place = task.to.resolve(Path::new(&action.dest), true)?;
        task.to.expect(place.parent().unwrap_or(Path::new("")))?;
    }
    let wildcard = action.allow_wildcard && has_wildcards(&action.src);
    // A trailing `/.` of a source without wildcard stays: it means what is in the directory.
    let sources = if wildcard { select(&task.from, &action.src, action.follow_symlink)? } else { vec![PathBuf::new()] };
    if sources.is_empty() && !action.allow_empty_wildcard {
        return Err(FileError::NoMatch { pattern: action.src.clone() });
    }
    for source in &sources {
        let source = if wildcard { source } else { Path::new(&action.src) };
        let in_it = !wildcard && !action.allow_wildcard && action.src.ends_with("/.");
        if !(action.attempt_unpack_docker_compatibility && task.unpack(source)?) {
            task.copy(source, in_it)?;
        }
    }
    Ok(())
}

struct Task<'a> {
    from: Tree,
    to: Tree,
    action: &'a FileActionCopy,
    owner: Option<Owner>,
    options: FileOptions,
}

impl Task<'_> {
    /// How parents of the destination are made: with the copy's own mode if it has a number.
    fn making(&self, mode: Option<u32>) -> Making {
        let mode = mode.unwrap_or(0o755) & 0o777;
        Making { mode, owner: self.owner, times: timestamp(self.action.timestamp), options: self.options }
    }

    fn copy(&self, source: &Path, in_it: bool) -> Result<(), FileError> {
        let action = self.action;
        let chmod = Chmod::parse(action.mode, &action.mode_str)?;
        let filter = Filter::parse(&action.include_patterns, &action.exclude_patterns)?;
        let place = self.from.resolve(source, action.follow_symlink)?;
        let stat = self.from.expect(&place)?;
        let making =
            self.making(if let (Chmod::Set(mode), "") = (&chmod, &*action.mode_str) { Some(*mode) } else { None });

        let mut made = Vec::new();
        let is_place = action.dest.ends_with('/') || action.dest.ends_with("/.");
        let dest = clean(Path::new(&action.dest));
        let ensured = if is_place { Some(&*dest) } else { dest.parent() };
        if let Some(ensured) = ensured {
            made.extend(making.make_all(&self.to, &self.to.resolve(ensured, true)?)?);
        }
        let mut dest = self.to.resolve(&dest, true)?;
        let there = self.to.examine(&dest)?;
        let contents = action.dir_copy_contents && is_directory(&stat);
        let beneath = if is_directory(&stat) { there.is_some() } else { there.as_ref().is_some_and(is_directory) };
        if !contents && beneath && !in_it {
            dest.extend(clean(source).file_name());
        }
        let parent = if contents && there.is_none() { Some(&*dest) } else { dest.parent() };
        if let Some(parent) = parent {
            made.extend(making.make_all(&self.to, parent)?);
        }
        let entry = Entry { from: &place, below: Path::new(""), to: &dest };
        let mut copier = Copier::new(&self.from, &self.to, (filter, chmod), action, self.owner, self.options);
        copier.copy(&entry)?;
        // What came into them has changed their time.
        if let Some(times) = &making.times {
            for path in made.iter().rev() {
                set_times(&self.to, path, times)?;
            }
        }
        Ok(())
    }

    /// Unpacks the source if it is an archive; tells whether it was one.
    fn unpack(&self, source: &Path) -> Result<bool, FileError> {
        let place = self.from.resolve(source, true)?;
        let is_file = self.from.examine(&place)?.is_some_and(|stat| kind(&stat) == FileType::RegularFile);
        if !is_file {
            return Ok(false);
        }
        let options = UnpackOptions {
            single_id: self.options.single_id,
            whiteouts: false,
            owner: self.owner.map(|owner| (owner.uid, owner.gid)),
            docker_add: true,
            ..UnpackOptions::default()
        };
        if !is_archive(std::fs::File::from(self.from.open_file(&place)?), &Limits::default()) {
            return Ok(false);
        }
        let dest = self.to.resolve(Path::new(&self.action.dest), true)?;
        self.making(None).make_all(&self.to, &dest)?;
        let directory = self.to.open_directory(&dest)?;
        // The open directory by its name in /proc: no path is resolved again.
        let root = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let archive = std::fs::File::from(self.from.open_file(&place)?);
        unpack(archive, &root, &options).map_err(|source| FileError::Unpack { path: shown(&place), source })?;
        Ok(true)
    }
}
