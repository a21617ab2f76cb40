//! From a reference to an object, and its bare repository in the store.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use tempfile::NamedTempFile;

use super::error::GitError;
use super::program::{Call, Program};
use super::url::{GitSource, is_commit};
use crate::oci::Digest;
use crate::source::download::Secrets;
use crate::source::origin::Origins;
use crate::store::Store;

/// What a repository may be reached with.
#[derive(Clone, Copy)]
pub struct GitAccess<'a> {
    /// Looks secrets up by name.
    pub secrets: Secrets<'a>,
    /// Looks sockets of SSH agents up by the client's ID.
    pub agents: &'a (dyn Fn(&str) -> Option<PathBuf> + Sync),
    /// Whether repositories may be directories of this machine.
    pub allow_file: bool,
}

/// What a source means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The whole name of the object that the reference names: a commit, or an annotated tag.
    pub object: String,
    /// The commit that it leads to.
    pub commit: String,
    /// The reference in full, e.g. `refs/heads/main`, or the object's name.
    pub reference: String,
    /// Names the tree (`source/git` `shaToCacheKey`): equal keys are equal trees.
    pub key: String,
}

impl std::fmt::Debug for GitAccess<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitAccess").field("allow_file", &self.allow_file).finish_non_exhaustive()
    }
}

/// Finds out what a source means: a whole commit is taken as it is, everything else is asked for.
///
/// # Errors
/// `Reference`, `Checksum`, `Missing`, `Failed`, `Needs`, `Offline`, `Stopped`.
pub fn resolve(
    source: &GitSource,
    store: &Store,
    origins: &Origins,
    access: GitAccess<'_>,
) -> Result<Resolved, GitError> {
    if source.is_commit() {
        check(source, &[&source.reference])?;
        return Ok(resolved(source, source.reference.clone(), None, source.reference.clone()));
    }
    if source.fetch_by_commit {
        let commit = source.checksum.clone().filter(|checksum| is_commit(checksum)).ok_or_else(|| GitError::Needs {
            remote: source.shown(),
            what: "a whole commit as checksum, to be fetched by commit".to_owned(),
        })?;
        let reference = match source.reference.as_str() {
            "" => commit.clone(),
            name if name.starts_with("refs/") => name.to_owned(),
            name => format!("refs/heads/{name}"),
        };
        return Ok(resolved(source, commit, None, reference));
    }
    if origins.offline {
        return Err(GitError::Offline { remote: source.shown() });
    }
    let call = Opened::new(source, store, origins, access)?;
    let list =
        |arguments: &[&str]| call.program().run("list the references of", &Call { arguments, ..Call::default() });
    let mut reference = source.reference.clone();
    if reference.is_empty() {
        let listed = list(&["ls-remote", "--symref", "--", &source.remote, "HEAD"])?;
        default_branch(&listed).ok_or_else(|| missing(source, "HEAD"))?.clone_into(&mut reference);
    }
    let peeled = format!("{reference}^{{}}");
    let listed = list(&["ls-remote", "--", &source.remote, &reference, &peeled])?;
    let (object, commit, reference) = choose(&listed, &reference).ok_or_else(|| missing(source, &reference))?;
    let names: Vec<&str> = [Some(object.as_str()), commit.as_deref()].into_iter().flatten().collect();
    check(source, &names)?;
    Ok(resolved(source, object, commit, reference))
}

fn missing(source: &GitSource, reference: &str) -> GitError {
    GitError::Reference { remote: source.shown(), reference: reference.to_owned() }
}

/// Checks that one of the names begins as demanded.
fn check(source: &GitSource, names: &[&str]) -> Result<(), GitError> {
    match &source.checksum {
        Some(expected) if !names.iter().any(|name| name.starts_with(expected.as_str())) => Err(GitError::Checksum {
            remote: source.shown(),
            reference: source.reference.clone(),
            expected: expected.clone(),
            actual: names.join(" or "),
        }),
        _ => Ok(()),
    }
}

fn resolved(source: &GitSource, object: String, commit: Option<String>, reference: String) -> Resolved {
    let commit = commit.unwrap_or_else(|| object.clone());
    let mut key = if source.keep_git_dir { format!("{object}.git#{reference}") } else { commit.clone() };
    for (wanted, text) in [
        (!source.subdir.is_empty(), format!(":{}", source.subdir)),
        (source.skip_submodules, "(skip-submodules)".to_owned()),
        (source.mtime_of_commit, "(mtime=commit)".to_owned()),
    ] {
        if wanted {
            key.push_str(&text);
        }
    }
    Resolved { object, commit, reference, key }
}

fn default_branch(listed: &str) -> Option<&str> {
    let branch = listed.lines().find_map(|line| line.strip_prefix("ref: ")?.split_once('\t'))?.0;
    branch.starts_with("refs/heads/").then_some(branch)
}

/// Chooses among what a server listed: a reference by its full name, then branches, then tags.
fn choose(listed: &str, reference: &str) -> Option<(String, Option<String>, String)> {
    let find = |name: &str| {
        let found = listed.lines().filter_map(|line| line.split_once('\t')).find(|(_, listed)| *listed == name);
        found.map(|(object, _)| object.to_owned()).filter(|object| is_commit(object))
    };
    let within = |place: &str| format!("{place}{}", reference.strip_prefix(place).unwrap_or(reference));
    let (full, head, tag) = (within("refs/"), within("refs/heads/"), within("refs/tags/"));
    let name = [full, head, tag.clone()].into_iter().find(|name| find(name).is_some())?;
    let commit = if name == tag { find(&format!("{tag}^{{}}")) } else { None };
    Some((find(&name)?, commit, name))
}

/// The program with everything it needs for one source; files with settings vanish with it.
pub(super) struct Opened<'a> {
    program: Program<'a>,
    _known_hosts: Option<NamedTempFile>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(
        source: &GitSource,
        store: &Store,
        origins: &'a Origins,
        access: GitAccess<'_>,
    ) -> Result<Self, GitError> {
        let needs = |what: String| GitError::Needs { remote: source.shown(), what };
        if source.remote.starts_with("file:") && !access.allow_file {
            return Err(super::error::GitUrlError::Protocol.into());
        }
        let ssh_socket = match &source.ssh_socket {
            Some(id) if is_ssh(&source.remote) => {
                Some((access.agents)(id).ok_or_else(|| needs(format!("the SSH agent `{id}`, which nobody forwards")))?)
            }
            _ => None,
        };
        let known_hosts = source.known_hosts.as_ref().map(|text| write_known_hosts(store, text)).transpose()?;
        let program = Program {
            remote: source.shown(),
            origins,
            settings: authorization(source, access.secrets)?.into_iter().collect(),
            ssh_socket,
            known_hosts: known_hosts.as_ref().map(|file| file.path().to_owned()),
            allow_file: access.allow_file,
        };
        Ok(Self { program, _known_hosts: known_hosts })
    }

    pub(super) const fn program(&self) -> &Program<'a> {
        &self.program
    }
}

fn is_ssh(remote: &str) -> bool {
    remote.starts_with("ssh://") || !remote.contains("://")
}

fn write_known_hosts(store: &Store, text: &str) -> Result<NamedTempFile, GitError> {
    let room = store.room("git")?;
    let mut file = NamedTempFile::with_prefix_in("known-", &room).map_err(GitError::io("create a file in", &room))?;
    let path = file.path().to_owned();
    file.write_all(text.as_bytes()).and_then(|()| file.write_all(b"\n")).map_err(GitError::io("write", &path))?;
    Ok(file)
}

/// The header that says who asks, for this address only; for a well-known host for all of it, as submodules want.
fn authorization(source: &GitSource, secrets: Secrets<'_>) -> Result<Option<(String, String)>, GitError> {
    if !source.remote.starts_with("http") {
        return Ok(None);
    }
    let host = Url::parse(&source.remote).ok().map(|url| match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    });
    let host = host.unwrap_or_default();
    let (header, token) = (source.auth_header_secret.as_deref(), source.auth_token_secret.as_deref());
    let of_host = |name: &str| format!("{name}.{host}");
    let names = [
        (header.map(of_host), false),
        (token.map(of_host), true),
        (header.map(str::to_owned), false),
        (token.map(str::to_owned), true),
    ];
    let found = names.into_iter().find_map(|(name, is_token)| {
        let name = name?;
        Some((secrets(&name)?, is_token, name))
    });
    let Some((secret, is_token, name)) = found else { return Ok(None) };
    let value = if is_token {
        format!("basic {}", STANDARD.encode([b"x-access-token:", secret.trim_ascii()].concat()))
    } else {
        String::from_utf8_lossy(secret.trim_ascii()).into_owned()
    };
    if value.chars().any(char::is_control) {
        let what = format!("a secret `{name}` of one line");
        return Err(GitError::Needs { remote: source.shown(), what });
    }
    let scope = ["https://github.com/", "https://www.github.com/"].into_iter().find(|at| source.remote.starts_with(at));
    let scope = scope.unwrap_or(&source.remote);
    Ok(Some((format!("http.{scope}.extraheader"), format!("Authorization: {value}"))))
}

/// Returns the bare repository of a source, which has the object then. The caller holds the lock for it.
pub(super) fn fetch(
    source: &GitSource,
    resolved: &Resolved,
    store: &Store,
    program: &Program<'_>,
) -> Result<PathBuf, GitError> {
    let bare = store.room("git")?.join(name(source));
    let object = resolved.object.as_str();
    if !bare.join("HEAD").exists() {
        begin(program, &bare, &source.remote, object.len() == 64)?;
    }
    let git =
        |action, arguments: &[&str]| program.run(action, &Call { git_dir: Some(&bare), arguments, ..Call::default() });
    let commit = format!("{object}^{{commit}}");
    let has = || {
        let arguments = ["cat-file", "-e", &commit];
        program.succeeds(&Call { git_dir: Some(&bare), arguments: &arguments, ..Call::default() })
    };
    if has()? {
        return Ok(bare);
    }
    if program.origins.offline {
        return Err(GitError::Offline { remote: source.shown() });
    }
    // A run that was killed may have left it; nobody else is here.
    let _ = std::fs::remove_file(bare.join("shallow.lock"));
    let kept = format!("refs/dockless/{object}");
    let by_name = format!("+{}:{kept}", resolved.reference);
    let by_object = format!("+{object}:{kept}");
    let mut specs = vec![&by_object];
    if !is_commit(&resolved.reference) && !source.fetch_by_commit {
        specs.insert(0, &by_name);
    }
    let mut failure = None;
    for spec in specs {
        let arguments = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "origin", spec];
        failure = git("fetch", &arguments).err();
        if has()? {
            return Ok(bare);
        }
        if let Some(error @ (GitError::Stopped { .. } | GitError::Missing { .. })) = failure {
            return Err(error);
        }
    }
    if source.fetch_by_commit {
        return Err(failure.unwrap_or(GitError::Commit { remote: source.shown(), commit: object.to_owned() }));
    }
    // The server gives away what has a name only: everything, then.
    let mut arguments = vec!["fetch", "--quiet", "--no-recurse-submodules", "--tags", "--force"];
    if bare.join("shallow").exists() {
        arguments.push("--unshallow");
    }
    arguments.extend(["origin", "+refs/heads/*:refs/remotes/origin/*"]);
    git("fetch", &arguments)?;
    if has()? {
        git("keep", &["update-ref", &kept, object])?;
        return Ok(bare);
    }
    Err(GitError::Commit { remote: source.shown(), commit: object.to_owned() })
}

/// The name of a source's repository, and of the lock on it.
pub(super) fn name(source: &GitSource) -> String {
    Digest::of(source.remote.as_bytes()).hex()
}

/// Makes an empty repository; visible only when it is whole.
fn begin(program: &Program<'_>, bare: &Path, remote: &str, sha256: bool) -> Result<(), GitError> {
    crate::store::remove_tree(bare).map_err(GitError::io("remove", bare))?;
    let above = bare.parent().unwrap_or(bare);
    let new = tempfile::Builder::new().prefix("new-").tempdir_in(above).map_err(GitError::io("create", above))?;
    init(program, new.path(), None, sha256)?;
    let arguments = ["remote", "add", "origin", remote];
    program.run("name", &Call { git_dir: Some(new.path()), arguments: &arguments, ..Call::default() })?;
    std::fs::rename(new.path(), bare).map_err(GitError::io("publish", bare))?;
    let _ = new.keep();
    Ok(())
}

/// Makes an empty repository, bare unless it has a tree.
pub(super) fn init(
    program: &Program<'_>,
    directory: &Path,
    work_tree: Option<&Path>,
    sha256: bool,
) -> Result<(), GitError> {
    let mut arguments = vec!["init", "--quiet", "--template="];
    if work_tree.is_none() {
        arguments.push("--bare");
    }
    if sha256 {
        arguments.push("--object-format=sha256");
    }
    let call = Call { git_dir: Some(directory), work_tree, own_files: false, arguments: &arguments };
    program.run("begin", &call).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_goes_before_a_tag_and_a_tag_leads_to_its_commit() {
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let listed = format!("{a}\trefs/heads/x\n{b}\trefs/tags/x\n{c}\trefs/tags/x^{{}}\n");
        assert_eq!(choose(&listed, "x"), Some((a.clone(), None, "refs/heads/x".to_owned())));
        assert_eq!(choose(&listed, "heads/x"), Some((a, None, "refs/heads/x".to_owned())));
        assert_eq!(choose(&listed, "refs/tags/x"), Some((b, Some(c), "refs/tags/x".to_owned())));
        assert_eq!(choose(&listed, "y"), None);
        assert_eq!(choose("--evil\trefs/heads/x\n", "x"), None);
        assert_eq!(default_branch("ref: refs/heads/main\tHEAD\nabc\tHEAD\n"), Some("refs/heads/main"));
        assert_eq!(default_branch("ref: --evil\tHEAD\n"), None);
    }
}
