//! Where a process is in the trees of control groups (`cgroups(7)`, `proc_pid_mountinfo(5)`).

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What limits something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    /// Time of processors.
    Cpu,
    /// Memory.
    Memory,
    /// Number of processes.
    Pids,
}

impl Controller {
    /// Every one that we use.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Memory, Self::Pids];

    /// Returns the kernel's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The two interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// One tree a controller.
    V1,
    /// One tree.
    V2,
}

/// The groups that a process is in, as directories.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// In the tree of version 2.
    pub unified: Option<PathBuf>,
    /// In trees of version 1.
    pub legacy: BTreeMap<Controller, PathBuf>,
}

impl Place {
    /// Finds the calling process.
    pub fn own() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/cgroup")?, &fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads `/proc/<pid>/cgroup` and `/proc/<pid>/mountinfo`. Trees that are not mounted, or of which another part is,
    /// do not count.
    pub fn parse(cgroup: &str, mountinfo: &str) -> Self {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let mut place = Self::default();
        for line in cgroup.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(number), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            if number == "0" && names.is_empty() {
                let mut mounts = mounts.iter().filter(|mount| mount.kind == "cgroup2");
                place.unified = mounts.find_map(|mount| mount.directory(path));
                continue;
            }
            let names: Vec<&str> = names.split(',').collect();
            for controller in Controller::ALL.into_iter().filter(|known| names.contains(&known.name())) {
                let has = |mount: &&Mount<'_>| {
                    mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller.name())
                };
                let found = mounts.iter().filter(has).find_map(|mount| mount.directory(path));
                place.legacy.extend(found.map(|directory| (controller, directory)));
            }
        }
        place
    }
}

/// A line of `mountinfo`, as far as it matters.
struct Mount<'a> {
    root: &'a str,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let front: Vec<&str> = front.split(' ').collect();
        let mut back = back.split(' ');
        let (kind, options) = (back.next()?, back.nth(1)?);
        Some(Self { root: front.get(3)?, point: unescape(front.get(4)?), kind, options })
    }

    /// Returns the directory of the group `path`, where this mount shows it.
    fn directory(&self, path: &str) -> Option<PathBuf> {
        let rest = Path::new(path).strip_prefix(self.root).ok()?;
        // Groups outside the process's own namespace are shown as `/..`.
        let plain = rest.components().all(|part| matches!(part, std::path::Component::Normal(_)));
        (plain && path.starts_with('/')).then(|| self.point.join(rest))
    }
}

/// Spaces, tabs, line ends and backslashes are written in octal.
fn unescape(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.into_iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn the_own_group_is_found_whatever_is_mounted() {
        let user = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n";
        let place = Place::parse(user, V2);
        let wanted = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope";
        assert_eq!(place.unified.as_deref(), Some(Path::new(wanted)));
        assert!(place.legacy.is_empty());
        let hybrid = "30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 25 0:28 /docker/1f /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                      33 25 0:29 /other /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n";
        let own = "9:name=systemd:/x\n4:memory:/docker/1f/sub\n3:pids:/docker/1f\n2:cpu,cpuacct:/a b\n0::/\n";
        let place = Place::parse(own, hybrid);
        assert_eq!(place.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(place.legacy[&Controller::Memory], Path::new("/sys/fs/cgroup/memory/sub"));
        assert_eq!(place.legacy[&Controller::Cpu], Path::new("/sys/fs/cgroup/cpu,cpuacct/a b"));
        assert!(!place.legacy.contains_key(&Controller::Pids));
    }

    #[test]
    fn what_lies_outside_is_not_ours() {
        for own in ["0::/../../x\n", "0::/..\n", "0::relative\n", "0\n", "", "::\n"] {
            assert_eq!(Place::parse(own, V2), Place::default(), "{own}");
        }
        assert_eq!(Place::parse("0::/\n", "no line of mountinfo\n"), Place::default());
    }
}
