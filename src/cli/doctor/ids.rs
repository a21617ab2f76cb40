//! Subordinate ids (`subuid(5)`) and the programs that give them (`newuidmap(1)`).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::facts::Facts;
use super::finding::{Finding, State, finding};
use crate::sys::{MapTool, find_tool};

/// Ids that images use: 0 to 65535.
const ENOUGH: u32 = 65_536;
/// Where the first range begins on most distributions.
const FIRST: u32 = 100_000;

/// A program that maps ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// What it is called.
    pub name: &'static str,
    /// Where it is.
    pub path: Option<PathBuf>,
    /// It gains privileges when executed: root's set-user-id bit or file capabilities.
    pub privileged: bool,
    /// Its file system lets nothing gain privileges.
    pub no_suid: bool,
}

/// Ranges of `/etc/subuid` or `/etc/subgid`: first id and number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// The user's.
    pub own: Vec<(u32, u32)>,
    /// Those of others, with their names.
    pub others: Vec<(String, u32, u32)>,
}

/// What was found out about ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// `newuidmap` and `newgidmap`.
    pub tools: Vec<Tool>,
    /// Nothing that this process starts gains privileges (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privileges: bool,
    /// `/etc/subuid`.
    pub uids: Grants,
    /// `/etc/subgid`.
    pub gids: Grants,
    /// Ids that a build really has, where that could be tried.
    pub tried: Option<u64>,
}

impl Grants {
    /// Reads a file of grants; lines that are none are passed over.
    pub(super) fn parse(text: &str, user: Option<&str>, uid: u32) -> Self {
        let mut grants = Self::default();
        let uid = uid.to_string();
        for line in text.lines() {
            let fields: Vec<&str> = line.trim().split(':').collect();
            let [owner, first, count] = fields[..] else { continue };
            let (Ok(first), Ok(count)) = (first.parse::<u32>(), count.parse::<u32>()) else { continue };
            if count == 0 || first.checked_add(count).is_none() {
                continue;
            }
            if Some(owner) == user || owner == uid {
                grants.own.push((first, count));
            } else {
                grants.others.push((owner.to_owned(), first, count));
            }
        }
        grants
    }

    /// The range that is used: the largest one.
    fn best(&self) -> Option<(u32, u32)> {
        self.own.iter().copied().max_by_key(|range| range.1)
    }

    /// The first id after everything that is given away.
    fn end(&self) -> u32 {
        let all = self.own.iter().copied().chain(self.others.iter().map(|(_, first, count)| (*first, *count)));
        all.map(|(first, count)| first + count).max().unwrap_or(0)
    }

    /// What is wrong with the range, in words.
    fn fault(&self, file: &str, uid: u32) -> Option<String> {
        let Some((first, count)) = self.best() else { return Some(format!("none in {file}")) };
        let meets = |other: u32, number: u32| first < other + number && other < first + count;
        if count < ENOUGH {
            return Some(format!("{count} only in {file}; images use {ENOUGH}"));
        }
        if meets(uid, 1) {
            return Some(format!("the range {first}-{} in {file} holds the user's own id {uid}", first + count - 1));
        }
        let other = self.others.iter().find(|(_, other, number)| meets(*other, *number))?;
        Some(format!("the range {first}-{} in {file} is also that of `{}`", first + count - 1, other.0))
    }
}

/// Reads what `/etc` and the programs say.
pub(super) fn gather(user: Option<&str>, uid: u32, tried: Option<u64>) -> Ids {
    let tool = |name, tool: MapTool| {
        let path = find_tool(tool);
        let privileged = path.as_ref().is_some_and(|path| {
            let setuid = fs::metadata(path).is_ok_and(|data| data.mode() & 0o4000 != 0 && data.uid() == 0);
            setuid || rustix::fs::getxattr(path, c"security.capability", &mut [0_u8; 64][..]).is_ok()
        });
        let flags = path.as_ref().and_then(|path| rustix::fs::statvfs(path).ok()).map(|told| told.f_flag);
        let no_suid = flags.is_some_and(|flags| flags.contains(rustix::fs::StatVfsMountFlags::NOSUID));
        Tool { name, path, privileged, no_suid }
    };
    let grants = |tool: MapTool| Grants::parse(&fs::read_to_string(tool.grants()).unwrap_or_default(), user, uid);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    Ids {
        tools: vec![tool("newuidmap", MapTool::Uid), tool("newgidmap", MapTool::Gid)],
        no_new_privileges: status.lines().any(|line| line == "NoNewPrivs:\t1"),
        uids: grants(MapTool::Uid),
        gids: grants(MapTool::Gid),
        tried,
    }
}

/// Judges them.
pub(super) fn judge(facts: &Facts) -> Finding {
    const NAME: &str = "range of ids";
    if facts.machine.uid == 0 {
        return finding(NAME, State::Ok, "root has all ids");
    }
    let faults = faults(facts);
    let said: Vec<&str> = faults.iter().map(|(fault, _)| fault.as_str()).collect();
    match facts.ids.tried {
        Some(count) if count > 1 && faults.is_empty() => finding(NAME, State::Ok, format!("{count} ids, tried")),
        None if faults.is_empty() => finding(NAME, State::Ok, "newuidmap and a range are there; not tried"),
        Some(count) if count > 1 => faulty(NAME, format!("{count} ids, tried, but: {}", said.join("; ")), &faults),
        _ if faults.is_empty() => finding(NAME, State::Degraded, "one id only: newuidmap refuses the range")
            .mend("newuidmap $$ 0 $(id -u) 1 says why"),
        _ => faulty(NAME, format!("one id only: {}", said.join("; ")), &faults),
    }
}

fn faulty(name: &'static str, detail: String, faults: &[(String, String)]) -> Finding {
    let mut finding = finding(name, State::Degraded, detail);
    for (_, mend) in faults {
        if !finding.mend.contains(mend) {
            finding = finding.mend(mend);
        }
    }
    finding
}

/// What is wrong, each with what mends it.
fn faults(facts: &Facts) -> Vec<(String, String)> {
    let ids = &facts.ids;
    let mut faults = Vec::new();
    for tool in &ids.tools {
        let name = tool.name;
        let Some(path) = &tool.path else {
            faults.push((format!("no {name}"), "sudo apt-get install uidmap".to_owned()));
            continue;
        };
        let path = path.display();
        if !tool.privileged {
            let fault = format!("`{path}` has neither root's set-user-id bit nor capabilities");
            faults.push((fault, format!("sudo chown root: {path} && sudo chmod u+s {path}")));
        } else if tool.no_suid {
            let fault = format!("`{path}` lies on a file system that is mounted nosuid");
            faults.push((fault, format!("sudo mount -o remount,suid \"$(findmnt -no TARGET -T {path})\"")));
        }
    }
    if ids.no_new_privileges && faults.is_empty() {
        let mend = "start the container without `--security-opt no-new-privileges`; in Kubernetes: \
                    securityContext: {allowPrivilegeEscalation: true}";
        faults.push(("no_new_privs is set, so newuidmap has no power".to_owned(), mend.to_owned()));
    }
    faults.extend(ranges(facts));
    faults
}

/// Faults of ranges; one command for both files.
fn ranges(facts: &Facts) -> Vec<(String, String)> {
    let (ids, uid) = (&facts.ids, facts.machine.uid);
    let found = [("uid", &ids.uids, "/etc/subuid"), ("gid", &ids.gids, "/etc/subgid")];
    let faults: Vec<_> =
        found.into_iter().filter_map(|(kind, grants, file)| Some((kind, grants, grants.fault(file, uid)?))).collect();
    if faults.is_empty() {
        return Vec::new();
    }
    let first = ids.uids.end().max(ids.gids.end()).max(FIRST);
    let free = format!("{first}-{}", first.saturating_add(ENOUGH - 1));
    let mut words = Vec::new();
    for (kind, grants, _) in &faults {
        if let Some((first, count)) = grants.best() {
            words.push(format!("--del-sub{kind}s {first}-{}", first + count - 1));
        }
        words.push(format!("--add-sub{kind}s {free}"));
    }
    let user = facts.machine.user.as_deref().unwrap_or("\"$(id -un)\"");
    let mend = format!("sudo usermod {} {user}", words.join(" "));
    faults.into_iter().map(|(_, _, fault)| (fault, mend.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::super::facts::good;
    use super::*;

    fn with(users: &str, groups: &str, tried: Option<u64>) -> Facts {
        let mut facts = good();
        facts.ids.uids = Grants::parse(users, Some("ada"), 1000);
        facts.ids.gids = Grants::parse(groups, Some("ada"), 1000);
        facts.ids.tried = tried;
        facts
    }

    #[test]
    fn each_fault_of_a_range_has_the_command_that_mends_it() {
        let ok = "ada:100000:65536\n";
        for (users, groups, word, mend) in [
            ("", "", "none in /etc/subuid", "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 ada"),
            (ok, "", "none in /etc/subgid", "sudo usermod --add-subgids 165536-231071 ada"),
            (
                "ada:100000:1000\n",
                ok,
                "1000 only in /etc/subuid",
                "sudo usermod --del-subuids 100000-100999 --add-subuids 165536-231071 ada",
            ),
            (
                "bob:150000:65536\n1000:100000:65536\n",
                ok,
                "also that of `bob`",
                "sudo usermod --del-subuids 100000-165535 --add-subuids 215536-281071 ada",
            ),
            (
                "ada:500:65536\n",
                ok,
                "holds the user's own id 1000",
                "sudo usermod --del-subuids 500-66035 --add-subuids 165536-231071 ada",
            ),
        ] {
            let found = judge(&with(users, groups, Some(1)));
            assert_eq!(found.state, State::Degraded, "{word}");
            assert!(found.detail.contains(word), "{found:?}");
            assert_eq!(found.mend, [mend]);
        }
    }

    #[test]
    fn programs_without_power_are_named() {
        type Change = fn(&mut Ids);
        let cases: [(Change, &str); 4] = [
            (|ids| ids.tools[1].path = None, "sudo apt-get install uidmap"),
            (|ids| ids.tools[0].privileged = false, "sudo chmod u+s /usr/bin/newuidmap"),
            (|ids| ids.tools[0].no_suid = true, "remount,suid"),
            (|ids| ids.no_new_privileges = true, "allowPrivilegeEscalation"),
        ];
        for (change, mend) in cases {
            let mut facts = good();
            facts.ids.tried = Some(1);
            change(&mut facts.ids);
            let found = judge(&facts);
            assert!(found.state == State::Degraded && found.mend[0].contains(mend), "{found:?}");
        }
    }

    #[test]
    fn what_was_tried_counts() {
        let ok = "ada:100000:65536\n";
        assert_eq!(judge(&with(ok, ok, Some(65_537))).detail, "65537 ids, tried");
        assert_eq!(judge(&with(ok, ok, None)).state, State::Ok);
        assert_eq!(judge(&with(ok, ok, Some(1))).state, State::Degraded);
        let mut root = with("", "", None);
        root.machine.uid = 0;
        assert_eq!(judge(&root).state, State::Ok);
    }

    #[test]
    fn lines_that_are_no_grants_are_passed_over() {
        let grants = Grants::parse("x\nada:1\nada:a:b\nada:4294967295:2\nada:1:0\n:::\n\nbob:5:6\n", Some("ada"), 7);
        assert_eq!(grants, Grants { own: Vec::new(), others: vec![("bob".to_owned(), 5, 6)] });
    }
}
