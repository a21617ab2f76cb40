//! Whose files they become.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::error::{FileError, shown};
use super::tree::Tree;
use crate::llb::pb::{ChownOpt, UserOpt, user_opt::User};

/// Largest user database that is read (BuildKit `user_linux.go`).
const LARGEST: u64 = 10 << 20;

/// A user and a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Returns the owner that an action asks for (`ops.proto ChownOpt`); `None` if it asks for none.
///
/// A name is looked up in `/etc/passwd` of `user_tree` or `/etc/group` of `group_tree`, the trees of the inputs that
/// the option names; an empty tree is `None`. A name that is not there is 0, as in BuildKit. A user brings a group
/// along, that of its entry or the one with its own number, unless a group is given.
///
/// # Errors
/// `NotRegular`, `TooLarge`, `TooManyLinks` or `Io` for the files; one that is not there has no names.
pub fn owner(
    chown: Option<&ChownOpt>,
    user_tree: Option<&Path>,
    group_tree: Option<&Path>,
) -> Result<Option<Owner>, FileError> {
    let Some(chown) = chown else { return Ok(None) };
    let mut owner = Owner::default();
    match given(chown.user.as_ref()) {
        Some(User::ById(id)) => owner = Owner { uid: *id, gid: *id },
        Some(User::ByName(user)) => {
            if let Some(entry) = entry(user_tree, "etc/passwd", &user.name)? {
                owner = Owner { uid: number(entry.get(2)), gid: number(entry.get(3)) };
            }
        }
        None => {}
    }
    match given(chown.group.as_ref()) {
        Some(User::ById(id)) => owner.gid = *id,
        Some(User::ByName(group)) => {
            if let Some(entry) = entry(group_tree, "etc/group", &group.name)? {
                owner.gid = number(entry.get(2));
            }
        }
        None => {}
    }
    Ok(Some(owner))
}

fn given(option: Option<&UserOpt>) -> Option<&User> {
    option?.user.as_ref()
}

fn number(field: Option<&String>) -> u32 {
    field.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Returns the fields of the first line for `name` (`passwd(5)`, `group(5)`).
fn entry(tree: Option<&Path>, file: &str, name: &str) -> Result<Option<Vec<String>>, FileError> {
    let Some(text) = tree.map(|tree| read(tree, Path::new(file))).transpose()?.flatten() else { return Ok(None) };
    let fields = |line: &str| line.trim().split(':').map(str::to_owned).collect::<Vec<_>>();
    Ok(text.lines().map(fields).find(|fields| fields.first().is_some_and(|field| field == name)))
}

fn read(root: &Path, file: &Path) -> Result<Option<String>, FileError> {
    let tree = Tree::open(root)?;
    let missing = |error: &FileError| {
        matches!(error, FileError::NotFound { .. })
            || matches!(error, FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory)
    };
    let open = tree.resolve(file, true).and_then(|path| tree.open_file(&path));
    let open = match open {
        Err(error) if missing(&error) => return Ok(None),
        other => File::from(other?),
    };
    let mut bytes = Vec::new();
    open.take(LARGEST + 1).read_to_end(&mut bytes).map_err(FileError::io("read", file))?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::TooLarge { path: shown(file), limit: LARGEST });
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
