//! Paths that are included together with what symbolic links among them lead to (`fsutil` `FollowLinks`).
//!
//! Links are read as if the directory were `/`: none leads out of it. A link is gone through once, also when two paths
//! lead through it, which is how BuildKit has it and why this ends.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::Path;

use crate::pattern::{Glob, has_wildcards};

/// Returns patterns for everything that `paths` lead to below `root`, sorted; `None` where one leads to all of it.
pub(super) fn follow(root: &Path, paths: &[String]) -> Option<Vec<String>> {
    let mut found = BTreeSet::new();
    let mut open: VecDeque<Vec<String>> = paths.iter().map(|path| clean(path)).collect();
    while let Some(parts) = open.pop_front() {
        if parts.is_empty() {
            return None;
        }
        let mut current = String::new();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                current.push('/');
            }
            let above = current.clone();
            current.push_str(part);
            let targets = targets(root, &above, part);
            let rest = &parts[index + 1..];
            if (rest.is_empty() || !targets.is_empty()) && !found.insert(current.clone()) {
                break;
            }
            if !targets.is_empty() {
                open.extend(targets.into_iter().map(|target| [target.as_slice(), rest].concat()));
                break;
            }
        }
    }
    let mut patterns: Vec<String> = Vec::new();
    for path in found {
        // What a directory's name includes needs no name of its own.
        if !patterns
            .last()
            .is_some_and(|last| path.strip_prefix(last.as_str()).is_some_and(|rest| rest.starts_with('/')))
        {
            patterns.push(path);
        }
    }
    Some(patterns)
}

/// Where the links that one part names lead, from the top.
fn targets(root: &Path, above: &str, part: &str) -> Vec<Vec<String>> {
    let directory = root.join(above);
    let one = |name: &str| {
        let target = fs::read_link(directory.join(name)).ok()?;
        let target = target.to_str()?;
        Some(clean(&if target.starts_with('/') { target.to_owned() } else { format!("{above}/{target}") }))
    };
    if !has_wildcards(part) {
        return one(part).into_iter().collect();
    }
    let Ok(glob) = Glob::parse(part) else { return Vec::new() };
    let mut names: Vec<String> = fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| glob.matches(Path::new(name)))
        .collect();
    names.sort();
    names.iter().filter_map(|name| one(name)).collect()
}

/// The parts of a path, seen from the top; `..` never leads above it.
fn clean(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part.to_owned()),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_followed_inside_and_never_without_end() {
        let place = tempfile::tempdir().expect("a place");
        let root = place.path();
        fs::create_dir_all(root.join("dir/deep")).expect("made");
        fs::write(root.join("dir/deep/file"), "x").expect("made");
        for (target, link) in [
            ("dir", "to-dir"),
            ("/dir/deep", "absolute"),
            ("../../../../etc/passwd", "outside"),
            ("b", "a"),
            ("a", "b"),
            ("self", "self"),
            (".", "all"),
        ] {
            symlink(target, root.join(link)).expect("made");
        }
        let followed = |paths: &[&str]| {
            let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
            follow(root, &paths).map(|patterns| patterns.join(" "))
        };
        assert_eq!(followed(&["dir/deep/file"]).as_deref(), Some("dir/deep/file"));
        assert_eq!(followed(&["to-dir/deep/file"]).as_deref(), Some("dir/deep/file to-dir"));
        assert_eq!(followed(&["absolute/file"]).as_deref(), Some("absolute dir/deep/file"));
        assert_eq!(followed(&["outside"]).as_deref(), Some("etc/passwd outside"));
        assert_eq!(followed(&["a", "self/x"]).as_deref(), Some("a b self"));
        assert_eq!(followed(&["abs*/file"]).as_deref(), Some("abs* dir/deep/file"));
        assert_eq!(followed(&["../../missing"]).as_deref(), Some("missing"));
        assert_eq!(followed(&["all"]), None);
        assert_eq!(followed(&["/"]), None);
    }
}
