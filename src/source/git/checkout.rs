//! From an object to a tree.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};
use walkdir::WalkDir;

use super::error::GitError;
use super::program::{Call, Program};
use super::repository::{GitAccess, Opened, Resolved, fetch, init, name};
use super::url::{GitSource, is_commit};
use crate::progress::Progress;
use crate::source::error::SourceError;
use crate::source::origin::Origins;
use crate::source::wait::wait_for;
use crate::store::Store;

/// Fills the empty directory `into` with the tree that a source was resolved to.
///
/// # Errors
/// `Git`, or `Stopped` and `Store` while another run fetches from the same repository.
pub fn checkout(
    source: &GitSource,
    resolved: &Resolved,
    into: &Path,
    store: &Store,
    origins: &Origins,
    (access, progress): (GitAccess<'_>, &dyn Progress),
) -> Result<(), SourceError> {
    let opened = Opened::new(source, store, origins, access)?;
    let _lock = wait_for(store, &format!("git-{}", name(source)), &source.shown(), origins, progress)?;
    let bare = fetch(source, resolved, store, opened.program())?;
    Ok(Checkout { source, resolved, program: opened.program(), bare, into }.run(store)?)
}

struct Checkout<'a> {
    source: &'a GitSource,
    resolved: &'a Resolved,
    program: &'a Program<'a>,
    bare: PathBuf,
    into: &'a Path,
}

impl Checkout<'_> {
    fn run(&self, store: &Store) -> Result<(), GitError> {
        let part = !self.source.subdir.is_empty();
        let keep = self.source.keep_git_dir && !part;
        let scratch = store.temporary_directory()?;
        let git_dir = if keep { self.into.join(".git") } else { scratch.path().join("git") };
        // On the file system of the result, so that a part of it can be moved there.
        let whole = if part {
            let made = tempfile::Builder::new().prefix(".checkout-").tempdir_in(self.into);
            Some(made.map_err(GitError::io("create a directory in", self.into))?)
        } else {
            None
        };
        let tree = whole.as_ref().map_or(self.into, tempfile::TempDir::path);
        self.furnish(&git_dir, tree, keep)?;
        let git = |action, arguments: &[&str]| {
            let call = Call { git_dir: Some(&git_dir), work_tree: Some(tree), own_files: false, arguments };
            self.program.run(action, &call)
        };
        let object = self.resolved.object.as_str();
        let commit = format!("{object}^{{commit}}");
        if keep {
            git("check out", &["checkout", "--quiet", "--force", "--detach", &commit])?;
        } else {
            git("check out", &["read-tree", "--reset", "-u", &commit])?;
        }
        if !self.source.skip_submodules && tree.join(".gitmodules").is_file() {
            self.submodules(&git_dir, tree)?;
        }
        if keep {
            git("tidy", &["remote", "set-url", "origin", &self.source.shown()])?;
            git("tidy", &["reflog", "expire", "--all", "--expire=now"])?;
            remove(&git_dir.join("FETCH_HEAD"))?;
        } else {
            forget_submodules(tree)?;
        }
        if part {
            self.lift(tree)?;
            drop(whole);
        }
        if self.source.mtime_of_commit {
            let seconds = git_time(self.program, &self.bare, &commit)?;
            set_times(self.into, seconds)?;
        }
        Ok(())
    }

    /// Makes the checkout's own repository: it has the object, or borrows it.
    fn furnish(&self, git_dir: &Path, tree: &Path, keep: bool) -> Result<(), GitError> {
        let object = self.resolved.object.as_str();
        fs::create_dir_all(git_dir).map_err(GitError::io("create", git_dir))?;
        init(self.program, git_dir, Some(tree), object.len() == 64)?;
        let git = |action, own_files, arguments: &[&str]| {
            self.program.run(action, &Call { git_dir: Some(git_dir), own_files, arguments, work_tree: None })
        };
        git("name", false, &["remote", "add", "origin", &self.source.remote])?;
        if !keep {
            let alternates = git_dir.join("objects/info/alternates");
            fs::create_dir_all(git_dir.join("objects/info")).map_err(GitError::io("create", &alternates))?;
            let objects = format!("{}\n", self.bare.join("objects").display());
            fs::write(&alternates, objects).map_err(GitError::io("write", &alternates))?;
            let shallow = self.bare.join("shallow");
            if shallow.exists() {
                fs::copy(&shallow, git_dir.join("shallow")).map_err(GitError::io("copy", &shallow))?;
            }
            return Ok(());
        }
        // Through the protocol, so that nothing is shared and only this commit comes along. A name without `refs/`
        // ends among the tags, as it does with BuildKit.
        let kept = format!("refs/dockless/{object}");
        self.program.run(
            "keep",
            &Call { git_dir: Some(&self.bare), arguments: &["update-ref", &kept, object], ..Call::default() },
        )?;
        let reference = self.source.reference.as_str();
        let spec = match reference {
            name if is_commit(name) => kept,
            "" => format!("{kept}:{}", self.resolved.reference),
            name if name.starts_with("refs/") => format!("{kept}:{name}"),
            name => format!("{kept}:refs/tags/{name}"),
        };
        let from = format!("file://{}", self.bare.display());
        let arguments =
            ["fetch", "--quiet", "-u", "--depth=1", "--no-tags", "--no-recurse-submodules", "--", &from, &spec];
        git("fetch", true, &arguments).map(|_| ())
    }

    fn submodules(&self, git_dir: &Path, tree: &Path) -> Result<(), GitError> {
        let update = |depth: &[&str]| {
            let arguments = [&["submodule", "--quiet", "update", "--init", "--recursive"], depth].concat();
            let call = Call { git_dir: Some(git_dir), work_tree: Some(tree), own_files: false, arguments: &arguments };
            self.program.run("fetch the submodules of", &call)
        };
        match update(&["--depth=1"]) {
            // Servers that give away what has a name only, or nothing in part.
            Err(GitError::Failed { output, .. })
                if ["shallow", "--depth", "not our ref", "unadvertised", "did not contain"]
                    .iter()
                    .any(|word| output.contains(word)) =>
            {
                update(&[]).map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    /// Moves what is in the directory within to the top.
    fn lift(&self, tree: &Path) -> Result<(), GitError> {
        let wrong = || GitError::Subdir { remote: self.source.shown(), subdir: self.source.subdir.clone() };
        let mut at = tree.to_owned();
        for part in self.source.subdir.split('/') {
            at.push(part);
            if !fs::symlink_metadata(&at).is_ok_and(|metadata| metadata.is_dir()) {
                return Err(wrong());
            }
        }
        for entry in fs::read_dir(&at).map_err(GitError::io("list", &at))? {
            let entry = entry.map_err(GitError::io("list", &at))?;
            let target = self.into.join(entry.file_name());
            fs::rename(entry.path(), &target).map_err(GitError::io("move to", &target))?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), GitError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(GitError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes the `.git` of submodules: it leads to where this checkout's repository was. No commit can have such a file.
fn forget_submodules(tree: &Path) -> Result<(), GitError> {
    for entry in walk(tree) {
        let entry = entry?;
        if entry.file_name() == ".git" && entry.file_type().is_file() {
            remove(entry.path())?;
        }
    }
    Ok(())
}

fn git_time(program: &Program<'_>, bare: &Path, commit: &str) -> Result<i64, GitError> {
    let arguments = ["show", "--no-patch", "--format=%ct", commit];
    let said = program.run("date", &Call { git_dir: Some(bare), arguments: &arguments, ..Call::default() })?;
    said.trim().parse().map_err(|_| GitError::Failed {
        action: "date",
        remote: program.remote.clone(),
        status: "no time".to_owned(),
        output: said,
    })
}

/// Sets all times below and of `tree`, inner ones first.
fn set_times(tree: &Path, seconds: i64) -> Result<(), GitError> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    for entry in WalkDir::new(tree).contents_first(true) {
        let entry = entry.map_err(|error| walk_error(tree, error))?;
        rustix::fs::utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| GitError::io("change the time of", entry.path())(errno.into()))?;
    }
    Ok(())
}

fn walk(tree: &Path) -> impl Iterator<Item = Result<walkdir::DirEntry, GitError>> + use<'_> {
    WalkDir::new(tree).into_iter().map(move |entry| entry.map_err(|error| walk_error(tree, error)))
}

fn walk_error(tree: &Path, error: walkdir::Error) -> GitError {
    let path = error.path().unwrap_or(tree).to_owned();
    let source = error.into_io_error().unwrap_or_else(|| std::io::ErrorKind::InvalidData.into());
    GitError::Io { action: "list", path, source }
}
