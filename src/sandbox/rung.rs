//! Which way of running steps there is here: the best one that works, found by trying.

use std::path::Path;

use super::enter::{Entered, Ids, enter};
use super::error::SandboxError;
use super::launch::Launcher;
use super::probe::{Chroot, Trials, probe};
use crate::sys;

/// What the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The best that works.
    #[default]
    Auto,
    /// Namespaces, or nothing.
    Userns,
    /// A changed root, or nothing.
    Chroot,
}

/// A way of running steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rung {
    /// In namespaces of their own.
    Userns,
    /// In a root put together from copies, for root in a container that forbids namespaces.
    Chroot {
        /// It was not asked for, and is taken for want of namespaces.
        for_want: bool,
    },
}

/// The command's place and how its steps run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The place.
    pub entered: Entered,
    /// How steps run.
    pub rung: Rung,
}

/// Moves the calling process to where it can run steps, as [`enter`] does, and tries how they run there; roots are tried
/// below the existing directory `place`.
///
/// Must be called before any thread exists.
///
/// # Errors
/// `NoRung` where no step can run in the way that is asked for, with the ways out; as [`enter`].
pub fn settle(asked: Isolation, place: &Path) -> Result<Settled, SandboxError> {
    let entered = match enter() {
        Err(error) if !matches!(error, SandboxError::Threads) => {
            let userns = words(&error);
            // Root that lacks what it takes to be root falls in here too, and the trial says what it lacks.
            let chroot = probe(place).map_or_else(|error| words(&error), |probe| refused(probe.trials.chroot));
            return Err(refusal(asked, userns, chroot));
        }
        entered => entered?,
    };
    if asked != Isolation::Chroot && Launcher::default().trials(None)?.can_run() {
        return Ok(Settled { entered, rung: Rung::Userns });
    }
    let trials = probe(place)?.trials;
    let userns = missing(&trials).map(str::to_owned);
    let rung = match (asked, userns, &trials.chroot) {
        (Isolation::Auto, Some(_), Chroot::Works) => Rung::Chroot { for_want: true },
        (Isolation::Chroot, _, Chroot::Works) => Rung::Chroot { for_want: false },
        (_, userns, _) => return Err(refusal(asked, userns.unwrap_or_default(), refused(trials.chroot))),
    };
    Ok(Settled { entered, rung })
}

/// Says why steps cannot have namespaces.
fn missing(trials: &Trials) -> Option<&str> {
    trials.namespaces.as_deref().or(trials.tmpfs.as_deref()).or(trials.proc.as_deref())
}

/// Says why steps cannot have a changed root.
fn refused(chroot: Chroot) -> String {
    match chroot {
        Chroot::Refused(reason) => reason,
        Chroot::Works | Chroot::Untried => "only root can".to_owned(),
    }
}

fn refusal(asked: Isolation, userns: String, chroot: String) -> SandboxError {
    SandboxError::NoRung {
        userns: (asked != Isolation::Chroot).then_some(userns),
        chroot: (asked != Isolation::Userns).then_some(chroot),
    }
}

fn words(error: &SandboxError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Settled {
    /// Says in one line how steps run, and what is not isolated.
    pub fn announcement(&self) -> String {
        match (&self.rung, self.entered.ids) {
            (Rung::Userns, Ids::Kept) => "isolation: user namespaces, all ids of root".to_owned(),
            (Rung::Userns, Ids::Range { count }) => {
                format!("isolation: user namespaces, {} ids", u64::from(count) + 1)
            }
            (Rung::Userns, Ids::Single) => "isolation: user namespaces, one id".to_owned(),
            (Rung::Chroot { for_want }, _) => {
                let because = if *for_want { ", for want of user namespaces (`dockless doctor` says why)" } else { "" };
                let signals = if sys::landlock_version() < 6 { "signals, " } else { "" };
                let files = if sys::landlock_version() < 2 { "; read-only places take writes" } else { "" };
                format!(
                    "isolation: chroot{because}; steps share with this container: process ids, {signals}host name, \
                     System V ipc, its network unless they ask for none{files}"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_says_what_is_shared_only_where_something_is() {
        let settled = |ids, rung| Settled { entered: Entered { ids, note: None }, rung }.announcement();
        assert_eq!(settled(Ids::Single, Rung::Userns), "isolation: user namespaces, one id");
        assert_eq!(settled(Ids::Range { count: 65536 }, Rung::Userns), "isolation: user namespaces, 65537 ids");
        let chroot = settled(Ids::Kept, Rung::Chroot { for_want: true });
        assert!(chroot.starts_with("isolation: chroot, for want of user namespaces"));
        assert_eq!(chroot.lines().count(), 1);
    }

    #[test]
    fn a_refusal_speaks_of_what_was_asked_for() {
        let text = |asked| refusal(asked, "no namespaces".to_owned(), "only root can".to_owned()).to_string();
        assert!(text(Isolation::Auto).contains("no namespaces") && text(Isolation::Auto).contains("only root can"));
        assert!(!text(Isolation::Userns).contains("only root can"));
        assert!(!text(Isolation::Chroot).contains("no namespaces"));
    }
}
