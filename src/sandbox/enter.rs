//! The command's second life: inside a user namespace of its own, in which it is root over the user's ids.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::PathBuf;

use rustix::thread::CapabilitySet;

use super::error::{MAP_IDS, SandboxError, UNSHARE};
use crate::sys::{self, Facts, IdMap, Namespaces};

/// Which ids there are where the command lives now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// The caller was root and keeps the ids of the machine (or of the container around it).
    Kept,
    /// The user's own ids as 0, and this many subordinate ones from 1 on.
    Range {
        /// Number of subordinate user ids.
        count: u32,
    },
    /// The user's own ids as 0, and no other: owners cannot be told apart on disk.
    Single,
}

/// The command's place after [`enter`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entered {
    /// The ids.
    pub ids: Ids,
    /// Why there is no range, and what would mend it, where there could be one.
    pub note: Option<String>,
}

impl Entered {
    /// Tells whether one id only exists, so that files cannot be given to others.
    pub fn single_id(&self) -> bool {
        self.ids == Ids::Single
    }
}

/// Moves the calling process into a user and mount namespace of its own, in which it is uid 0; root keeps its ids.
///
/// Must be called before any thread exists. The process keeps its id, its terminal and its parent; no other process
/// stays beside it.
///
/// # Errors
/// `Threads` when it is too late; `Setup` with the way out where the machine forbids user namespaces.
pub fn enter() -> Result<Entered, SandboxError> {
    let facts = sys::facts();
    let failed = |operation, operand: &str, error| SandboxError::setup(operation, operand, error, &facts);
    if !sys::is_single_threaded().map_err(|error| failed("count", "threads", error))? {
        return Err(SandboxError::Threads);
    }
    if facts.uid == 0 && sys::has_capability(CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN) {
        return keep_ids().map_err(|error| failed("read", "/proc/self/uid_map", error));
    }
    let (helper, mut note) = match Helper::prepare(&facts) {
        Ok(helper) => (Some(helper), None),
        Err(note) => (None, Some(note)),
    };
    let namespaces = Namespaces { user: true, mount: true, ..Namespaces::default() };
    sys::unshare(namespaces).map_err(|error| failed(UNSHARE, "user, mount", error))?;
    let ranged = helper.and_then(|helper| {
        let count = helper.count;
        helper.map().map_err(|error| note = Some(error)).ok().map(|()| count)
    });
    let ids = if let Some(count) = ranged {
        Ids::Range { count }
    } else {
        single(&facts).map_err(|error| failed(MAP_IDS, &facts.uid.to_string(), error))?;
        Ids::Single
    };
    sys::set_root_ids().map_err(|error| failed(MAP_IDS, "0", error))?;
    sys::make_private().map_err(|error| failed("make the mounts private below", "/", error))?;
    Ok(Entered { ids, note })
}

fn keep_ids() -> io::Result<Entered> {
    let (uids, gids) = sys::current_map()?;
    // Only to keep stray mounts to ourselves; a container that forbids it is no worse off.
    if sys::unshare(Namespaces { mount: true, ..Namespaces::default() }).is_ok() {
        sys::make_private()?;
    }
    let ids = if uids.is_single() || gids.is_single() { Ids::Single } else { Ids::Kept };
    Ok(Entered { ids, note: None })
}

/// Maps what the map tools have left unmapped to the single ids of the user.
fn single(facts: &Facts) -> io::Result<()> {
    let (uids, gids) = sys::current_map()?;
    if gids.0.is_empty() {
        sys::deny_setgroups(0)?;
    }
    if uids.0.is_empty() {
        sys::write_uid_map(0, &IdMap::single(facts.uid))?;
    }
    if gids.0.is_empty() {
        sys::write_gid_map(0, &IdMap::single(facts.gid))?;
    }
    Ok(())
}

/// A process that stays outside to run the map tools, which only work from there.
#[derive(Debug)]
struct Helper {
    child: sys::Child,
    go: io::PipeWriter,
    answer: io::PipeReader,
    count: u32,
}

impl Helper {
    /// Starts it where this machine and user have all that is needed; otherwise says what is missing.
    fn prepare(facts: &Facts) -> Result<Self, String> {
        let user = facts.user.clone().unwrap_or_else(|| facts.uid.to_string());
        let (Some(uid_tool), Some(gid_tool)) = (facts.newuidmap.clone(), facts.newgidmap.clone()) else {
            return Err(
                "one id only: newuidmap and newgidmap are missing (Debian: `sudo apt install uidmap`)".to_owned()
            );
        };
        let (Some(uids), Some(gids)) = (facts.subuid, facts.subgid) else {
            return Err(format!(
                "one id only: `{user}` has no subordinate ids \
                 (`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`)"
            ));
        };
        let start = || -> io::Result<Self> {
            let (wait, go) = io::pipe()?;
            let (answer, reply) = io::pipe()?;
            let target = std::process::id();
            if let Some(child) = sys::fork()? {
                return Ok(Self { child, go, answer, count: uids.1 });
            }
            drop((go, answer));
            let maps = [
                (uid_tool, IdMap::range(facts.uid, uids.0, uids.1)),
                (gid_tool, IdMap::range(facts.gid, gids.0, gids.1)),
            ];
            help(wait, reply, target, &maps);
        };
        start().map_err(|error| format!("one id only: failed to prepare the id maps: {error}"))
    }

    /// Has the caller's new namespace mapped.
    fn map(mut self) -> Result<(), String> {
        let mut answer = String::new();
        let asked = self.go.write_all(b"!").and_then(|()| self.answer.read_to_string(&mut answer));
        let waited = sys::wait_for(self.child);
        match (asked, waited) {
            (Ok(_), Ok(_)) if answer == "mapped" => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(format!("one id only: {error}")),
            _ => Err(format!("one id only: {answer}")),
        }
    }
}

fn help(mut wait: io::PipeReader, mut reply: io::PipeWriter, target: u32, maps: &[(PathBuf, IdMap)]) -> ! {
    let mut asked = [0];
    if wait.read_exact(&mut asked).is_ok() {
        let failed = maps.iter().find_map(|(tool, map)| {
            let error = sys::map_with_tool(tool, target, map).err()?;
            Some(format!("`{}` failed: {error}", tool.display()))
        });
        let _ = reply.write_all(failed.as_deref().unwrap_or("mapped").as_bytes());
    }
    sys::exit_now(0)
}

/// Tells whether the process is in a user namespace below the machine's first one.
pub(super) fn is_nested() -> bool {
    fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|text| text.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"])
}
