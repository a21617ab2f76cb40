//! Id maps of user namespaces (`user_namespaces(7)`, `newuidmap(1)`, `subuid(5)`).

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A run of ids: `count` ids from `inside` in the namespace are those from `outside` in its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// First id inside.
    pub inside: u32,
    /// First id in the parent namespace.
    pub outside: u32,
    /// Number of ids.
    pub count: u32,
}

/// A map of user or group ids, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMap(pub Vec<IdRange>);

impl IdMap {
    /// Maps one id to 0.
    pub fn single(outside: u32) -> Self {
        Self(vec![IdRange { inside: 0, outside, count: 1 }])
    }

    /// Maps `own` to 0 and the subordinate ids from 1 on.
    pub fn range(own: u32, first: u32, count: u32) -> Self {
        let own = IdRange { inside: 0, outside: own, count: 1 };
        Self(vec![own, IdRange { inside: 1, outside: first, count: count.min(u32::MAX - 1) }])
    }

    /// Parses `/proc/<pid>/uid_map` as read from inside; lines that are not three numbers are an error.
    pub fn parse(text: &str) -> Option<Self> {
        let line = |line: &str| {
            let mut words = line.split_whitespace().map(str::parse);
            let range =
                IdRange { inside: words.next()?.ok()?, outside: words.next()?.ok()?, count: words.next()?.ok()? };
            words.next().is_none().then_some(range)
        };
        text.lines().map(line).collect::<Option<_>>().map(Self)
    }

    /// The map for a namespace nested in one that has this map, in which every id keeps its number.
    #[must_use]
    pub fn nested(&self) -> Self {
        Self(self.0.iter().map(|range| IdRange { outside: range.inside, ..*range }).collect())
    }

    /// Tells whether one id only exists inside.
    pub fn is_single(&self) -> bool {
        self.0.iter().map(|range| u64::from(range.count)).sum::<u64>() <= 1
    }

    /// Tells whether `id` exists inside.
    pub fn contains(&self, id: u32) -> bool {
        self.0.iter().any(|range| id.checked_sub(range.inside).is_some_and(|offset| offset < range.count))
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, range| {
            let _ = writeln!(text, "{} {} {}", range.inside, range.outside, range.count);
            text
        })
    }
}

/// Reads the maps of user and group ids of the calling process.
pub fn current_map() -> io::Result<(IdMap, IdMap)> {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/self/{name}"))?;
        IdMap::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the id map is not three numbers"))
    };
    Ok((read("uid_map")?, read("gid_map")?))
}

/// Writes the maps of process `pid` (0: the caller itself), which has just left for a new user namespace.
///
/// A map of more than the caller's own id needs `CAP_SETUID` and `CAP_SETGID` in the parent namespace; a single id
/// needs `setgroups` denied first.
pub fn write_map(pid: u32, uids: &IdMap, gids: &IdMap) -> io::Result<()> {
    write_uid_map(pid, uids)?;
    write_gid_map(pid, gids)
}

/// Writes the map of user ids alone; see [`write_map`].
pub fn write_uid_map(pid: u32, uids: &IdMap) -> io::Result<()> {
    fs::write(of(pid, "uid_map"), uids.text())
}

/// Writes the map of group ids alone; see [`write_map`].
pub fn write_gid_map(pid: u32, gids: &IdMap) -> io::Result<()> {
    fs::write(of(pid, "gid_map"), gids.text())
}

/// Forbids `setgroups` in the user namespace of `pid`, which a single-id map without privilege requires.
pub fn deny_setgroups(pid: u32) -> io::Result<()> {
    fs::write(of(pid, "setgroups"), "deny")
}

/// Tells whether `setgroups` may be called in the caller's user namespace.
pub fn allow_setgroups() -> bool {
    fs::read_to_string("/proc/self/setgroups").is_ok_and(|text| text.trim() == "allow")
}

/// Maps the caller's own `uid` and `gid` to 0, from inside a fresh user namespace.
pub fn write_single_map(uid: u32, gid: u32) -> io::Result<()> {
    deny_setgroups(0)?;
    write_map(0, &IdMap::single(uid), &IdMap::single(gid))
}

fn of(pid: u32, file: &str) -> String {
    if pid == 0 { format!("/proc/self/{file}") } else { format!("/proc/{pid}/{file}") }
}

/// The two set-uid programs of Debian's `uidmap`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapTool {
    /// `newuidmap`.
    Uid,
    /// `newgidmap`.
    Gid,
}

impl MapTool {
    /// The program's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uid => "newuidmap",
            Self::Gid => "newgidmap",
        }
    }

    /// The file that grants ranges.
    pub const fn grants(self) -> &'static str {
        match self {
            Self::Uid => "/etc/subuid",
            Self::Gid => "/etc/subgid",
        }
    }
}

/// Where distributions put the set-uid programs; the search path of the environment is not asked.
const TOOL_DIRECTORIES: [&str; 5] = ["/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/run/wrappers/bin"];

/// Finds a map tool on this machine.
pub fn find_tool(tool: MapTool) -> Option<PathBuf> {
    TOOL_DIRECTORIES.iter().map(|dir| Path::new(dir).join(tool.name())).find(|path| path.is_file())
}

/// Returns the largest subordinate range that `grants` (the text of `/etc/subuid`) gives to `user` or `uid`.
pub fn subordinate_range(grants: &str, user: Option<&str>, uid: u32) -> Option<(u32, u32)> {
    let uid = uid.to_string();
    let line = |line: &str| {
        let mut words = line.trim().split(':');
        let owner = words.next()?;
        if Some(owner) != user && owner != uid {
            return None;
        }
        let range: (u32, u32) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        (range.1 > 0 && words.next().is_none() && range.0.checked_add(range.1).is_some()).then_some(range)
    };
    grants.lines().filter_map(line).max_by_key(|range| range.1)
}

/// Runs a map tool for process `pid`; the caller must be outside the new namespace.
///
/// # Errors
/// The tool's own words, where it fails.
pub fn map_with_tool(program: &Path, pid: u32, map: &IdMap) -> io::Result<()> {
    let mut command = Command::new(program);
    command.env_clear().arg(pid.to_string()).stdin(Stdio::null());
    for range in &map.0 {
        command.args([range.inside, range.outside, range.count].map(|number| number.to_string()));
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {words}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_grant_of_the_user_wins_and_bad_lines_are_passed_over() {
        let grants = "other:1:5\nme:100000:65536\n1000:300000:70000\nme:4294967295:2\nme:x:1\nme:1:0\nme:1:2:3\n";
        assert_eq!(subordinate_range(grants, Some("me"), 1000), Some((300_000, 70000)));
        assert_eq!(subordinate_range(grants, Some("me"), 7), Some((100_000, 65536)));
        assert_eq!(subordinate_range(grants, None, 7), None);
    }

    #[test]
    fn a_nested_map_keeps_every_number() {
        let map = IdMap::parse("         0       1000          1\n         1     100000      65536\n").expect("a map");
        assert_eq!(map, IdMap::range(1000, 100_000, 65536));
        assert_eq!(map.nested().text(), "0 0 1\n1 1 65536\n");
        assert!(!map.is_single() && map.contains(65536) && !map.contains(65537));
        assert!(IdMap::single(7).is_single());
        assert_eq!(IdMap::parse("0 1\n"), None);
    }
}
