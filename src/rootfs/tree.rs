//! Many packages become one tree, as a value: nothing is written to disk.
//!
//! What always holds: packages are merged in the order given; a later file, link or mode replaces an earlier one, but
//! a directory, once there, keeps the owner and mode of the package that brought it first (as with dpkg). Every member
//! is put where its path *leads*: a package's `lib/x` lands in `usr/lib/x` when `lib` is a link, so usr-merge needs no
//! rule of its own, and no entry of the tree is ever below a link. Paths sort by their bytes, parents before children.

use std::collections::{BTreeMap, VecDeque};

use super::deb::{Kind, Member};
use super::error::RootfsError;
use super::list::List;

/// Links followed for one path before it counts as a loop (`ELOOP` after as many in the kernel).
const LINKS: usize = 40;

/// A merged tree.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub(super) nodes: BTreeMap<Vec<u8>, Node>,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NodeKind {
    Directory,
    /// Bytes at an offset of a package's data archive. Two entries with the same bytes there are hard links.
    File {
        package: usize,
        offset: u64,
        size: u64,
    },
    Text(Vec<u8>),
    Symlink(Vec<u8>),
}

impl Node {
    fn root(kind: NodeKind, mode: u32, mtime: u64) -> Self {
        Self { kind, mode, uid: 0, gid: 0, mtime }
    }

    fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    fn word(&self) -> &'static str {
        match self.kind {
            NodeKind::Directory => "a directory",
            NodeKind::File { .. } | NodeKind::Text(_) => "a file",
            NodeKind::Symlink(_) => "a link",
        }
    }
}

impl Tree {
    /// Merges packages, each with its file name and members, and does what `list` asks for before and after.
    ///
    /// # Errors
    /// `Conflict`, `Package`.
    pub fn merge(list: &List, packages: &[(&str, Vec<Member>)]) -> Result<Self, RootfsError> {
        let newest = packages.iter().flat_map(|(_, members)| members).map(|member| member.mtime).max().unwrap_or(0);
        let mut tree = Self::default();
        for (path, target) in &list.merge {
            tree.link("merge", path, target, newest)?;
            // What the link leads to must be there before anything is put behind it.
            let behind = tree.lead("merge", target.trim_start_matches('/').as_bytes())?;
            tree.directory("merge", &behind, Node::root(NodeKind::Directory, 0o755, newest))?;
        }
        for (index, (package, members)) in packages.iter().enumerate() {
            for member in members.iter().filter(|member| !member.path.is_empty()) {
                tree.add(index, package, member)?;
            }
        }
        for (path, mode) in &list.directories {
            let path = tree.lead("directories", path.as_bytes())?;
            tree.directory("directories", &path, Node::root(NodeKind::Directory, mode.0, newest))?;
            if let Some(node) = tree.nodes.get_mut(&path) {
                node.mode = mode.0;
            }
        }
        for (path, text) in &list.files {
            let node = Node::root(NodeKind::Text(text.clone().into_bytes()), 0o644, newest);
            let path = tree.lead("files", path.as_bytes())?;
            tree.leaf("files", path, node)?;
        }
        for (path, target) in &list.links {
            tree.link("links", path, target, newest)?;
        }
        for path in &list.remove {
            let path = path.as_bytes();
            tree.nodes.retain(|at, _| !(at.starts_with(path) && matches!(at.get(path.len()), None | Some(b'/'))));
        }
        Ok(tree)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Tells whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn add(&mut self, index: usize, package: &str, member: &Member) -> Result<(), RootfsError> {
        let path = self.lead(package, &member.path)?;
        let kind = match &member.kind {
            Kind::Directory => NodeKind::Directory,
            Kind::File { offset, size } => NodeKind::File { package: index, offset: *offset, size: *size },
            Kind::Symlink(target) => NodeKind::Symlink(target.clone()),
            Kind::Link(target) => {
                let target = self.lead(package, target)?;
                match self.nodes.get(&target).map(|node| &node.kind) {
                    Some(kind @ NodeKind::File { package, .. }) if *package == index => kind.clone(),
                    _ => {
                        return Err(RootfsError::Package {
                            package: package.to_owned(),
                            why: format!("`{}` is a hard link to a file that it does not have before", text(&path)),
                        });
                    }
                }
            }
        };
        let Member { mode, uid, gid, mtime, .. } = *member;
        let node = Node { kind, mode, uid, gid, mtime };
        if node.is_directory() { self.directory(package, &path, node) } else { self.leaf(package, path, node) }
    }

    fn link(&mut self, package: &str, path: &str, target: &str, mtime: u64) -> Result<(), RootfsError> {
        let node = Node::root(NodeKind::Symlink(target.as_bytes().to_vec()), 0o777, mtime);
        let path = self.lead(package, path.as_bytes())?;
        self.leaf(package, path, node)
    }

    /// Puts a directory where none is; one that is there, or a link to one, stays as it is.
    fn directory(&mut self, package: &str, path: &[u8], node: Node) -> Result<(), RootfsError> {
        if path.is_empty() {
            return Ok(());
        }
        match self.nodes.get(path) {
            Some(there) if there.is_directory() => Ok(()),
            Some(there) => {
                let behind = self.follow(package, path)?;
                if behind.is_empty() || self.nodes.get(&behind).is_some_and(Node::is_directory) {
                    Ok(())
                } else {
                    Err(conflict(package, path, &node, there))
                }
            }
            None => {
                self.parents(package, path, node.mtime)?;
                self.nodes.insert(path.to_vec(), node);
                Ok(())
            }
        }
    }

    /// Puts a file or link, in the place of an earlier one if need be.
    fn leaf(&mut self, package: &str, path: Vec<u8>, node: Node) -> Result<(), RootfsError> {
        match self.nodes.get(&path) {
            // dpkg keeps a directory where a package has a link to one.
            Some(there) if there.is_directory() && matches!(node.kind, NodeKind::Symlink(_)) => return Ok(()),
            Some(there) if there.is_directory() => return Err(conflict(package, &path, &node, there)),
            _ => {}
        }
        self.parents(package, &path, node.mtime)?;
        self.nodes.insert(path, node);
        Ok(())
    }

    /// Makes the directories above `path` that no package has brought.
    fn parents(&mut self, package: &str, path: &[u8], mtime: u64) -> Result<(), RootfsError> {
        for (at, _) in path.iter().enumerate().filter(|(_, b)| **b == b'/') {
            let node = Node::root(NodeKind::Directory, 0o755, mtime);
            match self.nodes.get(&path[..at]) {
                Some(there) if there.is_directory() => {}
                Some(there) => return Err(conflict(package, &path[..at], &node, there)),
                None => {
                    self.nodes.insert(path[..at].to_vec(), node);
                }
            }
        }
        Ok(())
    }

    /// Returns where `path` leads when the links above its last part are followed.
    fn lead(&self, package: &str, path: &[u8]) -> Result<Vec<u8>, RootfsError> {
        match path.iter().rposition(|b| *b == b'/') {
            None => Ok(path.to_vec()),
            Some(at) => {
                let mut lead = self.follow(package, &path[..at])?;
                push(&mut lead, &path[at + 1..]);
                Ok(lead)
            }
        }
    }

    /// Returns where `path` leads when all links are followed; links never lead above the root.
    fn follow(&self, package: &str, path: &[u8]) -> Result<Vec<u8>, RootfsError> {
        let mut left: VecDeque<Vec<u8>> = path.split(|b| *b == b'/').map(<[u8]>::to_vec).collect();
        let mut lead = Vec::new();
        let mut followed = 0;
        while let Some(part) = left.pop_front() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    let parent = lead.iter().rposition(|b| *b == b'/').unwrap_or(0);
                    lead.truncate(parent);
                    continue;
                }
                _ => {}
            }
            let above = lead.len();
            push(&mut lead, &part);
            let Some(NodeKind::Symlink(target)) = self.nodes.get(&lead).map(|node| &node.kind) else { continue };
            followed += 1;
            if followed > LINKS {
                return Err(RootfsError::Package {
                    package: package.to_owned(),
                    why: format!("`{}` leads through a loop of links", text(path)),
                });
            }
            lead.truncate(if target.starts_with(b"/") { 0 } else { above });
            for part in target.split(|b| *b == b'/').rev() {
                left.push_front(part.to_vec());
            }
        }
        Ok(lead)
    }
}

fn push(path: &mut Vec<u8>, part: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn conflict(package: &str, path: &[u8], node: &Node, there: &Node) -> RootfsError {
    RootfsError::Conflict { package: package.to_owned(), path: text(path), what: node.word(), there: there.word() }
}
