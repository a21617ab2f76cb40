//! Repositories: a reference becomes a commit, a commit a tree, and nothing of the user's or the server's interferes.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dockless::llb::pb::SourceOp;
use dockless::progress::Silent;
use dockless::source::git::{GitAccess, GitError, GitSource, Resolved, checkout, resolve};
use dockless::source::{Identifier, Origins, SourceError, Stop};
use dockless::store::Store;
use tempfile::TempDir;

use crate::support::skip;

struct Place {
    root: TempDir,
    store: Store,
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_ALLOW_PROTOCOL", "file")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@a"), ("GIT_AUTHOR_DATE", "@1000000000 +0000")])
        .envs([
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@a"),
            ("GIT_COMMITTER_DATE", "@1000000000 +0000"),
        ])
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Place {
    /// A repository of two commits: the first has the annotated tag `v1` and the plain one `plain`.
    fn new() -> Option<Self> {
        if Command::new("git").arg("version").stdout(Stdio::null()).status().is_err() {
            skip("git", "the program is not on this machine");
            return None;
        }
        let root = TempDir::new().expect("a place");
        let repo = root.path().join("repo.git");
        fs::create_dir_all(repo.join("sub/deep")).expect("made");
        git(&repo, &["init", "--quiet", "--initial-branch=main"]);
        fs::write(repo.join("f"), "v1\n").expect("written");
        fs::write(repo.join("sub/s"), "s\n").expect("written");
        fs::write(repo.join("sub/deep/d"), "d\n").expect("written");
        fs::write(repo.join("run"), "#!/bin/sh\n").expect("written");
        fs::set_permissions(repo.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
        symlink("sub", repo.join("link")).expect("linked");
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "--quiet", "-m", "one"]);
        git(&repo, &["tag", "-a", "-m", "tag", "v1"]);
        git(&repo, &["tag", "plain"]);
        fs::write(repo.join("f"), "v2\n").expect("written");
        git(&repo, &["commit", "--quiet", "-a", "-m", "two"]);
        let store = Store::open(&root.path().join("store")).expect("a store");
        Some(Self { root, store })
    }

    fn repo(&self) -> PathBuf {
        self.root.path().join("repo.git")
    }

    fn rev(&self, name: &str) -> String {
        git(&self.repo(), &["rev-parse", name])
    }

    /// The source that this repository is under `file:`.
    fn source(&self, fragment: &str) -> GitSource {
        let url = format!("file://{}", self.repo().display());
        let source = GitSource::parse(&format!("h/repo.git#{fragment}")).expect("a source");
        source.at(&url).expect("an address")
    }

    fn resolve(&self, source: &GitSource) -> Result<Resolved, GitError> {
        resolve(source, &self.store, &Origins::default(), access(true))
    }

    fn checkout(&self, source: &GitSource) -> Result<TempDir, SourceError> {
        let resolved = self.resolve(source)?;
        self.checkout_as(source, &resolved, &Origins::default())
    }

    fn checkout_as(&self, source: &GitSource, resolved: &Resolved, origins: &Origins) -> Result<TempDir, SourceError> {
        let into = TempDir::new_in(self.root.path()).expect("a directory");
        checkout(source, resolved, into.path(), &self.store, origins, (access(true), &Silent))?;
        Ok(into)
    }
}

fn access(allow_file: bool) -> GitAccess<'static> {
    GitAccess { secrets: &|_| None, agents: &|_| None, allow_file }
}

fn read(tree: &TempDir, path: &str) -> String {
    fs::read_to_string(tree.path().join(path)).expect(path)
}

fn names(tree: &TempDir) -> String {
    let mut names: Vec<String> = fs::read_dir(tree.path())
        .expect("readable")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.join(" ")
}

#[test]
fn references_become_commits() {
    let Some(place) = Place::new() else { return };
    let commit = |fragment: &str| place.resolve(&place.source(fragment)).map(|resolved| resolved.commit);
    let (one, two) = (place.rev("v1^{commit}"), place.rev("main"));
    assert_eq!(commit("main").expect("a branch"), two);
    assert_eq!(commit("").expect("the default branch"), two);
    assert_eq!(commit("refs/heads/main").expect("in full"), two);
    assert_eq!(commit("plain").expect("a tag"), one);
    let tagged = place.resolve(&place.source("v1")).expect("an annotated tag");
    assert_eq!((tagged.object, tagged.commit), (place.rev("v1"), one.clone()));
    assert_eq!(commit(&"0".repeat(40)).expect("taken as it is"), "0".repeat(40));
    let error = commit("none").expect_err("no such reference");
    assert!(matches!(error, GitError::Reference { .. }), "{error}");
    let mut source = place.source("v1:sub");
    source.skip_submodules = true;
    assert_eq!(place.resolve(&source).expect("a tag").key, format!("{one}:sub(skip-submodules)"));
}

#[test]
fn a_checkout_has_gits_modes_and_no_repository() {
    let Some(place) = Place::new() else { return };
    let tree = place.checkout(&place.source("main")).expect("checked out");
    assert_eq!((names(&tree).as_str(), read(&tree, "f").as_str()), ("f link run sub", "v2\n"));
    for (path, mode) in [("f", 0o644), ("run", 0o755), ("sub", 0o755)] {
        assert_eq!(fs::metadata(tree.path().join(path)).expect(path).mode() & 0o7777, mode, "{path}");
    }
    assert_eq!(fs::read_link(tree.path().join("link")).expect("a link"), Path::new("sub"));
    let old = place.checkout(&place.source(&place.rev("v1^{commit}"))).expect("an old commit");
    assert_eq!(read(&old, "f"), "v1\n");
    let tag = place.checkout(&place.source("v1")).expect("a tag");
    assert_eq!(read(&tag, "f"), "v1\n");
}

#[test]
fn a_part_is_a_directory_and_never_a_way_out() {
    let Some(place) = Place::new() else { return };
    assert_eq!(names(&place.checkout(&place.source("main:sub")).expect("a part")), "deep s");
    assert_eq!(names(&place.checkout(&place.source("main:/../sub/./deep/")).expect("a part")), "d");
    for subdir in ["link", "f", "none", "link/deep"] {
        let error = place.checkout(&place.source(&format!("main:{subdir}"))).expect_err(subdir);
        assert!(matches!(error, SourceError::Git(GitError::Subdir { .. })), "{error}");
    }
}

#[test]
fn the_repository_stays_when_it_is_asked_for() {
    let Some(place) = Place::new() else { return };
    for fragment in ["main", "v1", "plain", "refs/heads/main", ""] {
        let mut source = place.source(fragment);
        source.keep_git_dir = true;
        let resolved = place.resolve(&source).expect("resolved");
        let tree = place.checkout(&source).expect(fragment);
        assert_eq!(git(tree.path(), &["rev-parse", "HEAD"]), resolved.commit, "{fragment}");
        assert_eq!(git(tree.path(), &["status", "--porcelain"]), "", "{fragment}");
        assert_eq!(git(tree.path(), &["remote", "get-url", "origin"]), source.remote);
        assert!(!tree.path().join(".git/FETCH_HEAD").exists() && !tree.path().join(".git/hooks").exists());
        source.subdir = "sub".to_owned();
        assert_eq!(names(&place.checkout(&source).expect("a part")), "deep s");
    }
}

#[test]
fn times_may_be_the_commits() {
    let Some(place) = Place::new() else { return };
    let mut source = place.source("main");
    source.mtime_of_commit = true;
    let tree = place.checkout(&source).expect("checked out");
    for path in ["", "f", "sub", "sub/deep", "sub/deep/d", "link"] {
        let metadata = fs::symlink_metadata(tree.path().join(path)).expect(path);
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (1_000_000_000, 0), "{path}");
    }
}

#[test]
fn a_checksum_is_the_beginning_of_the_commit() {
    let Some(place) = Place::new() else { return };
    let mut source = place.source("main");
    source.checksum = Some(place.rev("main")[..12].to_owned());
    place.resolve(&source).expect("as demanded");
    source.checksum = Some(place.rev("v1"));
    let error = place.resolve(&source).expect_err("another").to_string();
    assert!(error.contains(&place.rev("main")) && error.contains(&place.rev("v1")), "{error}");
    let mut by_commit = place.source("main");
    by_commit.fetch_by_commit = true;
    assert!(matches!(place.resolve(&by_commit), Err(GitError::Needs { .. })));
    by_commit.checksum = Some(place.rev("main"));
    assert_eq!(read(&place.checkout(&by_commit).expect("by commit"), "f"), "v2\n");
}

#[test]
fn what_was_fetched_is_there_without_network() {
    let Some(place) = Place::new() else { return };
    let source = place.source(&place.rev("main"));
    let resolved = place.resolve(&source).expect("resolved");
    let offline = Origins { offline: true, ..Origins::default() };
    let error = place.checkout_as(&source, &resolved, &offline).expect_err("never fetched");
    assert!(matches!(error, SourceError::Git(GitError::Offline { .. })), "{error}");
    place.checkout_as(&source, &resolved, &Origins::default()).expect("fetched");
    fs::rename(place.repo(), place.root.path().join("gone")).expect("gone");
    assert_eq!(read(&place.checkout_as(&source, &resolved, &offline).expect("kept"), "f"), "v2\n");
}

#[test]
fn submodules_come_along_unless_they_are_files_of_this_machine() {
    let Some(place) = Place::new() else { return };
    let inner = place.root.path().join("inner");
    fs::create_dir(&inner).expect("made");
    git(&inner, &["init", "--quiet"]);
    fs::write(inner.join("i"), "inner\n").expect("written");
    git(&inner, &["add", "."]);
    git(&inner, &["commit", "--quiet", "-m", "inner"]);
    let url = format!("file://{}", inner.display());
    git(&place.repo(), &["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, "module"]);
    git(&place.repo(), &["commit", "--quiet", "-m", "three"]);
    let tree = place.checkout(&place.source("main")).expect("with its submodule");
    assert_eq!(read(&tree, "module/i"), "inner\n");
    assert!(!tree.path().join("module/.git").exists(), "it would lead to where the checkout was made");
    let mut source = place.source("main");
    source.skip_submodules = true;
    assert!(!place.checkout(&source).expect("without").path().join("module/i").exists());

    let Some(daemon) = Daemon::start(place.root.path()) else { return };
    let source = daemon.source("main", &[]);
    let resolved = resolve(&source, &place.store, &Origins::default(), access(false)).expect("resolved");
    let into = TempDir::new().expect("a directory");
    let told = (access(false), &Silent as &dyn dockless::progress::Progress);
    let error = checkout(&source, &resolved, into.path(), &place.store, &Origins::default(), told);
    let error = error.expect_err("a file of this machine").to_string();
    assert!(error.contains("not allowed"), "{error}");
}

/// Serves everything below a directory by git's own protocol.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) port: u16,
}

impl Daemon {
    pub(crate) fn start(base: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("loopback").port();
        let mut child = Command::new("git")
            .args(["-c", "safe.directory=*", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"])
            .arg(format!("--port={port}"))
            .arg(format!("--base-path={}", base.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("git runs");
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(Self { child, port });
            }
            if child.try_wait().expect("a child").is_some() {
                skip("git-daemon", "this git has none");
                return None;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("git daemon does not answer");
    }

    /// The source as LLB names it.
    fn source(&self, fragment: &str, attrs: &[(&str, &str)]) -> GitSource {
        let full = format!("git://127.0.0.1:{}/repo.git", self.port);
        let attrs = attrs.iter().copied().chain([("git.fullurl", full.as_str())]);
        let attrs = attrs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let identifier = format!("git://127.0.0.1:{}/repo.git#{fragment}", self.port);
        match Identifier::parse(&SourceOp { identifier, attrs }) {
            Ok(Identifier::Git(source)) => source,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `git` leaves the work to a child of its own.
        let group = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a process ID"));
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[test]
fn the_shape_of_corpus_case_032_comes_from_a_server() {
    let Some(place) = Place::new() else { return };
    let Some(daemon) = Daemon::start(place.root.path()) else { return };
    let get = |source: &GitSource| {
        let resolved = resolve(source, &place.store, &Origins::default(), access(false)).expect("resolved");
        let into = TempDir::new_in(place.root.path()).expect("a directory");
        checkout(source, &resolved, into.path(), &place.store, &Origins::default(), (access(false), &Silent))
            .expect("checked out");
        into
    };
    let secrets = [("git.authheadersecret", "GIT_AUTH_HEADER"), ("git.authtokensecret", "GIT_AUTH_TOKEN")];
    assert_eq!(names(&get(&daemon.source("main", &secrets))), "f link run sub");
    assert_eq!(names(&get(&daemon.source("v1:sub", &[("git.keepgitdir", "true")]))), "deep s");
    assert_eq!(read(&get(&daemon.source("main", &[("git.checksum", &place.rev("main"))])), "f"), "v2\n");
    let old = get(&daemon.source(&place.rev("v1^{commit}"), &[]));
    assert_eq!(read(&old, "f"), "v1\n", "a commit that no reference names at its tip");
}

#[test]
fn a_server_that_is_silent_is_left_when_the_run_is_to_end() {
    let Some(place) = Place::new() else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let url = format!("git://{}/repo", listener.local_addr().expect("an address"));
    let source = GitSource::parse("h/repo#main").and_then(|source| source.at(&url)).expect("a source");
    let begun = Instant::now();
    let stop = Stop::new(move || begun.elapsed() > Duration::from_millis(300));
    let error = resolve(&source, &place.store, &Origins { stop, ..Origins::default() }, access(false));
    assert!(matches!(error, Err(GitError::Stopped { .. })), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let file = GitSource::parse("h/repo#main").and_then(|source| source.at("file:///etc")).expect("a source");
    let error = resolve(&file, &place.store, &Origins::default(), access(false));
    assert!(matches!(error, Err(GitError::Url(_))), "files only where they are allowed: {error:?}");
}
