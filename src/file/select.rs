//! Which paths a wildcard means (fsutil `copy.go` `ResolveWildcards`).

use std::path::{Path, PathBuf};

use super::error::{FileError, shown};
use super::tree::{DEPTH, Tree, is_directory};
use crate::pattern::{Glob, split_wildcards};

/// Returns the paths in `tree` that `source` means, sorted. One without wildcards is itself, there or not; else links
/// in what stands before the first wildcard are followed (the last name's only if `follow`), and the rest is matched
/// against what is below, without going on below what matched.
pub(super) fn select(tree: &Tree, source: &str, follow: bool) -> Result<Vec<PathBuf>, FileError> {
    let (above, rest) = split_wildcards(source);
    if rest.is_empty() {
        return Ok(vec![PathBuf::from(above)]);
    }
    let glob = Glob::parse(&rest)?;
    let base = tree.resolve(Path::new(&above), follow)?;
    let mut found = Vec::new();
    if is_directory(&tree.expect(&base)?) {
        walk(tree, &glob, &base, &mut PathBuf::new(), &mut found)?;
    }
    Ok(found)
}

fn walk(tree: &Tree, glob: &Glob, base: &Path, below: &mut PathBuf, found: &mut Vec<PathBuf>) -> Result<(), FileError> {
    let here = base.join(&*below);
    if below.iter().count() > DEPTH {
        return Err(FileError::TooDeep { path: shown(&here) });
    }
    for name in tree.names(&here)? {
        below.push(&name);
        let path = here.join(&name);
        if glob.matches(below) {
            found.push(path);
        } else if glob.may_match_below(below) && is_directory(&tree.expect(&path)?) {
            walk(tree, glob, base, below, found)?;
        }
        below.pop();
    }
    Ok(())
}
