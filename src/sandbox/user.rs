//! Who the program is: looked up in the root filesystem's own `/etc/passwd` and `/etc/group` (`passwd(5)`, `group(5)`).
//!
//! A number is always an id, also where a name consists of digits. With a group, supplementary groups are not looked up
//! (`ops.proto Meta.user` as BuildKit reads it). Lines whose ids are no numbers are passed over: read as zero they would
//! make somebody root.

use std::io::{self, Read as _};
use std::os::fd::BorrowedFd;
use std::path::Path;

use super::inside;

/// Most bytes of a user file; more is no user file.
const LARGEST: u64 = 10 << 20;

/// Largest id that a user can be named by (`setresuid(2)` keeps the last one for itself).
const LARGEST_ID: u32 = i32::MAX.unsigned_abs();

/// Who the program is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its user.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// All groups, the first one too; `None`: whatever process 1 has.
    pub groups: Option<Vec<u32>>,
    /// The user's home directory.
    pub home: String,
}

impl Identity {
    /// Root, without having looked.
    pub(super) fn root() -> Self {
        Self { uid: 0, gid: 0, groups: None, home: "/root".to_owned() }
    }
}

/// Looks up `user` below `root`.
///
/// # Errors
/// An error without errno says what is not there.
pub fn find(root: BorrowedFd<'_>, user: &str) -> io::Result<Identity> {
    let read =
        |path: &str| -> io::Result<String> { Ok(String::from_utf8_lossy(&read(root, Path::new(path))?).into_owned()) };
    resolve(user, &read("/etc/passwd")?, &read("/etc/group")?).map_err(io::Error::other)
}

/// Reads a regular file below `root`; empty where it is none.
fn read(root: BorrowedFd<'_>, path: &Path) -> io::Result<Vec<u8>> {
    let Some(file) = inside::open_file(root, path)? else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("`{}` of the root has more than {LARGEST} bytes", path.display())));
    }
    Ok(bytes)
}

struct User<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn users(passwd: &str) -> impl Iterator<Item = User<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        Some(User { name, uid: id(uid)?, gid: id(gid)?, home: fields.get(5).copied().unwrap_or_default() })
    })
}

fn id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|id| *id <= LARGEST_ID)
}

fn resolve(user: &str, passwd: &str, group: &str) -> Result<Identity, String> {
    let (name, wanted) = user.split_once(':').unwrap_or((user, ""));
    let name = if name.is_empty() { "0" } else { name };
    let number = id(name);
    let found = users(passwd).find(|user| number.map_or(user.name == name, |uid| user.uid == uid));
    let uid = match (&found, number) {
        (Some(user), _) => user.uid,
        (None, Some(uid)) => uid,
        // As everywhere, `root` needs no file.
        (None, None) if name == "root" => 0,
        (None, None) => return Err(format!("`/etc/passwd` of the root filesystem names no `{name}`")),
    };
    let groups = group.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        let [name, _, gid, ..] = fields[..] else { return None };
        Some((name, id(gid)?, fields.get(3).copied().unwrap_or_default()))
    });
    let mut gid = found.as_ref().map_or(0, |user| user.gid);
    let mut more = Vec::new();
    if wanted.is_empty() {
        if let Some(user) = &found {
            let is_member = |members: &str| members.split(',').any(|member| member.trim() == user.name);
            more = groups.filter(|(_, _, members)| is_member(members)).map(|(_, gid, _)| gid).collect();
        }
    } else {
        let number = id(wanted);
        let mut groups = groups;
        let found = groups.find(|(name, gid, _)| number.map_or(*name == wanted, |number| *gid == number));
        gid = match (found, number) {
            (Some((_, gid, _)), _) | (None, Some(gid)) => gid,
            (None, None) if wanted == "root" => 0,
            (None, None) => return Err(format!("`/etc/group` of the root filesystem names no `{wanted}`")),
        };
    }
    if !more.contains(&gid) {
        more.insert(0, gid);
    }
    let home = users(passwd).find(|user| user.uid == uid).map(|user| user.home).filter(|home| !home.is_empty());
    Ok(Identity { uid, gid, groups: Some(more), home: home.unwrap_or("/").to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\nbroken:x:zero:0::/:\njoe:x:777:1000:,,,:/home/joe:/bin/sh\n\
                          5:x:99:99::/five:\nnohome:x:8:8:::\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,joe\njoe:x:1000:\nbroken:x:y:joe\nextra:x:20:ann, joe\n";

    fn who(user: &str) -> Result<(u32, u32, Vec<u32>, String), String> {
        resolve(user, PASSWD, GROUP).map(|who| (who.uid, who.gid, who.groups.unwrap_or_default(), who.home))
    }

    #[test]
    fn users_are_looked_up_as_buildkit_does() {
        for (user, uid, gid, groups, home) in [
            ("", 0, 0, &[0, 10][..], "/root"),
            ("root", 0, 0, &[0, 10], "/root"),
            ("joe", 777, 1000, &[1000, 10, 20], "/home/joe"),
            ("777", 777, 1000, &[1000, 10, 20], "/home/joe"),
            ("joe:wheel", 777, 10, &[10], "/home/joe"),
            ("root:joe", 0, 1000, &[1000], "/root"),
            ("5:6", 5, 6, &[6], "/"),
            // A number is an id and never the name that looks like one.
            ("5", 5, 0, &[0], "/"),
            ("nohome", 8, 8, &[8], "/"),
        ] {
            assert_eq!(who(user), Ok((uid, gid, groups.to_vec(), home.to_owned())), "{user}");
        }
        assert_eq!(resolve("root:root", "", "").map(|who| (who.uid, who.gid, who.home)), Ok((0, 0, "/".to_owned())));
    }

    #[test]
    fn unknown_names_and_broken_lines_make_nobody_root() {
        for user in ["ann", "broken", "joe:nobody", "joe:broken", "-1", "4294967295", "joe:2147483648"] {
            let error = who(user).expect_err(user);
            assert!(error.contains("of the root filesystem names no"), "{error}");
        }
    }
}
